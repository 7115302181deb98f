"""The blocking client: for scripts and the command line. Plain zmq and poll, no asyncio.

One thread uses one client. Several calls may be open at once; reading one keeps the events of the
others for later.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self

import zmq

from . import messages
from .endpoint import Endpoint, configure, find_endpoint
from .errors import ConnectionLost, IngleError, ResponseTimeout, from_wire
from .messages import (
    Cancel,
    Catalog,
    Chat,
    Delta,
    Done,
    Effort,
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
    Watch,
)
from .results import Answer, Completion, Gathered, chat_fields
from .session import LOST, Session

#: Seconds beyond a request's own deadline before the client gives up on hearing of it.
GRACE = 2.0


class Call:
    """One open request: an iterator of its events, the terminal `Done` included.

    Raises the `IngleError` of an `error` event, `ConnectionLost`, or `ResponseTimeout`.
    """

    def __init__(self, client: Client, request_id: int, give_up_at: float | None) -> None:
        self.id = request_id
        self._client = client
        self._give_up_at = give_up_at
        self._events: deque[Message] = deque()
        self._failure: IngleError | None = None
        self._over = False

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        while not self._events:
            if self._failure:
                failure, self._failure, self._over = self._failure, None, True
                raise failure
            if self._over:
                raise StopIteration
            try:
                self._client._pump(self._give_up_at)
            except ResponseTimeout:
                # Nobody waits for the answer any more, so nobody should compute it.
                self.cancel()
                raise
        event = self._events.popleft()
        if isinstance(event, Error):
            self._over = True
            raise from_wire(
                event.code, event.message, event.retry_after_ms, retryable=event.retryable
            )
        self._over = messages.is_terminal(event)
        return event

    def cancel(self) -> None:
        """Ask the daemon to stop; the call then ends with its `Done` (finish `cancelled`)."""
        self._client._cancel(self.id)

    def wait(self) -> Done:
        """Read to the end, drop the events, return the `Done`."""
        last: Message | None = None
        for event in self:
            last = event
        if not isinstance(last, Done):
            raise RuntimeError("the call was already read to its end")
        return last

    def _fail(self, failure: IngleError) -> None:
        self._failure = self._failure or failure


class Client:
    """A connection to the daemon. Use it as a context manager, or `close` it."""

    def __init__(
        self, endpoint: Endpoint | None = None, *, name: str = "script", timeout: float = 5.0
    ) -> None:
        """Connect and say hello.

        `timeout`, in seconds, is for answers that don't generate text. Raises `DaemonNotRunning`,
        `VersionMismatch`, `ResponseTimeout`.
        """
        self.endpoint = endpoint or find_endpoint()
        self._timeout = timeout
        self._calls: dict[int, Call] = {}
        self._session = Session(name, time.monotonic())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        configure(self._socket, self.endpoint)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._lost = False
        try:
            self._socket.connect(self.endpoint.url)
            hello = self._session.hello()
            call = self._opened(hello, time.monotonic() + timeout)
            for _welcome in call:
                pass
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what is still running for it is cancelled by the daemon."""
        if not self._context.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._context.destroy(linger=200)

    # --- requests ------------------------------------------------------------------------

    def call(
        self, request_type: type[Message], *, wait: float | None = None, **fields: Any
    ) -> Call:
        """Send any request of `ingle.messages`; its id is chosen here.

        `wait`: give up with `ResponseTimeout` after so many seconds.
        """
        now = time.monotonic()
        message = self._session.request(request_type, now, **fields)
        return self._opened(message, None if wait is None else now + wait)

    def ask(
        self,
        prompt: str,
        *,
        system: str | None = None,
        model: str | None = None,
        effort: Effort | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Ask a question, wait for the whole answer. `timeout` in seconds ends it early."""
        gathered = Gathered()
        for event in self._chat(
            prompt, system, timeout, model, effort, max_tokens, temperature, seed
        ):
            gathered.add(event)
        return gathered.answer()

    def stream(
        self,
        prompt: str,
        *,
        system: str | None = None,
        model: str | None = None,
        effort: Effort | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[Delta]:
        """Ask a question, get the answer piece by piece. Leaving the loop early cancels."""
        call = self._chat(prompt, system, timeout, model, effort, max_tokens, temperature, seed)
        try:
            for event in call:
                if isinstance(event, Delta):
                    yield event
        finally:
            call.cancel()

    def infill(self, prefix: str, suffix: str = "", **fields: Any) -> Completion:
        """Complete code at a cursor. `fields` are those of `ingle.messages.Infill`."""
        gathered = Gathered()
        for event in self.call(
            Infill, prefix=prefix, suffix=suffix, wait=_give_up(fields), **fields
        ):
            gathered.add(event)
        return gathered.completion()

    def status(self) -> Report:
        """What the daemon is doing."""
        report: Report = self._one(Status, Report)
        return report

    def watch(self, interval: float = 1.0) -> Iterator[Report]:
        """`status` every `interval` seconds, until the loop is left."""
        call = self.call(Watch, interval_ms=round(interval * 1000))
        try:
            for event in call:
                if isinstance(event, Report):
                    yield event
        finally:
            call.cancel()

    def metrics(self) -> str:
        """Counts and times of the daemon in Prometheus' text format."""
        exposition: Exposition = self._one(Metrics, Exposition)
        return exposition.text

    def models(self) -> list[ModelInfo]:
        """The models of the catalog and of the store."""
        catalog: Catalog = self._one(Models, Catalog)
        return catalog.models

    def load(
        self,
        model: str,
        engine: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Make a model resident and wait until it is."""
        for event in self.call(Load, model=model, engine=engine):
            if on_progress and isinstance(event, Progress):
                on_progress(event)

    def unload(self, model: str | None = None) -> None:
        """End one model's worker, or all; its memory comes back."""
        self.call(Unload, model=model).wait()

    def shutdown(self, drain: float = 0.0) -> None:
        """Stop the daemon; running requests get `drain` seconds to finish."""
        self.call(Shutdown, drain_ms=round(drain * 1000)).wait()

    # --- plumbing ------------------------------------------------------------------------

    def _chat(
        self,
        prompt: str,
        system: str | None,
        timeout: float | None,
        model: str | None,
        effort: str | None,
        max_tokens: int | None,
        temperature: float | None,
        seed: int | None,
    ) -> Call:
        fields = chat_fields(
            prompt,
            system,
            timeout,
            model=model,
            effort=effort,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        return self.call(Chat, wait=_give_up(fields), **fields)

    def _one(self, request_type: type[Message], wanted: type[Any]) -> Any:
        found = None
        for event in self.call(request_type, wait=self._timeout):
            if isinstance(event, wanted):
                found = event
        return found

    def _opened(self, message: Any, give_up_at: float | None) -> Call:
        if self._lost:
            raise ConnectionLost(LOST)
        frames = self._session.encode(message)
        call = self._calls[message.id] = Call(self, message.id, give_up_at)
        self._socket.send_multipart(frames)
        return call

    def _cancel(self, request_id: int) -> None:
        if request_id in self._calls and not self._lost and not self._context.closed:
            # Nobody waits for the answer to a cancel; the target's own `done` is what counts.
            message = self._session.request(Cancel, time.monotonic(), request=request_id)
            self._socket.send_multipart(self._session.encode(message))

    def _pump(self, give_up_at: float | None) -> None:
        """Wait for something to happen, and give it to the call that it belongs to."""
        now = time.monotonic()
        pause = self._session.heartbeat if give_up_at is None else max(0.0, give_up_at - now)
        ready = dict(self._poller.poll(round(min(pause, self._session.heartbeat) * 1000)))
        now = time.monotonic()
        if self._socket in ready:
            self._deliver(now)
        elif self._monitor in ready:
            # What it says is not read: that would import all of asyncio, for one kind of event.
            self._monitor.recv_multipart()
            self._lose(ConnectionLost(LOST))
        elif give_up_at is not None and now >= give_up_at:
            raise ResponseTimeout("the daemon did not answer in time: see `ingle status`")
        elif self._session.is_silent(now):
            self._lose(ConnectionLost(LOST))

    def _deliver(self, now: float) -> None:
        event = self._session.receive(self._socket.recv_multipart(), now)
        if event is None:
            return
        call_id = event.id  # type: ignore[attr-defined]
        call = self._calls.get(call_id)
        if call:
            call._events.append(event)
            if messages.is_terminal(event):
                del self._calls[call_id]

    def _lose(self, failure: IngleError) -> None:
        self._lost = True
        for call in self._calls.values():
            call._fail(failure)
        self._calls.clear()


def _give_up(fields: dict[str, Any]) -> float | None:
    deadline = fields.get("deadline_ms")
    return None if deadline is None else deadline / 1000 + GRACE
