"""Driving an engine by hand, as the worker does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ingled.engines.engine import Engine, EngineEvent, Failed, Finished, Job, Prefill, Tokens


@dataclass
class Outcome:
    """What became of one job."""

    ids: list[int] = field(default_factory=list)
    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    prefill: list[Prefill] = field(default_factory=list)
    end: Finished | Failed | None = None

    @property
    def finished(self) -> Finished:
        assert isinstance(self.end, Finished), self.end
        return self.end


def run(
    engine: Engine,
    jobs: Iterable[Job],
    *,
    on_event: Callable[[EngineEvent], None] = lambda _: None,
    seconds: float = 60,
) -> dict[int, Outcome]:
    """Submit jobs together and step until each has ended. Nothing may follow an end."""
    outcomes: dict[int, Outcome] = {}
    for job in jobs:
        outcomes[job.id] = Outcome()
        engine.submit(job)
    deadline = time.monotonic() + seconds
    while any(outcome.end is None for outcome in outcomes.values()):
        assert time.monotonic() < deadline, "the engine did not finish in time"
        for event in engine.step(0.1):
            outcome = outcomes[event.job]
            assert outcome.end is None, f"{event} after {outcome.end}"
            match event:
                case Prefill():
                    outcome.prefill.append(event)
                case Tokens():
                    outcome.ids += event.ids
                    outcome.text += event.text
                    outcome.logprobs += event.logprobs
                case Finished() | Failed():
                    outcome.end = event
            on_event(event)
    return outcomes
