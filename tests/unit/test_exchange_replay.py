"""The replay driver itself: a driver that can't fail would prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from ingle import codec
from ingle.messages import Accepted, Delta, Done, Error, Heartbeat, Message, Progress, Status
from support.exchanges import matches, replay


@pytest.fixture
def sockets() -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    with (
        zmq.Context() as context,
        context.socket(zmq.PAIR) as client,
        context.socket(zmq.PAIR) as daemon,
    ):
        daemon.bind("inproc://exchange")
        client.connect("inproc://exchange")
        yield client, daemon


def play(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
    events: list[Message],
    *steps: dict[str, Any],
) -> None:
    client, daemon = sockets
    for event in events:
        daemon.send_multipart(codec.encode(event))
    replay({"name": "test", "steps": list(steps)}, client, timeout=0.05)


def expect(event: str, id: int | None, times: str | None = None, **fields: Any) -> dict[str, Any]:  # noqa: A002
    step: dict[str, Any] = {"expect": {"type": event, "id": id, **fields}}
    return step | ({"times": times} if times else {})


def test_sends_what_it_is_told(sockets: Any) -> None:
    play(
        sockets,
        [],
        {"send": {"type": "status", "id": 5}},
        {"send_frames": [["c1 ; noise"], [{"repeat": "00 01", "count": 2}]]},
    )
    assert codec.decode_request(sockets[1].recv_multipart()) == Status(id=5)
    assert sockets[1].recv_multipart() == [b"\xc1", b"\x00\x01\x00\x01"]


def test_events_of_other_ids_wait_and_heartbeats_and_progress_are_skipped(sockets: Any) -> None:
    play(
        sockets,
        [
            Accepted(id=3),
            Heartbeat(),
            Accepted(id=2),
            Progress(id=2, phase="queued"),
            Error(code="malformed", message="x"),
            Done(id=3),
            Done(id=2, finish="stop"),
        ],
        expect("accepted", 2),
        expect("done", 2, finish="stop"),
        expect("error", None, code="malformed"),
        expect("accepted", 3),
        # A field at its default is not on the wire, and can be expected all the same.
        expect("done", 3, finish="complete", usage=None),
    )


def test_progress_can_be_expected(sockets: Any) -> None:
    play(sockets, [Progress(id=2, phase="queued")], expect("progress", 2, phase="queued"))


@pytest.mark.parametrize("times", ["?", "*"])
def test_an_optional_event_may_be_absent(sockets: Any, times: str) -> None:
    play(sockets, [Done(id=2)], expect("delta", 2, times), expect("done", 2))


def test_repeated_events_are_taken_together(sockets: Any) -> None:
    events: list[Message] = [Delta(id=2, text="a"), Delta(id=2, text="b"), Done(id=2)]
    play(sockets, events, expect("delta", 2, "+", text={"$any": "str"}), expect("done", 2))


@pytest.mark.parametrize(
    ("events", "steps", "complaint"),
    [
        ([], [expect("done", 2)], "no event within"),
        ([Done(id=3)], [expect("done", 2)], "no event within"),
        ([Done(id=2)], [expect("accepted", 2)], "expected .*accepted"),
        ([Done(id=2)], [expect("delta", 2, "+")], "expected .*delta"),
        ([Done(id=2, finish="stop")], [expect("done", 2, finish="length")], "expected"),
        ([Done(id=2), Done(id=2)], [expect("done", 2)], "nobody expected"),
        ([Delta(id=2, text="a")] * 2, [expect("delta", 2, "?")] * 3, "no event within"),
    ],
    ids=["nothing", "other id", "other type", "none of +", "other field", "too many", "? is one"],
)
def test_a_wrong_answer_fails(
    sockets: Any, events: list[Message], steps: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        play(sockets, events, *steps)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ({"$any": "int"}, 1.5),
        ({"$any": "int"}, True),
        ({"$any": "str"}, None),
        ({"$in": ["a", "b"]}, "c"),
        ({"a": 1}, {"b": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        (None, 0),
        (1, True),
    ],
)
def test_what_does_not_match(pattern: Any, value: Any) -> None:
    assert not matches(pattern, value)
