"""A block of an answer becomes an edit of a document: `ingle/chat/apply`.

Owns what is refused and why, and how the block is fitted into its place. Which place that is is
`block_place`; how few edits it takes is `edits`.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ingle.conversation import shown_path
from ingle.threads import Excerpt, Range, Thread, ThreadStore

from .answers import Refused, fitted, leaves_out
from .block_place import Stretch, defined_beside, find
from .blocks import Block, code_blocks
from .documents import Document, Edit, Place
from .edits import proven_edits
from .requests import failure
from .sources import place_of
from .workspace_edits import apply_edit, support, workspace_edit

if TYPE_CHECKING:
    from .server import IngleServer

_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+|\s+\Z")


class Application(Struct, kw_only=True, frozen=True):
    """Parameters of `ingle/chat/apply`."""

    thread: str
    turn: int
    block: int
    uri: str
    version: int | None = None
    #: The selection, or the cursor.
    range: Range | None = None


async def apply_block(server: IngleServer, asked: Application) -> dict[str, Any]:
    """The result of `ingle/chat/apply`: whether the document was changed, and if not, why."""
    thread = await asyncio.to_thread(ThreadStore().read, asked.thread)
    block, about = _block(thread, asked)
    try:
        document = _document(server, asked)
        revision = document.revision
        # A thread must not read what the editor changes meanwhile.
        copy = Document(document.uri, document.text, document.language, document.encoding)
        edits = await asyncio.to_thread(_edits, copy, block, about, asked.range)
        if server.documents.get(asked.uri) is not document or document.revision != revision:
            raise Refused(f"{shown_path(asked.uri)} has changed meanwhile: try again")
    except Refused as reason:
        return {"applied": False, "message": str(reason)}
    if not edits:
        return {"applied": True, "message": f"{shown_path(asked.uri)} has it already"}
    edit = workspace_edit(document, edits, support(server))
    message = await apply_edit(server, edit, "ingle: apply a block of the chat")
    return {"applied": not message, "message": message}


def _block(thread: Thread, asked: Application) -> tuple[Block, list[Excerpt]]:
    """The block, and what of the document the question was about. Raises what is answered."""
    if not 0 <= asked.turn < len(thread.turns) or thread.turns[asked.turn].role != "assistant":
        raise failure(f"there is no answer {asked.turn} in the thread {thread.name!r}")
    blocks = code_blocks(thread.turns[asked.turn].text)
    if not 0 <= asked.block < len(blocks):
        raise failure(f"there is no block {asked.block} in this answer")
    # A question without context goes on about what the one before it was about.
    for turn in reversed(thread.turns[: asked.turn]):
        about = [excerpt for excerpt in turn.context if excerpt.uri == asked.uri]
        if about:
            return blocks[asked.block], [excerpt for excerpt in about if excerpt.range is not None]
    return blocks[asked.block], []


def _document(server: IngleServer, asked: Application) -> Document:
    name = shown_path(asked.uri) or "the document"
    document = server.documents.get(asked.uri)
    if document is None:
        raise Refused(f"{name} is not open in the editor")
    if asked.version is not None and asked.version != document.version:
        raise Refused(f"{name} has changed meanwhile: try again")
    if document.is_huge:
        raise Refused(f"{name} is too large for the language server")
    if document.is_binary:
        raise Refused(f"{name} is binary")
    return document


def _edits(
    document: Document, block: Block, about: list[Excerpt], selection: Range | None
) -> list[Edit]:
    """The edits that put the block where it belongs. Costs up to a second in a long document."""
    name = shown_path(document.uri)
    code = _BLANK_LINES.sub("", block.text)
    if not block.closed:
        raise Refused("the answer ends in the middle of this block")
    if not code:
        raise Refused("the block is empty")
    lines = [line.rstrip("\r\n") for line in document.lines]
    chosen = _selection(document, selection)
    found = find(lines, code, document.language, about, chosen.start if chosen else None)
    is_selected = chosen is not None and chosen.start < chosen.end
    if len(found) > 1 and not is_selected:
        raise Refused(
            f"{len(found)} places in {name} are alike: put the cursor into the one that is meant, "
            "or select it"
        )
    if len(found) == 1:
        place = found[0]
    else:
        twice = defined_beside(lines, code, document.language, chosen)
        if twice:
            raise Refused(
                f"the block does not replace all of one place in {name}, and {twice} would stand "
                "there twice: select what it replaces, or apply it by hand"
            )
        if chosen is None:
            raise Refused(f"the block rewrites nothing in {name}: put the cursor where it belongs")
        place = chosen
    if leaves_out(code, document.between(place.start, place.end)):
        raise Refused("the block leaves out code that should stay: apply it by hand")
    return proven_edits(document, *_fitted(document, place, code))


def _selection(document: Document, selection: Range | None) -> Stretch | None:
    """What is selected, without blank lines at its ends; an empty stretch for a cursor."""
    if selection is None:
        return None
    start = place_of(document, selection.start)
    end = place_of(document, selection.end)
    if start is None or end is None:
        raise Refused(f"the selection is not in {shown_path(document.uri)} any more: select again")
    start, end = sorted((start, end))
    parts = []
    for row in range(start.line, end.line + 1):
        content = Place(row, len(document.line(row).rstrip("\r\n")))
        part = Stretch(max(start, Place(row, 0)), min(end, content))
        if document.between(part.start, part.end).strip():
            parts.append(part)
    return Stretch(parts[0].start, parts[-1].end) if parts else Stretch(start, start)


def _fitted(document: Document, place: Stretch, code: str) -> tuple[Place, Place, str]:
    """What is replaced, and by what: indented as its place is, with the document's line ends."""
    line = document.line(place.start.line).rstrip("\r\n")
    margin = line[: len(line) - len(line.lstrip(" \t"))]
    whole = Place(place.start.line, 0), Place(place.start.line, len(line))
    text = fitted(code, margin + "x", document.lines, document.line_end)
    before, after = line[: place.start.column], line[place.start.column :]
    if place.start < place.end:
        if before.strip():
            return place.start, place.end, text.removeprefix(margin)
        return whole[0], place.end, text
    if not line.strip():
        return *whole, text
    if not before.strip():
        return whole[0], whole[0], text + document.line_end
    if after.strip() and "\n" not in code:
        return place.start, place.start, code.strip()
    return whole[1], whole[1], document.line_end + text
