"""How long something takes still, from how fast it went since it was begun here."""

from __future__ import annotations

#: Seconds before an estimate is worth something.
_LEAST = 5.0


class TimeLeft:
    """Progress in units of about the same length. A resumed run counts from where it began."""

    def __init__(self, now: float) -> None:
        self._part: object = None
        self._begun, self._first = now, 0.0

    def text(self, now: float, part: object, done: float, total: float) -> str:
        """`, about 3 h left`; "" while nothing is known. A new `part` counts anew."""
        if part != self._part:
            self._part, self._begun, self._first = part, now, done
        elapsed, gone = now - self._begun, done - self._first
        if elapsed < _LEAST or gone <= 0:
            return ""
        return f", about {_rounded(elapsed / gone * (total - done))} left"


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
