"""Jobs of one loaded model: requests in, pieces out. Runs in the engine thread, does no I/O.

It joins the dialect (text ↔ tokens) and the engine (tokens), measures both, and turns the measured
prefill rate into each request's context budget.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ingle.errors import IngleError, InternalError
from ingle.messages import Chat, FinishReason, Infill, Message, Timings, Usage
from ingled.dialects.dialect import Budget, Defaults, Dialect, Plan, Stream
from ingled.engines.engine import Engine, EngineEvent, Failed, Finished, Prefill, Tokens
from ingled.memory import resident_bytes

from .wire import JobDone, JobFailed, JobPiece, JobPrefill, Run, WorkerLog

#: Tokens per second assumed before anything was measured; a small CPU.
FIRST_PREFILL_RATE = 100.0
#: Share of the time left that prefill may take; the rest is for decode.
PREFILL_SHARE = 0.5
#: A budget below this is not worth a request.
MIN_BUDGET = 32
#: Weight of the newest measurement in the moving averages.
SMOOTHING = 0.3
#: Prompts with fewer uncached tokens say little about the rate.
MIN_MEASURED = 8

Send = Callable[[Message], None]


@dataclass
class _Active:
    stream: Stream
    finish: FinishReason | None = None
    logprob_sum: float = 0.0
    logprob_count: int = 0
    prefilling: bool = False


class Runner:
    """See the module."""

    def __init__(self, engine: Engine, dialect: Dialect, context: int, send: Send) -> None:
        self._engine = engine
        self._dialect = dialect
        self._context = context
        self._send = send
        self._active: dict[int, _Active] = {}
        self.defaults = Defaults()
        self.prefill_rate = 0.0
        self.decode_rate = 0.0

    def run(self, message: Run) -> None:
        """Start a job; a failure is that job's alone."""
        try:
            plan = self._plan(message)
            self._active[message.job] = _Active(plan.stream)
            self._engine.submit(plan.job)
        except IngleError as error:
            self._fail(message.job, error.code or InternalError.code, str(error))
        except Exception as error:
            self._send(WorkerLog(level=logging.ERROR, text=where(error)))
            self._fail(
                message.job,
                InternalError.code,
                f"{type(error).__name__} in the model's process: this is a bug, see `ingle logs`",
            )

    def halt(self, job: int) -> None:
        """Stop a job; nothing happens if it is over."""
        if job in self._active:
            self._engine.cancel(job)

    def step(self, timeout: float) -> None:
        """Let the engine work, pass on what happened."""
        for event in self._engine.step(timeout):
            active = self._active.get(event.job)
            if active:
                self._handle(event, active)

    # --- events --------------------------------------------------------------------------

    def _handle(self, event: EngineEvent, active: _Active) -> None:
        match event:
            case Tokens():
                self._tokens(event, active)
            case Prefill():
                # The first one comes before any work and shows whether there will be much.
                if event.total - event.cached > 4 * MIN_BUDGET or active.prefilling:
                    active.prefilling = True
                    self._send(
                        JobPrefill(job=event.job, fraction=event.processed / max(1, event.total))
                    )
            case Finished():
                self._finished(event, active)
            case Failed():
                self._fail(event.job, event.code, event.message)

    def _tokens(self, event: Tokens, active: _Active) -> None:
        if active.finish is not None:
            return
        active.logprob_sum += sum(event.logprobs)
        active.logprob_count += len(event.logprobs)
        for piece in active.stream.feed(event.ids, event.text):
            self._send(
                JobPiece(job=event.job, channel=piece.channel, text=piece.text, tokens=piece.tokens)
            )
        if active.stream.complete:
            active.finish = "stop"
            self._engine.cancel(event.job)

    def _finished(self, event: Finished, active: _Active) -> None:
        del self._active[event.job]
        for piece in active.stream.finish():
            self._send(
                JobPiece(job=event.job, channel=piece.channel, text=piece.text, tokens=piece.tokens)
            )
        self._measure(event)
        confidence = None
        if active.logprob_count:
            confidence = math.exp(active.logprob_sum / active.logprob_count)
        self._send(
            JobDone(
                job=event.job,
                finish=active.finish or event.reason,
                usage=Usage(
                    prompt_tokens=event.prompt_tokens,
                    cached_tokens=event.cached_tokens,
                    completion_tokens=event.completion_tokens,
                ),
                timings=Timings(prefill_ms=event.prefill_ms, decode_ms=event.decode_ms),
                confidence=confidence,
                memory_bytes=resident_bytes(),
                prefill_tokens_per_second=self.prefill_rate,
                decode_tokens_per_second=self.decode_rate,
            )
        )

    def _fail(self, job: int, code: str, message: str) -> None:
        self._active.pop(job, None)
        self._send(JobFailed(job=job, code=code, message=message))

    # --- planning ------------------------------------------------------------------------

    def _plan(self, message: Run) -> Plan:
        request = message.request
        if isinstance(request, Chat):
            budget = Budget(uncached_tokens=self._context, context=self._context)
            return self._dialect.chat(message.job, request, budget, self.defaults)
        budget = Budget(uncached_tokens=self._affordable(message), context=self._context)
        scoped = self._scoped(message, request)
        return self._dialect.infill(message.job, scoped, budget, self.defaults)

    def _affordable(self, message: Run) -> int:
        """Prompt tokens that can be computed in the request's time at the measured rate."""
        if message.remaining_ms is None:
            return self._context
        rate = self.prefill_rate or FIRST_PREFILL_RATE
        affordable = int(rate * PREFILL_SHARE * message.remaining_ms / 1000)
        return min(self._context, max(MIN_BUDGET, affordable))

    @staticmethod
    def _scoped(message: Run, request: Infill) -> Infill:
        """Documents of different clients are different documents."""
        if not request.document:
            return request
        return msgspec.structs.replace(request, document=f"{message.client}\n{request.document}")

    def _measure(self, event: Finished) -> None:
        computed = event.prompt_tokens - event.cached_tokens
        if computed >= MIN_MEASURED and event.prefill_ms > 0 and event.reason != "cancelled":
            self.prefill_rate = _average(self.prefill_rate, computed / event.prefill_ms * 1000)
        if event.completion_tokens > 1 and event.decode_ms > 0:
            rate = (event.completion_tokens - 1) / event.decode_ms * 1000
            self.decode_rate = _average(self.decode_rate, rate)


def _average(old: float, new: float) -> float:
    return new if not old else old + SMOOTHING * (new - old)


def where(error: BaseException) -> str:
    """Type and place of an error, without its message: that could quote a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    return f"{type(error).__name__} at {place}"
