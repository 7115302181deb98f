"""Stands for the daemon in tests of the language server that need none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from ingle.messages import Chat, Delta, Done, FinishReason, Message
from ingle.results import Completion
from ingle_lsp.connection import DaemonClient, DaemonConnection


class FakeEngine:
    """A client whose answers the test chooses."""

    def __init__(self, reply: str = "") -> None:
        self.reply = Completion(text=reply, finish="stop")
        #: What sampled infills are answered with, by their seed; without an entry, as the others.
        self.sampled: dict[object, Completion] = {}
        #: What chats are answered with, one each; the last one stays. Text of the channel `final`.
        self.answers: list[str] = [reply]
        self.finish: FinishReason = "stop"
        #: What requests that are neither a chat nor an infill are answered with; then `Done`.
        self.events: dict[type[Message], list[Message]] = {}
        #: Raised by the next calls, one each.
        self.failures: list[Exception] = []
        #: Raised by the next chats alone, one each.
        self.refusals: list[Exception] = []
        #: What infills say before they wait for `gate`.
        self.deltas: list[Delta] = []
        #: While set, calls wait for it.
        self.gate: asyncio.Event | None = None
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0
        self.lost = False
        self.down: Exception | None = None

    async def infill(
        self,
        prefix: str,
        suffix: str = "",
        *,
        on_delta: Callable[[Delta], None] | None = None,
        **fields: object,
    ) -> Completion:
        self.calls.append({"prefix": prefix, "suffix": suffix, **fields})
        try:
            for delta in self.deltas:
                await asyncio.sleep(0)
                if on_delta:
                    on_delta(delta)
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            raise self.failures.pop(0)
        return self.sampled.get(fields.get("seed"), self.reply)

    async def call(self, request_type: type[Message], **fields: Any) -> AsyncIterator[Message]:
        self.calls.append({"type": request_type, **fields})
        number = len(self.calls)
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            raise self.failures.pop(0)
        if request_type is not Chat:
            for event in self.events.get(request_type, []):
                yield event
            yield Done(id=number)
            return
        if self.refusals:
            raise self.refusals.pop(0)
        text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        for piece in text.splitlines(keepends=True):
            yield Delta(id=number, text=piece, tokens=1)
        yield Done(id=number, finish=self.finish, model="fake")

    async def close(self) -> None:
        pass

    def connection(self, tell: Callable[[str], None]) -> DaemonConnection:
        """A connection that leads here."""

        async def connect() -> DaemonClient:
            if self.down is not None:
                raise self.down
            self.lost = False
            return self

        def start() -> Any:
            raise AssertionError("nothing allows to start a daemon")

        return DaemonConnection(
            connect=connect, start=start, may_start=lambda: False, tell=tell, clock=lambda: 0.0
        )
