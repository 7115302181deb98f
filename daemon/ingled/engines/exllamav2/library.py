"""The library exllamav2, made ready: the version guard, and gpt-oss taught to it from outside.

Four of its functions are wrapped; each does what it did for every other architecture. They are
private enough that another version may mean something else by them, so the version is exact.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ingle.errors import LoadFailed

VERSION = "0.3.2"
#: What its build of the CUDA extension and its use of torch need.
MIN_TORCH = (2, 6)
REMEDY = "pip install 'ingle[rtx]'"

_installed = False


def install() -> None:
    """Import the library and teach it gpt-oss; once, however often it is called.

    Raises `LoadFailed` for a missing or another version, and when its extension can't be built.
    """
    global _installed
    if _installed:
        return
    check_versions()
    _import()
    from exllamav2 import architecture, attn, config, model, rope

    if attn.has_flash_attn_with_paged:
        _check_flash_attention(attn.flash_attn_with_kvcache)
    _wrap(architecture.ExLlamaV2ArchParams, "__init__", _describe)
    _wrap(config.ExLlamaV2Config, "prepare", _prepare)
    _wrap(rope, "get_rope_params_yarn", _yarn)
    _wrap(model.ExLlamaV2, "__init__", _build)
    _installed = True


def check_versions() -> None:
    """Raise `LoadFailed` for a missing or another version of the library or of torch."""
    found = _version("exllamav2")
    if found != VERSION:
        what = f"exllamav2 {found} is installed" if found else "exllamav2 is not installed"
        raise LoadFailed(f"{what}, gpt-oss needs exactly {VERSION}: run `{REMEDY}`")
    torch = _version("torch")
    if torch is None or _numbers(torch) < MIN_TORCH:
        least = ".".join(map(str, MIN_TORCH))
        what = f"torch {torch} is too old" if torch else "torch is not installed"
        raise LoadFailed(f"{what}, ExLlamaV2 needs {least} or newer: run `{REMEDY}`")


def _import() -> None:
    try:
        import exllamav2  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise LoadFailed(_import_failure(error)) from error


def _import_failure(error: Exception) -> str:
    """Why the library can't be imported, and what to do. Its extension is built at first use."""
    text = str(error)
    if "CUDA_HOME" in text or "nvcc" in text:
        return (
            "ExLlamaV2 builds its kernels at first use and finds no CUDA toolkit: install the "
            "toolkit of torch's CUDA version and set CUDA_HOME, or install a prebuilt exllamav2 "
            f"{VERSION} wheel"
        )
    if "inja" in text:
        return "ExLlamaV2 builds its kernels at first use and needs ninja: run `pip install ninja`"
    line = " ".join(text.split())[:300]
    return (
        f"ExLlamaV2 can't be imported ({type(error).__name__}: {line}): install a prebuilt "
        f"exllamav2 {VERSION} wheel for this Python and torch, or a C++ compiler"
    )


def _check_flash_attention(function: Callable[..., Any]) -> None:
    if "return_softmax_lse" not in inspect.signature(function).parameters:
        raise LoadFailed(
            "the installed flash-attn is too old for attention sinks: "
            "upgrade it to 2.6 or newer, or uninstall it"
        )


# --- wrapped functions: the original, then gpt-oss's part of it -----------------------------


def _describe(original: Callable[..., None], self: Any, name: str, read_config: Any) -> None:
    from . import architecture

    if name != architecture.ARCHITECTURE:
        original(self, name, read_config)
        return
    original(self, architecture.NEAREST, read_config)
    architecture.describe(self, read_config)


def _prepare(original: Callable[..., None], self: Any, no_tensors: bool = False) -> None:
    from .architecture import complete, read_extra

    extra = read_extra(Path(self.model_dir))
    original(self, no_tensors)
    if extra is not None:
        complete(self, extra)


def _yarn(original: Callable[..., Any], device: Any, cfg: Any, base: float) -> Any:
    from .architecture import yarn_of
    from .rope import inverse_frequencies

    yarn = yarn_of(cfg)
    if yarn is None:
        return original(device, cfg, base)
    return inverse_frequencies(yarn, cfg.head_dim, base, device), yarn.attention_factor


def _build(
    original: Callable[..., None], self: Any, config: Any, *args: Any, **kwargs: Any
) -> None:
    from .architecture import is_gpt_oss
    from .model import replace_layers

    original(self, config, *args, **kwargs)
    if is_gpt_oss(config):
        replace_layers(self)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, wrapped)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())
