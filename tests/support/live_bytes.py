"""The most bytes that tensors made inside a block are alive with at once, on any device."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts each storage once, from the operation that made it to its last tensor's end.

    Tensors that were there before don't count, nor does what an operation needs inside itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        #: Storage → its tensors and its bytes.
        self._live: dict[int, list[int]] = {}
        self._before: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()._cdata
                if storage not in self._live:
                    self._before.add(storage)
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._seen(tensor)
        return result

    def _seen(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._before:
            return
        if key not in self._live:
            self._live[key] = [0, storage.nbytes()]
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
        self._live[key][0] += 1
        weakref.finalize(tensor, self._gone, key)

    def _gone(self, key: int) -> None:
        entry = self._live[key]
        entry[0] -= 1
        if not entry[0]:
            self.now -= entry[1]
            del self._live[key]
