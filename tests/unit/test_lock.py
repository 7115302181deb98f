"""The instance lock: one holder, readable by who looks, and looking is not holding."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ingle import paths
from ingle.errors import AlreadyRunning
from ingle.file_lock import lock, unlock
from ingled.lock import InstanceLock, lock_file, running_pid


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path))


def test_one_holder_and_everybody_can_see_who() -> None:
    assert running_pid() is None
    first = InstanceLock()
    first.acquire()
    assert running_pid() == os.getpid()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        InstanceLock().acquire()
    assert running_pid() == os.getpid(), "a refused second costs the first nothing"
    first.release()
    assert running_pid() is None
    InstanceLock().release()


def test_a_daemon_that_starts_while_somebody_looks_is_not_refused() -> None:
    paths.private_dir(paths.runtime_dir())
    with lock_file().open("w+b") as looked_at:
        lock(looked_at.fileno(), shared=True)
        threading.Timer(0.02, unlock, [looked_at.fileno()]).start()
        holder = InstanceLock()
        holder.acquire()
        assert running_pid() == os.getpid()
        holder.release()
