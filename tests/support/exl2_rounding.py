"""EXL2 by plain rounding: a quantized gpt-oss without calibration, in a moment, for parity tests.

Its weights are poor and its form is right: groups of several widths, permuted rows, packed as the
library's kernels read them. Beside it lies what it stands for: a checkpoint with the dequantized
weights, for transformers.

Layout (see `conversion/adaptivegptq.py` of exllamav2): rows are inputs. Packed row k is row
q_perm[k]; groups of rows share a width in bits, widths never grow. A column of a group is a
little-endian stream of unsigned values with the zero point 2**(bits - 1). Its scale is
(nibble + 1)**2 / 256 · q_scale_max[group], in half precision.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GROUP = 32
#: Widths of the groups of a matrix, from the first; as many as it has groups.
WIDTHS = (8, 6, 6, 5, 4, 4)

Tensors = dict[str, torch.Tensor]


def quantize(source: Path, target: Path, dequantized: Path) -> None:
    """A bfloat16 checkpoint of `random_gpt_oss` → an EXL2 one, and its dequantized twin."""
    generator = torch.Generator().manual_seed(7)
    quantized: Tensors = {}
    plain: Tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            plain[name] = torch.empty_like(tensor, dtype=torch.float)
            for key, at, columns in _projections(name, len(tensor)):
                packed, values = _matrix(tensor[at][:, columns].float(), generator)
                quantized |= {f"{key}.{part}": data for part, data in packed.items()}
                plain[name][at][:, columns] = values.float()
        elif name.endswith(("gate_up_proj_bias", "down_proj_bias")):
            for key, at, columns in _projections(name.removesuffix("_bias"), len(tensor)):
                quantized[f"{key}.bias"] = tensor[at][columns].half()
            plain[name] = tensor.half()
        elif name.endswith("_proj.weight") or name == "lm_head.weight":
            packed, values = _matrix(tensor.T.float(), generator)
            key = name.removesuffix(".weight")
            quantized |= {f"{key}.{part}": data for part, data in packed.items()}
            plain[name] = values.T.float()
        else:
            quantized[name] = plain[name] = tensor.half()
    _write(source, target, quantized, "exl2")
    _write(source, dequantized, plain, "")


def _projections(name: str, experts: int) -> Iterator[tuple[str, int, slice]]:
    """Key, expert and columns of every single projection in a fused tensor."""
    prefix, _, fused = name.rpartition(".")
    parts = {"down_proj": slice(None)}
    if fused == "gate_up_proj":
        parts = {"gate_proj": slice(0, None, 2), "up_proj": slice(1, None, 2)}
    for expert in range(experts):
        for part, columns in parts.items():
            yield f"{prefix}.{expert}.{part}", expert, columns


def _matrix(weight: torch.Tensor, generator: torch.Generator) -> tuple[Tensors, torch.Tensor]:
    """(in, out) → its EXL2 tensors and what they mean, float16 (in, out)."""
    rows, _ = weight.shape
    permutation = torch.randperm(rows, generator=generator)
    permuted = weight[permutation]
    widths = WIDTHS[: rows // GROUP]
    packed, nibbles, highest, values, layout = [], [], [], [], []
    first = 0
    for place, bits in enumerate(widths):
        group = permuted[place * GROUP : (place + 1) * GROUP]
        zero = 1 << (bits - 1)
        wanted = group.abs().amax(0) / (zero - 1)
        largest = wanted.max().half()
        nibble = ((wanted / largest.float() * 256).sqrt().ceil() - 1).clamp(0, 15)
        scale = ((nibble + 1) ** 2).half() * (largest / 256)
        whole = ((group / scale.float()).round() + zero).clamp(0, 2 * zero - 1).long()
        packed.append(_stream(whole, bits))
        nibbles.append(nibble.long())
        highest.append(largest)
        values.append((whole - zero).half() * scale)
        layout += [bits, first]
        first += GROUP * bits // 32
    dequantized = torch.empty_like(weight, dtype=torch.half)
    dequantized[permutation] = torch.cat(values)
    tensors = {
        "q_weight": torch.cat(packed),
        "q_scale": _words(torch.stack(nibbles).unflatten(1, (-1, 8)), 4),
        "q_scale_max": torch.stack(highest),
        "q_groups": torch.tensor(layout, dtype=torch.short),
        "q_invperm": permutation.argsort().int(),
    }
    return tensors, dequantized


def _stream(whole: torch.Tensor, bits: int) -> torch.Tensor:
    """Unsigned values (rows, columns) → int32 (rows · bits / 32, columns)."""
    at_bit = torch.arange(bits)
    stream = ((whole[:, None, :] >> at_bit[None, :, None]) & 1).flatten(0, 1)
    return _words(stream.unflatten(0, (-1, 32)).transpose(1, 2), 1)


def _words(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Unsigned values (…, 32 / bits), the lowest first → int32 (…)."""
    words = (values << (torch.arange(values.shape[-1]) * bits)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def _write(source: Path, folder: Path, tensors: Tensors, method: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.json"):
        shutil.copy(file, folder)
    if method:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["quantization_config"] = {"quant_method": method}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: data.contiguous() for name, data in tensors.items()}, folder / "model.safetensors"
    )
