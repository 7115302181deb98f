"""Which combination of card, torch and ExLlamaV2 is installed, read without importing any of it.

What works is only known by trying: that is `ingle doctor --deep`.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class GpuStack:
    """Versions; "" for what is not installed."""

    torch: str
    #: The platform torch was built for: CUDA's version, or ROCm's; both "" for the CPU.
    cuda: str
    rocm: str
    exllamav2: str
    flash_attn: str

    @property
    def platform(self) -> str:
        """For people: `CUDA 12.8`, `ROCm 6.3`, or "" where torch can use no card."""
        if self.cuda:
            return f"CUDA {self.cuda}"
        return f"ROCm {self.rocm}" if self.rocm else ""

    def __str__(self) -> str:
        """One line: every part and its version."""
        attention = f"flash-attn {self.flash_attn}" if self.flash_attn else "no flash-attn"
        torch = f"torch {self.torch} for {self.platform or 'CPUs'}"
        return f"exllamav2 {self.exllamav2}, {torch}, {attention}"


def read_gpu_stack() -> GpuStack:
    """What is installed in this Python."""
    built_for = _torch_build()
    return GpuStack(
        torch=_version("torch"),
        cuda=built_for.get("cuda", ""),
        rocm=built_for.get("hip", ""),
        exllamav2=_version("exllamav2"),
        flash_attn=_version("flash-attn"),
    )


def _torch_build() -> dict[str, str]:
    """The assignments of torch's `version.py` that are texts."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
        body = ast.parse(text).body
    except (OSError, ValueError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    for line in body:
        if isinstance(line, ast.Assign):
            names, value = line.targets, line.value
        elif isinstance(line, ast.AnnAssign) and line.value is not None:
            names, value = [line.target], line.value
        else:
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found |= {name.id: value.value for name in names if isinstance(name, ast.Name)}
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
