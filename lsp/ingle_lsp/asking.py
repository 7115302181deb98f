"""One question to the model: what the user asked for by name. Completions have their own way.

Owns the second try after the daemon was restarted, and what a wait looks like as progress.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ingle.errors import ConnectionFailed, DaemonNotRunning, HelloRequired
from ingle.messages import Chat, Delta, Message, Progress, Report, Status
from ingle.results import Answer, Gathered

from .connection import DaemonConnection
from .progress import Work


async def ask(
    connection: DaemonConnection,
    *,
    on_event: Callable[[Message], None],
    **fields: Any,
) -> Answer:
    """The whole answer to a `Chat` with these fields; `on_event` sees every event of it.

    Raises an `IngleError`: no daemon, or what the daemon refused. Cancelling the task cancels the
    request in the daemon.
    """
    said_something = False
    for attempt in range(2):
        client = await connection.client(urgent=True)
        if client is None:
            raise connection.failure or DaemonNotRunning(
                "ingled is not running: start it with `ingle up`"
            )
        gathered = Gathered()
        try:
            async for event in client.call(Chat, **fields):
                said_something = said_something or isinstance(event, Delta)
                gathered.add(event)
                on_event(event)
        except (ConnectionFailed, HelloRequired):
            # A daemon that was restarted since the last request is worth a second try.
            connection.lost(client)
            if attempt or said_something:
                raise
        else:
            break
    return gathered.answer()


#: The daemon's default.
USUAL_CONTEXT = 4096

#: What the user reads in each phase of `Progress`.
_PHASES = {
    "queued": "waiting for its turn",
    "loading": "loading the model",
    "restarting": "restarting the model",
    "prefill": "reading",
    "draining": "stopping",
}


async def context_tokens(connection: DaemonConnection) -> int:
    """Tokens of the resident model's context; `USUAL_CONTEXT` while there is none.

    Raises an `IngleError` if the daemon refuses to say.
    """
    client = await connection.client(urgent=True)
    found = 0
    if client is not None:
        try:
            async for event in client.call(Status):
                if isinstance(event, Report):
                    found = max((model.context for model in event.models), default=0)
        except (ConnectionFailed, HelloRequired):
            connection.lost(client)
    return found or USUAL_CONTEXT


class Waiting:
    """Shows the events of a question as progress: waiting, loading, reading, thinking, writing."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._tokens = 0

    def __call__(self, event: Message) -> None:
        if isinstance(event, Progress):
            fraction = event.fraction
            self._work.report(
                _PHASES[event.phase], None if fraction is None else round(100 * fraction)
            )
        elif isinstance(event, Delta):
            self._tokens += event.tokens
            doing = "thinking" if event.channel == "analysis" else "writing"
            self._work.report(f"{doing}: {self._tokens:,} tokens")
