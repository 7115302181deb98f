"""Frames ↔ messages, with hard limits. No I/O.

A message is two ZeroMQ frames: the preamble ``b"INGLE"`` + one byte of protocol version, and one
msgpack map (https://github.com/msgpack/msgpack/blob/master/spec.md). `protocol/SPEC.md` §2 is the
authority for the limits below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
MAX_ARRAY = 65536
#: Above this the transport drops the connection instead of answering.
MAX_TRANSPORT_BYTES = 64 * 1024 * 1024

M = TypeVar("M", bound=messages.Message)


def encode(message: messages.Message) -> list[bytes]:
    """The two frames of a message.

    Raises `TooLarge` over `MAX_MESSAGE_BYTES`, `Malformed` for text that is not valid Unicode.
    """
    return [PREAMBLE, pack(message)]


def pack(message: messages.Message) -> bytes:
    """The msgpack frame alone."""
    try:
        body: bytes = msgpack.packb(msgspec.to_builtins(message), use_bin_type=True)
    except UnicodeEncodeError as error:
        raise Malformed(
            "the text has a lone surrogate, which is not valid Unicode: remove it and try again"
        ) from error
    if len(body) > MAX_MESSAGE_BYTES:
        raise TooLarge(_too_large(len(body)))
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
        raise Malformed(f"{kind}: {error}") from error


def _decode(frames: Sequence[bytes], registry: Mapping[str, type[M]]) -> M:
    return unpack(_body(frames), registry)


def _body(frames: Sequence[bytes]) -> bytes:
    if len(frames) != 2 or frames[0][: len(MAGIC)] != MAGIC or len(frames[0]) != len(PREAMBLE):
        raise Malformed(
            "this is not an ingle message: send two frames, 'INGLE' + version byte, and a map"
        )
    version = frames[0][-1]
    if version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"the peer speaks protocol {version}, this side {PROTOCOL_VERSION}: "
            "update the older one and restart the daemon with `ingle down && ingle up`"
        )
    if len(frames[1]) > MAX_MESSAGE_BYTES:
        raise TooLarge(_too_large(len(frames[1])))
    return frames[1]


def _unpack(body: bytes) -> dict[str, Any]:
    try:
        value = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_map_len=MAX_MAP,
            max_array_len=MAX_ARRAY,
            max_ext_len=0,
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        detail = str(error) or type(error).__name__
        if "exceeds max_" in detail:
            raise TooLarge(f"the message is over a limit ({detail}): see SPEC.md, section 2") from (
                error
            )
        raise Malformed(f"the message is not valid msgpack ({detail})") from error
    if not isinstance(value, dict):
        raise Malformed(f"a message is a map, not {type(value).__name__}")
    if any(depth > MAX_NESTING for depth in _depths(value)):
        raise TooLarge(f"the message nests deeper than {MAX_NESTING}: see SPEC.md, section 2")
    return value


def _depths(value: Any) -> Iterator[int]:
    """The nesting depth of every container in `value`; the outermost is 1."""
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        yield depth
        children = item.values() if isinstance(item, dict) else item
        waiting.extend((child, depth + 1) for child in children if isinstance(child, dict | list))


def _too_large(size: int) -> str:
    return (
        f"the message has {size / 1e6:.1f} MB, the limit is {MAX_MESSAGE_BYTES / 1e6:.1f} MB: "
        "send less text"
    )
