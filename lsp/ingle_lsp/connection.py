"""The connection to the daemon: made when needed, made again when lost, quiet while it is down.

`Link` is the policy: a state machine without I/O. `DaemonConnection` does what it says. Nothing
runs by itself: a request that finds the connection down, and a retry due, tries again; so a daemon
that is off costs nothing. A retry is due after a while, or at once when a cheap look shows that
something has changed where the daemon says that it listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum, auto
from typing import Any, Protocol

from ingle.endpoint import NOT_RUNNING
from ingle.errors import ConnectionFailed, DaemonNotRunning, IngleError, VersionMismatch
from ingle.messages import Delta, Message
from ingle.results import Completion

log = logging.getLogger(__name__)

#: Seconds until the second try after a failed one, and the longest such pause.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
#: Seconds that a daemon which was just started gets, and how often it is looked for.
START_PATIENCE = 30.0
START_POLL = 0.1


class State(Enum):
    """What the connection is doing."""

    DISCONNECTED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    #: The last try failed; the next one is allowed later.
    WAITING = auto()
    CLOSED = auto()


class Event(Enum):
    """What happens to it."""

    TRY = auto()
    OPENED = auto()
    REFUSED = auto()
    LOST = auto()
    CLOSE = auto()


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.DISCONNECTED, Event.TRY): State.CONNECTING,
    (State.WAITING, Event.TRY): State.CONNECTING,
    (State.CONNECTING, Event.OPENED): State.CONNECTED,
    (State.CONNECTING, Event.REFUSED): State.WAITING,
    (State.CONNECTED, Event.LOST): State.DISCONNECTED,
    (State.DISCONNECTED, Event.CLOSE): State.CLOSED,
    (State.CONNECTING, Event.CLOSE): State.CLOSED,
    (State.CONNECTED, Event.CLOSE): State.CLOSED,
    (State.WAITING, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
}


class Link:
    """State, and when to try again. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self.state = State.DISCONNECTED
        self._failures = 0
        self._retry_at = 0.0

    def apply(self, event: Event, now: float) -> None:
        """Take an event. Raises `ValueError` for one that can't happen in this state."""
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise ValueError(f"{event.name} can't happen while {self.state.name}")
        self.state = following
        if event is Event.OPENED:
            self._failures = 0
        elif event is Event.REFUSED:
            self._retry_at = now + min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
            self._failures += 1

    def hasten(self) -> None:
        """Something has changed: the next try is allowed at once, and pauses are short again."""
        self._failures = 0
        self._retry_at = float("-inf")

    def may_try(self, now: float, *, urgent: bool = False) -> bool:
        """Whether a try is allowed now; an urgent one does not wait for its time."""
        return self.state is State.DISCONNECTED or (
            self.state is State.WAITING and (urgent or now >= self._retry_at)
        )


class DaemonClient(Protocol):
    """What the language server needs of `ingle.AsyncClient`."""

    @property
    def lost(self) -> bool: ...

    async def infill(
        self,
        prefix: str,
        suffix: str = "",
        *,
        on_delta: Callable[[Delta], None] | None = None,
        **fields: object,
    ) -> Completion: ...

    def call(self, request_type: type[Message], **fields: Any) -> AsyncIterator[Message]: ...

    async def close(self) -> None: ...


class StartedProcess(Protocol):
    """What is needed of the daemon's `subprocess.Popen`."""

    def poll(self) -> int | None: ...


class DaemonConnection:
    """Hands out the client, one try at a time for however many ask.

    `connect` raises an `IngleError` when there is nobody to talk to. `may_start` says whether the
    user allows to start the daemon; that happens once at most, so that a daemon which the user
    stopped stays stopped. `tell` shows a sentence to the user. `look` costs next to nothing, and
    gives something else than before when a daemon may have come.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Awaitable[DaemonClient]],
        start: Callable[[], StartedProcess],
        may_start: Callable[[], bool],
        tell: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._start = start
        self._may_start = may_start
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self._look = look
        #: What `look` gave before the last try.
        self._seen: object = None
        self._listeners: list[Callable[[], None]] = []
        self._users: list[Callable[[], None]] = []
        self._link = Link()
        self._client: DaemonClient | None = None
        self._try: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._was_connected = False
        self._was_started = False
        self._told: set[type[IngleError]] = set()
        #: Why the last try failed; None after one that did not.
        self.failure: IngleError | None = None
        #: True while a daemon that was started here is waited for.
        self.starting = False

    @property
    def state(self) -> State:
        """What the connection is doing."""
        return self._link.state

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the connection's state, or `starting`, has changed."""
        self._listeners.append(listener)

    def on_use(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever somebody has something to ask the daemon."""
        self._users.append(listener)

    async def client(self, *, urgent: bool = False, quiet: bool = False) -> DaemonClient | None:
        """The client, after a try to connect if one is due; None while the daemon is down.

        `urgent`: the user asked for something by name, so a try is due now, and the answer says
        what is wrong. `quiet`: nobody asked for anything. Otherwise the user is told once in each
        outage.
        """
        if not quiet:
            for listener in self._users:
                listener()
        if self._client is not None and self._client.lost:
            self.lost(self._client)
        if self._link.state is State.WAITING and self._look() != self._seen:
            self._link.hasten()
        if self._link.may_try(self._clock(), urgent=urgent):
            self._begin_try(start=False)
        await self._try_ended()
        if self._client is None and not urgent and not quiet:
            self._report()
        return self._client

    async def start(self) -> None:
        """Start the daemon unless one answers, and return when it listens.

        The user's own wish, so it is done as often as it is asked for. Raises an `IngleError`.
        """
        await self.client(urgent=True)
        while self._client is None and self._link.state is not State.CLOSED:
            if self._link.may_try(self._clock(), urgent=True):
                self._begin_try(start=True)
                await self._try_ended()
                break
            # Somebody else's try, which may not have the leave to start anything.
            await self._try_ended()
        if self._client is None:
            raise self.failure or DaemonNotRunning(NOT_RUNNING)

    def lost(self, client: DaemonClient) -> None:
        """A call on `client` found the daemon gone. An older client's loss is no news."""
        if client is not self._client:
            return
        self._client = None
        self._apply(Event.LOST)
        task = asyncio.create_task(client.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End it for good."""
        self._apply(Event.CLOSE)
        if self._try is not None:
            self._try.cancel()
            await asyncio.gather(self._try, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _apply(self, event: Event) -> None:
        self._link.apply(event, self._clock())
        self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _begin_try(self, *, start: bool) -> None:
        self._seen = self._look()
        self._apply(Event.TRY)
        self._try = asyncio.create_task(self._open(start=start))

    async def _try_ended(self) -> None:
        if self._link.state is State.CONNECTING and self._try is not None:
            # Others wait for the same try: one that gives up must not end it.
            await asyncio.shield(self._try)

    async def _open(self, *, start: bool) -> None:
        try:
            client = await self._connected(start=start)
        except IngleError as error:
            self.failure = error
            self._apply(Event.REFUSED)
        except Exception as error:
            log.exception("connecting failed")
            self.failure = IngleError(f"no connection to the daemon ({type(error).__name__})")
            self._apply(Event.REFUSED)
        else:
            self._client = client
            self.failure = None
            self._was_connected = True
            self._told.clear()
            self._apply(Event.OPENED)

    async def _connected(self, *, start: bool) -> DaemonClient:
        try:
            return await self._connect()
        except DaemonNotRunning:
            may_start = not (self._was_connected or self._was_started) and self._may_start()
            if not start and not may_start:
                raise
        self._was_started = True
        self.starting = True
        self._changed()
        try:
            return await self._started()
        finally:
            self.starting = False

    async def _started(self) -> DaemonClient:
        try:
            process = await asyncio.to_thread(self._start)
        except OSError as error:
            raise DaemonNotRunning(
                f"ingled could not be started ({error.strerror}): try `ingle up`"
            ) from error
        patience_ends = self._clock() + START_PATIENCE
        while self._clock() < patience_ends:
            # Looked at before connecting: another editor's daemon makes ours end.
            ended = process.poll() is not None
            try:
                return await self._connect()
            except DaemonNotRunning:
                if ended:
                    break
            await self._sleep(START_POLL)
        raise DaemonNotRunning("ingled could not be started: `ingle up` says why")

    def _report(self) -> None:
        """Say once in each outage that the daemon is down, and once that its version is wrong."""
        if self.failure is None:
            return
        kind = VersionMismatch if isinstance(self.failure, VersionMismatch) else ConnectionFailed
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s", self.failure)
            self._tell(str(self.failure))
