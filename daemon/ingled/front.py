"""The front socket: frames in, events out, and what each client has not read yet.

Sends never wait. A client that went away is noticed by the send itself (mandatory routing); one
that does not read has a bounded outbox, and its overflow is reported once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

import zmq
import zmq.asyncio

from ingle import codec
from ingle.endpoint import Endpoint
from ingle.messages import Delta, Message, Progress

from .listen import Listener, receive

#: Events that may wait for one client.
MAX_OUTBOX = 1024
#: Messages libzmq itself buffers for one client before sends would wait.
HIGH_WATER_MARK = 256
#: Seconds between attempts to send what waits; doubled while nothing moves.
FIRST_RETRY_S = 0.01
LAST_RETRY_S = 0.64

Identity = bytes


class Sent(Enum):
    """What became of one attempt to send."""

    YES = auto()
    BEHIND = auto()
    GONE = auto()


class Front:
    """See the module."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        listener: Listener,
        on_frames: Callable[[Identity, Sequence[bytes]], None],
        on_gone: Callable[[Identity], None],
        on_overflow: Callable[[Identity], None],
    ) -> None:
        self._listener = listener
        self._on_frames = on_frames
        self._on_gone = on_gone
        self._on_overflow = on_overflow
        self._outboxes: dict[Identity, deque[tuple[Message, list[bytes]]]] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._pause = FIRST_RETRY_S
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)

    def bind(self, url: str, allowed_keys: list[str]) -> Endpoint:
        """Listen. Raises `LocalError`."""
        return self._listener.bind(self._socket, url, allowed_keys)

    async def serve(self) -> None:
        """Receive until cancelled."""
        await receive(self._socket, lambda frames: self._on_frames(frames[0], frames[1:]))

    def send(self, identity: Identity, event: Message) -> None:
        """Send now, or keep it for a client that is behind."""
        frames = codec.encode(event)
        outbox = self._outboxes.get(identity)
        if outbox:
            self._keep(identity, outbox, event, frames)
        elif self._try(identity, frames) is Sent.BEHIND:
            self._keep(identity, self._outboxes.setdefault(identity, deque()), event, frames)

    def heartbeat(self, identity: Identity, event: Message) -> bool:
        """Send unless the client is behind anyway. False if the client is gone."""
        if identity in self._outboxes:
            return True
        return self._try(identity, codec.encode(event)) is not Sent.GONE

    def drop_pending(self, identity: Identity) -> None:
        """Forget the deltas and progress that wait for a client; how requests ended stays."""
        outbox = self._outboxes.get(identity)
        if outbox:
            kept = [item for item in outbox if not isinstance(item[0], Delta | Progress)]
            outbox.clear()
            outbox.extend(kept)

    def forget(self, identity: Identity) -> None:
        """The client is gone."""
        self._outboxes.pop(identity, None)

    def close(self) -> None:
        """Stop listening; what is already sent still gets out."""
        if self._retry:
            self._retry.cancel()
        self._socket.close()

    def _try(self, identity: Identity, frames: list[bytes]) -> Sent:
        # With NOBLOCK pyzmq settles the future at once.
        sent: Any = self._socket.send_multipart([identity, *frames], flags=zmq.NOBLOCK)
        error = sent.exception()
        if error is None:
            return Sent.YES
        if isinstance(error, zmq.Again):
            return Sent.BEHIND
        if isinstance(error, zmq.ZMQError) and error.errno == zmq.EHOSTUNREACH:
            self.forget(identity)
            # Not from here: the caller may be in the middle of this client's requests.
            asyncio.get_running_loop().call_soon(self._on_gone, identity)
            return Sent.GONE
        raise error

    def _keep(
        self,
        identity: Identity,
        outbox: deque[tuple[Message, list[bytes]]],
        event: Message,
        frames: list[bytes],
    ) -> None:
        outbox.append((event, frames))
        if len(outbox) == MAX_OUTBOX:
            asyncio.get_running_loop().call_soon(self._on_overflow, identity)
        elif len(outbox) >= 2 * MAX_OUTBOX:
            # It goes on asking and still does not read: as good as gone.
            self.forget(identity)
            asyncio.get_running_loop().call_soon(self._on_gone, identity)
            return
        if self._retry is None:
            self._pause = FIRST_RETRY_S
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._flush)

    def _flush(self) -> None:
        self._retry = None
        moved = False
        for identity, outbox in list(self._outboxes.items()):
            while outbox and self._try(identity, outbox[0][1]) is Sent.YES:
                outbox.popleft()
                moved = True
            if not outbox:
                self._outboxes.pop(identity, None)
        if self._outboxes:
            # A client that is stopped in a debugger should not cost the daemon its idleness.
            self._pause = FIRST_RETRY_S if moved else min(LAST_RETRY_S, 2 * self._pause)
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._flush)
