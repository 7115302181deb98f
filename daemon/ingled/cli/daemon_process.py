"""The daemon as a process: whether one runs, whether it answers, why it did not start.

Owns no process; it looks at the lock file, the endpoint and the start log.
"""

from __future__ import annotations

import os
import sys

from ingle import launch
from ingle.blocking_client import Client
from ingle.errors import DaemonNotRunning, LocalError, ResponseTimeout
from ingled.lock import lock_file

from .calls import connect

#: Seconds to wait for a daemon that may be on its way in or out to answer.
_ANSWER_S = 2.0


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
        if not _is_locked(handle):
            return None
        text = os.read(handle, 32).strip()
    except OSError:
        return 0
    finally:
        os.close(handle)
    return int(text) if text.isdigit() else 0


def find_daemon(command: str) -> Client | None:
    """A connection to the running daemon, None if none runs.

    Raises `ResponseTimeout` if one runs that does not answer, and what else `Client` raises.
    """
    try:
        return connect(command, timeout=_ANSWER_S)
    except DaemonNotRunning:
        return None
    except (LocalError, ResponseTimeout):
        # What a daemon that was killed left behind leads nowhere, or is no endpoint file at all.
        if running_pid() is None:
            return None
        raise


def last_words() -> str:
    """The last line that a daemon wrote before its log was open; "" if there is none."""
    try:
        text = launch.start_log().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ingled: ") if lines else ""


if sys.platform == "win32":
    import msvcrt

    def _is_locked(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return True
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        return False

else:
    import fcntl

    def _is_locked(handle: int) -> bool:
        try:
            # Shared, so that two who look don't take each other for a daemon.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(handle, fcntl.LOCK_UN)
        return False
