"""How long typing must pause before a completion is asked for, from how long answers take. Pure.

What is ready before the next key is no waste, even if that key comes: typing on is often typing
what is suggested. So a model that answers faster than people type is asked at once. A slower one is
asked once typing pauses, since every request that is typed over has computed for nothing::

    pause = min(max(median(last 9 times) - 100 ms, 0) / 3, 400 ms)     and 75 ms before the first

The median, because the request that loads a model takes a minute and says nothing of the next.

A request that is given up says only that its answer would have taken longer: it counts where it
was longer than the median. Else a model that never ends in time would never slow the asking down.
"""

from __future__ import annotations

from collections import deque
from statistics import median

#: Seconds of the pause: before anything is known, and the longest.
FIRST = 0.075
LONGEST = 0.4
#: Seconds between the keys of somebody who types fast; what is answered by then is in time.
KEY = 0.1
#: The pause's share of what answers take longer than that.
SHARE = 1 / 3
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
        return min(max(median(self._times) - KEY, 0.0) * SHARE, LONGEST)

    def answered(self, seconds: float) -> None:
        """An answer took so long."""
        self._times.append(seconds)

    def given_up(self, seconds: float) -> None:
        """A request was given up after so long, without an answer."""
        if not self._times or seconds > median(self._times):
            self._times.append(seconds)
