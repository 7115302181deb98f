"""`ingle/status`: follows the daemon and tells the editor what has changed.

It runs only for editors that asked for it. While there is a daemon it reads its `watch` stream,
more often while something happens or this editor asks for something, so that resting costs little.
While there is none it looks for one every `LOOK_INTERVAL` seconds, quietly. What a status says is
`status`, when a try to connect is due is `connection`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ingle.errors import ConnectionFailed, HelloRequired, IngleError
from ingle.messages import Report, Watch
from ingle.messages import Status as StatusRequest

from .connection import DaemonClient, DaemonConnection, State
from .status import Status, of_outage, of_report

log = logging.getLogger(__name__)

#: Seconds between two notifications at least.
SEND_INTERVAL = 0.25
#: Seconds between two looks for a daemon that is down.
LOOK_INTERVAL = 1.0
#: Milliseconds between two reports of the daemon: while something happens, and at rest.
LIVELY_MS = 250
RESTING_MS = 1000
#: Seconds without anything that make a rest.
CALM = 3.0
#: States that last for a short time.
_LIVELY = frozenset({"starting", "loading", "busy"})


class StatusStream:
    """Keeps the editor's status line right. `send` gets the parameters of `ingle/status`.

    `describe` makes them of a `Status`. Times are seconds of the event loop's clock.
    """

    def __init__(
        self,
        *,
        connection: DaemonConnection,
        describe: Callable[[Status], dict[str, Any]],
        send: Callable[[dict[str, Any]], None],
    ) -> None:
        self._connection = connection
        self._describe = describe
        self._send = send
        self._status: Status | None = None
        self._sent: dict[str, Any] | None = None
        self._sent_at = float("-inf")
        self._later: asyncio.TimerHandle | None = None
        self._stirred = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._interval_ms = LIVELY_MS
        self._lively_until = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the daemon; nothing happens if that was done."""
        if self._task is None:
            self._connection.on_change(self._on_connection)
            self._connection.on_use(self._on_life)
            self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """End it for good."""
        if self._later is not None:
            self._later.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def refresh(self) -> None:
        """What is not the daemon's has changed: settings, a pause."""
        if self._task is not None:
            self._publish()

    async def now(self) -> dict[str, Any]:
        """The status as it is, for an editor that asks. Tries to connect.

        Raises an `IngleError` if the daemon refuses to say.
        """
        if self._connection.starting:
            return self._describe(self._outage())
        client = await self._connection.client(urgent=True)
        if client is not None:
            try:
                async for event in client.call(StatusRequest):
                    if isinstance(event, Report):
                        return self._describe(of_report(event))
            except (ConnectionFailed, HelloRequired):
                self._connection.lost(client)
                await self._connection.client(urgent=True)
        return self._describe(self._outage())

    # --- following -----------------------------------------------------------------------

    async def _follow(self) -> None:
        watched = False
        while self._connection.state is not State.CLOSED:
            self._stirred.clear()
            client = await self._connection.client(quiet=True)
            if client is None:
                self._set(self._outage())
                await self._pause()
                watched = False
            elif watched:
                # The last one's reports have ended, but it is there: once more, without haste.
                await self._pause()
                watched = False
            else:
                watched = await self._watch(client)

    async def _watch(self, client: DaemonClient) -> bool:
        """Read the daemon's reports to the end; False if they are wanted at another pace."""
        task = self._watching = asyncio.create_task(self._read(client))
        try:
            await asyncio.wait([task])
        finally:
            # Cancels the request in the daemon, too.
            task.cancel()
            self._watching = None
        if task.cancelled():
            return False
        if task.exception() is not None:
            log.error("the daemon's reports could not be read", exc_info=task.exception())
        return True

    async def _read(self, client: DaemonClient) -> None:
        self._interval_ms = self._wanted_ms()
        try:
            async for event in client.call(Watch, interval_ms=self._interval_ms):
                if isinstance(event, Report):
                    self._set(of_report(event))
                    self._adapt()
        except (ConnectionFailed, HelloRequired):
            self._connection.lost(client)
        except IngleError as error:
            log.warning("the daemon gives no reports: %s", error)
        else:
            # They end by themselves only when the daemon does.
            self._connection.lost(client)

    def _on_life(self) -> None:
        """This editor asks for something: what comes of it is to be seen soon."""
        self._lively_until = asyncio.get_running_loop().time() + CALM
        self._adapt()

    def _adapt(self) -> None:
        """Begin anew if the reports come at the wrong pace; the first one comes at once."""
        if self._status is not None and self._status.state in _LIVELY:
            self._lively_until = asyncio.get_running_loop().time() + CALM
        if self._watching is not None and self._interval_ms != self._wanted_ms():
            self._watching.cancel()

    def _wanted_ms(self) -> int:
        now = asyncio.get_running_loop().time()
        return LIVELY_MS if now < self._lively_until else RESTING_MS

    async def _pause(self) -> None:
        """Until the next look, or until somebody else has found a daemon."""
        try:
            async with asyncio.timeout(LOOK_INTERVAL):
                await self._stirred.wait()
        except TimeoutError:
            pass

    def _on_connection(self) -> None:
        if self._connection.state is State.CONNECTED:
            self._stirred.set()
        if self._connection.starting:
            self._set(self._outage())

    def _outage(self) -> Status:
        return of_outage(self._connection.failure, starting=self._connection.starting)

    # --- telling -------------------------------------------------------------------------

    def _set(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            self._publish()

    def _publish(self) -> None:
        """Send what has changed: now, or when the interval is over."""
        if self._status is None or self._later is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._sent_at + SEND_INTERVAL
        if loop.time() < due:
            self._later = loop.call_at(due, self._send_later)
            return
        message = self._describe(self._status)
        if message != self._sent:
            self._sent, self._sent_at = message, loop.time()
            self._send(message)

    def _send_later(self) -> None:
        self._later = None
        self._publish()
