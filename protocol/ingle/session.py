"""A client's side of one connection, without I/O: ids, open requests, silence.

Both clients drive it, so they can't disagree. Time is passed in, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from . import codec, messages
from .errors import ConnectionLost, InvalidRequest, ProtocolError, from_wire
from .version import PROTOCOL_VERSION, __version__

#: A daemon that is silent for this many of its own heartbeat intervals counts as gone.
MISSED_HEARTBEATS = 5

R = TypeVar("R", bound=messages.Message)

LOST = "the connection to the daemon was lost: see `ingle logs`, start it again with `ingle up`"


class Session:
    """Bookkeeping of one connection."""

    def __init__(self, name: str, now: float) -> None:
        self._name = name
        self._last_id = 0
        self._open: set[int] = set()
        self._heard = now
        #: Seconds between heartbeats; the daemon's own value after `welcome`.
        self.heartbeat = 2.0

    @property
    def busy(self) -> bool:
        """Whether a request is open."""
        return bool(self._open)

    def hello(self) -> messages.Hello:
        """The first message."""
        return self._opened(
            messages.Hello(
                id=self._next_id(),
                protocol=PROTOCOL_VERSION,
                client=self._name,
                version=__version__,
            )
        )

    def request(self, request_type: type[messages.Message], now: float, **fields: Any) -> Any:
        """A request with a fresh id.

        Raises `InvalidRequest` for a field that is unknown, missing, or out of range.
        """
        try:
            message = request_type(id=self._next_id(), **fields)
            # Constructors don't check values; the daemon would, one round trip later.
            msgspec.convert(msgspec.to_builtins(message), request_type)
        except (TypeError, msgspec.ValidationError) as error:
            raise InvalidRequest(f"{request_type.__name__.lower()}: {error}") from error
        if not self._open:
            self._heard = now
        return self._opened(message)

    def encode(self, message: messages.Message) -> list[bytes]:
        """A request's frames. One that can't be sent is not open: raises `ProtocolError`."""
        try:
            return codec.encode(message)
        except ProtocolError:
            self._open.discard(message.id)  # type: ignore[attr-defined]
            raise

    def receive(self, frames: Sequence[bytes], now: float) -> messages.Message | None:
        """An event for an open request; None for what needs no attention.

        Raises the `IngleError` of an `error` event that belongs to no request.
        """
        self._heard = now
        try:
            event = codec.decode_event(frames)
        except ProtocolError as error:
            raise ConnectionLost(f"the daemon sent what this client can't read: {error}") from error
        if isinstance(event, messages.Heartbeat):
            return None
        event_id = event.id  # type: ignore[attr-defined]
        if event_id is None and isinstance(event, messages.Error):
            raise from_wire(
                event.code, event.message, event.retry_after_ms, retryable=event.retryable
            )
        if event_id not in self._open:
            return None
        if messages.is_terminal(event):
            self._open.discard(event_id)
        if isinstance(event, messages.Welcome):
            self.heartbeat = event.heartbeat_ms / 1000
        return event

    def is_silent(self, now: float) -> bool:
        """True when requests are open and nothing was heard for too long."""
        return self.busy and now - self._heard > MISSED_HEARTBEATS * self.heartbeat

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _opened(self, message: R) -> R:
        self._open.add(message.id)  # type: ignore[attr-defined]
        return message
