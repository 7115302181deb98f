"""Suggestions switched off for a while, by the user's wish. Pure: the clock is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable


class Pause:
    """A pause that ends by itself or at `resume`. `clock` gives seconds, and is steady."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = -math.inf

    @property
    def active(self) -> bool:
        """Whether suggestions are paused."""
        return self._clock() < self._until

    def begin(self, seconds: float | None) -> None:
        """Pause for so long from now on; None: until `resume`."""
        self._until = math.inf if seconds is None else self._clock() + seconds

    def resume(self) -> None:
        """End it; nothing happens if there is none."""
        self._until = -math.inf
