"""From a text to a wanted one in few and small changes. Pure.

What both texts share at their ends is left alone. Between, lines are compared first, then the words
of the lines that differ, then the characters of the words.
No change begins or ends between "\\r" and "\\n": an editor has no such position.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from .answers import Refused
from .documents import Document, Edit, Place

log = logging.getLogger(__name__)

#: Words, marks, blanks, line ends: together they are the whole text.
_PIECE = re.compile(r"\r\n|\r|\n|[^\S\r\n]+|\w+|[^\w\s]")
#: Pieces on one side of a difference above which they are not compared one by one.
MAX_PIECES = 500
#: Lines on one side above which only what both texts share at their ends is left alone.
MAX_LINES = 2_000
#: Equal text between two changes that is so short is written again: two small edits are harder to
#: read than one.
SHORT = 2


@dataclass(frozen=True)
class Change:
    """Replace the characters from `start` to `end` by `text`."""

    start: int
    end: int
    text: str


def changes(old: str, new: str) -> list[Change]:
    """What makes `new` of `old`: in order, without overlaps, nothing where both are equal."""
    found: list[Change] = []
    for whole in _trimmed(old, 0, len(old), new):
        for start, end, text in _by_lines(old[whole.start : whole.end], whole.text):
            found += _by_words(old, whole.start + start, whole.start + end, text)
    return _merged(old, found)


def document_edits(document: Document, start: Place, end: Place, new: str) -> list[Edit]:
    """The edits that put `new` in place of a stretch of a document; none if it is there already."""
    old = document.between(start, end)
    lines = _lines(old)
    found = []
    line, before = 0, 0

    def units(index: int) -> tuple[int, int]:
        nonlocal line, before
        while line < len(lines) and index >= before + len(lines[line]):
            before += len(lines[line])
            line += 1
        # Behind a last line without an end, it is still that line.
        if line == len(lines) and lines and not lines[-1].endswith(("\r", "\n")):
            line -= 1
            before -= len(lines[line])
        column = index - before + (start.column if line == 0 else 0)
        at = Place(start.line + line, column)
        return at.line, document.units(at)

    for change in changes(old, new):
        found.append(Edit(*units(change.start), *units(change.end), change.text))
    return found


def proven_edits(document: Document, start: Place, end: Place, new: str) -> list[Edit]:
    """`document_edits`, once it is sure that they give the wanted text. Raises `Refused`."""
    edits = document_edits(document, start, end, new)
    wanted = document.between(Place(0, 0), start) + new + document.between(end, document.end)
    if applied(document, edits) != wanted:
        log.error("edits did not give the text that they were made for")
        raise Refused("the edit would not apply: this is a bug of ingle-lsp")
    return edits


def applied(document: Document, edits: Iterable[Edit]) -> str:
    """The text that a document would have after edits that all refer to its text of now."""
    copy = Document(document.uri, document.text, document.language, document.encoding)
    for edit in sorted(edits, key=lambda edit: (edit.start_line, edit.start_units), reverse=True):
        copy.edit(edit)
    return copy.text


def _by_lines(old: str, new: str) -> Iterable[tuple[int, int, str]]:
    """(start, end, new text) of every difference, in whole lines."""
    before, after = _lines(old), _lines(new)
    if max(len(before), len(after)) > MAX_LINES:
        yield 0, len(old), new
        return
    starts = [0]
    for line in before:
        starts.append(starts[-1] + len(line))
    for first, last, low, high in _differences(before, after):
        yield starts[first], starts[last], "".join(after[low:high])


def _by_words(old: str, start: int, end: int, new: str) -> Iterable[Change]:
    before, after = _PIECE.findall(old[start:end]), _PIECE.findall(new)
    if max(len(before), len(after)) > MAX_PIECES:
        yield from _trimmed(old, start, end, new)
        return
    at, reached = start, 0
    for first, last, low, high in _differences(before, after):
        at += sum(map(len, before[reached:first]))
        reached = last
        size = sum(map(len, before[first:last]))
        yield from _trimmed(old, at, at + size, "".join(after[low:high]))
        at += size


def _trimmed(old: str, start: int, end: int, new: str) -> Iterable[Change]:
    """The change without what both texts share at its ends."""
    most = min(end - start, len(new))
    head = 0
    while head < most and old[start + head] == new[head]:
        head += 1
    if (
        head
        and old[start + head - 1] == "\r"
        and "\n" in (old[start + head : end][:1], new[head:][:1])
    ):
        head -= 1
    tail = 0
    while tail < most - head and old[end - 1 - tail] == new[len(new) - 1 - tail]:
        tail += 1
    if tail and old[end - tail] == "\n" and _parts_line_end(old, end - tail, new, len(new) - tail):
        tail -= 1
    if start + head < end - tail or head < len(new) - tail:
        yield Change(start + head, end - tail, new[head : len(new) - tail])


def _parts_line_end(old: str, at: int, new: str, new_at: int) -> bool:
    return "\r" in (old[max(0, at - 1) : at], new[max(0, new_at - 1) : new_at])


def _merged(old: str, found: Sequence[Change]) -> list[Change]:
    merged: list[Change] = []
    for change in found:
        between = old[merged[-1].end : change.start] if merged else "\n"
        if len(between) <= SHORT and not any(mark in between for mark in "\r\n"):
            last = merged.pop()
            change = Change(last.start, change.end, last.text + between + change.text)
        merged.append(change)
    return merged


def _differences(old: list[str], new: list[str]) -> Iterable[tuple[int, int, int, int]]:
    """(from, to) in the old and in the new sequence of every stretch that is not equal."""
    for tag, first, last, low, high in SequenceMatcher(None, old, new, False).get_opcodes():
        if tag != "equal":
            yield first, last, low, high


def _lines(text: str) -> list[str]:
    return list(io.StringIO(text, newline=""))
