"""A lock file: one owner at a time, among processes and threads; freed when the owner dies.

Owns the platform's locking calls. What the lock protects, and what to tell a user who has to
wait, is the caller's affair.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, *, wait: bool) -> None:
        while True:
            try:
                # `LK_LOCK` gives up after ten seconds by itself.
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if not wait:
                    raise BlockingIOError(*error.args) from error
            else:
                return

    def _unlock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: BinaryIO, *, wait: bool) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def file_lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock at `path`; raises `BlockingIOError` if another has it and `wait` is false.

    The file stays behind: removing it would let two owners hold locks on two different files.
    """
    with path.open("ab") as file:
        _lock(file, wait=wait)
        try:
            yield
        finally:
            _unlock(file)
