"""The broker: every client's requests, and which model's service each goes to.

It owns the front socket's traffic and the table of open requests. It never computes: hashing and
disk work go to threads, generation to worker processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import msgspec

from ingle import codec
from ingle.codec import MAX_MESSAGE_BYTES
from ingle.errors import (
    HelloRequired,
    IngleError,
    InternalError,
    InvalidRequest,
    ProtocolError,
    ShuttingDown,
    SlowReader,
    VersionMismatch,
)
from ingle.messages import (
    Accepted,
    Cancel,
    Catalog,
    Chat,
    Error,
    Exposition,
    Heartbeat,
    Hello,
    Infill,
    Load,
    Message,
    Models,
    Report,
    Shutdown,
    Status,
    Unload,
    Watch,
    Welcome,
)
from ingle.messages import (
    Metrics as MetricsRequest,
)
from ingle.version import PROTOCOL_VERSION, __version__

from .front import Front, Identity
from .memory import resident_bytes
from .metrics import Metrics
from .requests import OpenRequest
from .residents import Residents
from .settings import Settings

log = logging.getLogger("ingled.broker")

HEARTBEAT_S = 2.0
#: Clients with nothing open are asked whether they still exist at every so many beats.
IDLE_BEATS = 15
#: How long the end of the workers is waited for; hopeless ones are killed well before.
CLOSE_S = 15.0
CAPABILITIES = ["chat", "infill", "watch", "load", "models", "metrics", "shutdown"]


@dataclass
class Client:
    """One connection that said hello."""

    name: str
    open: dict[int, OpenRequest] = field(default_factory=dict)


class Broker:
    """See the module. Lives in one event loop."""

    def __init__(
        self, front: Front, residents: Residents, settings: Settings, metrics: Metrics
    ) -> None:
        self._front = front
        self._residents = residents
        self._settings = settings
        self._clients: dict[Identity, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._metrics = metrics
        self._stopping = asyncio.Event()
        #: Set once nothing generates any more while stopping.
        self._quiet = asyncio.Event()
        self._drain_ms = 0
        self.endpoint_url = ""
        #: One line each, for status.
        self.notices: list[str] = []
        self._handlers: dict[type[Message], Callable[[OpenRequest], None]] = {
            Chat: self._generate,
            Infill: self._generate,
            Cancel: self._cancel,
            Status: self._status,
            Watch: self._watch,
            Load: self._load,
            Unload: self._unload,
            Models: self._models,
            MetricsRequest: self._expose,
            Shutdown: self._shutdown,
        }

    # --- the daemon's side ---------------------------------------------------------------

    def configure(self, settings: Settings) -> None:
        """Take changed settings."""
        self._settings = settings
        self._residents.configure(settings)

    async def heartbeats(self) -> None:
        """Tell clients with open requests that the daemon lives; notices those that died."""
        for beat in itertools.count(1):
            await asyncio.sleep(HEARTBEAT_S)
            for identity, client in list(self._clients.items()):
                if client.open:
                    self._front.heartbeat(identity, Heartbeat())
            if beat % IDLE_BEATS == 0:
                self._ask_idle_clients()

    async def stopped(self) -> None:
        """Return when a client asked for shutdown."""
        await self._stopping.wait()

    def stop(self, drain_ms: int | None = None) -> None:
        """Take no more work. What runs gets `drain_ms`, by default the setting's, to finish."""
        self._drain_ms = self._settings.daemon.drain_ms if drain_ms is None else drain_ms
        self._stopping.set()
        if not self._generating():
            self._quiet.set()

    async def drain(self) -> None:
        """Let open generations end in their time, then end them and everything else."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_ms / 1000):
                await self._quiet.wait()
        why = ShuttingDown("the daemon is stopping: start it again with `ingle up`")
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._residents.close(why)
        except TimeoutError:
            # They see the end of their standard input when this process ends.
            log.warning("workers did not end in time")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in list(self._clients.values()):
            for request in list(client.open.values()):
                if isinstance(request.message, Shutdown | Watch):
                    request.done()
                else:
                    request.fail(why)

    # --- frames --------------------------------------------------------------------------

    def on_frames(self, identity: Identity, frames: Sequence[bytes]) -> None:
        """Anything a client sent. Bad bytes cost an error event, nothing else."""
        client = self._clients.get(identity)
        try:
            message = codec.decode_request(frames)
        except ProtocolError as error:
            request_id = codec.request_id(frames)
            # An error with the id of an open request would look like its end.
            taken = client is not None and request_id in client.open
            self._refuse(identity, None if taken else request_id, error)
            return
        request_id = message.id  # type: ignore[attr-defined]
        if client and request_id in client.open:
            self._refuse(
                identity,
                None,
                InvalidRequest(f"the id {request_id} is in use: choose a fresh one per request"),
            )
        elif isinstance(message, Hello):
            self._hello(identity, message)
        elif client is None:
            self._refuse(identity, request_id, HelloRequired("say `hello` first"))
        else:
            self._open(identity, client, message)

    def on_gone(self, identity: Identity) -> None:
        """A client went away: what it asked for is of no use to anybody."""
        client = self._clients.pop(identity, None)
        if client is None:
            return
        for request in client.open.values():
            request.abandon()
            self._residents.cancel(request)
        if self._stopping.is_set() and not self._generating():
            self._quiet.set()
        log.debug("client gone", extra={"client": client.name, "open": len(client.open)})

    def on_overflow(self, identity: Identity) -> None:
        """A client does not read: its generations end, so that the rest goes on."""
        client = self._clients.get(identity)
        if client is None:
            return
        self._front.drop_pending(identity)
        log.warning("slow reader", extra={"client": client.name, "open": len(client.open)})
        for request in list(client.open.values()):
            if isinstance(request.message, Chat | Infill | Watch):
                request.fail(
                    SlowReader("the client did not read its events: read them, then ask again")
                )
                self._residents.cancel(request)

    def _hello(self, identity: Identity, hello: Hello) -> None:
        if hello.protocol != PROTOCOL_VERSION:
            error = VersionMismatch(
                f"the client speaks protocol {hello.protocol}, the daemon {PROTOCOL_VERSION}: "
                "update the older one and restart the daemon with `ingle down && ingle up`"
            )
            self._refuse(identity, hello.id, error)
            return
        self._clients.setdefault(identity, Client(hello.client)).name = hello.client
        self._front.send(
            identity,
            Welcome(
                id=hello.id,
                protocol=PROTOCOL_VERSION,
                version=__version__,
                capabilities=CAPABILITIES,
                max_message_bytes=MAX_MESSAGE_BYTES,
                heartbeat_ms=round(HEARTBEAT_S * 1000),
            ),
        )

    def _refuse(self, identity: Identity, request_id: int | None, error: IngleError) -> None:
        self._front.send(
            identity,
            Error(id=request_id, code=error.code, message=str(error), retryable=error.retryable),
        )

    def _open(self, identity: Identity, client: Client, message: Any) -> None:
        request = OpenRequest(
            client=identity,
            client_name=client.name,
            message=message,
            since=self._loop.time(),
            emit=lambda event: self._front.send(identity, event),
            on_closed=self._on_closed,
        )
        client.open[message.id] = request
        if not isinstance(message, Cancel | Status | Models | MetricsRequest):
            request.send(Accepted(id=message.id))
        try:
            self._handlers[type(message)](request)
        except IngleError as error:
            request.fail(error)
        except Exception:
            # Our mistake; the log gets the place, never the values.
            log.exception("request failed", extra={"kind": type(message).__name__})
            request.fail(InternalError("the daemon made a mistake: see `ingle logs`"))

    def _on_closed(self, request: OpenRequest, terminal: Message) -> None:
        client = self._clients.get(request.client)
        if client:
            client.open.pop(request.message.id, None)
        if isinstance(request.message, Chat | Infill):
            self._count(request, terminal)
            if self._stopping.is_set() and not self._generating():
                self._quiet.set()

    def _count(self, request: OpenRequest, terminal: Message) -> None:
        self._metrics.ended(request, terminal)
        log.info(
            "request",
            extra={
                "client": request.client_name,
                "kind": type(request.message).__name__.lower(),
                "model": request.model,
                "ending": getattr(terminal, "finish", None) or getattr(terminal, "code", ""),
                "ms": round((self._loop.time() - request.since) * 1000),
                "tokens": request.completion_tokens,
            },
        )

    # --- handlers ------------------------------------------------------------------------

    def _generate(self, request: OpenRequest) -> None:
        self._metrics.requests += 1
        self._refuse_while_stopping()
        message = request.message
        if isinstance(message, Infill) and message.deadline_ms is None:
            request.message = msgspec.structs.replace(
                message, deadline_ms=self._settings.inline.deadline_ms
            )
        service = self._residents.find(message.model)
        if service:
            service.submit(request)
        else:
            self._spawn(request, self._residents.submit(request))

    def _cancel(self, request: OpenRequest) -> None:
        client = self._clients[request.client]
        target = client.open.get(request.message.request)
        if target is not None and target is not request:
            if isinstance(target.message, Watch):
                target.done(finish="cancelled")
            else:
                self._residents.cancel(target)
        request.done()

    def _status(self, request: OpenRequest) -> None:
        self._ask_idle_clients()
        request.send(self._report(request.message.id))
        request.done()

    def _watch(self, request: OpenRequest) -> None:
        self._spawn(request, self._keep_reporting(request))

    async def _keep_reporting(self, request: OpenRequest) -> None:
        while not request.closed:
            request.send(self._report(request.message.id))
            await asyncio.sleep(request.message.interval_ms / 1000)

    def _load(self, request: OpenRequest) -> None:
        self._refuse_while_stopping()
        self._spawn(request, self._residents.load(request))

    def _unload(self, request: OpenRequest) -> None:
        self._spawn(request, self._residents.unload(request))

    def _models(self, request: OpenRequest) -> None:
        self._spawn(request, self._list_models(request))

    async def _list_models(self, request: OpenRequest) -> None:
        request.send(Catalog(id=request.message.id, models=await self._residents.catalog()))
        request.done()

    def _expose(self, request: OpenRequest) -> None:
        self._spawn(request, self._send_exposition(request))

    async def _send_exposition(self, request: OpenRequest) -> None:
        # Imported for this alone; the first time takes longer than a loop may stand still.
        await asyncio.to_thread(import_module, "prometheus_client")
        report = self._report(request.message.id)
        text = self._metrics.exposition(
            report.models, report.queue, report.clients, report.memory_bytes
        )
        request.send(Exposition(id=request.message.id, text=text))
        request.done()

    def _shutdown(self, request: OpenRequest) -> None:
        request.progress("draining", None, f"{self._generating()} requests are running")
        self.stop(request.message.drain_ms)

    def _ask_idle_clients(self) -> None:
        """Notice those that left while nothing was open."""
        for identity, client in list(self._clients.items()):
            if not client.open and not self._front.heartbeat(identity, Heartbeat()):
                self._clients.pop(identity)

    # --- plumbing ------------------------------------------------------------------------

    def _refuse_while_stopping(self) -> None:
        if self._stopping.is_set():
            raise ShuttingDown("the daemon is stopping: start it again with `ingle up`")

    def _generating(self) -> int:
        return sum(
            isinstance(request.message, Chat | Infill)
            for client in self._clients.values()
            for request in client.open.values()
        )

    def _spawn(self, request: OpenRequest, work: Coroutine[Any, Any, None]) -> None:
        """Run what takes time; its failure is that request's alone."""

        async def guarded() -> None:
            try:
                await work
            except IngleError as error:
                request.fail(error)
            except Exception:
                log.exception("request failed", extra={"kind": type(request.message).__name__})
                request.fail(InternalError("the daemon made a mistake: see `ingle logs`"))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _report(self, request_id: int) -> Report:
        services = self._residents.services()
        queue: dict[str, int] = {}
        for service in services:
            for name, count in service.waiting().items():
                queue[name] = queue.get(name, 0) + count
        return Report(
            id=request_id,
            version=__version__,
            pid=os.getpid(),
            uptime_s=round(self._loop.time() - self._started, 3),
            endpoint=self.endpoint_url,
            memory_bytes=resident_bytes(),
            clients=len(self._clients),
            models=[service.status() for service in services],
            queue=queue,
            active=[item for service in services for item in service.active()],
            totals=self._metrics.totals(),
            notices=[*self._residents.notices, *self.notices],
        )
