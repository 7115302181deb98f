"""MXFP4 decoded on the card: every byte under every scale, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ingled.engines.exllamav2 import mxfp4
from ingled.finding import Finding

from .products import REMEDY
from .setup import Setup


def check(setup: Setup) -> Iterator[Finding]:
    """One finding, against the CPU and against the format's definition in double precision."""
    scales = torch.arange(mxfp4.MAX_SCALE + 1, dtype=torch.uint8)
    # All 256 bytes, in 16 groups, under each scale.
    blocks = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(len(scales), 1, 1)
    each = scales[:, None].repeat(1, 16)
    on_card = mxfp4.decode(blocks.to(setup.device), each.to(setup.device)).cpu()
    against = {"the CPU": mxfp4.decode(blocks, each), "the format": _defined(blocks, each)}
    wrong = {name: _different(on_card, wanted) for name, wanted in against.items()}
    figures = {"values": on_card.numel(), "different": max(wrong.values())}
    if any(wrong.values()):
        name = max(wrong, key=lambda key: wrong[key])
        text = f"{wrong[name]:,} of {on_card.numel():,} MXFP4 values differ from {name}'s"
        yield Finding(check="mxfp4", grade="fail", text=text, remedy=REMEDY, figures=figures)
    else:
        text = f"all {on_card.numel():,} values of MXFP4 are decoded bit for bit"
        yield Finding(check="mxfp4", grade="ok", text=text, figures=figures)


def _defined(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """E2M1: a sign, two bits of exponent with bias 1, one of mantissa; the low nibble first."""
    nibbles = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2).long()
    exponent, mantissa = (nibbles >> 1) & 3, (nibbles & 1).double()
    size = torch.where(
        exponent > 0, (1 + mantissa / 2) * 2.0 ** (exponent - 1).double(), mantissa / 2
    )
    signed = torch.where(nibbles >= 8, -size, size)
    return (signed * 2.0 ** (scales.double() - 127)[..., None]).half().flatten(-2)


def _different(found: torch.Tensor, wanted: torch.Tensor) -> int:
    """Values with other bits; the sign of zero counts."""
    return int((found.view(torch.int16) != wanted.view(torch.int16)).sum())
