"""Replays the exchanges of `protocol/vectors/exchanges.json` over a DEALER socket."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import Any

import msgpack
import msgspec
import zmq

from ingle import codec

from .vectors import join

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "number": (int, float),
    "list": (list,),
    "map": (dict,),
}


def replay(exchange: dict[str, Any], socket: zmq.Socket[bytes], timeout: float = 10.0) -> None:
    """Play every step of `exchange`; `timeout` is seconds for each event.

    Raises `AssertionError` that names the step, what was expected, and what came.
    """
    inbox = _Inbox(socket, timeout)
    for number, step in enumerate(exchange["steps"], start=1):
        try:
            _play(step, socket, inbox)
        except AssertionError as error:
            raise AssertionError(f"{exchange['name']!r}, step {number}: {error}") from error
    assert not inbox.rest(), f"{exchange['name']!r}: nobody expected {inbox.rest()}"


def matches(pattern: Any, value: Any) -> bool:
    """Whether `value` fits a pattern of exchanges.json."""
    match pattern:
        case {"$any": kind}:
            return isinstance(value, _KINDS[kind]) and not isinstance(value, bool)
        case {"$in": options}:
            return any(matches(option, value) for option in options)
        case dict():
            return isinstance(value, dict) and all(
                key in value and matches(wanted, value[key]) for key, wanted in pattern.items()
            )
        case _:
            return type(pattern) is type(value) and bool(pattern == value)


def with_defaults(value: Any) -> Any:
    """A message as plain maps and arrays, fields at their default included."""
    if isinstance(value, msgspec.Struct):
        fields = {name: with_defaults(getattr(value, name)) for name in value.__struct_fields__}
        tag = value.__struct_config__.tag
        return fields if tag is None else {"type": tag, **fields}
    if isinstance(value, list):
        return [with_defaults(item) for item in value]
    return value


class _Inbox:
    """Events by id, in the order in which they came."""

    def __init__(self, socket: zmq.Socket[bytes], timeout: float) -> None:
        self._socket = socket
        self._timeout = timeout
        self._events: dict[int | None, deque[dict[str, Any]]] = defaultdict(deque)

    def peek(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The next event with the id of `wanted`; it stays."""
        deadline = time.monotonic() + self._timeout
        events = self._events[wanted["id"]]
        while True:
            while events and events[0]["type"] == "progress" != wanted["type"]:
                events.popleft()
            if events:
                return events[0]
            left_ms = int(max(0.0, deadline - time.monotonic()) * 1000)
            assert self._socket.poll(left_ms), (
                f"no event within {self._timeout} s, expected {wanted}; others: {self.rest()}"
            )
            self._receive()

    def take(self, wanted: dict[str, Any]) -> None:
        """Remove the event that `peek` gave."""
        self._events[wanted["id"]].popleft()

    def rest(self) -> list[dict[str, Any]]:
        """What came and was not taken."""
        while self._socket.poll(0):
            self._receive()
        return [
            event
            for events in self._events.values()
            for event in events
            if event["type"] != "progress"
        ]

    def _receive(self) -> None:
        event = with_defaults(codec.decode_event(self._socket.recv_multipart()))
        if event["type"] != "heartbeat":
            self._events[event["id"]].append(event)


def _play(step: dict[str, Any], socket: zmq.Socket[bytes], inbox: _Inbox) -> None:
    match step:
        case {"send": fields}:
            # Not by our codec: it refuses to make what some exchanges must send.
            socket.send_multipart([codec.PREAMBLE, msgpack.packb(fields)])
        case {"send_frames": frames}:
            socket.send_multipart([join(frame) for frame in frames])
        case {"expect": pattern, "times": "?" | "*" | "+" as times}:
            if times == "+":
                _expect(pattern, inbox)
            while matches(pattern, inbox.peek(pattern)):
                inbox.take(pattern)
                if times == "?":
                    break
        case {"expect": pattern}:
            _expect(pattern, inbox)
        case _:
            raise ValueError(f"unknown step {step}")


def _expect(pattern: dict[str, Any], inbox: _Inbox) -> None:
    event = inbox.peek(pattern)
    assert matches(pattern, event), f"expected {pattern}, got {event}"
    inbox.take(pattern)
