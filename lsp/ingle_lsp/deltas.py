"""The text of an answer as the editor gets it: at once, but not more often than it can be drawn.

What comes faster is bundled; nothing is left out, and nothing changes its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

#: Seconds between two messages, at least: a screen's sixtieth of a second.
INTERVAL = 1 / 60


class Timers(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> asyncio.TimerHandle: ...


class Deltas:
    """Bundles the deltas of one answer; `send` gets a channel and a text."""

    def __init__(self, send: Callable[[str, str], None], timers: Timers) -> None:
        self._send = send
        self._timers = timers
        self._waiting: list[tuple[str, list[str]]] = []
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, channel: str, text: str) -> None:
        """More text."""
        if not self._waiting or self._waiting[-1][0] != channel:
            self._waiting.append((channel, []))
        self._waiting[-1][1].append(text)
        if self._timer is not None:
            return
        pause = self._due - self._timers.time()
        if pause <= 0:
            self.flush()
        else:
            self._timer = self._timers.call_later(pause, self.flush)

    def flush(self) -> None:
        """Send what waits. The last word of an answer must not wait for the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for channel, texts in waiting:
            self._send(channel, "".join(texts))
        self._due = self._timers.time() + INTERVAL
