"""Whole exchanges of `protocol/vectors/exchanges.json` against a live daemon."""

from __future__ import annotations

from typing import Any

import pytest
import zmq

from ingle.endpoint import configure
from support.exchanges import replay
from support.vectors import load

EXCHANGES: list[dict[str, Any]] = load("exchanges")["exchanges"]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["name"])
def test_exchange(exchange: dict[str, Any], scripted_daemon: Any) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        configure(socket, scripted_daemon.endpoint)
        socket.connect(scripted_daemon.endpoint.url)
        replay(exchange, socket)
