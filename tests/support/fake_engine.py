"""Stands for the daemon in tests of the language server that need none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ingle.results import Completion
from ingle_lsp.connection import DaemonClient, DaemonConnection


class FakeEngine:
    """A client whose answers the test chooses."""

    def __init__(self, reply: str = "") -> None:
        self.reply = Completion(text=reply, finish="stop")
        #: Raised by the next calls, one each.
        self.failures: list[Exception] = []
        #: While set, calls wait for it.
        self.gate: asyncio.Event | None = None
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0
        self.lost = False
        self.down: Exception | None = None

    async def infill(self, prefix: str, suffix: str = "", **fields: object) -> Completion:
        self.calls.append({"prefix": prefix, "suffix": suffix, **fields})
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            raise self.failures.pop(0)
        return self.reply

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
