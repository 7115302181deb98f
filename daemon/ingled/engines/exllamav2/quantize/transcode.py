"""MXFP4 → EXL2 of six bits, without loss and without calibration.

Both are integers times a scale. EXL2's scale of a column in a group of 32 inputs is
s² / 256 · m, with s from 1 to 16 for the column and m for the group; MXFP4's is a power of two.
With s in 1, 2, 4, 8, 16 the squares are every second power of two, 2⁰ to 2⁸, and the power between
goes into the integer: twice a value of FP4 is an integer of at most 12, twice that at most 24, and
six bits hold −32 to 31. So one group holds scales of ten neighbouring exponents; where a column's
exponent is lower still, its integers may happen to be divisible. All arithmetic is exact in half
precision.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from exllamav2 import device
from exllamav2.ext import exllamav2_ext as extension
from exllamav2.stloader import STFile
from exllamav2.version import __version__ as library_version
from safetensors.torch import save_file

from ingle.errors import Unsupported
from ingled.engines.exllamav2 import mxfp4
from ingled.engines.exllamav2.mxfp4 import GROUP, SCALE_BIAS, VALUES, Part
from ingled.quantization import Step

from . import folder

BITS = 6
#: Exponents that one group of 32 inputs can hold, over all its columns.
SPAN = 10
#: Below it the scale itself would be rounded in half precision.
_LEAST_EXPONENT = -24

_PARTS: tuple[Part, ...] = ("gate", "up", "down")
_ZERO = 1 << (BITS - 1)


class TooWide(Exception):
    """(lowest, highest) exponent of the group that doesn't fit."""


def run(config: Any, target: Path, report: Callable[[Step], None]) -> None:
    """Write `target` from a gpt-oss in MXFP4, one file a layer; those that are there are kept.

    Raises `Unsupported` with the numbers if it can't be done without loss.
    """
    layers = config.num_hidden_layers
    files = [
        f"output-{number + 1:05}-of-{layers + 1:05}.safetensors" for number in range(layers + 1)
    ]
    left = set(config.tensor_file_map)
    for layer, name in enumerate(files[:-1]):
        detail = f"layer {layer + 1} of {layers}"
        report(Step(stage="transcoding", detail=detail, done=layer, total=layers))
        key = f"model.layers.{layer}"
        own = {one for one in left if one.startswith(f"{key}.")}
        left -= own
        if not (target / name).exists():
            others = {one: _whole(config, one) for one in own if ".mlp.experts." not in one}
            _save(_experts(config, key) | others, target / name)
    if not (target / files[-1]).exists():
        _save({one: _whole(config, one) for one in left}, target / files[-1])
    quantization = {"version": library_version, "bits": BITS, "calibration": None, "lossless": True}
    folder.finish(Path(config.model_dir), target, quantization)


def check_source(config: Any) -> None:
    """Raises `Unsupported` for a checkpoint whose experts are not in MXFP4."""
    for layer in range(config.num_hidden_layers):
        for part in _PARTS:
            name = mxfp4.fused_name(f"model.layers.{layer}", part)
            if f"{name}_blocks" not in config.tensor_file_map:
                raise Unsupported(
                    f"{config.model_dir} has no experts in MXFP4 ({name}_blocks is missing): "
                    "--lossless is for those, give --bpw instead"
                )


def pack(blocks: torch.Tensor, scales: torch.Tensor) -> dict[str, torch.Tensor]:
    """One matrix: uint8 (out, in/32, 16) and (out, in/32), on the card → its EXL2 tensors.

    Raises `TooWide`. The number of outputs is a multiple of 32.
    """
    nibbles = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2).int()
    doubled = torch.tensor([2 * value for value in VALUES], device=blocks.device)[nibbles]
    # Exponents of the doubled values; groups of zeros may have any.
    exponents = scales.int() - SCALE_BIAS - 1
    zero = (doubled == 0).all(-1)
    top = exponents.masked_fill(zero, -(1 << 10)).amax(0)
    base = (top - (SPAN - 1)).clamp(min=_LEAST_EXPONENT)
    offset = (exponents - base).masked_fill(zero, 0)
    shift = offset.clamp(min=0)
    # What the scale can't say, the integers must: the odd power, and anything below the range.
    power = (shift % 2) + offset.clamp(max=0)
    whole = torch.ldexp(doubled, power[..., None])
    fits = (whole == whole.round()).all(-1) & (whole.abs() < _ZERO).all(-1) & (shift < SPAN)
    if not bool(fits.all()):
        group = int((~fits).any(0).nonzero()[0])
        used = exponents[:, group][~zero[:, group]] + 1
        raise TooWide(int(used.min()), int(used.max()))
    columns = blocks.shape[0]
    inputs = blocks.shape[1] * GROUP
    values = (whole.permute(1, 2, 0).reshape(inputs, columns) + _ZERO).short().contiguous()
    words = torch.zeros((inputs * BITS // 32, columns), dtype=torch.int32, device=blocks.device)
    extension.pack_columns(values, words, BITS)
    squares = torch.exp2((shift // 2).float()).short().T.contiguous()
    packed = torch.zeros((blocks.shape[1], columns // 8), dtype=torch.int32, device=blocks.device)
    extension.pack_rows_4(squares, packed)
    first = torch.arange(blocks.shape[1]) * BITS
    groups = torch.stack([torch.full_like(first, BITS), first], dim=-1).flatten()
    return {
        "q_weight": words,
        "q_scale": packed,
        # The kernel multiplies with s² / 256.
        "q_scale_max": torch.exp2(base.float() + 8).half(),
        "q_groups": groups.short(),
        "q_invperm": torch.arange(inputs, dtype=torch.int32),
    }


def _experts(config: Any, key: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    # The library packs with kernels, which read wild memory when it is the host's.
    card = device._torch_device(0)
    for expert in range(config.num_experts):
        for part in _PARTS:
            name = mxfp4.fused_name(key, part)
            blocks, scales = mxfp4.expert_blocks(config, key, part, expert)
            try:
                packed = pack(blocks.to(card), scales.to(card))
            except TooWide as error:
                lowest, highest = error.args
                raise Unsupported(
                    f"{name} can't be transcoded without loss: scales of expert {expert} reach "
                    f"from 2**{lowest} to 2**{highest} in one group of {GROUP} inputs, EXL2 holds "
                    f"{SPAN} neighbouring powers: use --bpw, for example --bpw 6"
                ) from error
            single = f"{key}.mlp.experts.{expert}.{part}_proj"
            tensors |= {f"{single}.{one}": tensor.cpu() for one, tensor in packed.items()}
            tensors[f"{single}.bias"] = mxfp4.expert_bias(config, key, part, expert)
    return tensors


def _whole(config: Any, key: str) -> torch.Tensor:
    tensor: torch.Tensor = STFile.open(config.tensor_file_map[key]).get_tensor(key, device="cpu")
    return tensor


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    partial = file.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(file)
