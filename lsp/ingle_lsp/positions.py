"""LSP positions ↔ indices into Python strings, in all three encodings. Pure.

A position counts code units of the encoding that client and server agreed on: bytes in UTF-8,
16-bit units in UTF-16, characters in UTF-32
(https://microsoft.github.io/language-server-protocol, `PositionEncodingKind`).
Lines here are without their line end. What an invalid position means is the caller's affair:
`index` refuses it, `cut` makes the best of it.
"""

from __future__ import annotations

from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]

#: Python's codec of each encoding (no byte order mark), and the bytes of one code unit.
_CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


def index(line: str, units: int, encoding: Encoding) -> int | None:
    """Code units from the start of `line` → index; None past its end or inside a character."""
    if encoding == "utf-32" or line.isascii():
        return units if 0 <= units <= len(line) else None
    codec, size = _CODECS[encoding]
    encoded = line.encode(codec, "surrogatepass")
    if not 0 <= units * size <= len(encoded):
        return None
    try:
        head = encoded[: units * size].decode(codec, "surrogatepass")
    except UnicodeDecodeError:
        return None
    # Half a surrogate pair decodes to a lone surrogate, which the line does not have there.
    return len(head) if line.startswith(head) else None


def units(line: str, index: int, encoding: Encoding) -> int:
    """Index into `line` → code units from its start."""
    head = line[:index]
    if encoding == "utf-32" or head.isascii():
        return len(head)
    codec, size = _CODECS[encoding]
    return len(head.encode(codec, "surrogatepass")) // size


def cut(line: str, units: int, encoding: Encoding) -> tuple[str, str]:
    """Split `line` for an edit: past the end means the end, as the protocol wants it.

    Between the halves of a surrogate pair both parts keep their half (see `mended`), because an
    editor that counts in UTF-16 has edited just that. Inside a UTF-8 character: before it.
    """
    at = index(line, units, encoding)
    if at is not None:
        return line[:at], line[at:]
    codec, size = _CODECS[encoding]
    encoded = line.encode(codec, "surrogatepass")
    split = units * size
    if split >= len(encoded):
        return line, ""
    if encoding == "utf-8":
        head = encoded[:split].decode(codec, "ignore")
        return head, line[len(head) :]
    return (
        encoded[:split].decode(codec, "surrogatepass"),
        encoded[split:].decode(codec, "surrogatepass"),
    )


def mended(text: str) -> str:
    """`text` with surrogate halves that met again joined to their character."""
    if text.isascii() or is_unicode(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which no message can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
