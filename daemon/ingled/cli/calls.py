"""Connections and open requests of commands: who asks, and what an interruption does to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ingle.blocking_client import Call, Client
from ingle.endpoint import Endpoint
from ingle.errors import IngleError
from ingle.messages import Cancel

from .exit_codes import INTERRUPTED

#: Seconds that an interrupted command waits for the daemon to hear of it.
CANCEL_WAIT_S = 1.0


def connect(command: str, *, endpoint: Endpoint | None = None, timeout: float = 5.0) -> Client:
    """A connection to the daemon, under the command's name. Raises `DaemonNotRunning`."""
    return Client(endpoint, name=f"ingle {command}", timeout=timeout)


def interrupt_on_terminate() -> None:
    """Let SIGTERM end the command as Ctrl-C does, so that it can clean up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def cancelled_when_left(client: Client, call: Call) -> Iterator[None]:
    """Cancel the call in the daemon when the user interrupts or the reader of the output leaves.

    Waits a moment until the daemon has heard of it; another signal ends the process at once.
    """
    try:
        yield
    except (KeyboardInterrupt, BrokenPipeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)
        with suppress(IngleError):
            client.call(Cancel, request=call.id, wait=CANCEL_WAIT_S).wait()
        raise


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    os._exit(INTERRUPTED)
