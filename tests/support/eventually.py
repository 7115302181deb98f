"""Waiting on conditions inside of an event loop, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
