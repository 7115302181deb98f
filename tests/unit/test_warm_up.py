"""The first job of a model, which nobody asked for."""

from __future__ import annotations

import pytest

from ingled.engines.engine import ModelSpec
from ingled.engines.scripted import Scripted
from ingled.worker.warm_up import ANSWER_TOKENS, warm_up


def engine(**rates: float) -> Scripted:
    made = Scripted()
    made.load(ModelSpec(name="s", context=4096, options={"script": "a " * 50, **rates}), _ignore)
    return made


def _ignore(fraction: float | None, detail: str) -> None:
    pass


def test_it_measures_the_engine() -> None:
    rates = warm_up(engine(prefill_tokens_per_second=2000.0, tokens_per_second=400.0))
    assert 1000 < rates.prefill <= 2100
    assert 100 < rates.decode <= 450


def test_an_engine_that_takes_for_ever_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingled.worker.warm_up.WAITS", 2)
    monkeypatch.setattr("ingled.worker.warm_up.WAIT_S", 0.01)
    slow = engine(prefill_tokens_per_second=1e6, tokens_per_second=0.1 / ANSWER_TOKENS)
    assert warm_up(slow).prefill == 0.0
