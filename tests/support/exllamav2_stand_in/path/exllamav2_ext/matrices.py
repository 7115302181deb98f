"""EXL2 matrices: packing, unpacking, products. Dequantized once, when they are made.

A column of a group of rows is a little-endian stream of unsigned values with the zero point
2**(bits - 1); packed row k is row q_perm[k].
"""

from __future__ import annotations

from itertools import pairwise

import torch

from .registry import counted, free, get, is_none, keep

_WORD = 1 << 32


class Matrix:
    """float16 (in, out) and a bias."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self._wide: torch.Tensor | None = None

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (rows, out)."""
        if self._wide is None:
            self._wide = self.weight.float()
        product = x.float() @ self._wide
        return product if self.bias is None else product + self.bias.float()


@counted
def make_q_matrix(
    q_weight: torch.Tensor,
    q_perm: torch.Tensor,
    q_invperm: torch.Tensor,
    q_scale: torch.Tensor,
    q_scale_max: torch.Tensor,
    q_groups: torch.Tensor,
    q_group_map: torch.Tensor,
    gptq_qzeros: torch.Tensor,
    gptq_scales: torch.Tensor,
    gptq_g_idx: torch.Tensor,
    bias: torch.Tensor,
    temp_dq: torch.Tensor,
    max_dq_rows: int,
) -> int:
    if is_none(q_scale):
        raise NotImplementedError("exllamav2_ext stand-in: GPTQ matrices")
    columns = q_weight.shape[1]
    assert q_weight.dtype == q_scale.dtype == torch.int
    assert q_scale_max.dtype == torch.half
    assert q_groups.dtype == q_group_map.dtype == torch.short
    assert columns == q_scale.shape[1] * 8
    assert columns % 32 == 0
    assert q_scale_max.shape[0] == q_scale.shape[0] == len(q_groups) // 2
    assert is_none(bias) or bias.shape[0] == columns
    assert is_none(q_perm) or q_perm.dtype == torch.short
    layout = q_groups.view(-1, 2).tolist()
    widths = [bits for bits, _ in layout]
    # The kernels walk the widths from the widest to the narrowest.
    assert widths == sorted(widths, reverse=True)
    begins = [begin for _, begin in layout] + [q_weight.shape[0]]
    nibbles = unpack_words(q_scale, 4).flatten(-2)
    groups = []
    for group, (bits, (begin, end)) in enumerate(zip(widths, pairwise(begins), strict=True)):
        whole = unpack_columns(q_weight[begin:end], bits) - (1 << (bits - 1))
        scale = ((nibbles[group] + 1) ** 2).half() * q_scale_max[group]
        groups.append(whole.half() * scale)
    packed = torch.cat(groups)
    weight = packed
    if not is_none(q_perm):
        weight = torch.empty_like(packed)
        weight[q_perm.long() & 0xFFFF] = packed
    return keep(Matrix(weight, None if is_none(bias) else bias))


@counted
def free_q_matrix(handle: int) -> None:
    free(handle)


@counted
def reconstruct(handle: int, output: torch.Tensor) -> None:
    assert output.shape == get(handle).weight.shape
    assert output.dtype == torch.half
    output.copy_(get(handle).weight)


@counted
def gemm_half_q_half(a: torch.Tensor, handle: int, c: torch.Tensor, force_cuda: bool) -> None:
    matrix = get(handle)
    assert a.dtype == c.dtype == torch.half
    assert a.is_contiguous()
    assert a.shape[0] == c.shape[0]
    assert (a.shape[1], c.shape[1]) == tuple(matrix.weight.shape)
    c.copy_(matrix.product(a))


@counted
def make_group_map(q_groups: torch.Tensor, rows: int) -> torch.Tensor:
    """For every row: its group, and how many rows of the group are left."""
    layout = q_groups.view(-1, 2).tolist()
    begins = [begin for _, begin in layout] + [rows]
    entries: list[int] = []
    for group, (begin, end) in enumerate(pairwise(begins)):
        count = (end - begin) * 32 // layout[group][0]
        for row in range(count):
            entries += [group, count - row]
    return torch.tensor(entries, dtype=torch.short)


@counted
def pack_rows_4(values: torch.Tensor, output: torch.Tensor) -> None:
    """Scale nibbles plus one, int16 (groups, columns) → int32 (groups, columns / 8)."""
    assert values.dtype == torch.short
    assert output.dtype == torch.int
    assert values.shape[1] == output.shape[1] * 8
    output.copy_(pack_words(((values.long() - 1) & 15).unflatten(1, (-1, 8)), 4))


@counted
def pack_columns(values: torch.Tensor, output: torch.Tensor, bits: int) -> None:
    """int16 (rows, columns) → int32 (rows · bits / 32, columns)."""
    assert values.dtype == torch.short
    assert output.dtype == torch.int
    assert output.shape == (values.shape[0] * bits // 32, values.shape[1])
    stream = (values.long()[:, None, :] >> torch.arange(bits)[None, :, None]) & 1
    output.copy_(pack_words(stream.flatten(0, 1).unflatten(0, (-1, 32)).transpose(1, 2), 1))


def unpack_columns(words: torch.Tensor, bits: int) -> torch.Tensor:
    """int32 (words, columns) → int64 (words · 32 / bits, columns)."""
    stream = unpack_words(words, 1).transpose(1, 2).flatten(0, 1)
    rows = stream.shape[0] // bits
    places = (1 << torch.arange(bits))[None, :, None]
    return (stream[: rows * bits].unflatten(0, (rows, bits)) * places).sum(1)


def pack_words(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Unsigned (…, 32 / bits), the lowest first → int32 (…)."""
    words = (values << (torch.arange(values.shape[-1]) * bits)).sum(-1)
    return torch.where(words >= _WORD // 2, words - _WORD, words).int()


def unpack_words(words: torch.Tensor, bits: int) -> torch.Tensor:
    """int32 (…) → unsigned int64 (…, 32 / bits)."""
    shifts = torch.arange(32 // bits) * bits
    return (words.long()[..., None] >> shifts) & ((1 << bits) - 1)
