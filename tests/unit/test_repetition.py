"""Going round in circles: where generated text begins to say again what it has just said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.repetition import MAX_GROUP, MAX_PERIOD, TIMES, repeated_lines, stutter


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ([], None),
        (["abc"], None),
        (["abc", "abc"], 1),
        (["abc", "abc  "], 1),
        (["abc", "xyz", "abc"], None),
        (["abc", "xyz", "abc", "xyz"], 2),
        (["first", "abc", "xyz", "abc", "xyz", "abc"], 3),
        # What programs repeat for good reason.
        (["}", "}"], None),
        (["end", "end"], None),
        (["", ""], None),
        # A group counts that has something telling.
        (["foo(", ")", "foo(", ")"], 2),
    ],
)
def test_repeated_lines(lines: list[str], number: int | None) -> None:
    assert repeated_lines(lines) == number


@given(st.lists(st.sampled_from(["abc", "xyz", "}", ""]), max_size=16))
def test_what_is_kept_of_lines_repeats_nothing(lines: list[str]) -> None:
    number = repeated_lines(lines)
    if number is None:
        return
    assert repeated_lines(lines[:number]) is None
    size = next(
        size
        for size in range(1, MAX_GROUP + 1)
        if lines[number : number + size] == lines[number - size : number]
    )
    assert size <= number


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a" * 24, "a"),
        ("x = [" + "0, " * 8, "x = [0, "),
        ("match of a" + "j" * 24, "match of aj"),
        # Sliding in from the middle of what is repeated.
        ("c, " + "ab.c, " * 6, "c, ab."),
    ],
)
def test_stutter(text: str, kept: str) -> None:
    assert text[: stutter(text)] == kept


@pytest.mark.parametrize(
    "text",
    ["", "a" * 23, "-" * 80, "    " * 20, "a" * 30 + "b", "a" * 30 + "\n", "0, " * 7, "*/\n" * 30],
)
def test_no_stutter(text: str) -> None:
    assert stutter(text) is None


@given(
    st.text("ab, ", max_size=20), st.text("ab1", min_size=1, max_size=MAX_PERIOD), st.integers(0, 9)
)
def test_whatever_is_said_often_enough_is_noticed(before: str, unit: str, more: int) -> None:
    times = max(TIMES, -(-24 // len(unit))) + more
    text = before + unit * times
    place = stutter(text)
    assert place is not None
    # Once it is kept at most.
    assert place <= len(before) + len(unit)
