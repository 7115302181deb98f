"""The open documents: their text, kept in step with the editor.

Owns the text and its line structure; what a position means in one line is `positions`.
A document is a list of lines, so that a key in a file of 100,000 lines costs microseconds (pygls'
own document splits and joins the whole text, twice a key, and breaks lines at form feeds, where
the protocol does not).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from . import positions
from .positions import Encoding

#: Characters above which a document is not completed.
MAX_CHARACTERS = 5_000_000


@dataclass(frozen=True, order=True)
class Place:
    """A valid place in a document: a line, and an index into it in characters."""

    line: int
    column: int


@dataclass(frozen=True)
class Edit:
    """Replace a range by `text`. Columns are code units of the document's encoding."""

    start_line: int
    start_units: int
    end_line: int
    end_units: int
    text: str


@dataclass(eq=False)
class Mark:
    """A stretch of a document that stays with its text while other text changes around it."""

    start: Place
    end: Place
    #: Whether something inside of it was changed; then it marks nothing any more.
    touched: bool = False


#: A place as lines from the end of the text, and characters from the end of its line.
_FromEnd = tuple[int, int]


class Document:
    """One open document. Lines end with "\\n", "\\r\\n" or "\\r", the last one with nothing."""

    def __init__(
        self, uri: str, text: str, language: str, encoding: Encoding, version: int | None = None
    ) -> None:
        self.uri = uri
        self.language = language
        self.encoding = encoding
        #: The editor's version of the text; None if it has none.
        self.version = version
        #: Goes up with every change; unlike the editor's version it can't be sent twice.
        self.revision = 0
        self._marks: list[Mark] = []
        self._lines: list[str] = []
        self.replace(text)

    def replace(self, text: str) -> None:
        """Set the whole text."""
        self.revision += 1
        lines = _split(positions.mended(text), last=True)
        behind = self._behind(*_changed(self._lines, lines)) if self._marks else []
        self._lines = lines
        self._move(behind)
        self._characters = len(text)
        self._nuls = text.count("\0")

    def edit(self, edit: Edit) -> None:
        """Apply a change. A range past the end means the end; a reversed one is turned round."""
        self.revision += 1
        (first, start), (last, end) = sorted(
            self._clamped(line, column)
            for line, column in (
                (edit.start_line, edit.start_units),
                (edit.end_line, edit.end_units),
            )
        )
        head, _ = positions.cut(_content(self._lines[first]), start, self.encoding)
        _, tail = positions.cut(_content(self._lines[last]), end, self.encoding)
        tail += _line_end(self._lines[last])
        text = positions.mended(head + edit.text + tail)
        behind = self._behind(
            Place(first, len(head)), Place(last, len(self._lines[last]) - len(tail))
        )
        if first and text.startswith("\n") and self._lines[first - 1].endswith("\r"):
            first -= 1
            text = self._lines[first] + text
        old = self._lines[first : last + 1]
        self._characters += len(text) - sum(map(len, old))
        self._nuls += text.count("\0") - sum(line.count("\0") for line in old)
        self._lines[first : last + 1] = _split(text, last=last == len(self._lines) - 1)
        self._move(behind)

    @property
    def text(self) -> str:
        """The whole text. Costs as much as the document is long: not for every key."""
        return "".join(self._lines)

    @property
    def is_huge(self) -> bool:
        """True above `MAX_CHARACTERS`."""
        return self._characters > MAX_CHARACTERS

    @property
    def is_binary(self) -> bool:
        """True if there is a NUL character in it."""
        return self._nuls > 0

    @property
    def line_count(self) -> int:
        """Number of lines; at least 1."""
        return len(self._lines)

    @property
    def end(self) -> Place:
        """The place behind the last character."""
        return Place(len(self._lines) - 1, len(self._lines[-1]))

    @property
    def line_end(self) -> str:
        """How lines end here: as the first one does, "\\n" if there is only one."""
        return _line_end(self._lines[0]) or "\n"

    @property
    def lines(self) -> Sequence[str]:
        """All lines, with their line ends. They change with the document."""
        return self._lines

    def line(self, number: int) -> str:
        """One line, with its line end."""
        return self._lines[number]

    def between(self, start: Place, end: Place) -> str:
        """The text from one place to another."""
        if start.line == end.line:
            return self._lines[start.line][start.column : end.column]
        return "".join(
            [
                self._lines[start.line][start.column :],
                *self._lines[start.line + 1 : end.line],
                self._lines[end.line][: end.column],
            ]
        )

    @contextmanager
    def marked(self, start: Place, end: Place) -> Iterator[Mark]:
        """Follow a stretch of the text through what happens meanwhile."""
        mark = Mark(start, end)
        self._marks.append(mark)
        try:
            yield mark
        finally:
            self._marks.remove(mark)

    def locate(self, line: int, units: int) -> Place | None:
        """An editor's position → a place; None if there is no such position."""
        if not 0 <= line < len(self._lines):
            return None
        column = positions.index(_content(self._lines[line]), units, self.encoding)
        return None if column is None else Place(line, column)

    def units(self, place: Place) -> int:
        """The code units of a place's column, as the editor counts them."""
        return positions.units(self._lines[place.line], place.column, self.encoding)

    def before(self, place: Place, limit: int) -> str:
        """At most `limit` characters before a place: whole lines, unless this one is longer."""
        current = self._lines[place.line][: place.column]
        if len(current) >= limit:
            return current[-limit:]
        parts = [current]
        room = limit - len(current)
        for number in range(place.line - 1, -1, -1):
            room -= len(self._lines[number])
            if room < 0:
                break
            parts.append(self._lines[number])
        return "".join(reversed(parts))

    def after(self, place: Place, limit: int) -> str:
        """At most `limit` characters after a place."""
        parts = [self._lines[place.line][place.column :]]
        room = limit - len(parts[0])
        for number in range(place.line + 1, len(self._lines)):
            if room <= 0:
                break
            parts.append(self._lines[number])
            room -= len(self._lines[number])
        return "".join(parts)[:limit]

    def _behind(self, start: Place, end: Place) -> list[tuple[Mark, _FromEnd, _FromEnd]]:
        """The marks that a change from `start` to `end` moves, and where they are then.

        A place behind a change stays as far from the end of the text as it was. Marks inside of
        the change are touched by it.
        """
        found = []
        for mark in self._marks:
            if mark.touched:
                continue
            if end <= mark.start:
                found.append((mark, self._from_end(mark.start), self._from_end(mark.end)))
            elif start < mark.end:
                mark.touched = True
        return found

    def _move(self, behind: list[tuple[Mark, _FromEnd, _FromEnd]]) -> None:
        for mark, start, end in behind:
            mark.start, mark.end = self._at(start), self._at(end)

    def _from_end(self, place: Place) -> _FromEnd:
        return len(self._lines) - place.line, len(self._lines[place.line]) - place.column

    def _at(self, from_end: _FromEnd) -> Place:
        line = max(0, len(self._lines) - from_end[0])
        return Place(line, max(0, len(self._lines[line]) - from_end[1]))

    def _clamped(self, line: int, units: int) -> tuple[int, int]:
        if line < len(self._lines):
            return line, units
        last = len(self._lines) - 1
        return last, positions.units(self._lines[last], len(self._lines[last]), self.encoding)


class Documents:
    """All open documents, by URI."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}

    def open(
        self,
        uri: str,
        text: str,
        language: str,
        encoding: Encoding,
        version: int | None = None,
    ) -> None:
        """The editor shows a document; its text is the editor's now, whatever the disk says."""
        self._documents[uri] = Document(uri, text, language, encoding, version)

    def change(self, uri: str, edits: Sequence[Edit | str], version: int | None = None) -> bool:
        """Apply edits, or whole texts, in their order. False if the document is not open."""
        document = self._documents.get(uri)
        if document is None:
            return False
        for edit in edits:
            if isinstance(edit, str):
                document.replace(edit)
            else:
                document.edit(edit)
        document.version = version
        return True

    def close(self, uri: str) -> None:
        """Forget a document; nothing happens if it is not open."""
        self._documents.pop(uri, None)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents.values())

    def get(self, uri: str) -> Document | None:
        """The open document, or None."""
        return self._documents.get(uri)


def _changed(old: list[str], new: list[str]) -> tuple[Place, Place]:
    """Where the old lines differ from the new ones: all but what both share at their ends."""
    most = min(len(old), len(new))
    first = next((at for at in range(most) if old[at] != new[at]), most)
    rest = most - first
    last = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    return Place(first, 0), Place(len(old) - last, 0)


def _split(text: str, *, last: bool) -> list[str]:
    # `str.splitlines` would also split at form feeds, U+2028 and others.
    lines = list(io.StringIO(text, newline=""))
    if last and (not lines or lines[-1].endswith(("\n", "\r"))):
        lines.append("")
    return lines


def _content(line: str) -> str:
    return line.rstrip("\r\n")


def _line_end(line: str) -> str:
    return line[len(_content(line)) :]
