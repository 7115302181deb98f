"""The output layer in the library's converter, one group of rows at a time.

The library holds it several times in float32: 7 GB of host memory for a vocabulary of 201,088.
Here every group is rounded with the best scale, as the library rounds the very large ones, and the
rows that matter most, by the calibration's Hessian, still get the wider groups. At 6 bits and more
the spreading of errors that is left out changes little.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import torch
from exllamav2.conversion.adaptivegptq import AdaptiveQuantizer
from exllamav2.conversion.qparams import QParams, qparams_headoptions
from exllamav2.ext import exllamav2_ext as extension
from safetensors.torch import save_file

#: Head widths for which rounding alone is good enough.
HEAD_BITS = (6, 8)


def quantize(
    job: dict[str, Any],
    module: Any,
    _hidden_states: Any,
    quantizers: dict[str, Any],
    _attn_params: Any,
    _rounding: bool = False,
) -> None:
    """In the place of the library's `quant_lm_head`: packs and saves the layer, and leaves what it
    now means in it."""
    params = qparams_headoptions[job["head_bits"]]
    hessian = quantizers["lm_head"].hessian
    quantizers.clear()
    permutation = torch.diag(hessian).argsort(descending=True)
    packed = pack(module.linear.weight.data, permutation, params)
    if module.linear.bias is not None:
        packed["bias"] = module.linear.bias.data
    file = Path(job["out_dir"]) / "out_tensor" / f"{module.key}.safetensors"
    save_file({f"{module.key}.{name}": tensor for name, tensor in packed.items()}, file)


def pack(
    weight: torch.Tensor, permutation: torch.Tensor, params: QParams
) -> dict[str, torch.Tensor]:
    """(out, in) float16 and an order of its inputs → EXL2 tensors; `weight` becomes their meaning.

    The number of outputs is a multiple of 32. Layout: `adaptivegptq.AdaptiveGPTQ.pack`.
    """
    words, nibbles, highest, groups = [], [], [], []
    begin = first = 0
    for bits, size in _widths(weight.shape[1], params):
        rows = permutation[begin : begin + size]
        values = weight[:, rows].T.float().contiguous()
        quantizer = AdaptiveQuantizer(bits=bits, scale_bits=params.scale_bits)
        quantizer.find_params(values)
        whole = torch.zeros_like(values, dtype=torch.short)
        extension.quantize_range_inplace(
            values, quantizer.scale, whole, quantizer.qzero, quantizer.maxq, 0, len(rows)
        )
        weight[:, rows] = values.T.to(weight.dtype)
        count = len(rows) * bits // 32
        packed = torch.zeros((count, weight.shape[0]), dtype=torch.int32, device=weight.device)
        extension.pack_columns(whole, packed, bits)
        words.append(packed)
        nibbles.append(quantizer.qscale)
        highest.append(quantizer.qscale_max)
        groups += [bits, first]
        begin, first = begin + len(rows), first + count
    scales = torch.stack(nibbles).contiguous()
    packed_scales = torch.zeros(
        (len(nibbles), weight.shape[0] // 8), dtype=torch.int32, device=weight.device
    )
    extension.pack_rows_4(scales, packed_scales)
    return {
        "q_weight": torch.cat(words),
        "q_scale": packed_scales,
        "q_scale_max": torch.stack(highest).half(),
        "q_groups": torch.tensor(groups, dtype=torch.short),
        "q_invperm": permutation.argsort().int(),
    }


def _widths(rows: int, params: QParams) -> list[tuple[int, int]]:
    """Bits and rows of every group, as `AdaptiveGPTQ.configure` divides them."""
    widths: list[tuple[int, int]] = []
    left = rows
    for bits, share in zip(params.bits, params.bits_prop, strict=True):
        size = params.group_size[bits]
        count = ceil(min(rows * share, left) / size)
        widths += [(bits, min(size, left - n * size)) for n in range(count)]
        left -= count * size
    return widths
