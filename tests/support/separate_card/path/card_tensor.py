"""Tensors of the card that `card_memory` pretends, and what may be done with them.

A `CardTensor` wraps a tensor with the values. Every operation of torch's Python interface on one is
caught before torch sees it, done on the values, and its result is on the card again.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CARD = torch.device("cuda", 0)

#: Functions of the extension that work on the host's memory.
_ON_HOST = {
    "apply_rep_penalty",
    "count_match",
    "fast_copy_cpu",
    "fast_fadd_cpu",
    "fast_fill_cpu_ones_bool",
    "logit_filter_exclusive",
    "make_group_map",
    "partial_strings_match",
    "sample_basic",
    "sim_anneal",
}
#: Those that take either.
_ANYWHERE = {"stloader_read"}


class Memory:
    """Bytes of the card's tensors, and the host's part of this process's resident memory.

    Raises torch's error for a full card.
    """

    def __init__(self) -> None:
        self.card = self.card_peak = self.host_peak = 0
        #: Bytes of the card that may be used.
        self.limit = float("inf")
        #: Whether the host's part is looked at, after every operation.
        self.watched = False
        #: Storage → its tensors and its bytes.
        self._storages: dict[int, list[int]] = {}
        #: What the pretended kernels keep for themselves; no real one does.
        self._kernels = 0

    def add(self, tensor: CardTensor) -> weakref.finalize[Any, CardTensor]:
        """Count `tensor` until its end, or until what is returned is called."""
        storage = tensor.raw.untyped_storage()
        key = storage._cdata
        entry = self._storages.setdefault(key, [0, storage.nbytes()])
        if not entry[0]:
            if self.card + entry[1] > self.limit:
                del self._storages[key]
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            self.card += entry[1]
            self.card_peak = max(self.card_peak, self.card)
        entry[0] += 1
        return weakref.finalize(tensor, self._gone, key)

    def look(self) -> None:
        """Note the host's part now: all that is resident and not the card's."""
        if self.watched:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
            self.host_peak = max(self.host_peak, resident - self.card - self._kernels)

    def look_at_kernels(self) -> None:
        """Measure what the extension's objects hold besides the tensors they were given."""
        if self.watched:
            from exllamav2_ext import registry

            self._kernels = sum(
                tensor.nbytes
                for thing in registry._objects.values()
                for tensor in (getattr(thing, "weight", None), getattr(thing, "_wide", None))
                if tensor is not None
            )

    def _gone(self, key: int) -> None:
        entry = self._storages[key]
        entry[0] -= 1
        if not entry[0]:
            self.card -= entry[1]
            del self._storages[key]


memory = Memory()


class CardTensor(torch.Tensor):
    """A tensor on the card. `raw` has its values."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> CardTensor:
        made: CardTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, raw.shape, dtype=raw.dtype, device="meta"
        )
        made.raw = raw
        made._counted = memory.add(made)
        return made

    device = property(lambda _: _CARD)  # type: ignore[assignment]
    is_cuda = property(lambda _: True)  # type: ignore[assignment]
    is_cpu = is_meta = property(lambda _: False)  # type: ignore[assignment]

    @property
    def data(self) -> CardTensor:  # type: ignore[override]
        return CardTensor(self.raw.data)

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        if not isinstance(value, CardTensor):
            raise TypeError("what is on the card gets its data from the host")
        self._counted()
        self.raw = value.raw
        self._counted = memory.add(self)

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _call(function, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise NotImplementedError(f"{function} on the card, past torch's Python functions")


class Placing(TorchFunctionMode):
    """While entered, this thread's tensors are made and moved as if there was a card."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _call(function, args, kwargs or {})


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the extension or of flash-attn: it reads one memory, and only that."""
    name = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for tensor in _tensors((args, kwargs)):
            on_card = isinstance(tensor, CardTensor)
            if name not in _ANYWHERE and not tensor.is_meta and on_card == (name in _ON_HOST):
                where = "the card's" if on_card else "the host's"
                raise RuntimeError(f"{name} is given a tensor of {where} memory: illegal access")
        with torch._C.DisableTorchFunction():
            result = function(*_each(args, _raw), **_each(kwargs, _raw))
        memory.look_at_kernels()
        memory.look()
        return result if name in _ON_HOST else _each(result, _placed)

    return call


# --- one operation ----------------------------------------------------------------------------


def _call(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = getattr(function, "__name__", "")
    if name == "_has_compatible_shallow_copy_type":
        # A module then makes a new parameter where it moves one to the other memory.
        return False
    if name in ("to", "cuda", "cpu", "type_as"):
        return _moved(name, args, kwargs)
    cards = [one for one in _tensors((args, kwargs)) if isinstance(one, CardTensor)]
    on_card = bool(cards)
    if kwargs.get("device") is not None:
        on_card = _is_card(kwargs["device"])
        if on_card:
            kwargs = kwargs | {"device": "cpu"}
    elif cards:
        _require_one_memory(name, args, kwargs)
    with torch._C.DisableTorchFunctionSubclass():
        result = function(*_each(args, _raw), **_each(kwargs, _raw))
    if on_card:
        # In place: the tensor itself.
        known = {id(card.raw): card for card in cards}
        result = _each(result, lambda one: known[id(one)] if id(one) in known else _placed(one))
    memory.look()
    return result


def _moved(name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """A change of memory makes a copy, as a real one does."""
    tensor, rest, kwargs = args[0], list(args[1:]), dict(kwargs)
    here = there = isinstance(tensor, CardTensor)
    if name in ("cuda", "cpu"):
        there, rest = name == "cuda", []
    elif kwargs.get("device") is not None:
        there = _is_card(kwargs.pop("device"))
    for place, one in enumerate(rest):
        if isinstance(one, torch.Tensor):
            there, rest[place] = isinstance(one, CardTensor), _raw(one).dtype
        elif isinstance(one, str | torch.device) or type(one) is int:
            there = _is_card(one)
            rest[place] = "meta" if str(one) == "meta" else "cpu"
    raw = _raw(tensor)
    found = raw.to(*rest, **kwargs) if rest or kwargs else raw
    if here == there and found is raw:
        return tensor
    if here != there and not found.is_meta and found.data_ptr() == raw.data_ptr():
        found = found.clone()
    memory.look()
    return _placed(found) if there else found


def _require_one_memory(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    """As torch: both may meet in a copy, in an index on the host, and in a single number."""
    given: Any = (args, kwargs)
    if name in ("copy_", "__get__", "__set__"):
        return
    if name == "__getitem__" and isinstance(args[0], CardTensor):
        return
    if name == "__setitem__":
        # With slices alone it is a copy.
        indexed = any(True for _ in _tensors(args[1]))
        given = (args[0], args[2]) if indexed else ()
    for tensor in _tensors(given):
        if not isinstance(tensor, CardTensor) and tensor.dim() and not tensor.is_meta:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and cpu! ({name})"
            )


def _is_card(device: Any) -> bool:
    return type(device) is int or str(device).startswith("cuda")


def _tensors(thing: Any) -> Iterator[torch.Tensor]:
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for one in thing:
            yield from _tensors(one)
    elif isinstance(thing, dict):
        for one in thing.values():
            yield from _tensors(one)


def _each(thing: Any, change: Callable[[Any], Any]) -> Any:
    """`thing` with every tensor in it changed."""
    if isinstance(thing, torch.Tensor):
        return change(thing)
    if isinstance(thing, list | tuple) and any(True for _ in _tensors(thing)):
        return type(thing)([_each(one, change) for one in thing])  # type: ignore[call-arg]
    if isinstance(thing, dict):
        return {name: _each(one, change) for name, one in thing.items()}
    return thing


def _raw(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.raw if isinstance(tensor, CardTensor) else tensor


def _placed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if isinstance(tensor, CardTensor) or tensor.is_meta else CardTensor(tensor)
