"""What the model is told: enough, bounded, and with the part that stays the same first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp import prompts
from ingle_lsp.blocks import code_blocks
from ingle_lsp.prompts import Excerpt, messages, surroundings

LINES = [f"line {number}\n" for number in range(1, 1001)]


def an_excerpt(first: int, last: int, lines: list[str] | None = None) -> Excerpt:
    return Excerpt("src/a.py", "python", LINES if lines is None else lines, first, last)


def shown(excerpt: Excerpt, room: int) -> list[str]:
    text = surroundings(excerpt, room)
    return code_blocks(text)[0].text.splitlines(keepends=True) if text else []


def test_a_short_file_is_shown_whole() -> None:
    excerpt = an_excerpt(1, 2, ["a\n", "b\n", "c\n", "d"])
    assert surroundings(excerpt, 100) == "The file `src/a.py`:\n\n```python\na\nb\nc\nd\n```"
    assert excerpt.code == "b\nc\n"
    assert excerpt.where == "lines 2 to 3"
    assert an_excerpt(4, 4).where == "line 5"


def test_a_long_file_is_shown_around_the_place() -> None:
    text = surroundings(an_excerpt(500, 502), 4000)
    assert text.startswith("Lines 321 to 704 of the file `src/a.py`:\n")
    # The window moves in steps, so the cache holds for the next place, too.
    assert text == surroundings(an_excerpt(505, 506), 4000)


def test_at_the_ends_of_a_long_file() -> None:
    assert shown(an_excerpt(0, 0), 3000)[0] == "line 1\n"
    assert len(shown(an_excerpt(0, 0), 3000)) > 256
    assert shown(an_excerpt(999, 999), 3000)[-1] == "line 1000\n"
    assert len(shown(an_excerpt(999, 999), 3000)) > 256


def test_no_room_for_anything_around() -> None:
    assert surroundings(an_excerpt(0, 999), 1000) == ""
    assert surroundings(an_excerpt(5, 5), 0) == ""
    _, user = messages(an_excerpt(5, 6), "The task.", 0)
    assert user.content == "A file `src/a.py`.\n\nThe task."


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=300),
    data=st.data(),
    room=st.integers(0, 4000),
)
def test_the_window_is_bounded_and_has_the_place(
    sizes: list[int], data: st.DataObject, room: int
) -> None:
    lines = ["x" * size + "\n" for size in sizes]
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    excerpt = an_excerpt(first, last, lines)
    found = shown(excerpt, room)
    assert sum(map(len, found)) <= room
    if found:
        assert excerpt.code in "".join(found)
        assert "".join(found) in "".join(lines)
    else:
        assert len(excerpt.code) > room


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            prompts.fix(an_excerpt(1, 2), [(1, "undefined name `x` (ruff F821)"), (2, "odd")]),
            ["- line 2: undefined name `x` (ruff F821)\n- line 3: odd\n", "one fenced code block"],
        ),
        (prompts.document(an_excerpt(1, 2)), ["doc comments", "one fenced code block"]),
        (prompts.refactor(an_excerpt(1, 2), "use a loop"), [" use a loop\n", "fenced code block"]),
        (prompts.explain(an_excerpt(1, 2)), ["Explain", "Markdown"]),
        (
            prompts.tests(an_excerpt(1, 2), "tests/test_a.py", "pytest", "Import it.", None),
            ["with pytest", "`tests/test_a.py`", "Import it.", "whole new file"],
        ),
        (
            prompts.tests(an_excerpt(1, 2), "tests/test_a.py", "pytest", "", "def test_b(): ...\n"),
            ["ends like this:\n\n```\ndef test_b(): ...\n```", "append", "no imports"],
        ),
        (prompts.inline_tests(an_excerpt(1, 2), "#[test]"), ["`mod tests`", "use super::*"]),
    ],
)
def test_tasks(task: str, words: list[str]) -> None:
    assert "lines 2 to 3 of `src/a.py`:\n\n```python\nline 2\nline 3\n```\n" in task
    assert all(word in task for word in words)


def test_what_stays_the_same_comes_first() -> None:
    """Two tasks about one file differ in their ends only."""
    short = LINES[:100]
    excerpts = [an_excerpt(10, 20, short), an_excerpt(50, 51, short)]
    first, second = (
        "".join(turn.content for turn in messages(excerpt, task, 10_000))
        for excerpt, task in zip(
            excerpts, [prompts.explain(excerpts[0]), prompts.document(excerpts[1])], strict=True
        )
    )
    shared = first[: first.index("The task is about")]
    assert second.startswith(shared)
    assert prompts.SYSTEM in shared
    assert "".join(short) in shared


def test_fences_in_a_file_do_not_end_the_block() -> None:
    lines = ["# A\n", "```py\n", "x\n", "```\n"]
    text = surroundings(Excerpt("a.md", "markdown", lines, 2, 2), 100)
    (block,) = code_blocks(text)
    assert block.text == "".join(lines)
