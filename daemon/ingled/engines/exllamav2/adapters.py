"""LoRA adapters in PEFT's format: read, checked against the model, attached to its linear layers.

An adapter applies everywhere or is refused: each of its tensors must find its layer. Attached
updates are part of a layer (`linear.AdaptableLinear`), so prefill, decode, paged, unpaged and
quantized paths all have them.

Format: `adapter_config.json` and `adapter_model.safetensors`. For a matrix, `lora_A` is (rank, in)
and `lora_B` (out, rank); the weight grows by scale · B · A. For the fused experts PEFT's
`ParamWrapper` (`peft/tuners/lora/layer.py`) keeps `lora_A` as (experts · rank, in), experts
outermost, and `lora_B` as (out, rank · experts), experts innermost; two of them on one module are
nested, the inner one's key has `base_layer` in it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ingle.errors import LoadFailed

from .attention import GptOssAttention
from .linear import AdaptableLinear, LowRankUpdate
from .mixture import GptOssMixture

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

#: Settings of PEFT that change what an adapter computes, and the value that leaves it a plain LoRA.
_PLAIN: dict[str, Any] = {
    "use_dora": False,
    "bias": "none",
    "lora_bias": False,
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layer_replication": None,
    "trainable_token_indices": None,
}
_KEY = re.compile(
    r"^base_model\.model\.(?:model\.)+layers\.(?P<layer>\d+)\.(?P<module>self_attn\.[qkvo]_proj"
    r"|mlp\.experts(?:\.base_layer)?)\.lora_(?P<factor>[AB])(?:\.\w+)?\.weight$"
)


@dataclass(frozen=True)
class Adapter:
    """A LoRA as it lies in its folder."""

    folder: Path
    scale: float
    #: (layer, module) → its factors A and B.
    factors: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]]

    @property
    def bytes(self) -> int:
        """On the card, in half precision."""
        return sum(2 * factor.numel() for both in self.factors.values() for factor in both)


def read_adapter(folder: Path) -> Adapter:
    """Read a PEFT adapter. Raises `LoadFailed`, naming the file."""
    config, weights = folder / CONFIG, folder / WEIGHTS
    try:
        read = json.loads(config.read_text(encoding="utf-8"))
        scale = _scale(read, config)
    except FileNotFoundError as error:
        raise LoadFailed(f"{config} is missing: give the folder of a PEFT adapter") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadFailed(f"{config} is damaged: save the adapter again with PEFT") from error
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise LoadFailed(f"{weights} is missing or damaged: save the adapter again") from error
    found: dict[tuple[int, str], dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.match(key)
        if match is None:
            raise LoadFailed(
                f"{weights} adapts {key!r}: only attention projections and the fused experts of "
                "gpt-oss can be adapted; train the adapter without it"
            )
        found.setdefault((int(match["layer"]), match["module"]), {})[match["factor"]] = tensor
    for (layer, module), factors in found.items():
        if len(factors) != 2:
            raise LoadFailed(f"{weights} has only half of layer {layer}, {module}: save it again")
    return Adapter(folder, scale, {at: (both["A"], both["B"]) for at, both in found.items()})


def attach(adapter: Adapter, model: Any) -> None:
    """Add an adapter to a loaded model's layers. Nothing is attached unless all of it fits.

    Raises `LoadFailed`.
    """
    attention = {m.layer_idx: m for m in model.modules if isinstance(m, GptOssAttention)}
    mixtures = {m.layer_idx: m for m in model.modules if isinstance(m, GptOssMixture)}
    updates: list[tuple[AdaptableLinear, LowRankUpdate]] = []
    for (layer, module), (a, b) in adapter.factors.items():
        where = f"{adapter.folder / WEIGHTS}: layer {layer}, {module}"
        if layer not in attention:
            raise LoadFailed(f"{where}: the model has only {len(attention)} layers")
        if module.startswith("mlp"):
            updates += _experts(mixtures[layer], a, b, adapter.scale, where)
        else:
            linear = getattr(attention[layer], module.removeprefix("self_attn."))
            updates.append((linear, _update(linear, a.T, b.T, adapter.scale, where)))
    for linear, update in updates:
        linear.low_rank.append(update)


def _scale(read: dict[str, Any], config: Path) -> float:
    if read["peft_type"] != "LORA":
        raise LoadFailed(f"{config} is a {read['peft_type']} adapter: only LoRA can be applied")
    for name, plain in _PLAIN.items():
        if read.get(name, plain) not in (plain, None, [], {}):
            raise LoadFailed(f"{config} has {name} = {read[name]!r}: only a plain LoRA is applied")
    rank, alpha = int(read["r"]), float(read["lora_alpha"])
    return alpha / (math.sqrt(rank) if read.get("use_rslora") else rank)


def _experts(
    mixture: GptOssMixture, a: torch.Tensor, b: torch.Tensor, scale: float, where: str
) -> Iterator[tuple[AdaptableLinear, LowRankUpdate]]:
    experts = mixture.num_experts
    hidden, inner = mixture.w1[0].in_features, mixture.w1[0].out_features
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1] or a.shape[0] % experts:
        raise _unfit(where, a, b)
    by_expert_a = a.unflatten(0, (experts, -1))
    by_expert_b = b.unflatten(1, (-1, experts))
    # Which of the two fused tensors it is, only the shapes tell.
    parts: dict[tuple[int, int], list[tuple[list[Any], slice]]] = {
        (hidden, 2 * inner): [
            (mixture.w1, slice(0, None, 2)),
            (mixture.w3, slice(1, None, 2)),
        ],
        (inner, hidden): [(mixture.w2, slice(None))],
    }
    for linears, rows in parts.get((a.shape[1], b.shape[0]), []):
        for expert, linear in enumerate(linears):
            update = _update(
                linear, by_expert_a[expert].T, by_expert_b[rows, :, expert].T, scale, where
            )
            yield linear, update
    if (a.shape[1], b.shape[0]) not in parts:
        raise _unfit(where, a, b)


def _update(
    linear: Any, a: torch.Tensor, b: torch.Tensor, scale: float, where: str
) -> LowRankUpdate:
    """`a` (in, rank), `b` (rank, out)."""
    shapes = (linear.in_features, linear.out_features)
    if a.dim() != 2 or b.dim() != 2 or (a.shape[0], b.shape[1]) != shapes or len(b) != a.shape[1]:
        raise _unfit(where, a, b)
    device = linear.device()
    return LowRankUpdate(
        a.half().contiguous().to(device), (b.float() * scale).half().contiguous().to(device)
    )


def _unfit(where: str, a: torch.Tensor, b: torch.Tensor) -> LoadFailed:
    return LoadFailed(
        f"{where} has factors {list(a.shape)} and {list(b.shape)}, which don't fit the model: "
        "the adapter was trained for another one"
    )
