"""A card with a memory of its own, on the CPU; for tests only.

The stand-in of `exllamav2_stand_in` takes the CPU for the card, and one memory for the other. Here
every tensor that is asked for on "cuda" is a `CardTensor`. As with a real card, an operation on
tensors of both memories raises; so does a kernel that is given a tensor of the host, where the
real one would read wild memory. What lies on the card is counted, and so what the host holds.

Environment: INGLE_CARD_REPORT, a file that gets the peaks in bytes when the process ends.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import cpu_device

#: Holds `Placing` for the rest of the process.
_entered = ExitStack()
#: Of what `cpu_device` changes in the library, this is still needed.
_KEPT = ("set_device_streams",)


def install() -> None:
    """Change what will be imported. In the place of `cpu_device.install`."""
    for name in set(cpu_device._LIBRARY) - set(_KEPT):
        del cpu_device._LIBRARY[name]
    cpu_device.install()
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = _CHANGES.get(name)
        spec = PathFinder.find_spec(name, path, target) if change else None
        if change is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _begin(module: ModuleType) -> None:
    """exllamav2 imports its extension before it does anything with tensors."""
    import torch
    from card_tensor import Placing, kernel, memory

    for name in module.__all__:
        function = getattr(module, name)
        if hasattr(function, "__wrapped__"):
            setattr(module, name, kernel(function))
    torch.device = _device_type(torch.device)  # type: ignore[misc, assignment]
    for name in ("device", "stream"):
        setattr(torch.cuda, name, lambda *_: nullcontext())
    for name in ("set_device", "set_stream"):
        setattr(torch.cuda, name, lambda *_: None)
    for name, function in _accounts(memory).items():
        setattr(torch.cuda, name, function)
    _entered.enter_context(Placing())
    report = os.environ.get("INGLE_CARD_REPORT")
    if report:
        memory.watched = True
        atexit.register(_write, Path(report), memory)


def _accounts(memory: Any) -> dict[str, Any]:
    """`torch.cuda`'s functions that tell what the card holds."""

    def limit(share: float, _device: Any = None) -> None:
        memory.limit = share * cpu_device.vram()

    return {
        "mem_get_info": lambda _device=None: (cpu_device.vram() - memory.card, cpu_device.vram()),
        "memory_allocated": lambda _device=None: memory.card,
        "memory_reserved": lambda _device=None: memory.card,
        "max_memory_reserved": lambda _device=None: memory.card_peak,
        "set_per_process_memory_fraction": limit,
    }


def _write(file: Path, memory: Any) -> None:
    peaks = {"host": memory.host_peak, "card": memory.card_peak}
    file.write_text(json.dumps(peaks), encoding="utf-8")


def _flash(module: ModuleType) -> None:
    from card_tensor import kernel

    for name in ("flash_attn_func", "flash_attn_with_kvcache"):
        setattr(module, name, kernel(getattr(module, name)))


_CHANGES: dict[str, Callable[[ModuleType], None]] = {"exllamav2_ext": _begin, "flash_attn": _flash}


def _device_type(real: Any) -> Any:
    """`torch.device`, for which a number is the card of that number."""

    class DeviceMeta(type):
        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, real)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return real("cuda", args[0]) if type(args[0]) is int else real(*args, **kwargs)

    class Device(metaclass=DeviceMeta):
        pass

    return Device
