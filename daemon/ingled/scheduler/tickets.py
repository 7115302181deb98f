"""What the scheduler is told of a request, and what it commands."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, get_args

from ingle.messages import Priority

#: Most urgent first.
CLASSES: tuple[Priority, ...] = get_args(Priority)

#: Why the scheduler ends a ticket before its worker does.
EndReason = Literal["cancelled", "superseded", "deadline"]


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What the scheduler needs to know of a request."""

    key: Hashable
    client: Hashable
    priority: Priority
    #: Tickets with the same value replace each other; None never does.
    supersedes: Hashable = None
    #: Tickets with the same value have a prompt's beginning in common; None has nothing in common.
    affinity: Hashable = None
    #: Absolute time, on the clock that is passed in; None for no deadline.
    deadline: float | None = None


@dataclass(frozen=True)
class Start:
    """Give the ticket to the worker; it waited `queued_s` seconds."""

    key: Hashable
    queued_s: float
    #: Whether `progressed` is to be told after its first step.
    report: bool = False


@dataclass(frozen=True)
class Pause:
    """Tell the worker to stop a running ticket and keep what it has; `paused` will follow."""

    key: Hashable


@dataclass(frozen=True)
class Resume:
    """Let the worker go on with a paused ticket; it was paused for `paused_s` seconds."""

    key: Hashable
    paused_s: float
    report: bool = False


@dataclass(frozen=True)
class Stop:
    """Tell the worker to end a ticket that it has, running or paused; `finished` will follow."""

    key: Hashable


@dataclass(frozen=True)
class Drop:
    """A waiting ticket is over; it never ran."""

    key: Hashable
    reason: EndReason


@dataclass(frozen=True)
class Refuse:
    """The ticket was not taken: the queue is full, or its client has enough open."""

    key: Hashable
    retry_after_s: float


Command = Start | Pause | Resume | Stop | Drop | Refuse
