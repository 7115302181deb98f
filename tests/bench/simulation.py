"""A model's worker in simulated time, under the product's scheduler or a simpler policy.

The engine advances in steps, as batching engines do: in each, every running job gets one token, or
one chunk of its prompt. What a step takes follows from the engine's rates. Who comes during a step
is heard during it, and what is commanded then takes effect at its end: that is the decode step that
a cancel or a pause costs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ingled.scheduler import (
    Command,
    Drop,
    Pause,
    Refuse,
    Resume,
    Scheduler,
    Start,
    Stop,
    Ticket,
)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Rates in tokens per second, for one request alone."""

    name: str
    prefill: float
    decode: float
    slots: int
    #: Requests share the arithmetic; else a step reads the weights once for all of them.
    exclusive: bool
    #: Tokens of one step of prefill.
    chunk: int = 512
    #: What each further request adds to a step that is bound by memory, as a share of it.
    further: float = 0.03

    def step_s(self, decoding: int, prefilled: int) -> float:
        """Seconds of a step with so many decoding jobs and tokens of prompts."""
        seconds = prefilled / self.prefill
        if decoding:
            extra = decoding - 1
            seconds += (1 + extra * (1.0 if self.exclusive else self.further)) / self.decode
        return seconds


#: Measured by others (RTX cards, gpt-oss-20b) and by us (CPU, SmolLM2-135M on two old cores).
ENGINES = {
    "3090": Engine(name="3090", prefill=2500, decode=150, slots=4, exclusive=False),
    "5080": Engine(name="5080", prefill=5000, decode=172, slots=4, exclusive=False),
    "cpu": Engine(name="cpu", prefill=110, decode=45, slots=4, exclusive=True, chunk=16),
    "vllm": Engine(name="vllm", prefill=9000, decode=220, slots=64, exclusive=False, chunk=2048),
}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A request, and what it costs: tokens to prefill that are in no cache, tokens to generate."""

    at: float
    ticket: Ticket
    prompt: int
    answer: int


@dataclass
class Outcome:
    """What became of a demand. Times are seconds of the simulation."""

    demand: Demand
    started: float | None = None
    first_token: float | None = None
    ended: float | None = None
    #: `done`, `busy`, or a reason of the scheduler.
    ending: str = ""
    tokens: int = 0
    prefilled: int = 0
    pauses: int = 0
    #: How often it ended; once, if all is well.
    endings: int = 0

    @property
    def wasted(self) -> int:
        """Tokens generated for nobody."""
        return 0 if self.ending == "done" else self.tokens


class Policy(Protocol):
    """What the simulation asks; the product's `Scheduler` is one."""

    def submit(self, ticket: Ticket, now: float) -> list[Command]: ...

    def cancel(self, key: object, now: float) -> list[Command]: ...

    def progressed(self, key: object, now: float, steps: int = 1) -> list[Command]: ...

    def paused(self, key: object, now: float) -> list[Command]: ...

    def finished(self, key: object, now: float) -> list[Command]: ...

    def tick(self, now: float) -> list[Command]: ...

    def next_deadline(self) -> float | None: ...


class FirstComeFirstServed:
    """What servers without classes do: a queue and `slots`; a client's cancel ends a request.

    `supersede` is what an editor's plugin does by hanging up.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._queue: dict[object, Ticket] = {}
        self._running: dict[object, Ticket] = {}
        self._ending: set[object] = set()

    def submit(self, ticket: Ticket, now: float) -> list[Command]:
        """Queue it."""
        commands: list[Command] = []
        if ticket.supersedes is not None:
            for key, other in [*self._queue.items(), *self._running.items()]:
                if other.supersedes == ticket.supersedes:
                    commands += self._end(key)
        self._queue[ticket.key] = ticket
        return commands + self._start()

    def cancel(self, key: object, now: float) -> list[Command]:
        """The client hung up."""
        return self._end(key)

    def progressed(self, key: object, now: float, steps: int = 1) -> list[Command]:
        """Nothing depends on it."""
        return []

    def paused(self, key: object, now: float) -> list[Command]:
        """Nobody is ever paused."""
        raise AssertionError("not commanded")

    def finished(self, key: object, now: float) -> list[Command]:
        """A slot is free."""
        del self._running[key]
        self._ending.discard(key)
        return self._start()

    def tick(self, now: float) -> list[Command]:
        """There are no deadlines."""
        return []

    def next_deadline(self) -> float | None:
        """There are none."""
        return None

    def _start(self) -> list[Command]:
        commands: list[Command] = []
        while self._queue and len(self._running) < self._slots:
            key = next(iter(self._queue))
            self._running[key] = self._queue.pop(key)
            commands.append(Start(key, 0.0))
        return commands

    def _end(self, key: object) -> list[Command]:
        if key in self._queue:
            del self._queue[key]
            return [Drop(key, "superseded")]
        if key in self._running and key not in self._ending:
            self._ending.add(key)
            return [Stop(key)]
        return []


def ingle(engine: Engine) -> Policy:
    """The product's policy, with its own limits."""
    scheduler = Scheduler()
    scheduler.set_slots(engine.slots, 0.0, exclusive=engine.exclusive)
    return scheduler  # type: ignore[return-value]


@dataclass
class _Job:
    outcome: Outcome
    prompt: int
    answer: int
    stopping: bool = False
    pausing: bool = False


@dataclass
class Simulation:
    """One run. `steps` counts the engine's; `longest_step` is in seconds."""

    engine: Engine
    policy: Policy
    demands: list[Demand]
    now: float = 0.0
    steps: int = 0
    longest_step: float = 0.0
    outcomes: dict[object, Outcome] = field(default_factory=dict)
    _waiting: list[tuple[float, int, Demand]] = field(default_factory=list)
    _running: dict[object, _Job] = field(default_factory=dict)
    _paused: dict[object, _Job] = field(default_factory=dict)

    def run(self, until: float = math.inf) -> list[Outcome]:
        """To the end of all demands, or of time; outcomes in the order of arrival."""
        waiting = self._waiting
        waiting += [(demand.at, number, demand) for number, demand in enumerate(self.demands)]
        heapq.heapify(waiting)
        while (waiting or self._running or self._unfinished()) and self.now < until:
            self._hear()
            deadline = self.policy.next_deadline()
            if deadline is not None and deadline <= self.now:
                self._obey(self.policy.tick(self.now))
                continue
            if self._running:
                self._step()
                continue
            times = [waiting[0][0]] if waiting else []
            times += [] if deadline is None else [deadline]
            if not times:
                break
            self.now = max(self.now, min(times))
        return list(self.outcomes.values())

    def _unfinished(self) -> bool:
        return self.policy.next_deadline() is not None

    def _hear(self) -> None:
        """Whoever has come by now."""
        while self._waiting and self._waiting[0][0] <= self.now:
            self._arrive(heapq.heappop(self._waiting)[2])

    def _arrive(self, demand: Demand) -> None:
        self.outcomes[demand.ticket.key] = Outcome(demand)
        self._obey(self.policy.submit(demand.ticket, self.now))

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            key = command.key
            outcome = self.outcomes[key]
            match command:
                case Start():
                    outcome.started = self.now
                    demand = outcome.demand
                    self._running[key] = _Job(outcome, demand.prompt, demand.answer)
                case Pause():
                    self._running[key].pausing = True
                    outcome.pauses += 1
                case Resume():
                    job = self._running[key] = self._paused.pop(key)
                    # The last token is computed again; the rest is cached.
                    job.pausing, job.prompt = False, max(job.prompt, 1)
                case Stop():
                    job = self._running.get(key) or self._paused[key]
                    job.stopping = True
                    if key in self._paused:
                        del self._paused[key]
                        self._end(outcome, "cancelled")
                        self._obey(self.policy.finished(key, self.now))
                case Drop(reason=reason):
                    self._end(outcome, reason)
                case Refuse():
                    self._end(outcome, "busy")

    def _step(self) -> None:
        """Everybody who runs does one step; what was commanded before happens at its end."""
        jobs = dict(self._running)
        chunks = {key: min(job.prompt, self.engine.chunk) for key, job in jobs.items()}
        decoding = sum(not chunk for chunk in chunks.values())
        seconds = self.engine.step_s(decoding, sum(chunks.values()))
        self.now += seconds
        self.steps += 1
        self.longest_step = max(self.longest_step, seconds)
        for key, job in jobs.items():
            if chunks[key]:
                job.prompt -= chunks[key]
                job.outcome.prefilled += chunks[key]
            else:
                job.answer -= 1
                job.outcome.tokens += 1
                if job.outcome.first_token is None:
                    job.outcome.first_token = self.now
        self._hear()
        for key, job in jobs.items():
            self._after(key, job)

    def _after(self, key: object, job: _Job) -> None:
        if not job.answer or job.stopping:
            del self._running[key]
            self._end(job.outcome, "cancelled" if job.answer else "done")
            self._obey(self.policy.finished(key, self.now))
        elif job.pausing:
            del self._running[key]
            self._paused[key] = job
            self._obey(self.policy.paused(key, self.now))
        else:
            self._obey(self.policy.progressed(key, self.now))

    def _end(self, outcome: Outcome, ending: str) -> None:
        outcome.endings += 1
        outcome.ending, outcome.ended = ending, self.now


def percentile(values: list[float], share: float) -> float:
    """Nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def jain(values: list[float]) -> float:
    """Jain's index of fairness: 1 when all are equal, 1/n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def of_class(outcomes: list[Outcome], name: str) -> Iterator[Outcome]:
    """Those of a class."""
    return (outcome for outcome in outcomes if outcome.demand.ticket.priority == name)
