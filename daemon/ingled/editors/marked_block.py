"""A block of lines between two marker comments in a file of the user's. Pure.

Everything outside of the block stays as it is, byte for byte; so `without(with_block(text, …))` is
`text` again. Which lines the block has, and where the file is, is not known here.

::

    # >>> ingle >>> (`ingle editor` writes this block and removes it; changes in it are lost)
    …
    # <<< ingle <<<
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BEGIN = ">>> ingle >>>"
END = "<<< ingle <<<"
_NOTE = "(`ingle editor` writes this block and removes it; changes in it are lost)"
_CREATED = "(`ingle editor` made this file and removes it; changes in this block are lost)"


class DamagedBlock(ValueError):
    """One marker lacks the other, or there are several; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Block:
    """Where a block is: character offsets, its last line's end of line included."""

    start: int
    end: int
    #: The file did not exist before the block.
    created: bool


def end_of_line(text: str) -> str:
    r"""What most lines of `text` end with: ``\r\n`` or ``\n``."""
    crlf = text.count("\r\n")
    return "\r\n" if crlf > text.count("\n") - crlf else "\n"


def find(text: str, comment: str) -> Block | None:
    """The block in `text`, None if there is none. `comment` begins a comment.

    Raises `DamagedBlock`.
    """
    begins = _markers(text, comment, BEGIN)
    ends = _markers(text, comment, END)
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].start():
        place = max(begins[1:] or ends[1:] or begins or ends, key=re.Match.start)
        raise DamagedBlock(
            f"its lines {BEGIN!r} and {END!r} are not one pair",
            text.count("\n", 0, place.start()) + 1,
        )
    return Block(begins[0].start(), ends[0].end(), _CREATED in begins[0].group())


def with_block(text: str | None, body: str, comment: str) -> str:
    """`text` with `body` in its block: in the place of an older one, else at the end.

    `text` is None for a file that does not exist. Raises `DamagedBlock`.
    """
    block = find(text or "", comment)
    note = _CREATED if text is None or (block and block.created) else _NOTE
    text = text or ""
    eol = end_of_line(text)
    lines = [f"{comment} {BEGIN} {note}", *body.strip("\n").split("\n"), f"{comment} {END}"]
    written = eol.join(lines)
    if block:
        last = "" if not text[block.start : block.end].endswith("\n") else eol
        return text[: block.start] + written + last + text[block.end :]
    # A last line without an end is kept so: then the block's last line has none, either.
    return f"{text}{written}{eol}" if not text or text.endswith("\n") else f"{text}{eol}{written}"


def without(text: str, comment: str) -> str | None:
    """`text` without its block; None if nothing is left of a file that began with it.

    Raises `DamagedBlock`.
    """
    block = find(text, comment)
    if block is None:
        return text
    before, after = text[: block.start], text[block.end :]
    if not after and not text.endswith("\n"):
        written = text[block.start : block.end]
        before = before.removesuffix("\r\n" if "\r\n" in written else "\n")
    rest = before + after
    return None if block.created and not rest else rest


def _markers(text: str, comment: str, marker: str) -> list[re.Match[str]]:
    pattern = rf"^{re.escape(comment)} {re.escape(marker)}[^\n]*(?:\n|\Z)"
    return list(re.finditer(pattern, text, re.MULTILINE))
