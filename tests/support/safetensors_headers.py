"""Safetensors files with real headers and no data: sparse files of any size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil, prod
from pathlib import Path

from ingled.models.model_shape import ModelShape, tensors

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]

_WIDTH = {"U8": 1, "BF16": 2, "F16": 2, "I16": 2, "I32": 4, "F32": 4}


def write_headers(file: Path, found: Tensors) -> None:
    """Write `file` with tensors of these types and shapes; their data is a hole."""
    header, end = {}, 0
    for name, (dtype, shape) in found.items():
        begin, end = end, end + _WIDTH[dtype] * prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as data:
        data.write(len(text).to_bytes(8, "little") + text)
        data.truncate(8 + len(text) + end)


def exl2_tensors(
    shape: ModelShape, *, bits: int, group: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and shapes of what the library's converter writes, all matrices at `bits`."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for tensor in tensors(shape):
        stem, _, last = tensor.name.rpartition(".")
        if ".experts." in tensor.name:
            continue
        if last == "weight" and (stem == "lm_head" or stem.endswith("_proj")):
            outputs, inputs = tensor.shape
            found |= exl2_matrix(stem, inputs, outputs, bits=bits, group=group)
        else:
            found[tensor.name] = ("F16", tensor.shape)
    for layer in range(shape.layers):
        for expert in range(shape.experts):
            stem = f"model.layers.{layer}.mlp.experts.{expert}"
            for part, inputs, outputs in (
                ("gate", shape.hidden, shape.intermediate),
                ("up", shape.hidden, shape.intermediate),
                ("down", shape.intermediate, shape.hidden),
            ):
                key = f"{stem}.{part}_proj"
                found |= exl2_matrix(key, inputs, outputs, bits=bits, group=group)
                found[f"{key}.bias"] = ("F16", (outputs,))
    return found


def exl2_matrix(
    key: str, inputs: int, outputs: int, *, bits: int, group: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """One matrix as `AdaptiveGPTQ.pack` writes it, without its bias."""
    groups = ceil(inputs / group)
    return {
        f"{key}.q_weight": ("I32", (inputs * bits // 32, outputs)),
        f"{key}.q_scale": ("I32", (groups, outputs // 8)),
        f"{key}.q_scale_max": ("F16", (groups,)),
        f"{key}.q_groups": ("I16", (2 * groups,)),
        f"{key}.q_invperm": ("I32", (inputs,)),
    }
