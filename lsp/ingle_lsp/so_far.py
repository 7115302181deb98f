"""An answer as it comes: what there is of it, and waiting until that is worth showing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ingle.messages import Delta
from ingle.results import Completion

#: Seconds after which a part of an answer is better than none.
SOON = 0.25


class SoFar:
    """What has come of an answer."""

    def __init__(self) -> None:
        self.text = ""
        self._confidence: float | None = None
        self._news = asyncio.Event()

    def take(self, delta: Delta) -> None:
        """More of it."""
        self.text += delta.text
        self._confidence = delta.confidence
        self._news.set()

    @property
    def completion(self) -> Completion:
        """As if it had been cut here."""
        return Completion(text=self.text, finish="length", confidence=self._confidence)

    async def wait(
        self, whole: asyncio.Future[Completion | None], is_enough: Callable[[Completion], bool]
    ) -> None:
        """Return once it is whole, or else, after `SOON` seconds, once there is enough of it.

        Whoever is cancelled here leaves `whole` as it is.
        """
        await asyncio.wait({whole}, timeout=SOON)
        while not (whole.done() or is_enough(self.completion)):
            self._news.clear()
            news = asyncio.ensure_future(self._news.wait())
            either: set[asyncio.Future[Any]] = {whole, news}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
