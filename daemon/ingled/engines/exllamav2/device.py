"""The GPUs as torch sees them: the one place that asks. Imported after torch may be."""

from __future__ import annotations

import os
import sys

import torch

from ingle.errors import LoadFailed
from ingled.models.fit import Memory

#: PyTorch's variable for its allocator; segments that grow waste far less than fixed ones.
ALLOCATOR_VARIABLE = "PYTORCH_CUDA_ALLOC_CONF"


def configure_allocator() -> None:
    """Choose the allocator's mode, before torch touches the card. The user's own choice stays."""
    if sys.platform != "win32":
        os.environ.setdefault(ALLOCATOR_VARIABLE, "expandable_segments:True")


def has_expandable_segments() -> bool:
    """Whether allocations are packed closely."""
    return "expandable_segments:True" in os.environ.get(ALLOCATOR_VARIABLE, "")


def require_card() -> None:
    """Raise `LoadFailed` where torch has no card to work with."""
    if torch.cuda.is_available():
        return
    if torch.version.cuda is None and torch.version.hip is None:
        raise LoadFailed(
            f"torch {torch.__version__} is a build for CPUs, ExLlamaV2 needs one for CUDA or ROCm: "
            "install that, or use a GGUF model on the llamacpp engine"
        )
    raise LoadFailed(
        f"torch {torch.__version__} finds no GPU: check the driver (`nvidia-smi` or `rocminfo`), "
        "or use a GGUF model on the llamacpp engine"
    )


def describe() -> str:
    """Cards and platform, for people: `NVIDIA GeForce RTX 4090, CUDA 12.8`."""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join([*names, platform()])


def platform() -> str:
    """CUDA or ROCm and its version, as torch was built."""
    if torch.version.hip:
        return f"ROCm {torch.version.hip}"
    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"


def memory() -> Memory:
    """What all cards have together, in bytes. This process's CUDA context is in use already."""
    free = total = 0
    for index in range(torch.cuda.device_count()):
        free_here, total_here = torch.cuda.mem_get_info(index)
        free, total = free + free_here, total + total_here
    return Memory(
        total=total,
        used=total - free,
        measured=True,
        has_context=True,
        name=describe(),
    )


def forbid_spilling(headroom: int) -> None:
    """Let allocations fail beyond what is free now less `headroom` bytes.

    Some drivers would move the overflow to the host's memory without a word, and every token
    would then take many times as long.
    """
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        share = (torch.cuda.memory_reserved(index) + free - headroom) / total
        torch.cuda.set_per_process_memory_fraction(min(max(share, 0.0), 1.0), index)
