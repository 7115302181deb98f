"""Loading, norms, rotary embeddings and small element-wise helpers."""

from __future__ import annotations

from pathlib import Path

import torch

from .registry import counted, is_none

#: Values a half can't hold are clamped to this before the norm.
LIMIT = 65504.0


@counted
def stloader_read(filename: str, offset: int, size: int, target: torch.Tensor) -> None:
    assert target.is_contiguous()
    assert size == target.numel() * target.element_size()
    with Path(filename).open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    assert len(data) == size, f"{filename} is truncated"
    if size:
        read = torch.frombuffer(bytearray(data), dtype=target.dtype)
        target.copy_(read.view(target.shape))


@counted
def rms_norm(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor, epsilon: float) -> None:
    assert w.dtype == torch.half
    assert {x.dtype, y.dtype} <= {torch.half, torch.float}
    assert x.shape == y.shape
    assert x.is_contiguous()
    assert y.is_contiguous()
    wide = x.float().clamp(-LIMIT, LIMIT) if x.dtype == torch.half else x
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    y.copy_(wide * w.float() * scale)


@counted
def rope_(
    x: torch.Tensor,
    sin: torch.Tensor,
    cos: torch.Tensor,
    past_len: int,
    num_heads: int,
    head_dim: int,
    offsets: torch.Tensor,
    neox_style: bool,
) -> None:
    """In place. Positions count from `past_len` plus each row's offset, never below zero."""
    assert x.dtype == torch.half
    assert sin.dtype == torch.half
    assert x.is_contiguous()
    if not neox_style:
        raise NotImplementedError("exllamav2_ext stand-in: rotary embeddings in GPT-J's style")
    batch = x.shape[0]
    states = x.view(batch, -1, num_heads, head_dim)
    rotated = cos.shape[-1]
    first = torch.full((batch,), past_len, dtype=torch.long)
    if not is_none(offsets):
        assert offsets.dtype == torch.int
        given = offsets.view(-1).long().expand(batch)
        first = given.clamp(min=0) if past_len == -1 else first + given
    positions = (first[:, None] + torch.arange(states.shape[1])).clamp(min=0)
    half = rotated // 2
    cosine = cos.reshape(-1, rotated)[positions, :half].float()[:, :, None, :]
    sine = sin.reshape(-1, rotated)[positions, :half].float()[:, :, None, :]
    low, high = states[..., :half].float(), states[..., half:rotated].float()
    states[..., :half] = (low * cosine - high * sine).half()
    states[..., half:rotated] = (high * cosine + low * sine).half()


@counted
def softcap_(x: torch.Tensor, scale: float) -> None:
    x.copy_(torch.tanh(x.float() / scale) * scale)


@counted
def fast_fill_cpu_ones_bool(tensor: torch.Tensor) -> None:
    assert tensor.dtype == torch.bool
    tensor.fill_(True)


@counted
def fast_fadd_cpu(a: torch.Tensor, b: torch.Tensor) -> None:
    assert a.dtype == b.dtype == torch.float
    a.view(-1, b.numel()).add_(b.view(1, -1))


@counted
def fast_copy_cpu(target: torch.Tensor, source: torch.Tensor) -> None:
    assert target.shape == source.shape
    assert target.dtype == source.dtype
    target.copy_(source)
