"""How long typing must pause before a completion is asked for, from how long answers take. Pure.

The pause is a quarter of the median of the last answers' times, within bounds::

    pause = min(max(median(last 9 times) / 4, 30 ms), 400 ms)      and 75 ms before the first

A quarter, because then the pause makes an answer later by a quarter at most, while a model that
takes long is asked seldom: every request that is typed over has computed for nothing. The median,
because the request that loads a model takes a minute and says nothing of the next.

A request that is given up says only that its answer would have taken longer: it counts where it
was longer than the median. Else a model that never ends in time would never slow the asking down.
"""

from __future__ import annotations

from collections import deque
from statistics import median

#: Seconds of the pause: before anything is known, the shortest, the longest.
FIRST = 0.075
SHORTEST = 0.03
LONGEST = 0.4
#: Part of an answer's time that the pause is.
SHARE = 0.25
#: Answers that count.
MEMORY = 9


class Debounce:
    """Learns the pause. All times are seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MEMORY)

    @property
    def pause(self) -> float:
        """The pause that is right now."""
        if not self._times:
            return FIRST
        return min(max(median(self._times) * SHARE, SHORTEST), LONGEST)

    def answered(self, seconds: float) -> None:
        """An answer took so long."""
        self._times.append(seconds)

    def given_up(self, seconds: float) -> None:
        """A request was given up after so long, without an answer."""
        if not self._times or seconds > median(self._times):
            self._times.append(seconds)
