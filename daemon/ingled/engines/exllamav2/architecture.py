"""GptOssForCausalLM for the library's configuration: tensor names, switches, config.json.

Owns what is read from `config.json` beyond what the library reads itself, and the checks of it.
Reference: `GptOssConfig` in transformers, https://github.com/huggingface/transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exllamav2 import architecture as library

from ingle.errors import ModelInvalid

from .mxfp4 import check_expert_tensors
from .rope import Yarn, read_yarn

ARCHITECTURE = "GptOssForCausalLM"

#: The library's table of a mixture whose names and switches are the nearest.
NEAREST = "MixtralForCausalLM"

SLIDING, FULL = "sliding_attention", "full_attention"


def is_gpt_oss(config: Any) -> bool:
    """Whether an `ExLlamaV2Config` that has been prepared is of this architecture."""
    return bool(config.arch.arch_string == ARCHITECTURE)


def describe(params: Any, read_config: dict[str, Any]) -> None:
    """Fill an `ExLlamaV2ArchParams` that was made for `NEAREST`."""
    params.arch_string = ARCHITECTURE
    lm = params.lm
    lm.layer_keys = [
        *library.layer_keys_llama_norms,
        *library.layer_keys_llama_attn,
        ["self_attn.sinks"],
        *(
            [f"mlp.experts.*.{one}", f"mlp.experts.{fused}", f"mlp.experts.{fused}_blocks"]
            for one, fused in (
                ("gate_proj", "gate_up_proj"),
                ("up_proj", "gate_up_proj"),
                ("down_proj", "down_proj"),
            )
        ),
        ["mlp.router"],
    ]
    lm.keys.update(
        {
            "mlp_gate": ".mlp.experts.*.gate_proj",
            "mlp_up": ".mlp.experts.*.up_proj",
            "mlp_down": ".mlp.experts.*.down_proj",
            "mlp_expert_gate": ".mlp.router",
        }
    )
    biased = bool(read_config.get("attention_bias", True))
    lm.attention_bias_qkv = lm.attention_bias_o = biased
    lm.mlp_bias = True
    lm.alternating_swa = True
    lm.default_head_dim = 64
    lm.default_rope_theta = 150_000.0
    lm.supports_tp = False
    # Set after the library's own checks, which allow it only together with norms after each
    # block: its kernel for the output projection needs those. That kernel is never called here.
    lm.residual_stream_fp32 = True


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What `config.json` says beyond what the library reads."""

    yarn: Yarn | None
    theta: float
    swiglu_limit: float
    layer_types: list[str]


def read_extra(folder: Path) -> Extra | None:
    """Read and check a gpt-oss `config.json`, before the library does; None for other models.

    Raises `ModelInvalid`.
    """
    file = folder / "config.json"
    try:
        read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if read["architectures"] != [ARCHITECTURE]:
            return None
        for name in ("num_hidden_layers", "num_local_experts", "num_experts_per_tok"):
            if not isinstance(read.get(name), int) or read[name] < 1:
                raise ModelInvalid(f"{file} has no sensible {name}: download the model again")
        yarn, theta = read_yarn(read, file)
        return Extra(
            yarn=yarn,
            theta=theta,
            swiglu_limit=float(read.get("swiglu_limit", 7.0)),
            layer_types=_layer_types(read, file),
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelInvalid(f"{file} is missing or damaged: download the model again") from error


def complete(config: Any, extra: Extra) -> None:
    """Add to a prepared `ExLlamaV2Config` what gpt-oss needs. Raises `ModelInvalid`."""
    config.rotary_embedding_base = extra.theta
    config.gpt_oss_yarn = extra.yarn
    config.alt_rope_method = "yarn" if extra.yarn else None
    config.swiglu_limit = extra.swiglu_limit
    config.layer_types = extra.layer_types
    if hasattr(config, "tensor_file_map"):
        check_expert_tensors(config)


def yarn_of(config: Any) -> Yarn | None:
    """The model's own YaRN parameters; None for other architectures and plain rotary ones."""
    return getattr(config, "gpt_oss_yarn", None)


def _layer_types(read: dict[str, Any], file: Path) -> list[str]:
    layers = read["num_hidden_layers"]
    types = read.get("layer_types") or [SLIDING if n % 2 == 0 else FULL for n in range(layers)]
    if len(types) != layers or not set(types) <= {SLIDING, FULL}:
        raise ModelInvalid(
            f"{file}: layer_types must name {SLIDING} or {FULL} for each of {layers} layers"
        )
    return list(types)
