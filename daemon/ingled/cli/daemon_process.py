"""The daemon as commands see it: whether one answers, and why it did not start."""

from __future__ import annotations

from ingle import launch
from ingle.blocking_client import Client
from ingle.errors import DaemonNotRunning, LocalError, ResponseTimeout
from ingled.lock import running_pid

from .calls import connect

#: Seconds to wait for a daemon that may be on its way in or out to answer.
_ANSWER_S = 2.0


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
