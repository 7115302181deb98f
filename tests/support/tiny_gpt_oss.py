"""A tiny GGUF of gpt-oss's architecture with random weights and the whole o200k vocabulary.

It has nothing to say, but everything on the way is real: llama.cpp's gpt-oss graph, its tokenizer,
the derived vocabulary, Harmony's control tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from support.byte_pairs import byte_letters, last_merge
from support.o200k import ranks

VOCABULARY = 201_088
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, EXPERTS, EXPERT_HIDDEN = 64, 4, 2, 32, 2, 4, 64
CONTROL = {
    199998: "<|startoftext|>",
    199999: "<|endoftext|>",
    200002: "<|return|>",
    200003: "<|constrain|>",
    200005: "<|channel|>",
    200006: "<|start|>",
    200007: "<|end|>",
    200008: "<|message|>",
    200012: "<|call|>",
    200018: "<|endofprompt|>",
}


def build_tiny_gpt_oss(file: Path) -> Path:
    """Write the model to `file`; the same bytes every time."""
    writer = gguf.GGUFWriter(file, "gpt-oss")
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(150_000.0)
    writer.add_sliding_window(128)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(2)
    writer.add_expert_feed_forward_length(EXPERT_HIDDEN)
    add_o200k_tokenizer(writer)
    random = np.random.default_rng(20)
    for name, shape in _tensors().items():
        data = random.normal(0.0, 0.05, shape)
        if name.endswith("norm.weight"):
            data = np.ones(shape)
        one_dimensional = len(shape) == 1 or name.endswith("bias")
        writer.add_tensor(name, data.astype(np.float32 if one_dimensional else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _tensors() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (VOCABULARY, HIDDEN),
        "output.weight": (VOCABULARY, HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    query, key = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    for layer in range(LAYERS):
        block = {
            "attn_norm.weight": (HIDDEN,),
            "post_attention_norm.weight": (HIDDEN,),
            "attn_sinks.weight": (HEADS,),
            "ffn_gate_inp.weight": (EXPERTS, HIDDEN),
            "ffn_gate_inp.bias": (EXPERTS,),
        }
        for name, size in (("attn_q", query), ("attn_k", key), ("attn_v", key)):
            block[f"{name}.weight"], block[f"{name}.bias"] = (size, HIDDEN), (size,)
        block["attn_output.weight"], block["attn_output.bias"] = (HIDDEN, query), (HIDDEN,)
        for name in ("ffn_gate_exps", "ffn_up_exps"):
            block[f"{name}.weight"] = (EXPERTS, EXPERT_HIDDEN, HIDDEN)
            block[f"{name}.bias"] = (EXPERTS, EXPERT_HIDDEN)
        block["ffn_down_exps.weight"] = (EXPERTS, HIDDEN, EXPERT_HIDDEN)
        block["ffn_down_exps.bias"] = (EXPERTS, HIDDEN)
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def add_o200k_tokenizer(writer: Any) -> None:
    """The whole vocabulary, Harmony's control tokens among it."""
    letters = byte_letters()
    tokens = [f"<|reserved_{number}|>" for number in range(VOCABULARY)]
    kinds = [int(gguf.TokenType.CONTROL)] * VOCABULARY
    merges = []
    for piece, rank in ranks().items():
        tokens[rank] = "".join(letters[byte] for byte in piece)
        kinds[rank] = int(gguf.TokenType.NORMAL)
        if len(piece) > 1:
            halves = last_merge(ranks(), piece, rank)
            merges.append(" ".join("".join(letters[b] for b in half) for half in halves))
    for number, text in CONTROL.items():
        tokens[number] = text
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(199998)
    writer.add_eos_token_id(200002)
