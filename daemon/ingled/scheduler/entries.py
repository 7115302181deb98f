"""One ticket's life, as a table of states."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntFlag, auto

from .tickets import EndReason, Ticket


class State(Enum):
    """Where a ticket is."""

    #: In the queue; the worker does not know it.
    WAITING = auto()
    RUNNING = auto()
    #: Told to stop and keep what it has.
    PAUSING = auto()
    #: In the queue again; the worker keeps what it has.
    PAUSED = auto()
    #: Told to end while it had a slot.
    STOPPING = auto()
    #: Told to end while it had none.
    DISCARDING = auto()
    GONE = auto()


class Event(Enum):
    """What happens to a ticket."""

    START = auto()
    PAUSE = auto()
    PAUSED = auto()
    STOP = auto()
    DROP = auto()
    FINISH = auto()


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.WAITING, Event.START): State.RUNNING,
    (State.WAITING, Event.DROP): State.GONE,
    (State.RUNNING, Event.PAUSE): State.PAUSING,
    (State.RUNNING, Event.STOP): State.STOPPING,
    (State.RUNNING, Event.FINISH): State.GONE,
    (State.PAUSING, Event.PAUSED): State.PAUSED,
    (State.PAUSING, Event.STOP): State.STOPPING,
    # It was done before the word reached it.
    (State.PAUSING, Event.FINISH): State.GONE,
    (State.PAUSED, Event.START): State.RUNNING,
    (State.PAUSED, Event.STOP): State.DISCARDING,
    # The two words crossed on their way.
    (State.STOPPING, Event.PAUSED): State.DISCARDING,
    (State.STOPPING, Event.FINISH): State.GONE,
    (State.DISCARDING, Event.FINISH): State.GONE,
}


class Group(IntFlag):
    """Sets of states, as bits: the scheduler asks for them all the time."""

    WAITING = 1
    RUNNING = 2
    PAUSING = 4
    PAUSED = 8
    STOPPING = 16
    #: Those that wait for a slot.
    QUEUED = WAITING | PAUSED
    #: Those that have a slot.
    HOLDING = RUNNING | PAUSING | STOPPING
    #: Those whose slot comes back without being asked for.
    LEAVING = PAUSING | STOPPING
    #: Those that nobody has ended yet.
    LIVE = WAITING | RUNNING | PAUSING | PAUSED


_BITS = {state: int(getattr(Group, state.name, 0)) for state in State}


@dataclass
class Entry:
    """A ticket and what became of it so far. Times are seconds of the clock that is passed in."""

    ticket: Ticket
    #: When it began to wait, the last time.
    since: float
    #: Goes up with every ticket: the order of arrival.
    number: int
    state: State = State.WAITING
    #: When it first ran.
    started: float = 0.0
    #: How often a higher class was served since it last ran.
    passed_over: int = 0
    #: Steps since it was last given a slot.
    steps: int = 0
    #: It was due: it may do some steps before it is paused again.
    protected: bool = False
    #: The bit of its state in `Group`.
    bit: int = field(init=False)
    ending: EndReason | None = None

    def __post_init__(self) -> None:
        self.bit = _BITS[self.state]

    def apply(self, event: Event) -> None:
        """Take an event. Raises `ValueError` for one that can't happen in this state."""
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise ValueError(f"{event.name} can't happen while {self.state.name}")
        self.state, self.bit = following, _BITS[following]
