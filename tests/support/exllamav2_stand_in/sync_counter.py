"""Counts the operations that would make the CPU wait for a GPU, or send it something."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_WAITS = {
    "__bool__",
    "__float__",
    "__index__",
    "__int__",
    "cpu",
    "equal",
    "item",
    "masked_select",
    "nonzero",
    "numpy",
    "tolist",
    "unique",
}


class SyncCounter(TorchFunctionMode):
    """Use as a context. On the CPU nothing waits, so they are known by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.device_to_host = 0
        self.host_to_device = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        self.device_to_host += (
            name in _WAITS
            or (name == "where" and len(args) == 1)
            or (name == "repeat_interleave" and len(args) > 1 and torch.is_tensor(args[1]))
            or (name == "to" and "cpu" in map(str, (*args[1:], *kwargs.values())))
            or (name in ("__getitem__", "__setitem__") and _has_mask(args[1]))
        )
        self.host_to_device += name in ("tensor", "as_tensor", "from_numpy") or (
            name in ("__getitem__", "__setitem__") and _has_list(args[1])
        )
        return function(*args, **kwargs)


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _has_mask(index: Any) -> bool:
    return any(torch.is_tensor(part) and part.dtype == torch.bool for part in _parts(index))


def _has_list(index: Any) -> bool:
    return any(isinstance(part, list) for part in _parts(index))
