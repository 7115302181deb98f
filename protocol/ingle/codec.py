"""Frames ↔ messages, with hard limits. No I/O.

A message is two ZeroMQ frames: the preamble ``b"INGLE"`` + one byte of protocol version, and one
msgpack map (https://github.com/msgpack/msgpack/blob/master/spec.md). `protocol/SPEC.md` §2 is the
authority for the limits below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgpack
import msgspec

from . import messages
from .errors import Malformed, ProtocolError, TooLarge, UnknownMessage, VersionMismatch
from .version import PROTOCOL_VERSION

MAGIC = b"INGLE"
PREAMBLE = MAGIC + bytes([PROTOCOL_VERSION])

#: Bytes of one message's msgpack frame.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
#: Maps and arrays inside each other.
MAX_NESTING = 16
#: Entries of one map.
MAX_MAP = 4096
#: Items of one array.
MAX_ARRAY = 4096
#: Values of one message, all maps and arrays together; keys and containers count too.
MAX_ITEMS = 65536
#: Above this the transport drops the connection instead of answering.
MAX_TRANSPORT_BYTES = 64 * 1024 * 1024

M = TypeVar("M", bound=messages.Message)

_ENUM_VALUE = re.compile(r"Invalid enum value '.*'(?= - at |$)", re.DOTALL)
_NOT_OURS = "this is not an ingle message: send two frames, 'INGLE' + version byte, and a map"
_TOO_DEEP = f"the message nests deeper than {MAX_NESTING}: see SPEC.md, section 2"


def encode(message: messages.Message) -> list[bytes]:
    """The two frames of a message.

    Raises `TooLarge` over `MAX_MESSAGE_BYTES`, `Malformed` for text that is not valid Unicode or
    a number that 64 bits can't hold. Nothing else is checked: the peer does that.
    """
    body = pack(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise TooLarge(_too_large(len(body)))
    return [PREAMBLE, body]


def pack(message: messages.Message) -> bytes:
    """The msgpack frame alone, of any size: what the daemon wraps may itself be of full size."""
    try:
        body: bytes = msgpack.packb(msgspec.to_builtins(message), use_bin_type=True)
    except UnicodeEncodeError as error:
        raise Malformed(
            "the text has a lone surrogate, which is not valid Unicode: remove it and try again"
        ) from error
    except OverflowError as error:
        raise Malformed("a number is too large for 64 bits: send a smaller one") from error
    return body


def decode_request(frames: Sequence[bytes]) -> messages.Message:
    """Frames from a client → a request. Raises a `ProtocolError`."""
    return _decode(frames, messages.REQUESTS)


def decode_event(frames: Sequence[bytes]) -> messages.Message:
    """Frames from the daemon → an event. Raises a `ProtocolError`."""
    return _decode(frames, messages.EVENTS)


def request_id(frames: Sequence[bytes]) -> int | None:
    """The id of a message that failed to decode, if it can still be read; so the error finds it."""
    try:
        found = _unpack(_body(frames)).get("id")
    except ProtocolError:
        return None
    return found if type(found) is int and 0 <= found <= 2**53 else None


def unpack(body: bytes, registry: Mapping[str, type[M]]) -> M:
    """A msgpack frame → the struct that its `type` names in `registry`."""
    fields = _unpack(body)
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise Malformed("the message has no `type`: send a map with a `type` field")
    struct = registry.get(kind)
    if struct is None:
        raise UnknownMessage(
            f"unknown message type {kind[:40]!r}: this side knows {', '.join(sorted(registry))}"
        )
    try:
        return msgspec.convert(fields, struct)
    except msgspec.ValidationError as error:
        # msgspec quotes a wrong enum value, which may be somebody's text.
        detail = _ENUM_VALUE.sub("the value is not one of those in SPEC.md", str(error))
        raise Malformed(f"{kind}: {detail}") from None


def _decode(frames: Sequence[bytes], registry: Mapping[str, type[M]]) -> M:
    return unpack(_body(frames), registry)


def _body(frames: Sequence[bytes]) -> bytes:
    # The version comes first: another version may have other frames behind the same preamble.
    preamble = frames[0] if frames else b""
    if preamble[: len(MAGIC)] != MAGIC or len(preamble) < len(PREAMBLE):
        raise Malformed(_NOT_OURS)
    version = preamble[len(MAGIC)]
    if version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"the peer speaks protocol {version}, this side {PROTOCOL_VERSION}: "
            "update the older one and restart the daemon with `ingle down && ingle up`"
        )
    if len(frames) != 2 or len(preamble) != len(PREAMBLE):
        raise Malformed(_NOT_OURS)
    if len(frames[1]) > MAX_MESSAGE_BYTES:
        raise TooLarge(_too_large(len(frames[1])))
    return frames[1]


def _unpack(body: bytes) -> dict[str, Any]:
    # msgpack has no limit on the sum of all items, and 8 MB of empty arrays unpack to 500 MB.
    if len(body) > MAX_ITEMS and _has_too_many_items(body):
        raise TooLarge(_over_limit(f"more than {MAX_ITEMS} items"))
    try:
        value = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_map,
            ext_hook=_no_extension,
            max_map_len=MAX_MAP,
            max_array_len=MAX_ARRAY,
            max_ext_len=0,
        )
    except msgpack.StackError as error:
        raise TooLarge(_TOO_DEEP) from error
    except (ValueError, msgpack.UnpackException) as error:
        detail = str(error) or type(error).__name__
        if "exceeds max_map_len" in detail or "exceeds max_array_len" in detail:
            raise TooLarge(_over_limit(detail)) from error
        raise Malformed(f"the message is not valid msgpack ({detail})") from error
    if not isinstance(value, dict):
        raise Malformed(f"a message is a map, not {type(value).__name__}")
    if _nests_too_deep(value):
        raise TooLarge(_TOO_DEEP)
    return value


def _map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """One map. Two peers could read a repeated key in two ways, so it is refused."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a map has a key twice")
    if bytes in map(type, entries):
        raise ValueError("a map has a key that is bin, not str")
    return entries


def _no_extension(_code: int, _data: bytes) -> None:
    raise ValueError("extension types are not part of the protocol")


def _has_too_many_items(body: bytes) -> bool:
    """Whether `body` has more than `MAX_ITEMS` msgpack headers. Builds nothing, costs ≤ 30 ms."""
    position = 0
    for _ in range(MAX_ITEMS):
        size, length_bytes = _HEADERS[body[position]]
        if length_bytes:
            size += int.from_bytes(body[position + 1 : position + 1 + length_bytes], "big")
        position += size
        if position >= len(body):
            return False
    return True


def _headers() -> list[tuple[int, int]]:
    """First byte of a msgpack item → its size without a counted payload, bytes of that count.

    The items of a map or an array are items of their own.
    """
    table = [(1, 0)] * 256
    for first in range(0xA0, 0xC0):  # fixstr
        table[first] = (1 + (first & 0x1F), 0)
    for first, length_bytes in ((0xC4, 1), (0xC5, 2), (0xC6, 4), (0xD9, 1), (0xDA, 2), (0xDB, 4)):
        table[first] = (1 + length_bytes, length_bytes)  # bin, str
    for first, length_bytes in ((0xC7, 1), (0xC8, 2), (0xC9, 4)):
        table[first] = (2 + length_bytes, length_bytes)  # ext
    for first, payload in enumerate((4, 8, 1, 2, 4, 8, 1, 2, 4, 8), start=0xCA):
        table[first] = (1 + payload, 0)  # float, uint, int
    for first, payload in enumerate((1, 2, 4, 8, 16), start=0xD4):
        table[first] = (2 + payload, 0)  # fixext
    for first, count_bytes in ((0xDC, 2), (0xDD, 4), (0xDE, 2), (0xDF, 4)):
        table[first] = (1 + count_bytes, 0)  # array, map
    return table


_HEADERS = _headers()


def _nests_too_deep(value: dict[str, Any]) -> bool:
    """Whether more than `MAX_NESTING` containers are inside each other, `value` included."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _over_limit(detail: str) -> str:
    return f"the message is over a limit ({detail}): see SPEC.md, section 2"


def _too_large(size: int) -> str:
    return (
        f"the message has {size / 1e6:.1f} MB, the limit is {MAX_MESSAGE_BYTES / 1e6:.1f} MB: "
        "send less text"
    )
