"""The memory of the NVIDIA cards of this machine, from the driver (NVML).

NVML makes no CUDA context, so asking costs nothing on the card. Without a driver, or without the
package nvidia-ml-py, there are no cards as far as this module goes.

Reference: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

from typing import Any

from .fit import Memory


def read_cards() -> list[Memory]:
    """Every card that tells its memory, in the driver's order; empty if there is none."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, OSError):
        return []
    try:
        return [
            memory
            for index in range(pynvml.nvmlDeviceGetCount())
            if (memory := _read(pynvml, index)) is not None
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _read(pynvml: Any, index: int) -> Memory | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return Memory(
            total=int(memory.total),
            # Not `used`: newer drivers leave their own share out of it.
            used=int(memory.total) - int(memory.free),
            measured=True,
            name=_text(pynvml.nvmlDeviceGetName(handle)),
            uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        )
    except pynvml.NVMLError:
        # A card that shares the host's memory, or one that was lost.
        return None


def _text(value: bytes | str) -> str:
    """Old versions of the package give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
