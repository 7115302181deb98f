"""The text of a document, or of a part of it, for a prompt: as it is in the editor, else on disk.

Owns what must not be sent, and what the user is told then. Completions have rules of their own:
they keep silent where this refuses.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ingle.conversation import shown_path
from ingle.threads import Excerpt, Position, Range

from .documents import MAX_CHARACTERS, Document, Documents, Place
from .positions import Encoding
from .privacy import Privacy, is_secret_text, path_of
from .requests import failure

#: Characters of all texts of one question. More than the largest context of a model holds.
MAX_QUESTION_CHARACTERS = 600_000
#: Bytes of a file that is read.
_MAX_BYTES = 4 * MAX_CHARACTERS


class Sources:
    """Reads what a question is about. Everything raised is an answer for the editor."""

    def __init__(self, documents: Documents, privacy: Privacy) -> None:
        self._documents = documents
        self._privacy = privacy

    async def excerpt(self, uri: str, span: Range | None, encoding: Encoding) -> Excerpt:
        """A document, or the part in a range, as it is sent: open, or the file on the disk.

        `encoding` is that of the range's positions. Line ends are "\\n".
        """
        name = shown_path(uri) or "this document"
        document = await self.document(uri, encoding)
        if span is None and document.is_huge:
            raise failure(f"{name} is too large to be sent: select a part of it")
        start, end = (Place(0, 0), document.end) if span is None else _places(document, span, name)
        text = document.between(start, end).replace("\r\n", "\n").replace("\r", "\n")
        if span is not None and not text:
            raise failure(f"the selection in {name} is empty: select something, or leave it out")
        check_text(text, name)
        return Excerpt(uri=uri, range=span, language=document.language, text=text)

    async def document(self, uri: str, encoding: Encoding) -> Document:
        """An open document, or the file on the disk as one, if it may be sent."""
        name = shown_path(uri) or "this document"
        if await self._privacy.is_private(uri):
            raise failure(f"{name} looks like a secret, or git ignores it: it is not sent")
        document = self._documents.get(uri)
        if document is None:
            text = await asyncio.to_thread(_read, path_of(uri), name)
            document = Document(uri, text, Path(name).suffix.removeprefix("."), encoding)
        return document


def check_text(text: str, name: str) -> None:
    """Refuse a text that must not, or can't, be sent; `name` says to the user what it is of."""
    if is_secret_text(text):
        raise failure(f"{name} has a private key or a token in it: it is not sent")
    if "\0" in text:
        raise failure(f"{name} is binary: it can't be sent")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise failure(f"{name} has half a character in it: it can't be sent") from None


def check_size(texts: Sequence[str]) -> None:
    """Refuse what is too much for one question."""
    size = sum(map(len, texts))
    if size > MAX_QUESTION_CHARACTERS:
        raise failure(
            f"the question has {size:,} characters with what it is about, more than any model "
            f"takes ({MAX_QUESTION_CHARACTERS:,}): select less"
        )


def _places(document: Document, span: Range, name: str) -> tuple[Place, Place]:
    found = sorted(
        place
        for position in (span.start, span.end)
        if (place := place_of(document, position)) is not None
    )
    if len(found) < 2:
        raise failure(f"the selection is not in {name} any more: select again")
    return found[0], found[1]


def place_of(document: Document, position: Position) -> Place | None:
    """A position → a place. Behind the end of a line means its end, as the protocol wants it; the
    line behind the last one means the end of the document, as many editors send it."""
    if position.line == document.line_count and position.character == 0:
        return document.end
    if not 0 <= position.line < document.line_count or position.character < 0:
        return None
    end = Place(position.line, len(document.line(position.line).rstrip("\r\n")))
    if position.character >= document.units(end):
        return end
    return document.locate(position.line, position.character)


def _read(path: Path | None, name: str) -> str:
    """The text of a file. Blocks."""
    if path is None:
        raise failure(f"{name} is not open in the editor")
    try:
        # A pipe would be waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise failure(f"{name} is no file")
            if facts.st_size > _MAX_BYTES:
                raise failure(f"{name} is too large to be sent: open it, and select a part")
            return file.read(_MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise failure(f"{name} is not UTF-8 text: open it in the editor") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise failure(f"{name} is not open, and can't be read: {reason}") from None
