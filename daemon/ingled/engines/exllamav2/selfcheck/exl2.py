"""Random EXL2 matrices: packed by the library's own functions, unpacked here in plain torch.

Layout (`conversion/adaptivegptq.py` of exllamav2): rows are inputs. Packed row k is row q_perm[k].
Groups of rows share a width in bits, the widest first. A column of a group is a little-endian
stream of unsigned values with the zero point 2**(bits - 1). Its scale is (nibble + 1)**2 / 256 ·
q_scale_max[group], in half precision. The library takes 1/256 of `q_scale_max` when it loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import torch
from exllamav2.ext import exllamav2_ext as extension

from .setup import Setup

Tensors = dict[str, torch.Tensor]

#: Mean of (nibble + 1)**2 / 256 for nibbles from 8 to 15, as they are drawn here.
_MEAN_SCALE = sum((nibble + 1) ** 2 for nibble in range(8, 16)) / 8 / 256


@dataclass(frozen=True)
class Layout:
    """Widths of groups, the widest first: `first` bits for a tenth of the rows, then `rest`."""

    first: int
    rest: int
    group: int

    def groups(self, rows: int) -> list[tuple[int, int]]:
        """Bits and rows of every group; the last has what is left."""
        count = ceil(rows / self.group)
        wide = ceil(count / 10)
        return [
            (self.first if n < wide else self.rest, min(self.group, rows - n * self.group))
            for n in range(count)
        ]

    def __str__(self) -> str:
        bits = f"{self.first}" if self.first == self.rest else f"{self.first} and {self.rest}"
        return f"{bits} bits in groups of {self.group}"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """`tensors` as they lie in a file; `weight` is what they mean: float16 (in, out)."""

    tensors: Tensors
    weight: torch.Tensor


def random_matrix(
    setup: Setup,
    rows: int,
    columns: int,
    layout: Layout,
    generator: torch.Generator,
    *,
    gain: float,
) -> Matrix:
    """A matrix (rows, columns) whose product with a unit input has about the deviation `gain`."""
    device = setup.device
    groups = layout.groups(rows)
    first_word, words, nibbles, highest, entries = 0, [], [], [], []
    for bits, count in groups:
        values = torch.randint(0, 1 << bits, (count, columns), generator=generator)
        packed = torch.zeros((count * bits // 32, columns), dtype=torch.int, device=device)
        extension.pack_columns(values.short().to(device), packed, bits)
        words.append(packed)
        nibbles.append(torch.randint(8, 16, (columns,), generator=generator))
        deviation = (1 << bits) / 12**0.5
        highest.append(gain / rows**0.5 / deviation / _MEAN_SCALE)
        entries += [bits, first_word]
        first_word += packed.shape[0]
    scales = torch.zeros((len(groups), columns // 8), dtype=torch.int, device=device)
    # The packer takes the nibbles plus one.
    extension.pack_rows_4((torch.stack(nibbles) + 1).short().to(device), scales)
    permutation = torch.randperm(rows, generator=generator)
    tensors = {
        "q_weight": torch.cat(words),
        "q_scale": scales,
        "q_scale_max": torch.tensor(highest).half().to(device),
        "q_groups": torch.tensor(entries, dtype=torch.short).to(device),
        "q_invperm": permutation.argsort().int().to(device),
    }
    return Matrix(tensors=tensors, weight=unpack(tensors))


def unpack(tensors: Tensors) -> torch.Tensor:
    """What a packed matrix means: float16 (in, out)."""
    words = tensors["q_weight"].long() & 0xFFFFFFFF
    layout = tensors["q_groups"].view(-1, 2).tolist()
    begins = [begin for _, begin in layout] + [words.shape[0]]
    shifts = 4 * torch.arange(8, device=words.device)
    nibbles = ((tensors["q_scale"].long()[:, :, None] >> shifts) & 15).flatten(1)
    parts = []
    for group, ((bits, _), (begin, end)) in enumerate(zip(layout, pairwise(begins), strict=True)):
        values = _stream(words[begin:end], bits) - (1 << (bits - 1))
        highest = tensors["q_scale_max"][group] * (1 / 256)
        parts.append(values.half() * (((nibbles[group] + 1) ** 2).half() * highest))
    return torch.cat(parts)[tensors["q_invperm"].long()]


def loadable(tensors: Tensors) -> Tensors:
    """A copy as the library loads it; what it makes a matrix of it changes in place."""
    copied = {name: tensor.clone() for name, tensor in tensors.items()}
    return copied | {"q_perm": copied["q_invperm"].argsort().int()}


def _stream(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Unsigned words int64 (n, columns) → values (n · 32 / bits, columns)."""
    count = words.shape[0] * 32 // bits
    at = torch.arange(count, device=words.device) * bits
    low, shift = words[at // 32], (at % 32)[:, None]
    # A value may go on in the next word; behind the last there is none.
    high = torch.cat([words[1:], torch.zeros_like(words[:1])])[at // 32]
    return ((low >> shift) | (high << (32 - shift))) & ((1 << bits) - 1)
