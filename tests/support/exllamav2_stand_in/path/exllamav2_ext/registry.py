"""Handles and call counts of the stand-in."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

#: Name of a function → how often it was called, so that tests can tell which path ran.
calls: Counter[str] = Counter()

_objects: dict[int, Any] = {}
_numbers = itertools.count(1)


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the extension: counted, and out of reach of torch's function modes."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        calls[function.__name__] += 1
        with torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    return call


def keep(thing: Any) -> int:
    """A handle, as the extension's pointers are."""
    handle = next(_numbers)
    _objects[handle] = thing
    return handle


def get(handle: int) -> Any:
    return _objects[handle]


def free(handle: int) -> None:
    """Freeing twice, or what was never made, crashes the real one."""
    del _objects[handle]


def alive() -> int:
    """How many objects have been made and not freed."""
    return len(_objects)


def is_none(tensor: torch.Tensor | None) -> bool:
    """The library passes a meta tensor for None."""
    return tensor is None or tensor.is_meta
