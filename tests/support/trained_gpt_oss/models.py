"""The tiny model as folders and files that engines load; made from what is stored here.

`stored` is what is in this folder. `expanded` has the same weights at the places of the whole
o200k vocabulary, for the product, whose Harmony dialect takes no other.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from support.random_gpt_oss import Tensors
from support.tiny_gpt_oss import VOCABULARY, add_o200k_tokenizer
from support.trained_gpt_oss.vocabulary import Vocabulary, full_tokenizer_file

STORED = Path(__file__).parent
FILES = ("config.json", "model.safetensors", "tokenizer.json")

#: Names of tensors of a layer → in GGUF, as llama.cpp's converter has them.
_LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "self_attn.sinks": "attn_sinks.weight",
    "mlp.router.weight": "ffn_gate_inp.weight",
    "mlp.router.bias": "ffn_gate_inp.bias",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.o_proj.bias": "attn_output.bias",
} | {
    f"self_attn.{name}_proj.{part}": f"attn_{name}.{part}"
    for name in "qkv"
    for part in ("weight", "bias")
}
_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def stored(folder: Path) -> Path:
    """As it was trained: a small vocabulary, MXFP4 experts."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(STORED / name, folder)
    return folder


def expanded(folder: Path) -> Path:
    """With the whole o200k vocabulary and its `tokenizer.json`; MXFP4 experts."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_expanded_tensors(), folder / "model.safetensors", metadata={"format": "pt"})
    config = _config() | {
        "vocab_size": VOCABULARY,
        "eos_token_id": 200_002,
        "pad_token_id": 199_999,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ends = {"eos_token_id": [200_002, 199_999, 200_012]}
    (folder / "generation_config.json").write_text(json.dumps(ends), encoding="utf-8")
    # Large, and the same for every model.
    (folder / "tokenizer.json").symlink_to(full_tokenizer_file())
    return folder


def gguf_file(file: Path) -> Path:
    """The expanded model as GGUF: MXFP4 experts bit for bit, all else in 16 or 32 bits."""
    config = _config()
    writer = gguf.GGUFWriter(file, "gpt-oss")
    writer.add_context_length(4096)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    rope = config["rope_scaling"]
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    add_o200k_tokenizer(writer)
    for name, tensor in _expanded_tensors().items():
        _add(writer, name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((STORED / "config.json").read_text(encoding="utf-8"))
    return config


def _expanded_tensors() -> Tensors:
    vocabulary = Vocabulary.read(STORED)
    tensors = load_file(STORED / "model.safetensors")
    places = torch.tensor(vocabulary.o200k_ids)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        small = tensors[name]
        # Whatever was left out is as unlikely as the row that stood for it in training.
        wide = small[vocabulary.unused].repeat(VOCABULARY, 1)
        wide[places] = small[: vocabulary.unused]
        tensors[name] = wide
    return tensors


def _add(writer: Any, name: str, tensor: torch.Tensor) -> None:
    if name in _WHOLE:
        kind = np.float32 if tensor.dim() == 1 else np.float16
        writer.add_tensor(_WHOLE[name], tensor.float().numpy().astype(kind))
        return
    _, _, layer, rest = name.split(".", 3)
    block = f"blk.{layer}"
    if rest in _LAYER:
        one_dimensional = tensor.dim() == 1 or "router" in rest
        kind = np.float32 if one_dimensional else np.float16
        writer.add_tensor(f"{block}.{_LAYER[rest]}", tensor.float().numpy().astype(kind))
    elif rest.endswith("_bias"):
        _add_parts(writer, block, rest.removesuffix("_bias"), "bias", tensor.float().numpy())
    elif rest.endswith("_blocks"):
        scales = load_file(STORED / "model.safetensors")[name.replace("_blocks", "_scales")]
        packed = _llama_blocks(tensor, scales)
        _add_parts(writer, block, rest.removesuffix("_blocks"), "weight", packed)


def _add_parts(writer: Any, block: str, rest: str, kind: str, data: np.ndarray) -> None:
    parts = {"ffn_down_exps": data}
    if rest.endswith("gate_up_proj"):
        parts = {"ffn_gate_exps": data[:, 0::2], "ffn_up_exps": data[:, 1::2]}
    raw = gguf.GGMLQuantizationType.MXFP4 if kind == "weight" else None
    for name, part in parts.items():
        writer.add_tensor(f"{block}.{name}.{kind}", np.ascontiguousarray(part), raw_dtype=raw)


def _llama_blocks(blocks: torch.Tensor, scales: torch.Tensor) -> np.ndarray:
    """OpenAI's MXFP4 → llama.cpp's: for every 32 values the scale, then sixteen bytes, whose low
    nibbles are the first sixteen values and whose high ones are the others."""
    nibbles = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)
    packed = nibbles[..., :16] | (nibbles[..., 16:] << 4)
    whole: np.ndarray = torch.cat([scales[..., None], packed], dim=-1).flatten(-2).numpy()
    return whole
