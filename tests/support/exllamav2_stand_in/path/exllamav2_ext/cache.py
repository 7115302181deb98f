"""The quantized key-value cache: Hadamard-rotated blocks of 32, with half-precision scales.

Q8 keeps 8 bits of keys and values, Q6 8 of keys and 4 of values, Q4 4 of both.
"""

from __future__ import annotations

import torch

from .registry import counted

BLOCK = 32
_BITS = {4: (4, 4), 6: (8, 4), 8: (8, 8)}


@counted
def fp16_to_q_kv(
    k_in: torch.Tensor,
    k_out: torch.Tensor,
    k_scales: torch.Tensor,
    v_in: torch.Tensor,
    v_out: torch.Tensor,
    v_scales: torch.Tensor,
    batch: int,
    offset: int,
    width: int,
    page_size: int,
    cache_seqlens: torch.Tensor,
    block_table: torch.Tensor,
    bits: int,
) -> None:
    """Pack the new `width` tokens of each row."""
    assert k_in.dtype == v_in.dtype == torch.half
    if page_size:
        rows = _paged(page_size, cache_seqlens, block_table, width)
    else:
        rows = _contiguous(k_in, batch, offset, width)
    for values, packed, scales, wide in (
        (k_in, k_out, k_scales, _BITS[bits][0]),
        (v_in, v_out, v_scales, _BITS[bits][1]),
    ):
        whole, scale = pack(_rows(values)[rows], wide)
        _rows(packed)[rows], _rows(scales)[rows] = whole, scale


@counted
def q_to_fp16_kv(
    k_in: torch.Tensor,
    k_out: torch.Tensor,
    k_scales: torch.Tensor,
    v_in: torch.Tensor,
    v_out: torch.Tensor,
    v_scales: torch.Tensor,
    batch: int,
    offset: int,
    width: int,
    page_size: int,
    cache_seqlens: torch.Tensor,
    block_table: torch.Tensor,
    bits: int,
) -> None:
    """Unpack every token so far."""
    assert k_out.dtype == v_out.dtype == torch.half
    if page_size:
        rows = _paged(page_size, torch.zeros_like(cache_seqlens), block_table, cache_seqlens)
    else:
        rows = _contiguous(k_out, batch, offset, width)
    for packed, values, scales, wide in (
        (k_in, k_out, k_scales, _BITS[bits][0]),
        (v_in, v_out, v_scales, _BITS[bits][1]),
    ):
        _rows(values)[rows] = unpack(_rows(packed)[rows], _rows(scales)[rows], wide)


def pack(values: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """float16 (rows, dim) → uint8 (rows, dim · bits / 8) and float16 (rows, dim / 32)."""
    middle = 1 << (bits - 1)
    rotated = _hadamard(values.float()).view(len(values), -1, BLOCK)
    highest = rotated.abs().amax(-1, keepdim=True)
    whole = (rotated / highest.clamp(min=1e-30) * middle + middle).round()
    whole = whole.where(highest > 0, 0.0).clamp(0, 2 * middle - 1).to(torch.uint8).flatten(1)
    if bits == 4:
        whole = whole[:, 0::2] | (whole[:, 1::2] << 4)
    return whole, (highest[..., 0] / middle).half()


def unpack(packed: torch.Tensor, scales: torch.Tensor, bits: int) -> torch.Tensor:
    """The reverse of `pack`, without what rounding lost."""
    middle = 1 << (bits - 1)
    whole = packed if bits == 8 else torch.stack([packed & 15, packed >> 4], -1).flatten(1)
    blocks = (whole.float() - middle).view(len(packed), -1, BLOCK) * scales.float()[..., None]
    return (_hadamard(blocks.flatten(1)) / BLOCK).half()


def _hadamard(x: torch.Tensor) -> torch.Tensor:
    """Walsh-Hadamard of 32 points, over two interleaved halves of every 64 values."""
    matrix = torch.ones((1, 1))
    for _ in range(5):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    pairs = x.reshape(*x.shape[:-1], -1, BLOCK, 2)
    return torch.einsum("ij,...jc->...ic", matrix, pairs).reshape(x.shape)


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(tensor.shape[0] * tensor.shape[1], -1)


def _contiguous(values: torch.Tensor, batch: int, offset: int, width: int) -> torch.Tensor:
    return torch.cat(
        [torch.arange(offset, offset + width) + row * values.shape[1] for row in range(batch)]
    )


def _paged(
    page: int, first: torch.Tensor, table: torch.Tensor, counts: torch.Tensor | int
) -> torch.Tensor:
    """Places of `counts` tokens from `first` on, for every row of the page table."""
    rows = []
    each = torch.as_tensor(counts).expand(len(first)).tolist()
    for row, (begin, count) in enumerate(zip(first.tolist(), each, strict=True)):
        tokens = torch.arange(begin, begin + count)
        rows.append(table[row].long()[tokens // page] * page + tokens % page)
    return torch.cat(rows)
