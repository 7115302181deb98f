"""Whole exchanges of `protocol/vectors/exchanges.json` against a live daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from ingle import codec
from ingle.endpoint import configure
from ingle.messages import Infill
from support.daemons import SCRIPTED, DaemonUnderTest
from support.exchanges import replay
from support.vectors import load

EXCHANGES: list[dict[str, Any]] = load("exchanges")["exchanges"]


#: As many generations as run at once.
SLOTS = 4


def play(exchange: dict[str, Any], daemon: DaemonUnderTest) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        configure(socket, daemon.endpoint)
        socket.connect(daemon.endpoint.url)
        replay(exchange, socket)


@pytest.fixture(scope="module")
def one_daemon() -> Iterator[DaemonUnderTest]:
    """One daemon for all: no exchange may leave anything behind that another notices."""
    folder = Path(tempfile.mkdtemp(prefix="ingle-x-"))
    daemon = DaemonUnderTest(folder, **SCRIPTED)
    # Slow enough that a running generation can be cancelled, as the vectors ask for.
    daemon.configure(scripted={"tokens_per_second": 100.0}, model={"slots": SLOTS})
    try:
        yield daemon.start()
    finally:
        daemon.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["name"])
def test_exchange(exchange: dict[str, Any], one_daemon: DaemonUnderTest) -> None:
    play(exchange, one_daemon)


def test_messages_of_full_size_cost_no_slot(one_daemon: DaemonUnderTest) -> None:
    """On its way to the worker a request is inside another message, which is larger still."""
    empty = len(codec.pack(Infill(id=2, prefix="x" * 70_000, max_tokens=1))) - 70_000
    text = "x " * ((codec.MAX_MESSAGE_BYTES - empty) // 2)
    hello = {"send": {"type": "hello", "id": 1, "protocol": 1, "client": "full"}}
    chat = {"type": "chat", "id": 3, "messages": [{"role": "user", "content": "hi"}]}
    steps: list[dict[str, Any]] = [hello, {"expect": {"type": "welcome", "id": 1}}]
    for _ in range(SLOTS + 1):
        steps += [
            {"send": {"type": "infill", "id": 2, "prefix": text, "max_tokens": 1}},
            {"expect": {"type": "accepted", "id": 2}},
            {"expect": {"type": "started", "id": 2}, "times": "?"},
            {"expect": {"type": "delta", "id": 2}, "times": "*"},
            {"expect": {"type": "done", "id": 2, "finish": {"$in": ["stop", "length"]}}},
        ]
    steps += [
        {"send": chat},
        {"expect": {"type": "accepted", "id": 3}},
        {"expect": {"type": "started", "id": 3}},
        {"expect": {"type": "delta", "id": 3}, "times": "+"},
        {"expect": {"type": "done", "id": 3, "finish": "stop"}},
    ]
    play({"name": "full size", "steps": steps}, one_daemon)
