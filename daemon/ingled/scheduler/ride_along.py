"""Riding along: the user types exactly what a running completion is already generating.

Then the running generation serves the newer request too, from the place where the typing is: what
was computed is kept, and the answer comes at once. Pure: texts in, texts out.
"""

from __future__ import annotations

from ingle.messages import Infill

#: Characters that may be typed while one generation runs.
MOST_TYPED = 400
#: Characters of the older prefix by which its place in the newer one is found.
_ANCHOR = 200
#: What may differ between the requests without making another answer.
_FREE = {"id", "prefix", "deadline_ms", "speculative"}


class Diverged(Exception):
    """What is generated is not what was typed."""


def typed_since(older: Infill, newer: Infill) -> str | None:
    """What was typed between two requests of a document; None if it is no typing at the cursor.

    Editors send a window before the cursor that moves by whole lines: the newer prefix may begin
    later than the older one, or earlier after a deletion.
    """
    for name in Infill.__struct_fields__:
        if name not in _FREE and getattr(older, name) != getattr(newer, name):
            return None
    if newer.prefix.startswith(older.prefix):
        typed = newer.prefix[len(older.prefix) :]
        return typed if len(typed) <= MOST_TYPED else None
    anchor = older.prefix[-_ANCHOR:]
    at = newer.prefix.rfind(anchor)
    end = at + len(anchor)
    if at < 0 or len(newer.prefix) - end > MOST_TYPED:
        return None
    common = min(end, len(older.prefix))
    same = newer.prefix[end - common : end] == older.prefix[len(older.prefix) - common :]
    return newer.prefix[end:] if same else None


class Ride:
    """One running generation, from the request that started it to those that ride along."""

    def __init__(self, origin: Infill) -> None:
        self.origin = origin
        #: All text generated so far, from the origin's cursor.
        self.generated = ""
        #: How much of `generated` the present request has: what was typed, and what was sent.
        self._given = 0
        self._typed = ""

    def take_over(self, newer: Infill) -> str | None:
        """A newer request rides along → its text so far; None if this is another answer.

        While less is generated than was typed, nobody can know: the ride goes on until `feed`
        finds out.
        """
        typed = typed_since(self.origin, newer)
        if typed is None or not self._agrees(typed):
            return None
        self._typed = typed
        self._given = len(typed)
        return self._new()

    def feed(self, text: str) -> str:
        """More generated text → what the present request has not got yet. Raises `Diverged`."""
        self.generated += text
        if not self._agrees(self._typed):
            raise Diverged
        return self._new()

    @property
    def reached(self) -> bool:
        """Whether all that was typed has been generated."""
        return len(self.generated) >= len(self._typed)

    def _agrees(self, typed: str) -> bool:
        length = min(len(typed), len(self.generated))
        return typed[:length] == self.generated[:length]

    def _new(self) -> str:
        text = self.generated[self._given :]
        self._given = max(self._given, len(self.generated))
        return text
