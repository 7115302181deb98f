"""Whole exchanges of `protocol/vectors/exchanges.json` against a live daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from ingle.endpoint import configure
from support.daemons import SCRIPTED, DaemonUnderTest
from support.exchanges import replay
from support.vectors import load

EXCHANGES: list[dict[str, Any]] = load("exchanges")["exchanges"]


@pytest.fixture(scope="module")
def one_daemon() -> Iterator[DaemonUnderTest]:
    """One daemon for all: no exchange may leave anything behind that another notices."""
    folder = Path(tempfile.mkdtemp(prefix="ingle-x-"))
    daemon = DaemonUnderTest(folder, **SCRIPTED)
    # Slow enough that a running generation can be cancelled, as the vectors ask for.
    daemon.configure(scripted={"tokens_per_second": 100.0})
    try:
        yield daemon.start()
    finally:
        daemon.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["name"])
def test_exchange(exchange: dict[str, Any], one_daemon: DaemonUnderTest) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        configure(socket, one_daemon.endpoint)
        socket.connect(one_daemon.endpoint.url)
        replay(exchange, socket)
