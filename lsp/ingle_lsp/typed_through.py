"""What was suggested is remembered, so that typing it costs nothing. Pure.

A suggestion answers every place that is reached by typing a beginning of it, in any order: typing
on, going back by deleting, coming back after something else was tried. Whether a place is one of
those is seen from the text around it, as far as the model was shown it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .documents import Place
from .postprocess import Cursor, polished

#: Answers that are remembered, of all documents.
SIZE = 32
#: Closing brackets and quotes that editors put behind the cursor when the opening one is typed.
_CLOSERS = ")]}\"'`>"
MAX_CLOSERS = 4


@dataclass(frozen=True)
class Spot:
    """A place in a document, and the text around it."""

    uri: str
    place: Place
    cursor: Cursor


@dataclass(frozen=True)
class Known:
    """What is known at a spot: the rest of each text; none where there is nothing to suggest.

    `complete`: more candidates were tried. `over`: it is certain that nothing more is to be said.
    `odds`: how likely the first text is right to its end, and that is all; 0 to 1.
    """

    texts: tuple[str, ...]
    complete: bool
    over: bool = False
    odds: float = 0.0


@dataclass(frozen=True)
class _Entry:
    spot: Spot
    texts: tuple[str, ...]
    complete: bool
    whole: bool
    odds: float
    #: What the texts depend on besides the document: the settings.
    terms: Hashable


class TypedThrough:
    """The last suggestions, the newest last."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def remember(
        self,
        spot: Spot,
        texts: Sequence[str],
        terms: Hashable,
        *,
        complete: bool,
        whole: bool = False,
        odds: float = 0.0,
    ) -> None:
        """`texts` are suggested at `spot`; what was known there is replaced.

        `whole`: the first of them is all that there is to say, or there is nothing to say at all.
        `odds`: how likely it is that the first is right.
        """
        self._entries = [entry for entry in self._entries if entry.spot != spot]
        self._entries.append(_Entry(spot, tuple(texts), complete, whole, odds, terms))
        del self._entries[:-SIZE]

    def find(self, spot: Spot, terms: Hashable) -> Known | None:
        """What is left of an answer at `spot`; None if nothing is known there."""
        for entry in reversed(self._entries):
            if entry.terms != terms or entry.spot.uri != spot.uri:
                continue
            rests = [rest for text in entry.texts if (rest := _rest(entry.spot, text, spot))]
            if rests:
                # Texts that differed may have the same end.
                texts = tuple(dict.fromkeys(rests))
                # As if each character were as likely as every other.
                odds = entry.odds ** (len(texts[0]) / len(entry.texts[0])) if entry.odds else 0.0
                return Known(texts, entry.complete, odds=odds)
            if not entry.texts and entry.spot == spot:
                return Known((), entry.complete, over=entry.whole)
            if entry.whole and entry.texts and _is_at_the_end(entry.spot, entry.texts[0], spot):
                return Known((), entry.complete, over=True)
        return None

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._entries = [entry for entry in self._entries if entry.spot.uri != uri]


def _rest(before: Spot, text: str, now: Spot) -> str:
    """The rest of `text`, suggested at `before`, once its beginning was typed; "" if it was not."""
    length = _length_to(before.place, text, now.place)
    if length is None or length >= len(text):
        return ""
    typed, rest = text[:length], text[length:]
    if not _was_typed(before, typed, now):
        return ""
    if before.cursor.suffix == now.cursor.suffix:
        return rest
    closers = _inserted(before.cursor.suffix, now.cursor.suffix)
    if not typed or not closers or closers.strip(_CLOSERS):
        return ""
    # The editor closed what was opened: what of the rest is still needed is seen anew.
    return polished(rest, now.cursor, block="\n" in rest)


def _is_at_the_end(before: Spot, text: str, now: Spot) -> bool:
    """Whether all of `text` was typed."""
    return (
        _length_to(before.place, text, now.place) == len(text)
        and _was_typed(before, text, now)
        and before.cursor.suffix == now.cursor.suffix
    )


def _was_typed(before: Spot, typed: str, now: Spot) -> bool:
    """Whether `typed` lies between two places, as far as the text before them is seen."""
    wanted, found = before.cursor.prefix + typed, now.cursor.prefix
    if _is_whole(before) and _is_whole(now):
        return wanted == found
    return _ends_alike(wanted, found)


def _length_to(before: Place, text: str, now: Place) -> int | None:
    """How much of `text` leads from one place to the other; None if no beginning does."""
    lines = now.line - before.line
    if lines < 0:
        return None
    start = 0
    for _ in range(lines):
        start = text.find("\n", start) + 1
        if not start:
            return None
    length = start + now.column - (before.column if lines == 0 else 0)
    return length if start <= length <= len(text) else None


def _is_whole(spot: Spot) -> bool:
    """Whether the text before the cursor begins where the document does."""
    prefix, place = spot.cursor.prefix, spot.place
    return prefix.count("\n") == place.line and (place.line > 0 or len(prefix) == place.column)


def _ends_alike(one: str, other: str) -> bool:
    """Whether two texts before the cursor are the same; either may lack its beginning."""
    shorter = min(len(one), len(other))
    return one[len(one) - shorter :] == other[len(other) - shorter :]


def _inserted(before: str, now: str) -> str:
    """What stands in front of `before` now, if it is only a few characters."""
    for length in range(1, MAX_CLOSERS + 1):
        if _begins_alike(before, now[length:]):
            return now[:length]
    return ""


def _begins_alike(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    # Both are cut at the same length, so one is at most `MAX_CLOSERS` shorter.
    return one[:shorter] == other[:shorter] and abs(len(one) - len(other)) <= MAX_CLOSERS
