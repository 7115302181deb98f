"""The asyncio client: for the language server and other long-lived adapters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from . import messages
from .endpoint import Endpoint, configure, find_endpoint
from .errors import ConnectionLost, IngleError, ResponseTimeout, from_wire
from .messages import (
    Cancel,
    Catalog,
    Chat,
    Delta,
    Error,
    Exposition,
    Infill,
    Load,
    Message,
    Metrics,
    ModelInfo,
    Models,
    Progress,
    Report,
    Shutdown,
    Status,
    Unload,
)
from .results import Answer, Completion, Gathered, chat_fields
from .session import LOST, Session

#: Messages delivered before the event loop gets to do something else.
BURST = 32


class AsyncCall:
    """One open request: an async iterator of its events, the terminal `Done` included.

    A task that is cancelled while it waits here cancels the request in the daemon.
    """

    def __init__(self, client: AsyncClient, request_id: int) -> None:
        self.id = request_id
        self._client = client
        self._events: asyncio.Queue[Message | IngleError] = asyncio.Queue()
        self._over = False

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        if self._over:
            raise StopAsyncIteration
        try:
            event = await self._events.get()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if isinstance(event, IngleError):
            self._over = True
            raise event
        if isinstance(event, Error):
            self._over = True
            raise from_wire(
                event.code, event.message, event.retry_after_ms, retryable=event.retryable
            )
        self._over = messages.is_terminal(event)
        return event

    def cancel(self) -> None:
        """Ask the daemon to stop; returns at once. Nothing happens if the call is over."""
        self._client._cancel(self.id)


class AsyncClient:
    """A connection to the daemon, in one event loop. Use `connect`, then `close`."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self.endpoint = endpoint
        #: True once the daemon went away; open calls have then raised `ConnectionLost`.
        self.lost = False
        self._calls: dict[int, AsyncCall] = {}
        self._session = Session(name, time.monotonic())
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        configure(self._socket, endpoint)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._tasks: list[asyncio.Task[None]] = []
        self._silence_check: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(
        cls,
        endpoint: Endpoint | None = None,
        *,
        name: str = "script",
        timeout: float = 5.0,  # noqa: ASYNC109 - same signature as the blocking client
    ) -> Self:
        """Connect and say hello.

        Raises `DaemonNotRunning`, `VersionMismatch`, `ResponseTimeout`.
        """
        client = cls(endpoint or find_endpoint(), name)
        try:
            client._socket.connect(client.endpoint.url)
            client._tasks = [
                asyncio.create_task(client._read()),
                asyncio.create_task(client._watch_connection()),
            ]
            try:
                async with asyncio.timeout(timeout):
                    async for _welcome in client._opened(client._session.hello()):
                        pass
            except TimeoutError:
                raise ResponseTimeout(
                    "the daemon did not answer in time: see `ingle status`"
                ) from None
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what is still running for it is cancelled by the daemon."""
        if self._silence_check:
            self._silence_check.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        gone = self.lost
        self._lose(ConnectionLost("the connection was closed"))
        if not self._context.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
            # A lost daemon reads no more; waiting for it would block the event loop.
            self._socket.close(0 if gone else 200)
            self._context.term()

    # --- requests ------------------------------------------------------------------------

    def call(self, request_type: type[Message], **fields: Any) -> AsyncCall:
        """Send any request of `ingle.messages`; its id is chosen here."""
        return self._opened(self._session.request(request_type, time.monotonic(), **fields))

    async def ask(
        self,
        prompt: str,
        *,
        system: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the daemon keeps this deadline
        **fields: Any,
    ) -> Answer:
        """Ask a question. `fields` are those of `ingle.messages.Chat`."""
        gathered = Gathered()
        async for event in self.call(Chat, **chat_fields(prompt, system, timeout, **fields)):
            gathered.add(event)
        return gathered.answer()

    async def infill(
        self,
        prefix: str,
        suffix: str = "",
        *,
        on_delta: Callable[[Delta], None] | None = None,
        **fields: Any,
    ) -> Completion:
        """Complete code at a cursor. `fields` are those of `ingle.messages.Infill`.

        `on_delta` is given the text piece by piece, as it is generated.
        """
        gathered = Gathered()
        async for event in self.call(Infill, prefix=prefix, suffix=suffix, **fields):
            gathered.add(event)
            if on_delta and isinstance(event, Delta):
                on_delta(event)
        return gathered.completion()

    async def status(self) -> Report:
        """What the daemon is doing."""
        report: Report = await self._one(Status, Report)
        return report

    async def metrics(self) -> str:
        """Counts and times of the daemon in Prometheus' text format."""
        exposition: Exposition = await self._one(Metrics, Exposition)
        return exposition.text

    async def models(self) -> list[ModelInfo]:
        """The models of the catalog and of the store."""
        catalog: Catalog = await self._one(Models, Catalog)
        return catalog.models

    async def load(
        self,
        model: str,
        engine: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Make a model resident and wait until it is."""
        async for event in self.call(Load, model=model, engine=engine):
            if on_progress and isinstance(event, Progress):
                on_progress(event)

    async def unload(self, model: str | None = None) -> None:
        """End one model's worker, or all; its memory comes back."""
        async for _event in self.call(Unload, model=model):
            pass

    async def shutdown(self, drain: float = 0.0) -> None:
        """Stop the daemon; running requests get `drain` seconds to finish."""
        async for _event in self.call(Shutdown, drain_ms=round(drain * 1000)):
            pass

    # --- plumbing ------------------------------------------------------------------------

    async def _one(self, request_type: type[Message], wanted: type[Any]) -> Any:
        found = None
        async for event in self.call(request_type):
            if isinstance(event, wanted):
                found = event
        return found

    def _opened(self, message: Any) -> AsyncCall:
        if self.lost:
            raise ConnectionLost(LOST)
        frames = self._session.encode(message)
        call = self._calls[message.id] = AsyncCall(self, message.id)
        self._send(frames)
        if self._silence_check is None:
            self._schedule_silence_check()
        return call

    def _cancel(self, request_id: int) -> None:
        if request_id in self._calls and not self.lost:
            # Nobody waits for the answer to a cancel; the target's own `done` is what counts.
            cancel = self._session.request(Cancel, time.monotonic(), request=request_id)
            self._send(self._session.encode(cancel))

    def _send(self, frames: list[bytes]) -> None:
        # With NOBLOCK the future is settled at once; its result is not worth waiting for.
        sent: Any = self._socket.send_multipart(frames, flags=zmq.NOBLOCK)
        if sent.done() and sent.exception():
            self._lose(ConnectionLost(LOST))

    async def _read(self) -> None:
        while not self.lost:
            for _ in range(BURST):
                self._deliver(await self._socket.recv_multipart())
            # A receive that finds a message does not suspend; let the readers keep up.
            await asyncio.sleep(0)

    def _deliver(self, frames: list[bytes]) -> None:
        try:
            event = self._session.receive(frames, time.monotonic())
        except IngleError as error:
            self._lose(error)
            return
        if event is None:
            return
        event_id = event.id  # type: ignore[attr-defined]
        call = self._calls.get(event_id)
        if call:
            call._events.put_nowait(event)
            if messages.is_terminal(event):
                del self._calls[event_id]

    async def _watch_connection(self) -> None:
        await recv_monitor_message(self._monitor)
        # What arrived before the connection broke is still worth delivering.
        await asyncio.sleep(0.05)
        self._lose(ConnectionLost(LOST))

    def _schedule_silence_check(self) -> None:
        self._silence_check = asyncio.get_running_loop().call_later(
            self._session.heartbeat, self._check_silence
        )

    def _check_silence(self) -> None:
        self._silence_check = None
        if self._session.is_silent(time.monotonic()):
            self._lose(ConnectionLost(LOST))
        elif self._session.busy:
            self._schedule_silence_check()

    def _lose(self, failure: IngleError) -> None:
        self.lost = True
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call._events.put_nowait(failure)
