"""exllamav2 on the CPU, for tests: stand-ins for its extension, for flash-attn and for a GPU.

In this process: `install()` before exllamav2 is imported. In a subprocess: `environment()`.
Everything that the real kernels compute is computed in torch; see `path/`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = Path(__file__).parent / "path"


def install() -> None:
    """Make this process see the stand-ins. Idempotent."""
    if str(PATH) not in sys.path:
        sys.path.insert(0, str(PATH))
    import cpu_device

    cpu_device.install()


def environment(
    *, vram_bytes: int | None = None, flash_attention: bool = True, converter: bool = False
) -> dict[str, str]:
    """Variables that give a subprocess the stand-ins; to be added to its environment."""
    variables = {"PYTHONPATH": os.pathsep.join([str(PATH), *_given_path()])}
    if vram_bytes is not None:
        variables["INGLE_STAND_IN_VRAM"] = str(vram_bytes)
    if not flash_attention:
        variables["EXLLAMA_NO_FLASH_ATTN"] = "1"
    if converter:
        variables["INGLE_STAND_IN_CONVERTER"] = "1"
    return variables


@contextmanager
def converting() -> Iterator[None]:
    """As in a subprocess with `environment(converter=True)`: "cuda:0" is the CPU."""
    import cpu_device

    with cpu_device.cuda_is_cpu():
        yield


@contextmanager
def without_flash_attention() -> Iterator[None]:
    """As on a card without flash-attn."""
    from exllamav2 import attn

    before = attn.has_flash_attn, attn.has_flash_attn_with_paged
    attn.has_flash_attn = attn.has_flash_attn_with_paged = False
    try:
        yield
    finally:
        attn.has_flash_attn, attn.has_flash_attn_with_paged = before


def _given_path() -> list[str]:
    given = os.environ.get("PYTHONPATH", "")
    return [given] if given else []
