"""One daemon per user: a lock file that the kernel releases when its owner dies, however."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ingle import paths
from ingle.errors import AlreadyRunning


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
        try:
            _lock(handle)
        except OSError:
            owner = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise AlreadyRunning(
                f"a daemon is already running (process {owner or 'unknown'}): "
                "use it, or stop it with `ingle down`"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle

    def release(self) -> None:
        """Give it back; the file stays, empty."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        # Locked bytes can't be read by others, so the lock lies beyond the process id.
        os.lseek(handle, 4096, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
