"""The memory of suggestions: what it keeps apart, and what editors do by themselves."""

from __future__ import annotations

import pytest

from ingle_lsp.documents import Place
from ingle_lsp.postprocess import Cursor
from ingle_lsp.typed_through import Known, Spot, TypedThrough


def at(text: str, uri: str = "file:///a.py") -> Spot:
    """`|` is the cursor."""
    before, _, after = text.partition("|")
    place = Place(before.count("\n"), len(before.rpartition("\n")[2]))
    return Spot(uri, place, Cursor(before, after))


def known(text: str, *suggestions: str) -> TypedThrough:
    memory = TypedThrough()
    memory.remember(at(text), suggestions, "terms", complete=False)
    return memory


def found(memory: TypedThrough, text: str) -> tuple[str, ...]:
    answer = memory.find(at(text), "terms")
    return answer.texts if answer else ()


def test_other_documents_and_other_terms_are_apart() -> None:
    memory = known("x = |", "abc")
    assert memory.find(at("x = |", "file:///b.py"), "terms") is None
    assert memory.find(at("x = |"), "other terms") is None
    assert found(memory, "x = |") == ("abc",)


def test_what_is_typed_to_the_end_is_used_up() -> None:
    memory = known("x = |", "abc")
    assert found(memory, "x = ab|") == ("c",)
    assert found(memory, "x = abc|") == ()
    assert found(memory, "x = abcd|") == ()


def test_nothing_to_say_is_known_of_that_very_place() -> None:
    memory = TypedThrough()
    memory.remember(at("x|"), [], "terms", complete=False, whole=True)
    memory.remember(at("y|"), [], "terms", complete=False)
    assert memory.find(at("x|"), "terms") == Known((), False, over=True)
    assert memory.find(at("y|"), "terms") == Known((), False, over=False)
    assert memory.find(at("x|\n"), "terms") is None
    assert memory.find(at("xy|"), "terms") is None


def test_all_that_there_is_to_say_was_typed() -> None:
    memory = TypedThrough()
    memory.remember(at("x = |"), ["abc"], "terms", complete=False, whole=True)
    assert memory.find(at("x = abc|"), "terms") == Known((), False, over=True)
    assert memory.find(at("x = ab|"), "terms") == Known(("c",), False)
    assert memory.find(at("x = abcd|"), "terms") is None
    assert memory.find(at("x = abc|)"), "terms") is None


def test_going_back_before_it_began_is_another_place() -> None:
    memory = known("x = |", "abc")
    assert found(memory, "x =|") == ()
    assert found(memory, "|") == ()


def test_the_newest_answer_counts_and_older_ones_come_back() -> None:
    memory = known("x = |", "abc")
    memory.remember(at("x = y|"), ["z"], "terms", complete=False)
    memory.remember(at("x = a|"), ["BC"], "terms", complete=False)
    assert found(memory, "x = y|") == ("z",)
    assert found(memory, "x = a|") == ("BC",)
    assert found(memory, "x = |") == ("abc",)
    assert found(memory, "x = ab|") == ("c",)


def test_candidates_that_go_on_as_typed() -> None:
    memory = TypedThrough()
    memory.remember(at("x = |"), ["abc", "abd", "xyz", "abc()"], "terms", complete=True)
    assert memory.find(at("x = ab|"), "terms") == Known(("c", "d", "c()"), complete=True)
    assert found(memory, "x = x|") == ("yz",)


def test_what_differed_only_at_the_beginning_is_said_once() -> None:
    memory = known("|", "aac", "aac")
    assert found(memory, "a|") == ("ac",)


@pytest.mark.parametrize(
    ("before", "suggestion", "typed", "left"),
    [
        ("f|", "(a, b)", "f(|)", "a, b"),
        ("f|\n", "(a, b)", "f(|)\n", "a, b"),
        ("x = |", '"abc"', 'x = "|"', "abc"),
        ("x = |", "[(1, 2)]", "x = [(|)]", "1, 2"),
        ("x = |", "{1: 2}", "x = {1|}", ": 2"),
    ],
)
def test_what_the_editor_closes_by_itself(
    before: str, suggestion: str, typed: str, left: str
) -> None:
    assert found(known(before, suggestion), typed) == (left,)


@pytest.mark.parametrize("text", ["x = a|bc", "x = a|;", "x = a|\n", "x = |)"])
def test_other_text_behind_the_cursor_is_another_place(text: str) -> None:
    assert found(known("x = |", "abc"), text) == ()


def test_a_closed_document_is_forgotten() -> None:
    memory = known("x = |", "abc")
    memory.remember(at("y = |", "file:///b.py"), ["d"], "terms", complete=True)
    memory.forget("file:///a.py")
    assert found(memory, "x = |") == ()
    assert memory.find(at("y = |", "file:///b.py"), "terms") is not None
