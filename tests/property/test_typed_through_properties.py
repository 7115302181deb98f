"""What was suggested answers every place that typing it leads to, and no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.documents import Documents, Edit, Place
from ingle_lsp.postprocess import Cursor
from ingle_lsp.typed_through import SIZE, Known, Spot, TypedThrough

URI = "file:///a.py"
TEXT = st.text(alphabet="ab( \n", max_size=40)
SUGGESTION = st.text(alphabet="ab( \n", min_size=1, max_size=12)


def spot(text: str, at: int, window: int = 10_000) -> Spot:
    """The place in a text as the language server sees it."""
    documents = Documents()
    documents.open(URI, text, "python", "utf-32")
    document = documents.get(URI)
    assert document is not None
    before = text[:at]
    place = Place(before.count("\n"), at - (before.rfind("\n") + 1))
    return Spot(URI, place, Cursor(document.before(place, window), document.after(place, window)))


def remembered(where: Spot, *texts: str) -> TypedThrough:
    known = TypedThrough()
    known.remember(where, texts, "terms", complete=True)
    return known


@given(TEXT, TEXT, SUGGESTION, st.data())
def test_every_place_within_a_suggestion(
    before: str, after: str, suggestion: str, data: st.DataObject
) -> None:
    known = remembered(spot(before + after, len(before)), suggestion)
    # In any order: on and back.
    for length in data.draw(st.lists(st.integers(0, len(suggestion) - 1), max_size=6)):
        typed = suggestion[:length]
        now = spot(before + typed + after, len(before + typed))
        assert known.find(now, "terms") == Known((suggestion[length:],), complete=True)


@given(TEXT, TEXT, SUGGESTION, TEXT)
def test_what_is_found_goes_on_as_suggested(
    before: str, after: str, suggestion: str, typed: str
) -> None:
    """Whatever is typed: an answer, together with it, is what was suggested."""
    known = remembered(spot(before + after, len(before)), suggestion)
    found = known.find(spot(before + typed + after, len(before + typed)), "terms")
    if found is not None:
        assert [typed + text for text in found.texts] == [suggestion]
    else:
        assert not suggestion.startswith(typed) or typed == suggestion


@given(TEXT, SUGGESTION, st.integers(0, 50), st.integers(0, 50))
def test_other_text_around_is_another_place(
    text: str, suggestion: str, at: int, other: int
) -> None:
    at, other = min(at, len(text)), min(other, len(text))
    known = remembered(spot(text, at), suggestion)
    changed = text[:other] + "X" + text[other:]
    # The new character is before the cursor, or after it: either way nothing is known.
    for cursor in (at, at + 1):
        assert known.find(spot(changed, min(cursor, len(changed))), "terms") is None


@given(SUGGESTION, st.data())
def test_a_window_that_moves_with_the_typing(suggestion: str, data: st.DataObject) -> None:
    """Of a long document only whole lines near the cursor are seen."""
    before = "value = compute(value)\n" * 30 + "x = "
    known = remembered(spot(before, len(before), window=100), suggestion)
    length = data.draw(st.integers(0, len(suggestion) - 1))
    typed = before + suggestion[:length]
    found = known.find(spot(typed, len(typed), window=100), "terms")
    assert found == Known((suggestion[length:],), complete=True)


@given(st.lists(TEXT, min_size=1, max_size=3 * SIZE))
def test_memory_is_bounded(texts: list[str]) -> None:
    known = TypedThrough()
    for text in texts:
        known.remember(spot(text, len(text)), ["abc"], "terms", complete=False)
    assert len(known._entries) <= SIZE
    assert known.find(spot(texts[-1], len(texts[-1])), "terms") == Known(("abc",), complete=False)


def test_the_edit_of_a_document_moves_the_place() -> None:
    """The same with a document that is really edited, with Windows' line ends."""
    documents = Documents()
    documents.open(URI, "def f():\r\n    return \r\n", "python", "utf-16")
    document = documents.get(URI)
    assert document is not None

    def here(line: int, column: int) -> Spot:
        place = Place(line, column)
        prefix = document.before(place, 1000).replace("\r\n", "\n")
        return Spot(URI, place, Cursor(prefix, document.after(place, 1000).replace("\r\n", "\n")))

    known = remembered(here(1, 11), "{\n    1\n}")
    documents.change(URI, [Edit(1, 11, 1, 11, "{\r\n  ")])
    assert known.find(here(2, 2), "terms") == Known(("  1\n}",), complete=True)
