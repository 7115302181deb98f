"""Random gpt-oss models of any size, as folders the library can load, and what their weights mean.

Every matrix has the gain that a trained one has about: states, scores and logits stay within the
usual, so that rounding shows as rounding and a mistake as a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from ingled.engines.exllamav2 import mxfp4

from .exl2 import Layout, Tensors, random_matrix
from .setup import Setup

Kind = Literal["EXL2", "MXFP4"]
KINDS: tuple[Kind, ...] = ("EXL2", "MXFP4")

_ATTENTION = Layout(6, 5, 128)
_EXPERTS = Layout(5, 4, 128)
_HEAD = Layout(8, 6, 128)
#: Deviation of a projection's output for an input with deviation 1.
_GAINS = {"q": 1.3, "k": 1.3, "v": 1.0, "o": 1.0, "gate_up": 1.2, "down": 0.7, "head": 2.0}
_BIAS = 0.2


@dataclass(frozen=True, kw_only=True)
class Model:
    """`config` as in config.json; `weights` for `reference.logits`, float16 on the card."""

    folder: Path
    config: dict[str, Any]
    weights: Tensors


def write(setup: Setup, folder: Path, kind: Kind) -> Model:
    """Write a model of `setup`'s sizes: EXL2, or as it is published, MXFP4 experts and bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    stored: Tensors = {}
    weights: Tensors = {}
    for name, files, meaning in _tensors(setup, kind):
        stored |= files
        weights[name] = meaning
    config = _config(setup, kind)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: tensor.contiguous().cpu() for name, tensor in stored.items()},
        folder / "model.safetensors",
    )
    return Model(folder=folder, config=config, weights=weights)


Tensor = tuple[str, Tensors, torch.Tensor]


def _tensors(setup: Setup, kind: Kind) -> Iterator[Tensor]:
    """Name for the reference, tensors of the file, what they mean."""
    sizes, generator = setup.sizes, setup.generator()

    def plain(name: str, *shape: int, scale: float, mean: float = 0.0) -> Tensor:
        values = (setup.normal(generator, *shape, scale=scale) + mean).bfloat16()
        return name, {name: values}, values.half()

    def matrix(name: str, rows: int, columns: int, gain: float, layout: Layout) -> Tensor:
        if kind == "MXFP4":
            return plain(f"{name}.weight", columns, rows, scale=gain / rows**0.5)
        made = random_matrix(setup, rows, columns, layout, generator, gain=gain)
        files = {f"{name}.{part}": tensor for part, tensor in made.tensors.items()}
        return f"{name}.weight", files, made.weight.T

    hidden = sizes.hidden
    yield plain("model.embed_tokens.weight", sizes.vocabulary, hidden, scale=1.0)
    yield plain("model.norm.weight", hidden, scale=0.1, mean=1.0)
    yield matrix("lm_head", hidden, sizes.vocabulary, _GAINS["head"], _HEAD)
    for number in range(sizes.layers):
        layer = f"model.layers.{number}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield plain(f"{layer}.{norm}.weight", hidden, scale=0.1, mean=1.0)
        for part, rows, columns in (
            ("q", hidden, sizes.query_width),
            ("k", hidden, sizes.key_width),
            ("v", hidden, sizes.key_width),
            ("o", sizes.query_width, hidden),
        ):
            name = f"{layer}.self_attn.{part}_proj"
            yield matrix(name, rows, columns, _GAINS[part], _ATTENTION)
            yield plain(f"{name}.bias", columns, scale=_BIAS)
        yield plain(f"{layer}.self_attn.sinks", sizes.heads, scale=1.5)
        yield plain(f"{layer}.mlp.router.weight", sizes.experts, hidden, scale=hidden**-0.5)
        yield plain(f"{layer}.mlp.router.bias", sizes.experts, scale=0.5)
        for fused, rows, columns in (
            ("gate_up", hidden, 2 * sizes.inner),
            ("down", sizes.inner, hidden),
        ):
            name = f"{layer}.mlp.experts.{fused}_proj"
            yield from _experts(setup, kind, name, rows, columns, _GAINS[fused], generator)


def _experts(
    setup: Setup,
    kind: Kind,
    name: str,
    rows: int,
    columns: int,
    gain: float,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """The fused matrices (experts, rows, columns) of one projection, and their biases."""
    count = setup.sizes.experts
    bias = setup.normal(generator, count, columns, scale=_BIAS).half()
    if kind == "MXFP4":
        blocks, scales = _random_mxfp4(count, rows, columns, gain, generator)
        meaning = mxfp4.decode(blocks.to(setup.device), scales.to(setup.device)).transpose(1, 2)
        yield name, {f"{name}_blocks": blocks, f"{name}_scales": scales}, meaning
        yield f"{name}_bias", {f"{name}_bias": bias}, bias
        return
    prefix, _, fused = name.rpartition(".")
    parts = {fused: slice(None)}
    if fused == "gate_up_proj":
        # Gate and up alternate in the fused form; the converter writes them apart.
        parts = {"gate_proj": slice(0, None, 2), "up_proj": slice(1, None, 2)}
    files: Tensors = {}
    meaning = torch.empty((count, rows, columns), dtype=torch.half, device=setup.device)
    for expert in range(count):
        for part, at in parts.items():
            width = columns // len(parts)
            made = random_matrix(setup, rows, width, _EXPERTS, generator, gain=gain)
            meaning[expert][:, at] = made.weight
            key = f"{prefix}.{expert}.{part}"
            files |= {f"{key}.{kept}": tensor for kept, tensor in made.tensors.items()}
            files[f"{key}.bias"] = bias[expert][at]
    yield name, files, meaning
    yield f"{name}_bias", {}, bias


def _random_mxfp4(
    count: int, rows: int, columns: int, gain: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks and scales of (count, columns, rows) with random values and three scales."""
    groups = (count, columns, rows // mxfp4.GROUP)
    blocks = torch.randint(0, 256, (*groups, 16), dtype=torch.uint8, generator=generator)
    deviation = float(torch.tensor(mxfp4.VALUES).pow(2).mean().sqrt())
    middle = round(float(torch.log2(torch.tensor(gain / rows**0.5 / deviation))))
    steps = torch.randint(-1, 2, groups, generator=generator)
    return blocks, (steps + middle + mxfp4.SCALE_BIAS).to(torch.uint8)


def _config(setup: Setup, kind: Kind) -> dict[str, Any]:
    sizes = setup.sizes
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "num_hidden_layers": sizes.layers,
        "hidden_size": sizes.hidden,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "intermediate_size": sizes.inner,
        "num_local_experts": sizes.experts,
        "num_experts_per_tok": sizes.experts,
        "vocab_size": sizes.vocabulary,
        "sliding_window": sizes.window,
        "layer_types": [
            "full_attention" if number % 2 else "sliding_attention"
            for number in range(sizes.layers)
        ],
        "swiglu_limit": 7.0,
        "rms_norm_eps": 1e-5,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "max_position_embeddings": 131_072,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "rope_theta": 150_000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
        "quantization_config": {"quant_method": kind.lower()},
    }
