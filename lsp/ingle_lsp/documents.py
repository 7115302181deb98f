"""The open documents: their text, kept in step with the editor.

Owns the text and its line structure; what a position means in one line is `positions`.
A document is a list of lines, so that a key in a file of 100,000 lines costs microseconds (pygls'
own document splits and joins the whole text, twice a key, and breaks lines at form feeds, where
the protocol does not).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from . import positions
from .positions import Encoding

#: Characters above which a document is not completed.
MAX_CHARACTERS = 5_000_000


@dataclass(frozen=True)
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


class Document:
    """One open document. Lines end with "\\n", "\\r\\n" or "\\r", the last one with nothing."""

    def __init__(self, uri: str, text: str, language: str, encoding: Encoding) -> None:
        self.uri = uri
        self.language = language
        self.encoding = encoding
        #: Goes up with every change; unlike the editor's version it can't be sent twice.
        self.revision = 0
        self.replace(text)

    def replace(self, text: str) -> None:
        """Set the whole text."""
        self.revision += 1
        self._lines = _split(positions.mended(text), last=True)
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
        if first and text.startswith("\n") and self._lines[first - 1].endswith("\r"):
            first -= 1
            text = self._lines[first] + text
        old = self._lines[first : last + 1]
        self._characters += len(text) - sum(map(len, old))
        self._nuls += text.count("\0") - sum(line.count("\0") for line in old)
        self._lines[first : last + 1] = _split(text, last=last == len(self._lines) - 1)

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

    def _clamped(self, line: int, units: int) -> tuple[int, int]:
        if line < len(self._lines):
            return line, units
        last = len(self._lines) - 1
        return last, positions.units(self._lines[last], len(self._lines[last]), self.encoding)


class Documents:
    """All open documents, by URI."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}

    def open(self, uri: str, text: str, language: str, encoding: Encoding) -> None:
        """The editor shows a document; its text is the editor's now, whatever the disk says."""
        self._documents[uri] = Document(uri, text, language, encoding)

    def change(self, uri: str, edits: Sequence[Edit | str]) -> bool:
        """Apply edits, or whole texts, in their order. False if the document is not open."""
        document = self._documents.get(uri)
        if document is None:
            return False
        for edit in edits:
            if isinstance(edit, str):
                document.replace(edit)
            else:
                document.edit(edit)
        return True

    def close(self, uri: str) -> None:
        """Forget a document; nothing happens if it is not open."""
        self._documents.pop(uri, None)

    def get(self, uri: str) -> Document | None:
        """The open document, or None."""
        return self._documents.get(uri)


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
