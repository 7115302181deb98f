"""Jobs of one loaded model: requests in, pieces out. Runs in the engine thread, does no I/O.

It joins the dialect (text ↔ tokens) and the engine (tokens), measures both, and turns the measured
prefill rate into each request's context budget. A job that is paused is no job to the engine: it
goes on as its prompt and its tokens so far, which the engine finds in its cache.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from ingle.errors import IngleError, InternalError
from ingle.messages import CachedPrefix, Chat, FinishReason, Infill, Message, Timings, Usage
from ingled.dialects.dialect import Budget, Defaults, Dialect, Piece, Plan, Stream
from ingled.engines.engine import (
    Engine,
    EngineEvent,
    Failed,
    Finished,
    Job,
    Kept,
    Prefill,
    Tokens,
)
from ingled.memory import resident_bytes

from .rates import Rates
from .resuming import resumed_job
from .wire import JobDone, JobFailed, JobPaused, JobPiece, JobPrefill, Run, WorkerLog

#: Prompt tokens to be computed from which on progress is told.
LONG_PREFILL = 128

Send = Callable[[Message], None]


@dataclass
class _Active:
    """A job from its `Run` to its end. What it did before it was paused adds up here."""

    job: Job
    stream: Stream
    finish: FinishReason | None = None
    logprob_sum: float = 0.0
    logprob_count: int = 0
    prefilling: bool = False
    #: Tell of every step.
    report: bool = False
    pausing: bool = False
    paused: bool = False
    halted: bool = False
    #: Tokens so far, over all its runs.
    ids: list[int] = field(default_factory=list)
    #: Of the runs that are over.
    cached_tokens: int | None = None
    prefill_ms: float = 0.0
    decode_ms: float = 0.0

    @property
    def confidence(self) -> float | None:
        """Geometric mean of the token probabilities so far; None without any."""
        if not self.logprob_count:
            return None
        return math.exp(self.logprob_sum / self.logprob_count)


class Runner:
    """See the module."""

    def __init__(
        self,
        engine: Engine,
        dialect: Dialect,
        context: int,
        send: Send,
        rates: Rates | None = None,
    ) -> None:
        """`rates`: measured already."""
        self._engine = engine
        self._dialect = dialect
        self._context = context
        self._send = send
        self._active: dict[int, _Active] = {}
        self._rates = rates or Rates()
        self.defaults = Defaults()

    def run(self, message: Run) -> None:
        """Start a job; a failure is that job's alone."""
        try:
            plan = self._plan(message)
            self._active[message.job] = _Active(plan.job, plan.stream, report=message.report)
            self._engine.submit(plan.job)
        except IngleError as error:
            self._fail(message.job, error.code or InternalError.code, str(error))
        except Exception as error:
            self._broken(message.job, error)

    def pause(self, job: int) -> None:
        """Stop a job and keep what it has; nothing happens if it is over."""
        active = self._active.get(job)
        if active and not active.paused:
            active.pausing = True
            self._engine.cancel(job)

    def resume(self, job: int, *, report: bool = False) -> None:
        """Go on with a paused job."""
        active = self._active.get(job)
        if active is None or not active.paused:
            return
        active.paused = active.pausing = active.prefilling = False
        active.report = report
        going_on = resumed_job(active.job, active.ids)
        if going_on.max_tokens < 1 or len(going_on.prompt) >= self._context:
            self._end(job, active, "length")
            return
        try:
            self._engine.submit(going_on)
        except Exception as error:
            self._broken(job, error)

    def halt(self, job: int) -> None:
        """End a job; nothing happens if it is over."""
        active = self._active.get(job)
        if active is None:
            return
        active.halted = True
        if active.paused:
            self._end(job, active, "cancelled")
        else:
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
                self._prefill(event, active)
            case Finished():
                self._finished(event, active)
            case Failed():
                self._fail(event.job, event.code, event.message)

    def _prefill(self, event: Prefill, active: _Active) -> None:
        # The first one comes before any work and shows whether there will be much.
        if event.total - event.cached > LONG_PREFILL or active.prefilling or active.report:
            active.prefilling = True
            self._send(JobPrefill(job=event.job, fraction=event.processed / max(1, event.total)))

    def _tokens(self, event: Tokens, active: _Active) -> None:
        if active.finish is not None:
            return
        active.ids += event.ids
        if len(event.text) > active.stream.to_repeat:
            # How likely it was to say what is typed already is no matter.
            active.logprob_sum += sum(event.logprobs)
            active.logprob_count += len(event.logprobs)
        pieces = active.stream.feed(event.ids, event.text)
        for piece in pieces:
            self._send_piece(active, piece)
        if active.report and not pieces:
            self._send_piece(active, Piece(channel="final", text="", tokens=len(event.ids)))
        if active.stream.complete:
            active.finish = "length" if active.stream.cut else "stop"
            self._engine.cancel(event.job)

    def _send_piece(self, active: _Active, piece: Piece) -> None:
        self._send(
            JobPiece(
                job=active.job.id,
                channel=piece.channel,
                text=piece.text,
                tokens=piece.tokens,
                tool=piece.tool,
                confidence=active.confidence,
            )
        )

    def _finished(self, event: Finished, active: _Active) -> None:
        self._rates.measure(event)
        if active.cached_tokens is None:
            active.cached_tokens = event.cached_tokens
        active.prefill_ms += event.prefill_ms
        active.decode_ms += event.decode_ms
        # What was sampled and not reported is sampled again.
        stopped = event.reason == "cancelled" and active.finish is None
        if active.pausing and stopped and not active.halted:
            active.paused = True
            self._send(JobPaused(job=event.job))
        else:
            self._end(event.job, active, active.finish or event.reason)

    def _end(self, job: int, active: _Active, finish: FinishReason) -> None:
        del self._active[job]
        for piece in active.stream.finish():
            self._send_piece(active, piece)
        if finish == "stop" and active.stream.called:
            finish = "tool_call"
        self._send(
            JobDone(
                job=job,
                finish=finish,
                usage=Usage(
                    prompt_tokens=len(active.job.prompt),
                    cached_tokens=active.cached_tokens or 0,
                    completion_tokens=len(active.ids),
                ),
                timings=Timings(prefill_ms=active.prefill_ms, decode_ms=active.decode_ms),
                confidence=active.confidence,
                memory_bytes=resident_bytes(),
                prefill_tokens_per_second=self._rates.prefill,
                decode_tokens_per_second=self._rates.decode,
                cached=[prefix for kept in self._engine.kept() if (prefix := _named(kept))],
            )
        )

    def _fail(self, job: int, code: str, message: str) -> None:
        self._active.pop(job, None)
        self._send(JobFailed(job=job, code=code, message=message))

    def _broken(self, job: int, error: Exception) -> None:
        self._send(WorkerLog(level=logging.ERROR, text=where(error)))
        self._fail(
            job,
            InternalError.code,
            f"{type(error).__name__} in the model's process: this is a bug, see `ingle logs`",
        )

    # --- planning ------------------------------------------------------------------------

    def _plan(self, message: Run) -> Plan:
        request = message.request
        if isinstance(request, Chat):
            budget = Budget(uncached_tokens=self._context, context=self._context)
            return self._dialect.chat(message.job, request, budget, self.defaults)
        affordable = self._rates.affordable(message.remaining_ms, self._context)
        budget = Budget(uncached_tokens=affordable, context=self._context)
        scoped = self._scoped(message, request)
        return self._dialect.infill(message.job, scoped, budget, self.defaults)

    @staticmethod
    def _scoped(message: Run, request: Infill) -> Infill:
        """Documents of different clients are different documents."""
        if not request.document:
            return request
        return msgspec.structs.replace(request, document=f"{message.client}\n{request.document}")


def _named(kept: Kept) -> CachedPrefix | None:
    """What the cache of an affinity is of, as the request named it; None for nothing named."""
    kind, _, name = kept.affinity.partition(":")
    if kind == "infill":
        return CachedPrefix(kind="document", name=name.partition("\n")[2], tokens=kept.tokens)
    if kind == "chat":
        return CachedPrefix(kind="conversation", name=name, tokens=kept.tokens)
    return None


def where(error: BaseException) -> str:
    """Type and place of an error, without its message: that could quote a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    return f"{type(error).__name__} at {place}"
