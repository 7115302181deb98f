"""The fused gated MLP of other architectures."""

from __future__ import annotations

from typing import Any

import torch

from .elements import rms_norm
from .matrices import gemm_half_q_half
from .registry import counted, free, get, is_none, keep


@counted
def make_q_mlp(
    norm_w: torch.Tensor,
    norm_b: torch.Tensor,
    is_rms: bool,
    epsilon: float,
    gate: int,
    up: int,
    down: int,
    temp_state: torch.Tensor,
    temp_a: torch.Tensor,
    temp_b: torch.Tensor,
    temp_dq: torch.Tensor,
    max_rows: int,
    act_gelu: bool,
    has_residual: bool,
    post_w: torch.Tensor,
    post_b: torch.Tensor,
    residual_fp32: bool,
    use_graphs: bool,
) -> int:
    assert is_rms
    assert is_none(post_w)
    assert has_residual
    assert not residual_fp32
    assert not act_gelu
    return keep((norm_w, epsilon, gate, up, down))


@counted
def free_q_mlp(handle: int) -> None:
    free(handle)


@counted
def q_mlp_forward_(handle: int, x: torch.Tensor, loras: list[Any], temp: torch.Tensor) -> None:
    if loras:
        raise NotImplementedError("exllamav2_ext stand-in: LoRAs in q_mlp_forward_")
    norm, epsilon, gate, up, down = get(handle)
    rows = x.view(-1, x.shape[-1])
    states = torch.empty_like(rows)
    rms_norm(rows, norm, states, epsilon)
    width = get(gate).weight.shape[1]
    gated, raised = (torch.empty((len(rows), width), dtype=torch.half) for _ in range(2))
    gemm_half_q_half(states, gate, gated, False)
    gemm_half_q_half(states, up, raised, False)
    output = torch.empty_like(rows)
    gemm_half_q_half(torch.nn.functional.silu(gated) * raised, down, output, False)
    rows += output
