"""Checkpoints of gpt-oss of any size whose weights are all zero: sparse files that take no disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from ingled.models.model_shape import ModelShape, tensors
from support.random_gpt_oss import THETA, YARN
from support.safetensors_headers import exl2_tensors, write_headers

Form = Literal["MXFP4", "EXL2"]


def write(folder: Path, shape: ModelShape, form: Form) -> Path:
    """As OpenAI publishes it, or with all matrices in four bits."""
    folder.mkdir(parents=True)
    found = (
        {one.name: (one.dtype, one.shape) for one in tensors(shape, mxfp4=True)}
        if form == "MXFP4"
        else exl2_tensors(shape, bits=4, group=128)
    )
    write_headers(folder / "model.safetensors", found)
    (folder / "config.json").write_text(json.dumps(_config(shape, form)), encoding="utf-8")
    return folder


def _config(shape: ModelShape, form: Form) -> dict[str, Any]:
    return {
        "architectures": ["GptOssForCausalLM"],
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate,
        "num_local_experts": shape.experts,
        "num_experts_per_tok": shape.experts_per_token,
        "vocab_size": shape.vocabulary,
        "sliding_window": 128,
        "layer_types": list(shape.layer_types),
        "swiglu_limit": 7.0,
        "rms_norm_eps": 1e-5,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "max_position_embeddings": 131_072,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "rope_theta": THETA,
        "rope_scaling": YARN,
        "quantization_config": {"quant_method": form.lower()},
    }
