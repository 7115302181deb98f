"""Experts as they lie in safetensors files: MXFP4 blocks, or bfloat16; one expert at a time.

OpenAI publishes the experts fused and in MXFP4: 32 values share a scale of eight bits, each value
has four. The library reads neither eight-bit tensors nor parts of a tensor, so both are done here.

MXFP4 format: https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
(E2M1 elements, E8M0 scales). Layout in gpt-oss, per fused tensor of `experts` matrices
(out, in): `_blocks` uint8 (experts, out, in/32, 16), the low nibble first; `_scales` uint8
(experts, out, in/32). Rows of `gate_up_proj` alternate: gate, up, gate, up …; its bfloat16 form
is transposed: (experts, in, out).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from exllamav2.stloader import STFile

from ingle.errors import ModelInvalid

Part = Literal["gate", "up", "down"]

GROUP = 32
#: The sixteen values of E2M1, by nibble.
VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
SCALE_BIAS = 127
#: Largest scale at which 6 times 2**(scale - 127) is still finite in half precision.
MAX_SCALE = SCALE_BIAS + 13

_TYPES = {"U8": torch.uint8, "BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
#: Rows of the fused matrix that are a part's.
_ROWS: dict[Part, slice] = {
    "gate": slice(0, None, 2),
    "up": slice(1, None, 2),
    "down": slice(None),
}


def decode(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """MXFP4 → values, exact in half precision.

    `blocks` uint8 (..., groups, 16), `scales` uint8 (..., groups) → float16 (..., groups × 32).
    """
    values = torch.tensor(VALUES, dtype=torch.float, device=blocks.device)
    nibbles = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)
    scaled = torch.ldexp(values[nibbles.int()], (scales.int() - SCALE_BIAS).unsqueeze(-1))
    return scaled.flatten(-2).half()


def expert_weight(
    config: Any, layer: str, part: Part, expert: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """One projection of one expert from a fused tensor: float16 (out, in) and its bias (out,).

    `layer` is the layer's key (`model.layers.0`). Raises `ModelInvalid`.
    """
    name = fused_name(layer, part)
    rows = _ROWS[part]
    bias = expert_bias(config, layer, part, expert).to(device)
    if name in config.tensor_file_map:
        weight = read_expert(config, name, expert)[:, rows].T.to(device).half().contiguous()
        return weight, bias
    blocks, scales = expert_blocks(config, layer, part, expert)
    if int(scales.max()) > MAX_SCALE:
        raise ModelInvalid(
            f"{name}_scales of expert {expert} has a scale of 2**{int(scales.max()) - SCALE_BIAS}: "
            "beyond half precision, the file is damaged: download it again"
        )
    return decode(blocks.to(device), scales.to(device)), bias


def expert_blocks(
    config: Any, layer: str, part: Part, expert: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One projection of one expert in MXFP4, on the CPU: uint8 blocks (out, in/32, 16) and scales
    (out, in/32). Raises `ModelInvalid`."""
    name = fused_name(layer, part)
    rows = _ROWS[part]
    blocks = read_expert(config, f"{name}_blocks", expert)[rows]
    return blocks, read_expert(config, f"{name}_scales", expert)[rows]


def expert_bias(config: Any, layer: str, part: Part, expert: int) -> torch.Tensor:
    """Its bias from the fused tensor, float16 (out,), on the CPU. Raises `ModelInvalid`."""
    name = fused_name(layer, part)
    return read_expert(config, f"{name}_bias", expert)[_ROWS[part]].half().contiguous()


def fused_name(layer: str, part: Part) -> str:
    """Key of the fused tensor that holds `part` of all experts."""
    return f"{layer}.mlp.experts." + ("down_proj" if part == "down" else "gate_up_proj")


def read_expert(config: Any, key: str, expert: int) -> torch.Tensor:
    """One expert's slice of a fused tensor, on the CPU, as it lies in the file.

    Reads just those bytes: a memory map of the file would keep gigabytes resident.
    """
    file = config.tensor_file_map[key]
    opened = STFile.open(file)
    entry = opened.get_dict()[key]
    experts, *shape = entry["shape"]
    begin, end = entry["data_offsets"]
    size = (end - begin) // experts
    with Path(file).open("rb") as data:
        data.seek(opened.header_size + begin + expert * size)
        raw = data.read(size)
    if len(raw) != size:
        raise ModelInvalid(f"{file} is truncated: download it again")
    return torch.frombuffer(bytearray(raw), dtype=_TYPES[entry["dtype"]]).view(shape)


def check_expert_tensors(config: Any) -> None:
    """Check shapes and types of all fused expert tensors by the files' headers.

    Raises `ModelInvalid` that names the tensor and its file.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    for layer in range(config.num_hidden_layers):
        key = f"model.layers.{layer}"
        for part, rows, columns in (("gate", 2 * inner, hidden), ("down", hidden, inner)):
            name = fused_name(key, part)  # type: ignore[arg-type]
            if name in config.tensor_file_map:
                _expect(config, name, (columns, rows), floating=True)
            elif f"{name}_blocks" in config.tensor_file_map:
                groups = columns // GROUP
                _expect(config, f"{name}_blocks", (rows, groups, GROUP // 2), floating=False)
                _expect(config, f"{name}_scales", (rows, groups), floating=False)
            else:
                # Quantized by the library's converter: one tensor an expert.
                continue
            _expect(config, f"{name}_bias", (rows,), floating=True)


def _expect(config: Any, key: str, shape: tuple[int, ...], *, floating: bool) -> None:
    file = config.tensor_file_map.get(key)
    if file is None:
        raise ModelInvalid(
            f"{config.model_dir} lacks the tensor {key}: download the whole model again"
        )
    entry = STFile.open(file).get_dict()[key]
    wanted = (config.num_experts, *shape)
    types = ("BF16", "F16", "F32") if floating else ("U8",)
    if tuple(entry["shape"]) != wanted or entry["dtype"] not in types:
        raise ModelInvalid(
            f"{key} in {file} is {entry['dtype']} {entry['shape']}, gpt-oss has {types[0]} "
            f"{list(wanted)}: the file or config.json is of another model"
        )
