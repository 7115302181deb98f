"""Who runs next on one model's worker. Pure policy: calls and a clock in, commands out, no I/O.

A ticket waits, runs, and ends exactly once. Classes are served in order; within a class, first
come, first served. How often a waiting ticket may be passed over is bounded, one slot is kept
free of lower classes so that typing finds one, and a newer ticket of the same document replaces
the older one. Preemption and cache affinity are not here yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from ingle.messages import Priority

CLASSES: tuple[Priority, ...] = get_args(Priority)

#: Why the scheduler ends a ticket before its worker does.
EndReason = Literal["cancelled", "superseded", "deadline"]

#: A waiting ticket is served before higher classes once it was passed over this often.
MAX_PASSED_OVER = 8


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What the scheduler needs to know of a request."""

    key: Hashable
    client: Hashable
    priority: Priority
    #: Tickets with the same value replace each other; None never does.
    supersedes: Hashable = None
    #: Absolute time, on the clock that is passed in; None for no deadline.
    deadline: float | None = None


@dataclass(frozen=True)
class Start:
    """Give the ticket to the worker; it waited `queued_s` seconds."""

    key: Hashable
    queued_s: float


@dataclass(frozen=True)
class Stop:
    """Tell the worker to stop a running ticket; `finished` will follow."""

    key: Hashable


@dataclass(frozen=True)
class Drop:
    """A waiting ticket is over; it never ran."""

    key: Hashable
    reason: EndReason


@dataclass(frozen=True)
class Refuse:
    """The ticket was not taken: the queue is full."""

    key: Hashable
    retry_after_s: float


Command = Start | Stop | Drop | Refuse


@dataclass
class _Waiting:
    ticket: Ticket
    since: float
    passed_over: int = 0


@dataclass
class _Running:
    ticket: Ticket
    since: float
    #: Set once a `Stop` was given.
    ending: EndReason | None = None


@dataclass
class Scheduler:
    """State of one model's queue. `now` is seconds of any monotonic clock."""

    max_queue: int = 64
    max_per_client: int = 32
    slots: int = 0
    _queues: dict[Priority, deque[_Waiting]] = field(
        default_factory=lambda: {name: deque() for name in CLASSES}
    )
    _running: dict[Hashable, _Running] = field(default_factory=dict)
    #: Moving average of how long a ticket runs, for the retry hint.
    _service_s: float = 1.0

    # --- events --------------------------------------------------------------------------

    def submit(self, ticket: Ticket, now: float) -> list[Command]:
        """A new request."""
        commands: list[Command] = []
        if ticket.supersedes is not None:
            for older in [
                key for key, other in self._tickets() if other.supersedes == ticket.supersedes
            ]:
                commands += self._end(older, "superseded")
        queue = self._queues[ticket.priority]
        of_client = sum(other.client == ticket.client for _, other in self._tickets())
        if len(queue) >= self.max_queue or of_client >= self.max_per_client:
            return [*commands, Refuse(ticket.key, self._retry_after())]
        queue.append(_Waiting(ticket, now))
        return commands + self._dispatch(now)

    def cancel(self, key: Hashable, now: float) -> list[Command]:
        """The client wants it no more. Nothing happens if it is over."""
        return self._end(key, "cancelled") + self._dispatch(now)

    def finished(self, key: Hashable, now: float) -> list[Command]:
        """The worker is done with a running ticket."""
        running = self._running.pop(key)
        if running.ending is None:
            self._service_s += 0.2 * ((now - running.since) - self._service_s)
        return self._dispatch(now)

    def set_slots(self, slots: int, now: float) -> list[Command]:
        """The worker is ready with so many slots; 0 while there is none."""
        self.slots = slots
        return self._dispatch(now)

    def lose_running(self) -> list[Hashable]:
        """The worker is gone: forget what ran, return its keys. Waiting tickets stay."""
        lost = list(self._running)
        self._running.clear()
        self.slots = 0
        return lost

    def drop_waiting(self) -> list[Hashable]:
        """Forget what waits, return its keys."""
        lost = [waiting.ticket.key for queue in self._queues.values() for waiting in queue]
        for queue in self._queues.values():
            queue.clear()
        return lost

    def tick(self, now: float) -> list[Command]:
        """End what is past its deadline."""
        late = [
            key
            for key, ticket in self._tickets()
            if ticket.deadline is not None and ticket.deadline <= now
        ]
        commands: list[Command] = []
        for key in late:
            commands += self._end(key, "deadline")
        return commands + self._dispatch(now)

    # --- questions -----------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` is due, None if nothing has a deadline."""
        due = [waiting.ticket.deadline for queue in self._queues.values() for waiting in queue]
        due += [item.ticket.deadline for item in self._running.values() if item.ending is None]
        return min((at for at in due if at is not None), default=None)

    def ending(self, key: Hashable) -> EndReason | None:
        """Why a running ticket is being stopped; None if it is not."""
        running = self._running.get(key)
        return running.ending if running else None

    def waiting(self) -> dict[str, int]:
        """Waiting tickets by class."""
        return {name: len(queue) for name, queue in self._queues.items()}

    @property
    def busy_slots(self) -> int:
        """Running tickets."""
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self._running and not any(self._queues.values())

    # --- policy --------------------------------------------------------------------------

    def _tickets(self) -> Iterator[tuple[Hashable, Ticket]]:
        """Every live ticket that is not already being stopped."""
        for queue in self._queues.values():
            for waiting in queue:
                yield waiting.ticket.key, waiting.ticket
        for key, running in self._running.items():
            if running.ending is None:
                yield key, running.ticket

    def _end(self, key: Hashable, reason: EndReason) -> list[Command]:
        running = self._running.get(key)
        if running:
            if running.ending is None:
                running.ending = reason
                return [Stop(key)]
            return []
        for queue in self._queues.values():
            for waiting in queue:
                if waiting.ticket.key == key:
                    queue.remove(waiting)
                    return [Drop(key, reason)]
        return []

    def _dispatch(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while len(self._running) < self.slots:
            chosen = self._choose()
            if chosen is None:
                break
            waiting = self._queues[chosen].popleft()
            self._count_passing_over(chosen)
            self._running[waiting.ticket.key] = _Running(waiting.ticket, now)
            commands.append(Start(waiting.ticket.key, now - waiting.since))
        return commands

    def _choose(self) -> Priority | None:
        """The class whose head runs next, None if nothing may."""
        lower_running = sum(item.ticket.priority != "inline" for item in self._running.values())
        may_run_lower = self.slots == 1 or lower_running < self.slots - 1
        eligible = [
            name for name in CLASSES if self._queues[name] and (name == "inline" or may_run_lower)
        ]
        for name in reversed(eligible):
            if self._queues[name][0].passed_over >= MAX_PASSED_OVER:
                return name
        return eligible[0] if eligible else None

    def _count_passing_over(self, chosen: Priority) -> None:
        for name in CLASSES[CLASSES.index(chosen) + 1 :]:
            if self._queues[name]:
                self._queues[name][0].passed_over += 1

    def _retry_after(self) -> float:
        ahead = len(self._running) + sum(len(queue) for queue in self._queues.values())
        return max(0.1, self._service_s * ahead / max(1, self.slots))
