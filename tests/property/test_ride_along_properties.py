"""Riding along: whatever is typed, a rider gets what a generation of its own would have begun with,
or is told at once that this one is another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.messages import Infill
from ingled.scheduler.ride_along import MOST_TYPED, Diverged, Ride, typed_since

text = st.text("ab\n ", max_size=30)


def infill(prefix: str, suffix: str = "", **fields: object) -> Infill:
    return Infill(id=1, prefix=prefix, suffix=suffix, document="d", **fields)  # type: ignore[arg-type]


@given(prefix=text, typed=text, suffix=text)
def test_what_was_typed_is_found(prefix: str, typed: str, suffix: str) -> None:
    found = typed_since(infill(prefix, suffix), infill(prefix + typed, suffix))
    assert found is not None
    assert found == typed


@given(lines=st.lists(st.text("xyz", max_size=9), min_size=30, max_size=60), gone=st.integers(0, 9))
def test_a_window_that_moved_by_lines_is_the_same_document(lines: list[str], gone: int) -> None:
    older = infill("\n".join(f"{n} {line} {'-' * 20}" for n, line in enumerate(lines)))
    moved = older.prefix.split("\n", gone)[-1]
    assert typed_since(older, infill(moved + "new")) == "new"
    assert typed_since(infill(moved), infill(older.prefix + "new")) == "new"


@pytest.mark.parametrize(
    "newer",
    [
        infill("def other(", "\n"),
        infill("def f(", "x\n"),
        infill("def f(", "\n", multiline=True),
        infill("def f(", "\n", max_tokens=9),
        infill("def f(", "\n", language="rust"),
        infill("def f", "\n"),
        infill("def f(" + "x" * (MOST_TYPED + 1), "\n"),
    ],
)
def test_another_question_does_not_ride(newer: Infill) -> None:
    assert typed_since(infill("def f(", "\n"), newer) is None


def test_a_deadline_or_a_guess_makes_no_other_answer() -> None:
    older = infill("def f(", deadline_ms=5, speculative=True)
    assert typed_since(older, infill("def f(a", deadline_ms=9)) == "a"


@given(
    generated=st.text("ab", min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    steps=st.lists(st.tuples(st.integers(0, 40), st.text("ab", max_size=3)), max_size=6),
)
def test_a_rider_has_the_rest_or_none(
    generated: str, cuts: list[int], steps: list[tuple[int, str]]
) -> None:
    """Any typing at any time: once the ride is over, each that rode to the end has exactly the
    generated text after what it typed."""
    ride = Ride(infill("x = "))
    places = sorted({0, len(generated), *(min(cut, len(generated)) for cut in cuts)})
    pieces = [generated[a:b] for a, b in itertools.pairwise(places)]
    typed, got = "", ""
    for number, piece in enumerate(pieces):
        if number < len(steps):
            length, extra = steps[number]
            wanted = generated[: min(length, len(generated))] + extra
            text_so_far = ride.take_over(infill("x = " + wanted))
            known = ride.generated[: len(wanted)]
            assert (text_so_far is None) == (wanted[: len(known)] != known)
            if text_so_far is not None:
                typed, got = wanted, text_so_far
        try:
            got += ride.feed(piece)
        except Diverged:
            common = min(len(typed), len(ride.generated))
            assert ride.generated[:common] != typed[:common]
            return
    assert ride.generated == generated
    if ride.reached:
        assert typed + got == generated
    else:
        assert got == ""
        assert typed.startswith(generated)
