"""What is here to work with: cards, driver, torch, the library's build, flash-attn.

Imports torch and the library only inside: a machine without them gets its one line.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from ingle.errors import LoadFailed
from ingled.finding import Finding
from ingled.models.fit import memory_text

#: Compute capability from which on half-precision arithmetic is fast, and flash-attn works.
VOLTA, AMPERE = (7, 0), (8, 0)
#: Bytes in use on a card, beyond which something else than a desktop is there.
_MUCH = 2 * 2**30


def missing() -> str:
    """Why nothing can be checked on this machine; "" if it can."""
    for package in ("torch", "exllamav2", "safetensors"):
        if importlib.util.find_spec(package) is None:
            return (
                f"{package} is not installed: `pip install 'ingle[rtx]'` on a machine with a card"
            )
    from ingled.engines.exllamav2.device import require_card

    try:
        require_card()
    except LoadFailed as error:
        return f"no CUDA or ROCm device: {error}"
    return ""


def check_cards() -> Iterator[Finding]:
    """A finding for every card, and one for driver and torch. Needs torch and a card."""
    import torch

    from ingled.engines.exllamav2.device import platform

    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        capability = (about.major, about.minor)
        text = (
            f"{about.name}: compute capability {about.major}.{about.minor}, "
            f"{memory_text(total)} of memory, {memory_text(free)} free"
        )
        figures = {
            "compute_capability": f"{about.major}.{about.minor}",
            "memory_total_bytes": total,
            "memory_free_bytes": free,
        }
        if not torch.version.hip and capability < VOLTA:
            remedy = "use a GGUF model on the llamacpp engine: half precision is slow on this card"
            yield Finding(check="card", grade="warn", text=text, remedy=remedy, figures=figures)
        elif total - free > _MUCH:
            remedy = "something else is in its memory: speed is measured beside it"
            yield Finding(check="card", grade="info", text=text, remedy=remedy, figures=figures)
        else:
            yield Finding(check="card", grade="ok", text=text, figures=figures)
    driver = _driver()
    text = f"torch {torch.__version__} for {platform()}" + (f", driver {driver}" if driver else "")
    figures = {"torch": str(torch.__version__), "platform": platform(), "driver": driver}
    yield Finding(check="card", grade="ok", text=text, figures=figures)


def check_library() -> Iterator[Finding]:
    """Load the library, which may build its kernels for minutes, and teach it gpt-oss."""
    from ingled.engines.exllamav2.library import install

    try:
        install()
    except LoadFailed as error:
        yield Finding(check="library", grade="fail", text=str(error))
        return
    from exllamav2 import ext

    built = "built here at first use" if ext.build_jit else "prebuilt"
    yield Finding(
        check="library",
        grade="ok",
        text=f"exllamav2 {version('exllamav2')}, its kernels {built}",
        figures={"exllamav2": version("exllamav2"), "built_here": bool(ext.build_jit)},
    )
    yield _flash_attention()


def _flash_attention() -> Finding:
    import torch
    from exllamav2 import attn

    installed = _version("flash-attn")
    oldest = min(
        torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())
    )
    figures = {"flash_attn": installed, "paged": bool(attn.has_flash_attn_with_paged)}
    if attn.has_flash_attn_with_paged and not torch.version.hip and oldest < AMPERE:
        text = f"flash-attn {installed} is used, but a card here is older than Ampere"
        remedy = "uninstall flash-attn, or set EXLLAMA_NO_FLASH_ATTN=1"
        return Finding(check="library", grade="fail", text=text, remedy=remedy, figures=figures)
    if attn.has_flash_attn_with_paged:
        text = f"flash-attn {installed}: several requests at a time, prompts share their beginnings"
        return Finding(check="library", grade="ok", text=text, figures=figures)
    why = f"flash-attn {installed} can't be used" if installed else "flash-attn is not installed"
    text = f"{why}: requests run one at a time, only the last prompt's beginning is kept"
    remedy = (
        "install flash-attn 2.6 or newer" if oldest >= AMPERE else "nothing to do: it needs Ampere"
    )
    return Finding(check="library", grade="info", text=text, remedy=remedy, figures=figures)


def _driver() -> str:
    try:
        import pynvml
    except ImportError:
        return ""
    try:
        pynvml.nvmlInit()
        found = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except (pynvml.NVMLError, OSError):
        return ""
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
