"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemons import SCRIPTED, DaemonUnderTest

# Whoever runs the tests in the background of a shell has them ignore Ctrl-C, and so would all that
# they start: `ingle` too, whose Ctrl-C is tested. A handler here is the default in children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path, so that its sockets fit."""
    folder = Path(tempfile.mkdtemp(prefix="ingle-t-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_daemon(home: Path) -> Iterator[Callable[..., DaemonUnderTest]]:
    """Makes daemons with the scripted engine, not yet started; all are stopped in the end."""
    made: list[DaemonUnderTest] = []

    def make(**sections: dict[str, Any]) -> DaemonUnderTest:
        daemon = DaemonUnderTest(home / f"d{len(made)}", **SCRIPTED)
        daemon.configure(**sections)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture
def scripted_daemon(make_daemon: Callable[..., DaemonUnderTest]) -> DaemonUnderTest:
    """A running daemon with the scripted engine resident."""
    return make_daemon().start()


@pytest.fixture(scope="session")
def model_daemon() -> Iterator[DaemonUnderTest]:
    """A running daemon with the real demo model resident; shared by the whole run."""
    from support.demo_model import demo_model

    folder = Path(tempfile.mkdtemp(prefix="ingle-m-"))
    daemon = DaemonUnderTest(folder, model={"name": str(demo_model()), "context": 2048})
    daemon.start()
    yield daemon
    daemon.close()
    shutil.rmtree(folder, ignore_errors=True)
