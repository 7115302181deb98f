"""A lock on a file: one owner at a time, among processes and threads; freed when the owner dies.

Owns the platform's locking calls. What the lock protects, and what to tell a user who has to
wait, is the caller's affair.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    #: Locked bytes can't be read by others, so the lock lies beyond anything that is written.
    _PLACE = 1 << 20

    def lock(handle: int, *, wait: bool = False, shared: bool = False) -> None:
        """Lock an open file. Raises `BlockingIOError` if another has it and `wait` is false.

        `shared`: others may hold it too, if they also share. Windows has no such locks here.
        """
        del shared
        while True:
            os.lseek(handle, _PLACE, os.SEEK_SET)
            try:
                # `LK_LOCK` gives up after ten seconds by itself.
                msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if not wait:
                    raise BlockingIOError(*error.args) from error
            else:
                return
            finally:
                os.lseek(handle, 0, os.SEEK_SET)

    def unlock(handle: int) -> None:
        """Give the lock back; closing the file does that, too."""
        os.lseek(handle, _PLACE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def lock(handle: int, *, wait: bool = False, shared: bool = False) -> None:
        """Lock an open file. Raises `BlockingIOError` if another has it and `wait` is false.

        `shared`: others may hold it too, if they also share.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind | (0 if wait else fcntl.LOCK_NB))

    def unlock(handle: int) -> None:
        """Give the lock back; closing the file does that, too."""
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def file_lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock at `path`; raises `BlockingIOError` if another has it and `wait` is false.

    The file stays behind: removing it would let two owners hold locks on two different files.
    """
    with path.open("ab") as file:
        lock(file.fileno(), wait=wait)
        try:
            yield
        finally:
            unlock(file.fileno())
