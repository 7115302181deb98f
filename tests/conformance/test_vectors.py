"""Bytes ↔ messages as `protocol/vectors` has them, and that nothing is left out of them."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest

from ingle import codec
from ingle.errors import WIRE_ERRORS, ProtocolError
from ingle.messages import EVENTS, REQUESTS, Message
from support.exchanges import with_defaults
from support.vectors import VECTORS, join, load

MESSAGES = load("messages")
REJECTS: list[dict[str, Any]] = load("rejects")["vectors"]
EXCHANGES: list[dict[str, Any]] = load("exchanges")["exchanges"]
SPEC = (VECTORS.parent / "SPEC.md").read_text(encoding="utf-8")

DECODE = {"request": codec.decode_request, "event": codec.decode_event}
STRUCTS = {"request": REQUESTS, "event": EVENTS}


def names(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["name"] for vector in vectors]


@pytest.mark.parametrize("vector", MESSAGES["vectors"], ids=names(MESSAGES["vectors"]))
def test_bytes_decode_to_the_fields(vector: dict[str, Any]) -> None:
    frames = [bytes.fromhex(MESSAGES["preamble"]), join(vector["hex"])]
    message = DECODE[vector["side"]](frames)
    assert msgspec.to_builtins(message) == vector["fields"]


@pytest.mark.parametrize(
    "vector",
    [vector for vector in MESSAGES["vectors"] if not vector.get("decode_only")],
    ids=lambda vector: vector["name"],
)
def test_fields_encode_to_the_bytes(vector: dict[str, Any]) -> None:
    struct = STRUCTS[vector["side"]][vector["fields"]["type"]]
    preamble, body = codec.encode(msgspec.convert(vector["fields"], struct))
    assert preamble.hex() == MESSAGES["preamble"]
    assert body.hex(" ") == join(vector["hex"]).hex(" ")


@pytest.mark.parametrize("vector", REJECTS, ids=names(REJECTS))
def test_bytes_are_refused_with_their_code_and_id(vector: dict[str, Any]) -> None:
    frames = [join(frame) for frame in vector["frames"]]
    started = time.perf_counter()
    with pytest.raises(ProtocolError) as refused:
        DECODE[vector["side"]](frames)
    assert refused.value.code == vector["code"]
    assert codec.request_id(frames) == vector["id"]
    # Not a benchmark: what this catches takes many seconds.
    assert time.perf_counter() - started < 1.0
    assert len(str(refused.value)) < 300


def test_names_of_vectors_are_unique() -> None:
    for vectors in (MESSAGES["vectors"], REJECTS, EXCHANGES):
        assert len(set(names(vectors))) == len(vectors)


@pytest.mark.parametrize("side", ["request", "event"])
def test_every_message_type_has_its_vectors(side: str) -> None:
    for tag, struct in STRUCTS[side].items():
        mine = [
            vector["fields"]
            for vector in MESSAGES["vectors"]
            if vector["side"] == side and vector["fields"]["type"] == tag
        ]
        shown = {field for fields in mine for field in fields}
        assert shown >= {"type", *struct.__struct_fields__}, f"{tag}: a vector with every field"
        required = {field.name for field in msgspec.structs.fields(struct) if field.required}
        assert {"type", *required} in [set(fields) for fields in mine], f"{tag}: a minimal vector"


def test_every_part_of_a_message_is_shown_with_every_field() -> None:
    shown: dict[type, set[str]] = {}

    def visit(value: Any) -> None:
        if isinstance(value, msgspec.Struct):
            defaults = {field.name: field.default for field in msgspec.structs.fields(type(value))}
            for name in value.__struct_fields__:
                visit(getattr(value, name))
                if getattr(value, name) != defaults[name]:
                    shown.setdefault(type(value), set()).add(name)
        elif isinstance(value, list):
            for item in value:
                visit(item)

    for vector in MESSAGES["vectors"]:
        frames = [bytes.fromhex(MESSAGES["preamble"]), join(vector["hex"])]
        visit(DECODE[vector["side"]](frames))
    for struct, fields in shown.items():
        assert fields == set(struct.__struct_fields__), struct  # type: ignore[attr-defined]


def test_every_error_code_has_a_vector() -> None:
    sent = {v["fields"]["code"] for v in MESSAGES["vectors"] if v["fields"]["type"] == "error"}
    assert set(WIRE_ERRORS) <= sent
    refusals = {code for code, error in WIRE_ERRORS.items() if issubclass(error, ProtocolError)}
    # The daemon's state, not the bytes, makes these; the exchanges show them.
    by_state = {"hello_required"}
    assert {vector["code"] for vector in REJECTS} == refusals - by_state
    expected = {
        step["expect"].get("code") for exchange in EXCHANGES for step in expectations(exchange)
    }
    assert by_state <= expected


def test_every_value_of_an_enumerated_field_of_an_event_has_a_vector() -> None:
    finishes = {v["fields"].get("finish", "complete") for v in MESSAGES["vectors"]}
    finish = next(f for f in msgspec.structs.fields(EVENTS["done"]) if f.name == "finish")
    assert finishes == set(finish.type.__args__)


@pytest.mark.parametrize("tag", [*REQUESTS, *EVENTS])
def test_spec_has_a_section_for_the_message(tag: str) -> None:
    assert f"\n### `{tag}`\n" in SPEC


@pytest.mark.parametrize("code", WIRE_ERRORS)
def test_spec_has_a_line_for_the_error(code: str) -> None:
    assert re.search(rf"^\| `{code}` \| \S", SPEC, re.MULTILINE)


def test_spec_shows_what_each_request_is_answered_with() -> None:
    lifecycle = SPEC[SPEC.index("### 4.1") : SPEC.index("### 4.2")]
    for tag in REQUESTS:
        assert re.search(rf"^\| .*`{tag}`.* \| .* \|", lifecycle, re.MULTILINE), tag


def expectations(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in exchange["steps"] if "expect" in step]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=names(EXCHANGES))
def test_exchange_is_well_formed(exchange: dict[str, Any]) -> None:
    """So that an exchange can't rot into one that never matches, or that always does."""
    wrong_on_purpose = set()
    for step in expectations(exchange):
        pattern = step["expect"]
        event = EVENTS[pattern["type"]]
        assert set(pattern) - {"type"} <= set(event.__struct_fields__), pattern
        assert "id" in pattern
        assert step.get("times", "+") in ("?", "*", "+")
        if pattern["type"] == "error":
            wrong_on_purpose.add(pattern["code"])
    for step in exchange["steps"]:
        assert set(step) in ({"send"}, {"send_frames"}, {"expect"}, {"expect", "times"})
        if "send" in step:
            accepted_or_refused_as_told(step["send"], wrong_on_purpose)
    ended = {
        step["expect"]["id"]
        for step in expectations(exchange)
        if step["expect"]["type"] in ("done", "error", "welcome") and "times" not in step
    }
    sent = {step["send"]["id"] for step in exchange["steps"] if "send" in step}
    assert sent <= ended, "every request's end is expected"


def accepted_or_refused_as_told(fields: dict[str, Any], codes: set[str]) -> None:
    try:
        message: Message = msgspec.convert(fields, REQUESTS[fields["type"]])
    except (KeyError, msgspec.ValidationError):
        assert codes & {"malformed", "unknown_message"}, fields
    else:
        assert with_defaults(message)["id"] == fields["id"]


def test_every_request_but_shutdown_has_an_exchange() -> None:
    sent = {
        step["send"]["type"]
        for exchange in EXCHANGES
        for step in exchange["steps"]
        if "send" in step
    }
    # It would take the daemon from the exchanges after it.
    assert sent == set(REQUESTS) - {"shutdown"} | {"dance", "delta"}
