"""One daemon per user: a lock file that the kernel releases when its owner dies, however."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ingle import paths
from ingle.errors import AlreadyRunning
from ingle.file_lock import lock

#: Who only looks (`running_pid`) has the lock for an instant; that is no other daemon.
_TRIES = 5
_PAUSE_S = 0.05


def lock_file() -> Path:
    """Holds the running daemon's process id."""
    return paths.runtime_dir() / "ingled.lock"


class InstanceLock:
    """Held from `acquire` to `release`, or to the end of the process."""

    def __init__(self) -> None:
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `AlreadyRunning` if another daemon holds it."""
        paths.private_dir(paths.runtime_dir())
        handle = os.open(lock_file(), os.O_RDWR | os.O_CREAT, 0o600)
        for attempt in range(_TRIES):
            try:
                lock(handle)
                break
            except BlockingIOError:
                if attempt + 1 < _TRIES:
                    time.sleep(_PAUSE_S)
        else:
            owner = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise AlreadyRunning(
                f"a daemon is already running (process {owner or 'unknown'}): "
                "use it, or stop it with `ingle down`"
            )
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle

    def release(self) -> None:
        """Give it back; the file stays, empty."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def running_pid() -> int | None:
    """Process id of the daemon that holds the lock; 0 if it can't be told; None without one.

    The lock is asked, not the process table: after a crash the id may be somebody else's.
    """
    try:
        handle = os.open(lock_file(), os.O_RDONLY)
    except FileNotFoundError:
        return None
    except PermissionError:
        return 0
    try:
        # Shared, so that two who look don't take each other for a daemon.
        lock(handle, shared=True)
    except BlockingIOError:
        text = os.read(handle, 32).strip()
        return int(text) if text.isdigit() else 0
    except OSError:
        return 0
    else:
        return None
    finally:
        os.close(handle)
