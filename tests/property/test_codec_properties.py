"""The codec against what anybody may send: every message survives, nothing else gets through."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from ingle import codec
from ingle.errors import Malformed, ProtocolError, TooLarge
from ingle.messages import EVENTS, REQUESTS, Chat, Delta, Infill, Message, Status

Decode = Callable[[list[bytes]], Message]
SIDES: list[tuple[Decode, dict[str, type[Message]]]] = [
    (codec.decode_request, REQUESTS),
    (codec.decode_event, EVENTS),
]
TYPES = [(decode, struct) for decode, registry in SIDES for struct in registry.values()]
TYPE_IDS = [struct.__name__ for _, struct in TYPES]

INT64 = {"min_value": -(2**63), "max_value": 2**64 - 1}
# hypothesis makes no surrogates unless asked to.
TEXT = st.text(max_size=40)
#: What a field of any type may hold.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values of a field, from its declared type, limits included."""
    match kind:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.LiteralType(values=options):
            return st.sampled_from(options)
        case inspect.IntType():
            least = INT64["min_value"] if kind.ge is None else kind.ge
            most = INT64["max_value"] if kind.le is None else kind.le
            return st.integers(least, most if kind.lt is None else kind.lt - 1)
        case inspect.FloatType():
            least_float = kind.ge if kind.gt is None else kind.gt
            return st.floats(least_float, kind.le, exclude_min=kind.gt is not None, allow_nan=False)
        case inspect.AnyType():
            return JSON
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern.removesuffix("$") + r"\Z", fullmatch=False)
        case inspect.StrType():
            return TEXT
        case inspect.ListType(item_type=item, min_length=least_items):
            return st.lists(values(item), min_size=least_items or 0, max_size=4)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(values(key), values(value), max_size=4)
        case inspect.UnionType(types=members):
            return st.one_of(*(values(member) for member in members))
        case inspect.StructType(cls=cls):
            return structs(cls)
    raise TypeError(f"no strategy for {kind}")


def structs(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of a struct; optional fields are there or not."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return st.fixed_dictionaries(
        {field.name: values(field.type) for field in info.fields if field.required},
        optional={field.name: values(field.type) for field in info.fields if not field.required},
    ).map(lambda fields: struct(**fields))


#: Anything that msgpack can say within the rules.
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(**INT64) | st.floats() | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def refusal(decode: Decode, frames: list[bytes]) -> ProtocolError | None:
    """The error of a refused message; any other exception goes through, and fails the test."""
    try:
        decode(frames)
    except ProtocolError as error:
        return error
    return None


def check_decoded_or_refused(decode: Decode, frames: list[bytes]) -> None:
    error = refusal(decode, frames)
    codec.request_id(frames)
    if error:
        assert error.code
        assert len(str(error)) < 400
        assert "\n" not in str(error)


def frames_of(fields: Any) -> list[bytes]:
    return [codec.PREAMBLE, msgpack.packb(fields)]


@pytest.mark.parametrize(("decode", "struct"), TYPES, ids=TYPE_IDS)
@settings(max_examples=25)
@given(data=st.data())
def test_every_message_survives_the_wire(
    decode: Decode, struct: type[Message], data: st.DataObject
) -> None:
    message = data.draw(structs(struct))
    frames = codec.encode(message)
    assert decode(frames) == message
    assert codec.request_id(frames) == getattr(message, "id", None)


@pytest.mark.parametrize(("decode", "struct"), TYPES, ids=TYPE_IDS)
@settings(max_examples=12)
@given(data=st.data(), extra=st.dictionaries(TEXT.map("x-".__add__), PLAIN, max_size=3))
def test_unknown_fields_are_ignored(
    decode: Decode, struct: type[Message], data: st.DataObject, extra: dict[str, Any]
) -> None:
    message = data.draw(structs(struct))
    fields = msgspec.to_builtins(message)
    assert decode(frames_of(extra | fields)) == message
    assert decode(frames_of(fields | extra)) == message


@pytest.mark.parametrize("decode", [decode for decode, _ in SIDES])
@given(frames=st.lists(st.binary(max_size=64), max_size=4))
def test_random_frames_are_decoded_or_refused(decode: Decode, frames: list[bytes]) -> None:
    check_decoded_or_refused(decode, frames)


@pytest.mark.parametrize("decode", [decode for decode, _ in SIDES])
@given(body=st.binary(max_size=200))
def test_random_bodies_are_decoded_or_refused(decode: Decode, body: bytes) -> None:
    check_decoded_or_refused(decode, [codec.PREAMBLE, body])


@pytest.mark.parametrize(("decode", "struct"), TYPES, ids=TYPE_IDS)
@settings(max_examples=12)
@given(data=st.data(), fields=st.dictionaries(TEXT, PLAIN, max_size=3))
def test_wrong_values_are_decoded_or_refused(
    decode: Decode, struct: type[Message], data: st.DataObject, fields: dict[str, Any]
) -> None:
    wrong = {
        name: data.draw(PLAIN)
        for name in data.draw(st.lists(st.sampled_from(["id", *struct.__struct_fields__])))
    }
    check_decoded_or_refused(
        decode, frames_of({"type": struct.__struct_config__.tag, **fields, **wrong})
    )


@pytest.mark.parametrize(("decode", "registry"), SIDES, ids=["requests", "events"])
@given(data=st.data())
def test_damaged_messages_are_decoded_or_refused(
    decode: Decode, registry: dict[str, type[Message]], data: st.DataObject
) -> None:
    struct = data.draw(st.sampled_from(list(registry.values())))
    body = bytearray(codec.pack(data.draw(structs(struct))))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(body)))
        match data.draw(st.sampled_from(["change", "insert", "cut"])):
            case "change" if position < len(body):
                body[position] = data.draw(st.integers(0, 255))
            case "cut":
                del body[position:]
            case _:
                body[position:position] = data.draw(st.binary(max_size=8))
    check_decoded_or_refused(decode, [codec.PREAMBLE, bytes(body)])


@given(fields=PLAIN.filter(lambda value: not isinstance(value, dict)))
def test_what_is_not_a_map_is_malformed(fields: Any) -> None:
    with pytest.raises(Malformed):
        codec.decode_request(frames_of(fields))


@given(st.integers())
def test_ids_out_of_range_are_never_taken(number: int) -> None:
    try:
        frames = codec.encode(Status(id=number))
    except Malformed:
        assert not -(2**63) <= number < 2**64
        return
    assert codec.request_id(frames) == (number if 0 <= number <= 2**53 else None)


@given(before=TEXT, surrogate=st.characters(categories=["Cs"]), after=TEXT)
def test_lone_surrogates_are_refused_before_they_are_sent(
    before: str, surrogate: str, after: str
) -> None:
    with pytest.raises(Malformed, match="surrogate"):
        codec.encode(Infill(id=1, prefix=before + surrogate + after))


SECRET = "hunter2 is my password"


@pytest.mark.parametrize("field", [field for field in Chat.__struct_fields__ if field != "id"])
@pytest.mark.parametrize(
    "value",
    [SECRET, [SECRET], [[SECRET]], {SECRET: SECRET}, [{"role": SECRET, "content": SECRET}]],
    ids=["str", "array", "nested", "map", "role"],
)
def test_errors_never_quote_a_request(field: str, value: Any) -> None:
    good = {"type": "chat", "id": 1, "messages": [{"role": "user", "content": "x"}]}
    error = refusal(codec.decode_request, frames_of(good | {field: value}))
    assert "hunter2" not in str(error)


# --- limits --------------------------------------------------------------------------------

HEAD = bytes.fromhex("83 a474797065a6737461747573 a2696405 a178")


def crowd(items: int) -> bytes:
    """A status request of exactly `items` items, none over another limit."""
    # The map, two entries and a key are 6 items, the outer array one.
    full, rest = divmod(items - 7, 4000)
    arrays = [b"\xdc" + (3999).to_bytes(2, "big") + b"\xc0" * 3999] * full
    arrays += [b"\xdc" + (rest - 1).to_bytes(2, "big") + b"\xc0" * (rest - 1)] if rest else []
    return HEAD + b"\xdc" + len(arrays).to_bytes(2, "big") + b"".join(arrays)


@pytest.mark.parametrize("level", [1, 2, 15])
def test_nesting_limit_is_inclusive(level: int) -> None:
    arrays = b"\x91" * (level - 1) + b"\x90"
    assert codec.decode_request([codec.PREAMBLE, HEAD + arrays]) == Status(id=5)


@given(st.integers(16, 3000), st.sampled_from([b"\x91", b"\x81\xa1a", b"\x92\x90"]))
def test_nesting_bombs_are_too_large(levels: int, layer: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(TooLarge):
        codec.decode_request([codec.PREAMBLE, HEAD + layer * levels + b"\x90"])
    assert time.perf_counter() - started < 1.0


def test_size_limit_is_inclusive() -> None:
    overhead = len(codec.pack(Delta(id=1, text="x" * 70_000))) - 70_000
    most = codec.MAX_MESSAGE_BYTES - overhead
    frames = codec.encode(Delta(id=1, text="x" * most))
    assert len(frames[1]) == codec.MAX_MESSAGE_BYTES
    assert codec.decode_event(frames) == Delta(id=1, text="x" * most)
    too_much = Delta(id=1, text="x" * (most + 1))
    with pytest.raises(TooLarge):
        codec.encode(too_much)
    # Between the daemon and its worker a message of full size is inside another.
    assert codec.unpack(codec.pack(too_much), EVENTS) == too_much
    with pytest.raises(TooLarge):
        codec.decode_event([codec.PREAMBLE, bytes(codec.MAX_MESSAGE_BYTES + 1)])


def test_item_limit_is_inclusive() -> None:
    body = crowd(codec.MAX_ITEMS)
    # Counting starts where it can matter, so that the limit itself is tried.
    assert len(body) > codec.MAX_ITEMS
    assert codec.decode_request([codec.PREAMBLE, body]) == Status(id=5)
    with pytest.raises(TooLarge, match="items"):
        codec.decode_request([codec.PREAMBLE, crowd(codec.MAX_ITEMS + 1)])


def test_array_limit_is_inclusive() -> None:
    most = b"\xdc\x10\x00" + b"\xc0" * codec.MAX_ARRAY
    assert codec.decode_request([codec.PREAMBLE, HEAD + most]) == Status(id=5)
    with pytest.raises(TooLarge):
        codec.decode_request([codec.PREAMBLE, HEAD + b"\xdc\x10\x01" + most[3:] + b"\xc0"])


def test_map_limit_is_inclusive() -> None:
    entries = b"".join(b"\xa4%04x\xc0" % number for number in range(codec.MAX_MAP))
    most = b"\xde\x10\x00" + entries
    assert codec.decode_request([codec.PREAMBLE, HEAD + most]) == Status(id=5)
    with pytest.raises(TooLarge):
        codec.decode_request([codec.PREAMBLE, HEAD + b"\xde\x10\x01" + entries + b"\xa1x\xc0"])


@settings(max_examples=30)
@given(filler=PLAIN, text=st.sampled_from(["x", "é", "\0", "😀"]))
@example(filler=[b"\x91" * 100], text="\x90")
def test_counting_agrees_with_msgpack(filler: Any, text: str) -> None:
    """The count of items walks every msgpack form as msgpack itself does."""
    items = [filler, 1.5, -1, -200, 70_000, -70_000, 2**40, -(2**40), "s" * 40, b"b" * 300]
    message = {"type": "status", "id": 5, "x": items, "text": text * 70_000}
    assert codec.decode_request(frames_of(message)) == Status(id=5)
    crowded = message | {"y": [[None] * 4000] * 17}
    with pytest.raises(TooLarge, match="items"):
        codec.decode_request(frames_of(crowded))
