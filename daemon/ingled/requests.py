"""A request that is open: whose it is, what became of it. Exactly one terminal event leaves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingle.errors import IngleError, InternalError
from ingle.messages import (
    ActiveRequest,
    Chat,
    Done,
    Error,
    Infill,
    Message,
    Phase,
    Priority,
    Progress,
)


@dataclass(eq=False)
class OpenRequest:
    """One request between its arrival and its terminal event."""

    #: Routing identity of its connection.
    client: bytes
    client_name: str
    message: Any
    since: float
    emit: Callable[[Message], None]
    #: Called once, right after the terminal event.
    on_closed: Callable[[OpenRequest, Message], None]
    model: str = ""
    running: bool = False
    #: Stopped for a more urgent one, now; and for how long in all.
    paused: bool = False
    paused_s: float = 0.0
    queued_s: float = 0.0
    completion_tokens: int = 0
    closed: bool = False

    @property
    def priority(self) -> Priority:
        """Its scheduling class."""
        if isinstance(self.message, Infill):
            return "prefetch" if self.message.speculative else "inline"
        return self.message.priority if isinstance(self.message, Chat) else "interactive"

    @property
    def deadline(self) -> float | None:
        """Absolute time of its deadline, on the clock of `since`."""
        wanted = getattr(self.message, "deadline_ms", None)
        return None if wanted is None else self.since + wanted / 1000

    def send(self, event: Message) -> None:
        """A non-terminal event; nothing is sent once the request is closed."""
        if not self.closed:
            self.emit(event)

    def progress(self, phase: Phase, fraction: float | None = None, detail: str = "") -> None:
        """Tell what it waits for."""
        self.send(Progress(id=self.message.id, phase=phase, fraction=fraction, detail=detail))

    def done(self, **fields: Any) -> None:
        """End it well. The first ending counts."""
        self._close(Done(id=self.message.id, **fields))

    def fail(self, error: IngleError) -> None:
        """End it with an error. The first ending counts."""
        self._close(
            Error(
                id=self.message.id,
                code=error.code or InternalError.code,
                message=str(error),
                retryable=error.retryable,
                retry_after_ms=error.retry_after_ms,
            )
        )

    def abandon(self) -> None:
        """Its client is gone: nobody is left to tell."""
        self.closed = True

    def describe(self, now: float) -> ActiveRequest:
        """For status; never its text."""
        return ActiveRequest(
            client=self.client_name,
            kind=type(self.message).__name__.lower(),
            priority=self.priority,
            model=self.model,
            state="paused" if self.paused else "running" if self.running else "queued",
            age_ms=round((now - self.since) * 1000),
            completion_tokens=self.completion_tokens,
        )

    def _close(self, terminal: Message) -> None:
        if self.closed:
            return
        self.closed = True
        self.emit(terminal)
        self.on_closed(self, terminal)
