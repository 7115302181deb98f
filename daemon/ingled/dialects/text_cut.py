"""A filter that ends a stream of text at the first of some marker texts.

Owns the hold-back: text that may turn out to be the start of a marker waits. What a marker means
is the caller's affair.
"""

from __future__ import annotations

from collections.abc import Sequence


class TextCut:
    """Passes text through until a marker is met; how the text is split makes no difference."""

    def __init__(self, markers: Sequence[str]) -> None:
        self._markers = [marker for marker in markers if marker]
        self._held = ""
        #: The marker that was met; "" while none was.
        self.met = ""
        #: Text after the marker, as far as it came in the same call.
        self.rest = ""

    def feed(self, text: str) -> str:
        """More text → what is certainly before any marker."""
        if self.met:
            return ""
        held = self._held + text
        found = min(
            (
                (held.find(marker), -len(marker), marker)
                for marker in self._markers
                if marker in held
            ),
            default=None,
        )
        if found is not None:
            at, _, self.met = found
            self._held = ""
            self.rest = held[at + len(self.met) :]
            return held[:at]
        keep = self._possible_start(held)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """The stream is over: what was held back after all belongs to the text."""
        held, self._held = self._held, ""
        return held

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of `text` that a marker starts with."""
        longest = max((len(marker) for marker in self._markers), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(marker.startswith(text[-length:]) for marker in self._markers):
                return length
        return 0
