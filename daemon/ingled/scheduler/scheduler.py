"""The policy: who gets a slot, who gives one up, who ends.

- Classes are served in order; within a class clients share equally, and a client's own tickets run
  in the order of arrival.
- A newer ticket of the same document supersedes the older one, and gets its slot: that has what
  both prompts begin with, so that a step's wait is cheaper than a slot that is free at once.
- Typing never waits for a slot that a lower class has: that is paused, and goes on afterwards. On
  an engine whose requests slow each other down, lower classes pause while anything inline runs,
  whether slots are short or not.
- One slot is kept free of lower classes, so that pausing is seldom needed.
- How often a ticket may be passed over is bounded. One that was, is due: it runs before higher
  classes and is protected for a few steps, or for a single one where they wait for its slot.
- Prefetching runs only while nothing else does, and ends at the first sign of work.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from ingle.messages import Priority

from .entries import Entry, Event, Group, State
from .fairness import Fairness
from .tickets import (
    CLASSES,
    Command,
    Drop,
    EndReason,
    Pause,
    Refuse,
    Resume,
    Start,
    Stop,
    Ticket,
)

#: A waiting ticket is served before higher classes once it was passed over this often.
MAX_PASSED_OVER = 8
#: Steps that a due ticket may do beside higher classes before it is paused again.
TURN_STEPS = 8

WAITING, RUNNING, PAUSING = int(Group.WAITING), int(Group.RUNNING), int(Group.PAUSING)
QUEUED, HOLDING = int(Group.QUEUED), int(Group.HOLDING)
LEAVING, STOPPING, LIVE = int(Group.LEAVING), int(Group.STOPPING), int(Group.LIVE)

_RANK = {name: rank for rank, name in enumerate(CLASSES)}


@dataclass
class Scheduler:
    """State of one model's queue. `now` is seconds of any monotonic clock."""

    #: Waiting tickets of one class, and open ones of one client; more are refused.
    max_queue: int = 64
    max_per_client: int = 32
    slots: int = 0
    #: Whether requests that run at the same time slow each other down.
    exclusive: bool = False
    _entries: dict[Hashable, Entry] = field(default_factory=dict)
    _fairness: Fairness = field(default_factory=Fairness)
    _arrivals: int = 0
    #: Moving average of how long a ticket runs, for the retry hint.
    _service_s: float = 1.0

    # --- events --------------------------------------------------------------------------

    def submit(self, ticket: Ticket, now: float) -> list[Command]:
        """A new request."""
        commands = self._supersede(ticket)
        if ticket.priority == "prefetch":
            if self._any(LIVE):
                return [*commands, Refuse(ticket.key, self._retry_after())]
        else:
            commands += self._end_prefetching()
        waiting = sum(entry.ticket.priority == ticket.priority for entry in self._in(WAITING))
        of_client = sum(entry.ticket.client == ticket.client for entry in self._in(LIVE))
        if waiting >= self.max_queue or of_client >= self.max_per_client:
            return [*commands, Refuse(ticket.key, self._retry_after()), *self._dispatch(now)]
        if not of_client:
            self._fairness.arrived(ticket.client, self._clients())
        self._arrivals += 1
        self._entries[ticket.key] = Entry(ticket, now, self._arrivals)
        return commands + self._dispatch(now)

    def cancel(self, key: Hashable, now: float) -> list[Command]:
        """The client wants it no more. Nothing happens if it is over."""
        return self._end(key, "cancelled") + self._dispatch(now)

    def progressed(self, key: Hashable, now: float, steps: int = 1) -> list[Command]:
        """A running ticket did some steps: tokens, or chunks of its prompt."""
        entry = self._entries.get(key)
        if entry is None:
            return []
        self._fairness.charge(entry.ticket.client, steps)
        entry.steps += steps
        # Only the end of somebody's protection can change what is to be done.
        return self._dispatch(now) if entry.protected else []

    def paused(self, key: Hashable, now: float) -> list[Command]:
        """The worker has stopped a ticket and kept what it has."""
        entry = self._entries[key]
        entry.apply(Event.PAUSED)
        entry.since = now
        return self._dispatch(now)

    def finished(self, key: Hashable, now: float) -> list[Command]:
        """The worker is done with a ticket."""
        entry = self._entries.pop(key)
        entry.apply(Event.FINISH)
        if entry.ending is None:
            self._service_s += 0.2 * ((now - entry.started) - self._service_s)
        self._fairness.forget(self._clients())
        return self._dispatch(now)

    def set_slots(self, slots: int, now: float, *, exclusive: bool = False) -> list[Command]:
        """The worker is ready with so many slots; 0 while there is none."""
        self.slots, self.exclusive = slots, exclusive
        return self._dispatch(now)

    def rebase(self, key: Hashable, ticket: Ticket, now: float) -> list[Command]:
        """A running ticket's work serves another request now, on the same terms: it rides along.

        `ticket.key` is `key`. Raises `KeyError` for a ticket that is over or being ended.
        """
        entry = self._entries[key]
        if not entry.bit & LIVE or ticket.key != key:
            raise KeyError(key)
        entry.ticket = ticket
        return self._dispatch(now)

    def lose_running(self) -> list[Hashable]:
        """The worker is gone: forget what it had, return its keys. Waiting tickets stay."""
        lost = [key for key, entry in self._entries.items() if entry.state is not State.WAITING]
        for key in lost:
            del self._entries[key]
        self.slots = 0
        return lost

    def drop_waiting(self) -> list[Hashable]:
        """Forget what waits and never ran, return its keys."""
        lost = [entry.ticket.key for entry in self._in(WAITING)]
        for key in lost:
            del self._entries[key]
        return lost

    def tick(self, now: float) -> list[Command]:
        """End what is past its deadline."""
        late = [
            entry.ticket.key
            for entry in self._in(LIVE)
            if entry.ticket.deadline is not None and entry.ticket.deadline <= now
        ]
        commands: list[Command] = []
        for key in late:
            commands += self._end(key, "deadline")
        return commands + self._dispatch(now)

    # --- questions -----------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` is due, None if nothing has a deadline."""
        due = [entry.ticket.deadline for entry in self._in(LIVE)]
        return min((at for at in due if at is not None), default=None)

    def ending(self, key: Hashable) -> EndReason | None:
        """Why a ticket is being ended; None if it is not."""
        entry = self._entries.get(key)
        return entry.ending if entry else None

    def is_paused(self, key: Hashable) -> bool:
        """Whether a ticket has given up its slot for a while."""
        entry = self._entries.get(key)
        return entry is not None and entry.state is State.PAUSED

    def waiting(self) -> dict[str, int]:
        """Tickets by class that wait for a slot, paused ones too."""
        counts: dict[str, int] = dict.fromkeys(CLASSES, 0)
        for entry in self._in(QUEUED):
            counts[entry.ticket.priority] += 1
        return counts

    @property
    def busy_slots(self) -> int:
        """Slots that are taken."""
        return len(self._in(HOLDING))

    # --- ending --------------------------------------------------------------------------

    def _supersede(self, ticket: Ticket) -> list[Command]:
        if ticket.supersedes is None:
            return []
        older = [
            entry.ticket.key
            for entry in self._in(LIVE)
            if entry.ticket.supersedes == ticket.supersedes
        ]
        return [command for key in older for command in self._end(key, "superseded")]

    def _end_prefetching(self) -> list[Command]:
        ahead = [e.ticket.key for e in self._in(LIVE) if e.ticket.priority == "prefetch"]
        return [command for key in ahead for command in self._end(key, "cancelled")]

    def _end(self, key: Hashable, reason: EndReason) -> list[Command]:
        entry = self._entries.get(key)
        if entry is None or not entry.bit & LIVE:
            return []
        if entry.state is State.WAITING:
            entry.apply(Event.DROP)
            del self._entries[key]
            return [Drop(key, reason)]
        entry.ending = reason
        entry.apply(Event.STOP)
        return [Stop(key)]

    # --- who runs ------------------------------------------------------------------------

    def _dispatch(self, now: float) -> list[Command]:
        if not (self.exclusive or self._any(QUEUED)):
            return []
        commands: list[Command] = self._pause_for_higher_classes()
        while self.busy_slots < self.slots:
            chosen = self._choose()
            if chosen is None:
                break
            commands += self._pause_beside(chosen)
            commands.append(self._start(chosen, now))
        return commands

    def _start(self, entry: Entry, now: float) -> Command:
        due = entry.passed_over >= MAX_PASSED_OVER
        self._count_passing_over(entry.ticket.priority)
        waited, resumed = now - entry.since, entry.state is State.PAUSED
        entry.apply(Event.START)
        entry.passed_over, entry.steps, entry.protected = 0, 0, due
        key = entry.ticket.key
        if resumed:
            return Resume(key, waited, report=due)
        self._fairness.charge(entry.ticket.client, Fairness.UNIT)
        entry.started = now
        return Start(key, waited, report=due)

    def _choose(self) -> Entry | None:
        """Who gets a free slot next, None if nobody may."""
        heads = {name: head for name in CLASSES if (head := self._head(name))}
        for name in reversed(heads):
            entry = heads[name]
            if entry.passed_over >= MAX_PASSED_OVER and self._has_room(name):
                return entry
        for name, entry in heads.items():
            if name == "inline" or (self._has_room(name) and self._may_run_now(name)):
                return entry
        return None

    def _head(self, priority: Priority) -> Entry | None:
        """The next of a class: the client that got least, its oldest ticket; the due one first."""
        ending = {entry.ticket.affinity for entry in self._in(STOPPING)} - {None}
        queued = [
            entry
            for entry in self._in(QUEUED)
            if entry.ticket.priority == priority and entry.ticket.affinity not in ending
        ]
        if not queued:
            return None
        oldest = min(queued, key=lambda entry: entry.number)
        if oldest.passed_over >= MAX_PASSED_OVER:
            return oldest
        return min(
            queued,
            key=lambda entry: (self._fairness.received(entry.ticket.client), entry.number),
        )

    def _has_room(self, priority: Priority) -> bool:
        """Whether a slot stays free for typing."""
        if priority == "inline" or self.slots == 1:
            return True
        lower = sum(entry.ticket.priority != "inline" for entry in self._in(HOLDING))
        return lower < self.slots - 1

    def _may_run_now(self, priority: Priority) -> bool:
        """Whether a class that is not due may compute beside what runs."""
        if priority == "prefetch":
            return not self._any(HOLDING)
        return not (self.exclusive and self._any(HOLDING, "inline"))

    def _count_passing_over(self, chosen: Priority) -> None:
        """Whoever has waited longest in each lower class was passed over."""
        for name in CLASSES[_RANK[chosen] + 1 :]:
            behind = [e for e in self._in(QUEUED | PAUSING) if e.ticket.priority == name]
            if behind:
                min(behind, key=lambda entry: entry.number).passed_over += 1

    # --- who gives up a slot ---------------------------------------------------------------

    def _pause_for_higher_classes(self) -> list[Command]:
        """Make slots for tickets that wait while lower classes have them all."""
        commands: list[Command] = []
        for name in CLASSES[:-1]:
            missing = sum(entry.ticket.priority == name for entry in self._in(QUEUED))
            missing -= self._coming(name)
            victims = [
                entry
                for entry in self._in(RUNNING)
                if _RANK[entry.ticket.priority] > _RANK[name]
                and (entry.steps or not entry.protected)
            ]
            # The lowest class first; in it the youngest, which loses least.
            victims.sort(key=lambda entry: (-_RANK[entry.ticket.priority], -entry.number))
            for victim in victims[: max(0, missing)]:
                commands += self._pause(victim)
        if self.exclusive and self._any(HOLDING, "inline"):
            commands += self._pause_lower()
        return commands

    def _coming(self, priority: Priority) -> int:
        """Slots that a class can have without taking one away."""
        holding = list(self._in(HOLDING))
        free = self.slots - len(holding)
        if priority != "inline":
            holding = [entry for entry in holding if entry.ticket.priority != "inline"]
            free = min(free, max(1, self.slots - 1) - len(holding))
        return max(0, free) + sum(bool(entry.bit & LEAVING) for entry in holding)

    def _pause_beside(self, chosen: Entry) -> list[Command]:
        """What must stop computing because `chosen` starts."""
        if self.exclusive and chosen.ticket.priority == "inline":
            return self._pause_lower()
        return []

    def _pause_lower(self) -> list[Command]:
        lower = [e for e in self._in(RUNNING) if e.ticket.priority != "inline"]
        return [
            command
            for entry in lower
            if not (entry.protected and entry.steps < TURN_STEPS)
            for command in self._pause(entry)
        ]

    def _pause(self, entry: Entry) -> list[Command]:
        key = entry.ticket.key
        if entry.ticket.priority == "prefetch":
            return self._end(key, "cancelled")
        entry.apply(Event.PAUSE)
        return [Pause(key)]

    # --- plumbing ------------------------------------------------------------------------

    def _in(self, states: int) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.bit & states]

    def _any(self, states: int, priority: Priority | None = None) -> bool:
        return any(
            entry.bit & states and priority in (None, entry.ticket.priority)
            for entry in self._entries.values()
        )

    def _clients(self) -> set[Hashable]:
        return {entry.ticket.client for entry in self._entries.values()}

    def _retry_after(self) -> float:
        open_ = len(self._entries)
        return max(0.1, self._service_s * open_ / max(1, self.slots))
