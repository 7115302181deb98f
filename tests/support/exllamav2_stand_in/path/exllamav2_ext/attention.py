"""The fused first half of attention: norm, projections, rotary embeddings.

Raises where the real kernels would write beyond a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .elements import rms_norm, rope_
from .matrices import gemm_half_q_half
from .registry import counted, free, get, is_none, keep


@dataclass
class Attention:
    norm: torch.Tensor
    epsilon: float
    query: int
    key: int
    value: int
    output: int
    rows: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_style: int
    post_norm: torch.Tensor
    residual_fp32: bool
    has_residual: bool


@counted
def make_q_attn(
    norm_w: torch.Tensor,
    norm_b: torch.Tensor,
    is_rms: bool,
    headnorm_rms: bool,
    epsilon: float,
    q: int,
    k: int,
    v: int,
    o: int,
    temp_state: torch.Tensor,
    temp_dq: torch.Tensor,
    max_rows: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    max_seq_len: int,
    has_residual: bool,
    rope_style: int,
    sincos_size: int,
    q_norm: torch.Tensor,
    k_norm: torch.Tensor,
    post_w: torch.Tensor,
    post_b: torch.Tensor,
    residual_fp32: bool,
    use_graphs: bool,
) -> int:
    assert is_rms
    assert is_none(q_norm)
    assert is_none(k_norm)
    return keep(
        Attention(
            norm=norm_w,
            epsilon=epsilon,
            query=q,
            key=k,
            value=v,
            output=o,
            rows=max_rows,
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope_style=rope_style,
            post_norm=post_w,
            residual_fp32=residual_fp32,
            has_residual=has_residual,
        )
    )


@counted
def free_q_attn(handle: int) -> None:
    free(handle)


@counted
def q_attn_forward_1(
    handle: int,
    x: torch.Tensor,
    batch: int,
    tokens: int,
    past_len: int,
    past_lens: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    sin: torch.Tensor,
    cos: torch.Tensor,
    loras: list[Any],
    lora_temp: torch.Tensor,
) -> None:
    made: Attention = get(handle)
    if loras:
        raise NotImplementedError("exllamav2_ext stand-in: LoRAs in q_attn_forward_1")
    assert x.dtype == (torch.float if made.residual_fp32 else torch.half)
    assert x.is_contiguous()
    assert batch * tokens <= made.rows, "more rows than the scratch buffer has"
    states = torch.empty((batch * tokens, made.hidden), dtype=torch.half)
    rms_norm(x.view(-1, made.hidden), made.norm, states, made.epsilon)
    for matrix, output, heads in (
        (made.query, q, made.heads),
        (made.key, k, made.kv_heads),
        (made.value, v, made.kv_heads),
    ):
        # The kernel writes to memory one after another, whatever the strides say.
        assert output.is_contiguous()
        product = torch.empty((batch * tokens, heads * made.head_dim), dtype=torch.half)
        gemm_half_q_half(states, matrix, product, False)
        product = product.view(batch, tokens, heads, made.head_dim)
        if matrix != made.value and made.rope_style:
            neox = made.rope_style == 2
            rope_(product, sin, cos, past_len, heads, made.head_dim, past_lens, neox)
        output.copy_(product.view(output.shape))


@counted
def q_attn_forward_2(
    handle: int,
    x: torch.Tensor,
    attn_out: torch.Tensor,
    batch: int,
    tokens: int,
    loras: list[Any],
    lora_temp: torch.Tensor,
) -> None:
    made: Attention = get(handle)
    if made.residual_fp32 and is_none(made.post_norm):
        raise RuntimeError(
            "q_attn_forward_2 with a float32 residual and no norm after it writes half precision "
            "into a float32 buffer: memory corruption"
        )
    if loras:
        raise NotImplementedError("exllamav2_ext stand-in: LoRAs in q_attn_forward_2")
    product = torch.empty((batch * tokens, made.hidden), dtype=torch.half)
    gemm_half_q_half(attn_out.view(batch * tokens, -1), made.output, product, False)
    x.copy_(x + product.view(x.shape) if made.has_residual else product.view(x.shape))


@counted
def make_q_moe_mlp(*_: Any) -> int:
    raise RuntimeError("the fused mixture-of-experts kernel knows neither biases nor SwiGLU")
