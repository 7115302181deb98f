"""Waiting on conditions with a deadline; no test sleeps a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout: float = 20.0, what: str = "condition") -> T:
    """Call `condition` until it returns something true, and return that."""
    give_up = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {timeout} s in vain for: {what}")
        time.sleep(0.01)


async def eventually(condition: Callable[[], T], what: str, patience: float = 30.0) -> T:
    """Look until `condition` gives something true, and return that."""
    try:
        async with asyncio.timeout(patience):
            while True:
                found = condition()
                if found:
                    return found
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited {patience} s in vain for: {what}") from None
