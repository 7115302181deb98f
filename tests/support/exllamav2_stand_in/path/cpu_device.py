"""Makes torch and exllamav2 believe that the CPU is GPU 0; for tests only.

An import hook changes modules right after they were loaded: `torch.cuda` answers as if there was
a card, and exllamav2's ideas of a device lead to the CPU. For its converter, which writes "cuda:0"
in many places, torch itself is told to take that for the CPU (`cuda_is_cpu`).

Environment: INGLE_STAND_IN_VRAM (bytes of the card), INGLE_STAND_IN_CONVERTER (any value).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, SimpleNamespace
from typing import Any

DEFAULT_VRAM = 16 * 2**30
#: Holds `cuda_is_cpu` for the rest of a subprocess.
_entered = ExitStack()
NAME = "CPU stand-in"


def install() -> None:
    """Change what is loaded and what will be. Idempotent."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if "exllamav2" in sys.modules:
        raise RuntimeError("exllamav2 was imported before the stand-in")
    sys.meta_path.insert(0, _Finder())
    if "torch.cuda" in sys.modules:
        _change(sys.modules["torch.cuda"])


def vram() -> int:
    """Bytes of the card."""
    return int(os.environ.get("INGLE_STAND_IN_VRAM", DEFAULT_VRAM))


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torch.cuda" and not name.startswith("exllamav2."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            _change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _change(module: ModuleType) -> None:
    if module.__name__ == "torch.cuda":
        for name, value in _card().items():
            setattr(module, name, value)
        return
    for name, value in _LIBRARY.items():
        if hasattr(module, name):
            setattr(module, name, value)
    if module.__name__ == "exllamav2.device":
        module.global_streams[0] = SimpleNamespace(device_index=0, synchronize=lambda: None)
    if module.__name__ == "exllamav2.ext" and "INGLE_STAND_IN_CONVERTER" in os.environ:
        _entered.enter_context(cuda_is_cpu())


def _card() -> dict[str, Any]:
    about = SimpleNamespace(name=NAME, major=8, minor=9, multi_processor_count=1)

    def properties(_device: Any = None) -> Any:
        about.total_memory = vram()
        return about

    return {
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "empty_cache": lambda: None,
        "get_device_capability": lambda _device=None: (about.major, about.minor),
        "get_device_name": lambda _device=None: NAME,
        "get_device_properties": properties,
        "is_available": lambda: True,
        "max_memory_allocated": lambda _device=None: 0,
        "mem_get_info": lambda _device=None: (vram(), vram()),
        "memory_allocated": lambda _device=None: 0,
        "memory_reserved": lambda _device=None: 0,
        "reset_peak_memory_stats": lambda _device=None: None,
        "set_per_process_memory_fraction": lambda _share, _device=None: None,
        "synchronize": lambda _device=None: None,
    }


def _move(tensor: Any, device: Any, non_blocking: bool = False) -> Any:
    return tuple(_move(one, device) for one in tensor) if isinstance(tensor, tuple) else tensor


#: Names in any module of the library → what they become.
_LIBRARY: dict[str, Any] = {
    "_torch_device": lambda _index: "cpu",
    "safe_move_tensor": _move,
    "set_device_streams": lambda: None,
}


@contextmanager
def cuda_is_cpu() -> Iterator[None]:
    """Every mention of a CUDA device in this thread means the CPU.

    A move between devices makes a copy, as a real one does: with aliases the converter measures
    the wrong thing.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    real = torch.device

    def is_card(device: Any) -> bool:
        if isinstance(device, bool):
            return False
        return (
            (isinstance(device, int) and device >= 0)
            or (isinstance(device, str) and device.startswith("cuda"))
            or (isinstance(device, real) and device.type == "cuda")
        )

    class DeviceMeta(type):
        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, real)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return real("cpu") if args and is_card(args[0]) else real(*args, **kwargs)

    class Device(metaclass=DeviceMeta):
        pass

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            name = getattr(function, "__name__", "")
            if name in ("cuda", "cpu"):
                return args[0].clone()
            if is_card(kwargs.get("device")):
                kwargs["device"] = "cpu"
            moved = False
            if name == "to" and len(args) > 1 and (is_card(args[1]) or isinstance(args[1], str)):
                args = (args[0], "cpu", *args[2:])
                moved = args[0].device.type != "meta"
            result = function(*args, **kwargs)
            if moved and result.data_ptr() == args[0].data_ptr():
                return result.clone()
            return result

    torch.device = Device  # type: ignore[misc, assignment]
    try:
        with Mode():
            yield
    finally:
        torch.device = real  # type: ignore[misc]
