"""What the command line's exit codes mean: one table, for `--help`, the reference and the code."""

from __future__ import annotations

from ingle.errors import (
    Busy,
    ConnectionLost,
    DaemonNotRunning,
    DeadlineExceeded,
    IngleError,
    InvalidRequest,
    ResponseTimeout,
    ShuttingDown,
    ThreadBusy,
    ThreadNameError,
)

OK = 0
FAILURE = 1
USAGE = 2
NOT_RUNNING = 3
BUSY = 4
INTERRUPTED = 130

MEANINGS = {
    OK: "done; also when the reader of a pipe had enough",
    FAILURE: "it failed",
    USAGE: "wrong command line or input",
    NOT_RUNNING: "the daemon is not running, or went away",
    BUSY: "busy, or out of time",
    INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
}

_CODES: dict[type[IngleError], int] = {
    Busy: BUSY,
    ConnectionLost: NOT_RUNNING,
    DaemonNotRunning: NOT_RUNNING,
    DeadlineExceeded: BUSY,
    InvalidRequest: USAGE,
    ResponseTimeout: BUSY,
    ShuttingDown: NOT_RUNNING,
    ThreadBusy: BUSY,
    ThreadNameError: USAGE,
}


def exit_code(error: IngleError) -> int:
    """The exit code for an error that ends a command."""
    return _CODES.get(type(error), FAILURE)
