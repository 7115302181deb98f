"""How soon a cancelled request leaves its slot: while it generates, and while it prefills.

An engine can't stop inside of a decode step or a prefill chunk, so one of them, as measured in the
same requests, is taken off. The clock stops at `done`: the broker has the slot back then. The
engine may still be in its last step, which the next request would wait for; that is counted, too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from ingle.blocking_client import Call, Client
from ingle.messages import Chat, Delta, Done, Message, Progress

from .figures import Figure, Result
from .stage import Stage
from .texts import long_answer, long_prompt

#: Events that are timed before a request is cancelled.
WATCHED = 8
#: Milliseconds beyond what can't be interrupted.
ALLOWED_MS = 10.0


def measure(stage: Stage) -> list[Result]:
    """Cancel running requests at different moments of a step."""
    decode = _Cancels(stage, lambda _: long_answer(400), _is_delta)
    prefill = _Cancels(stage, long_prompt, _is_prefill)
    return [
        *decode.figures("decode", "decode step"),
        *prefill.figures("prefill", "prefill chunk"),
        *_engine_free(stage, decode.step_ms),
    ]


class _Cancels:
    """Some cancelled requests: how long each took, and the steps between their events."""

    def __init__(
        self,
        stage: Stage,
        request: Callable[[int], dict[str, Any]],
        is_step: Callable[[Message], bool],
    ) -> None:
        self._took: list[float] = []
        self._steps: list[float] = []
        count = stage.sizes.cancels
        for number in range(count):
            call = stage.client.call(Chat, **request(number))
            times = _arrivals(call, is_step)
            gaps = [(after - before) * 1000 for before, after in pairwise(times)]
            # Right after an event is the worst moment, right before the next one the best.
            time.sleep(statistics.median(gaps) / 1000 * number / count)
            self._took.append(_cancel(stage.client, call))
            self._steps += gaps

    @property
    def step_ms(self) -> float:
        """The median step."""
        return statistics.median(self._steps)

    def figures(self, name: str, step: str) -> list[Result]:
        return [
            Figure(
                name=f"cancel.{name}_beyond_step",
                what=f"cancel() to a free slot, less one {step}",
                unit="ms",
                samples=[took - self.step_ms for took in self._took],
                at_most=ALLOWED_MS,
            ),
            Figure(
                name=f"cancel.{name}",
                what="cancel() to a free slot",
                unit="ms",
                samples=self._took,
            ),
            Figure(name=f"cancel.{name}_step", what=f"one {step}", unit="ms", samples=self._steps),
        ]


def _engine_free(stage: Stage, step_ms: float) -> list[Result]:
    """When the engine itself is free, as the next request sees it: does it start any later?"""
    fields = long_answer(4)
    delays: list[float] = []
    beyond: list[float] = []
    _first_token(stage.client, fields)
    for _ in range(stage.sizes.cancels):
        at_rest = _first_token(stage.client, fields)
        call = stage.client.call(Chat, **long_answer(400))
        _arrivals(call, _is_delta)
        took = _cancel(stage.client, call)
        delays.append(_first_token(stage.client, fields) - at_rest)
        beyond.append(took + delays[-1] - step_ms)
    return [
        Figure(
            name="cancel.engine_beyond_step",
            what="cancel() to an engine that runs the next request at once, less one step",
            unit="ms",
            samples=beyond,
            at_most=ALLOWED_MS,
        ),
        Figure(
            name="cancel.next_request",
            what="a first token right after a cancel, later than at rest by",
            unit="ms",
            samples=delays,
        ),
    ]


def _arrivals(call: Call, is_step: Callable[[Message], bool]) -> list[float]:
    """When the first events that count came."""
    times: list[float] = []
    for event in _running(call):
        if is_step(event):
            times.append(time.perf_counter())
        if len(times) == WATCHED:
            break
    return times


def _running(call: Call) -> Iterator[Message]:
    for event in call:
        if isinstance(event, Done):
            raise RuntimeError("the request was over before it could be cancelled")
        yield event


def _cancel(client: Client, call: Call) -> float:
    """Milliseconds from `cancel()` until the slot is free."""
    asked = time.perf_counter()
    call.cancel()
    done = call.wait()
    took = (time.perf_counter() - asked) * 1000
    if done.finish != "cancelled" or client.status().models[0].busy_slots:
        raise RuntimeError(f"a cancelled request ended with {done.finish!r} or keeps its slot")
    return took


def _first_token(client: Client, fields: dict[str, Any]) -> float:
    asked = time.perf_counter()
    call = client.call(Chat, **fields)
    took = 0.0
    for event in call:
        if isinstance(event, Delta) and not took:
            took = (time.perf_counter() - asked) * 1000
    return took


def _is_delta(event: Message) -> bool:
    return isinstance(event, Delta)


def _is_prefill(event: Message) -> bool:
    return isinstance(event, Progress) and event.phase == "prefill"
