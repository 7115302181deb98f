"""The pause for typing, learned from how long answers take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.debounce import FIRST, LONGEST, MEMORY, Debounce

SECONDS = st.floats(0, 1e6)


def after(*seconds: float) -> float:
    debounce = Debounce()
    for each in seconds:
        debounce.answered(each)
    return debounce.pause


def test_nothing_is_known_at_first() -> None:
    assert after() == FIRST == 0.075


def test_a_model_that_is_faster_than_typing_is_asked_at_once() -> None:
    assert after(0.01) == after(0.1) == 0.0


def test_a_third_of_what_the_median_takes_longer_within_bounds() -> None:
    assert after(0.4) == pytest.approx(0.1)
    assert after(0.4, 0.9, 0.7) == pytest.approx(0.2)
    assert after(5.0) == LONGEST


def test_one_answer_that_loaded_a_model_says_nothing() -> None:
    assert after(60.0, *[0.16] * 3) == pytest.approx(0.02)


def test_only_the_last_answers_count() -> None:
    assert after(*[2.0] * 50, *[0.16] * MEMORY) == pytest.approx(0.02)


def test_a_model_that_never_ends_in_time_is_asked_seldom() -> None:
    debounce = Debounce()
    for _ in range(3):
        debounce.given_up(1.0)
    assert debounce.pause == pytest.approx(0.3)


def test_giving_up_early_does_not_hasten() -> None:
    debounce = Debounce()
    debounce.answered(0.7)
    for _ in range(20):
        debounce.given_up(0.05)
    assert debounce.pause == pytest.approx(0.2)
    debounce.answered(0.1)
    assert debounce.pause == pytest.approx(0.1)


@given(st.lists(st.tuples(st.booleans(), SECONDS)))
def test_always_within_bounds(happened: list[tuple[bool, float]]) -> None:
    debounce = Debounce()
    for is_answer, seconds in happened:
        (debounce.answered if is_answer else debounce.given_up)(seconds)
        assert 0 <= debounce.pause <= LONGEST


@given(st.lists(SECONDS, min_size=1), SECONDS)
def test_giving_up_never_shortens_a_steady_pause(times: list[float], seconds: float) -> None:
    debounce = Debounce()
    steady = times[0]
    for _ in range(MEMORY):
        debounce.answered(steady)
    before = debounce.pause
    debounce.given_up(seconds)
    assert debounce.pause >= before
