"""Which part of a document goes into a completion's prompt. Pure policy over text lengths.

A prompt is cheap where the engine has its beginning cached. So the text before the cursor starts
at an anchor, a line boundary that stays where it is while the user types. It moves only when the
uncached tokens no longer fit the budget, when the context is full, or when much more context has
become affordable; then it moves far enough that the next keystrokes don't move it again.

Lengths are estimated from characters, at the rate that the document's own prompts had, so that
text outside the window is never tokenized. State is bounded: the last prompt's texts of a limited
number of documents.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingle.errors import ContextOverflow

#: Characters per token before anything was measured; code has 3 to 4.
FIRST_RATIO = 3.5
#: No window is larger, whatever the budget: more context hardly helps a completion.
MAX_TOKENS = 8192
#: A window below this is not worth a request.
MIN_TOKENS = 48
#: Share of the context that a moved window takes; the rest is room to type.
FILL = 0.75
#: A window this much larger than the present one is worth computing anew.
GROWTH = 2.0
#: An estimate this much too low is corrected before the prompt is used.
TOLERANCE = 1.25
DOCUMENTS = 64

_ATTEMPTS = 8
_SHRINK = 0.7
#: Characters at the anchor by which it is found again after an edit above it.
_MARK = 256
_RATIO_RANGE = (0.2, 12.0)
_SMOOTHING = 0.2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a dialect lays out a prompt: shares of the window, and what comes first."""

    suffix_share: float = 0.25
    snippet_share: float = 0.25
    #: The text after the cursor stands before the text at the cursor.
    suffix_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """In tokens: what may be uncached, what the prompt may have, what of it is no document."""

    uncached: int
    prompt: int
    fixed: int = 0


@dataclass(frozen=True, kw_only=True)
class Window:
    """The texts that go into the prompt. `start` is where `prefix` begins in the whole prefix."""

    start: int
    prefix: str
    suffix: str
    snippets: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """Characters of all texts together."""
        return len(self.prefix) + len(self.suffix) + sum(map(len, self.snippets))


@dataclass
class _Document:
    window: Window | None = None
    #: Characters that were affordable when the window was last cut from scratch.
    room: int = 0
    #: Measured characters per token; 0 before the first prompt.
    ratio: float = 0.0


class ContextWindows:
    """Chooses windows and remembers those of the latest documents."""

    def __init__(self, layout: Layout, documents: int = DOCUMENTS) -> None:
        self._layout = layout
        self._limit = documents
        self._documents: OrderedDict[str, _Document] = OrderedDict()
        self._ratio = FIRST_RATIO

    def fit(
        self,
        document: str,
        prefix: str,
        suffix: str,
        snippets: Sequence[str],
        limits: Limits,
        render: Callable[[Window], list[int]],
    ) -> tuple[Window, list[int]]:
        """The window, and its prompt as `render` gives it, within the limits.

        Raises `ContextOverflow` when not even a small window fits.
        """
        state = self._state(document)
        for attempt in range(_ATTEMPTS):
            window, fresh = self._choose(state, prefix, suffix, snippets, limits)
            ids = render(window)
            tokens = len(ids) - limits.fixed
            self._measure(state, window.characters, tokens)
            affordable = tokens <= TOLERANCE * max(MIN_TOKENS, limits.uncached)
            if len(ids) <= limits.prompt and (affordable or not fresh or attempt):
                state.window = window
                return window, ids
            # Denser text than estimated, or a window of a larger context: start over, smaller.
            state.window = None
            state.ratio = (state.ratio or self._ratio) * _SHRINK**attempt
        raise ContextOverflow(
            f"a completion prompt of {limits.prompt:,} tokens is too small for this text: "
            "load the model with a larger context"
        )

    def _state(self, document: str) -> _Document:
        if not document:
            return _Document()
        state = self._documents.setdefault(document, _Document())
        self._documents.move_to_end(document)
        while len(self._documents) > self._limit:
            self._documents.popitem(last=False)
        return state

    def _measure(self, state: _Document, characters: int, tokens: int) -> None:
        if tokens >= MIN_TOKENS:
            low, high = _RATIO_RANGE
            state.ratio = min(high, max(low, characters / tokens))
            self._ratio += _SMOOTHING * (state.ratio - self._ratio)

    def _choose(
        self,
        state: _Document,
        prefix: str,
        suffix: str,
        snippets: Sequence[str],
        limits: Limits,
    ) -> tuple[Window, bool]:
        """The window, and whether it was cut from scratch."""
        ratio = state.ratio or self._ratio
        total = min(MAX_TOKENS, limits.prompt - limits.fixed) * ratio
        uncached = max(MIN_TOKENS, limits.uncached) * ratio
        room = max(0, int(min(uncached, FILL * total)))
        if state.window is not None:
            kept = self._kept(state.window, prefix, suffix, room)
            if (
                kept is not None
                and kept.characters <= total
                and self._uncached(state.window, kept) <= uncached
                and (kept.start == 0 or room < GROWTH * max(state.room, kept.characters))
            ):
                return kept, False
        state.room = room
        return self._cut(room, prefix, suffix, snippets), True

    def _cut(self, room: int, prefix: str, suffix: str, snippets: Sequence[str]) -> Window:
        """A window of `room` characters, from scratch."""
        prefix_room = room - min(len(suffix), int(room * self._layout.suffix_share))
        chosen = self._chosen(room, prefix, suffix, snippets)
        prefix_room -= sum(map(len, chosen))
        start = _line_start(prefix, len(prefix) - prefix_room)
        left = room - sum(map(len, chosen)) - (len(prefix) - start)
        return Window(
            start=start,
            prefix=prefix[start:],
            suffix=_head(suffix, left) if self._layout.suffix_share else "",
            snippets=tuple(chosen),
        )

    def _chosen(self, room: int, prefix: str, suffix: str, snippets: Sequence[str]) -> list[str]:
        """The first snippets that fit and don't repeat what is near the cursor anyway."""
        left = int(room * self._layout.snippet_share)
        if not left or not snippets:
            return []
        near = prefix[-2 * room :] + suffix[:room]
        chosen: list[str] = []
        for snippet in snippets:
            if len(snippet) <= left and not _overlaps(snippet, near):
                chosen.append(snippet)
                left -= len(snippet)
        return chosen

    def _kept(self, last: Window, prefix: str, suffix: str, room: int) -> Window | None:
        """The last window carried over to the document as it is now."""
        start = _find_anchor(last, prefix)
        if start is None:
            return None
        if self._layout.suffix_first and last.suffix and suffix.startswith(last.suffix):
            kept_suffix = last.suffix
        else:
            kept_suffix = _head(suffix, int(room * self._layout.suffix_share))
        return Window(
            start=start, prefix=prefix[start:], suffix=kept_suffix, snippets=last.snippets
        )

    def _uncached(self, last: Window, now: Window) -> int:
        """Characters that the engine has not seen at their place in the last prompt."""
        common = _common(last.prefix, now.prefix)
        if not self._layout.suffix_first:
            return len(now.prefix) - common + len(now.suffix)
        if now.suffix != last.suffix:
            return len(now.suffix) + len(now.prefix)
        return len(now.prefix) - common


def _line_start(text: str, offset: int) -> int:
    """The first line boundary at or after `offset`; `offset` itself inside a very long line."""
    if offset <= 0:
        return 0
    newline = text.find("\n", offset - 1)
    if newline == -1 or newline + 1 > offset + (len(text) - offset) // 4:
        return offset
    return newline + 1


def _head(text: str, room: int) -> str:
    """The beginning of `text`, whole lines if there is one within `room`."""
    if len(text) <= room:
        return text
    newline = text.rfind("\n", 0, max(0, room))
    return text[: newline + 1] if newline != -1 else text[: max(0, room)]


def _find_anchor(last: Window, prefix: str) -> int | None:
    """Where the last window's first line is now."""
    if last.start == 0:
        return 0
    mark = last.prefix[:_MARK]
    if not mark:
        return None
    same = prefix[last.start : last.start + _MARK]
    # The cursor may be near the anchor, and some of this text deleted.
    if 2 * _common(same, mark) >= len(mark):
        return last.start
    near = max(0, len(prefix) - 2 * len(last.prefix) - 16 * _MARK)
    found = prefix.rfind(mark, near)
    return found if found != -1 else None


def _common(one: str, other: str) -> int:
    """Length of the common beginning, by bisection over string comparisons."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _overlaps(snippet: str, near: str) -> bool:
    """Whether most of a snippet's lines stand near the cursor anyway: models copy such text."""
    lines = [line.strip() for line in snippet.splitlines() if len(line.strip()) > 3]
    local = {line.strip() for line in near.splitlines()}
    return bool(lines) and sum(line in local for line in lines) * 2 > len(lines)
