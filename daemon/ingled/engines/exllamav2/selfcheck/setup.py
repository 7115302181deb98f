"""Where a check runs and how large it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Dimensions of what is checked; those of gpt-oss unless said otherwise."""

    #: 22.5 groups of 128: the last group of a matrix is cut short.
    hidden: int = 2880
    heads: int = 64
    kv_heads: int = 8
    head_dim: int = 64
    #: Width of an expert.
    inner: int = 2880
    vocabulary: int = 1024
    window: int = 128
    layers: int = 2
    #: All are active, so that no rounding can choose another one.
    experts: int = 4
    #: Tokens of a prompt, and how many of its last ones are decoded one by one. More than 205: the
    #: library records a CUDA graph at a layer's 205th step.
    tokens: int = 400
    decoded: int = 250
    #: Calls of a kernel that is recorded as a graph.
    calls: int = 230
    #: Lengths of the cache for flash-attn: up to 20,000, which it splits among its blocks.
    cached: tuple[int, ...] = (300, 5_000, 20_000)
    #: Rows of a product: up to 4 and up to 32 have kernels of their own, beyond it is cuBLAS.
    rows: tuple[int, ...] = (1, 4, 33, 257)
    #: Bytes that are copied to measure the memory.
    copied: int = 2**28

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A card, in the library's words, and sizes."""

    device: str
    sizes: Sizes = Sizes()
    seed: int = 1

    def generator(self) -> torch.Generator:
        """Random numbers on the CPU, the same every time."""
        return torch.Generator().manual_seed(self.seed)

    def normal(self, generator: torch.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
        """float32, on the card."""
        return (torch.randn(shape, generator=generator) * scale).to(self.device)


def synchronize() -> None:
    """Wait for the card."""
    torch.cuda.synchronize()
