"""gpt-oss in plain float32 torch: what the real thing is compared with. Slow, and all in view.

Written from the architecture, without ingle's own layers and without the library. Reference for
this reference: `GptOssForCausalLM` of transformers, against which our tests hold it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Attended:
    """Output (batch, queries, heads, dim) and the scores' log-sum-exp (batch, heads, queries)."""

    output: torch.Tensor
    log_sum_exp: torch.Tensor


def logits(config: Mapping[str, Any], weights: Weights, ids: torch.Tensor) -> torch.Tensor:
    """`config` as in config.json with `rope_scaling`; `weights` by transformers' names, matrices
    as it has them and experts fused (experts, in, out). (1, tokens) → (1, tokens, vocabulary)."""
    epsilon = config["rms_norm_eps"]
    states = weights["model.embed_tokens.weight"].float()[ids]
    cosine, sine = rotary_tables(config, ids.shape[1], states.device)
    for number, kind in enumerate(config["layer_types"]):
        layer = {
            name.removeprefix(f"model.layers.{number}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"model.layers.{number}.")
        }
        window = config["sliding_window"] if kind == "sliding_attention" else 0
        normed = norm(states, layer["input_layernorm.weight"], epsilon)
        states = states + self_attention(config, layer, normed, cosine, sine, window)
        normed = norm(states, layer["post_attention_layernorm.weight"], epsilon)
        states = states + mixture(config, layer, normed)
    normed = norm(states, weights["model.norm.weight"], epsilon)
    return normed @ weights["lm_head.weight"].float().T


def norm(states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root mean square norm."""
    scale = torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + epsilon)
    return states * scale * weight.float()


def self_attention(
    config: Mapping[str, Any],
    layer: Weights,
    normed: torch.Tensor,
    cosine: torch.Tensor,
    sine: torch.Tensor,
    window: int,
) -> torch.Tensor:
    """(1, tokens, hidden) → the same."""
    query, key, value = projected(config, layer, normed, cosine, sine)
    attended = attention(query, key, value, layer["self_attn.sinks"], window=window)
    return linear(layer, "self_attn.o_proj", attended.output.flatten(-2))


def projected(
    config: Mapping[str, Any],
    layer: Weights,
    normed: torch.Tensor,
    cosine: torch.Tensor,
    sine: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query and key, rotated, and value: (batch, tokens, heads, dim) each."""
    dim = config["head_dim"]
    query, key, value = (
        linear(layer, f"self_attn.{name}_proj", normed).unflatten(-1, (-1, dim)) for name in "qkv"
    )
    return rotated(query, cosine, sine), rotated(key, cosine, sine), value


def linear(layer: Weights, name: str, states: torch.Tensor) -> torch.Tensor:
    """A matrix (out, in) and its bias."""
    return states @ layer[f"{name}.weight"].float().T + layer[f"{name}.bias"].float()


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sinks: torch.Tensor | None,
    *,
    window: int,
) -> Attended:
    """(batch, queries, heads, dim) and (batch, keys, kv_heads, dim); the last query is at the last
    key. A token sees itself and `window - 1` before it, or all for 0. `sinks` (heads,) share in
    the softmax and have no value. `log_sum_exp` is without them."""
    queries, heads, dim = query.shape[1:]
    repeats = heads // key.shape[2]
    wide_key = key.float().repeat_interleave(repeats, 2)
    wide_value = value.float().repeat_interleave(repeats, 2)
    scores = torch.einsum("bqhd,bkhd->bhqk", query.float(), wide_key) / math.sqrt(dim)
    count = key.shape[1]
    at_query = torch.arange(count - queries, count, device=query.device)[:, None]
    at_key = torch.arange(count, device=query.device)[None, :]
    seen = at_key <= at_query
    if window:
        seen = seen & (at_key > at_query - window)
    scores = scores.masked_fill(~seen, float("-inf"))
    total = log_sum_exp = torch.logsumexp(scores, -1)
    if sinks is not None:
        total = torch.logaddexp(log_sum_exp, sinks.float().view(1, -1, 1))
    shares = torch.exp(scores - total[..., None])
    output = torch.einsum("bhqk,bkhd->bqhd", shares, wide_value)
    return Attended(output=output, log_sum_exp=log_sum_exp)


def mixture(
    config: Mapping[str, Any],
    layer: Weights,
    normed: torch.Tensor,
    chosen: torch.Tensor | None = None,
) -> torch.Tensor:
    """(1, tokens, hidden) → the same: the chosen experts, weighted by a softmax over them alone.

    `chosen` int64 (1, tokens, k) takes these, in the place of the best by the router's scores.
    """
    active, limit = config["num_experts_per_tok"], config["swiglu_limit"]
    scores = linear(layer, "mlp.router", normed)
    chosen = scores.topk(active).indices if chosen is None else chosen
    scores = scores.gather(-1, chosen)
    shares = torch.zeros(
        (*normed.shape[:-1], config["num_local_experts"]), device=normed.device
    ).scatter_(-1, chosen, scores.softmax(-1))
    added = torch.zeros_like(normed)
    for expert in range(config["num_local_experts"]):
        both = normed @ layer["mlp.experts.gate_up_proj"][expert].float()
        both = both + layer["mlp.experts.gate_up_proj_bias"][expert].float()
        gate = both[..., 0::2].clamp(max=limit)
        up = both[..., 1::2].clamp(-limit, limit)
        inner = gate * torch.sigmoid(1.702 * gate) * (up + 1)
        output = inner @ layer["mlp.experts.down_proj"][expert].float()
        output = output + layer["mlp.experts.down_proj_bias"][expert].float()
        added += output * shares[..., expert, None]
    return added


def rotary_tables(
    config: Mapping[str, Any], tokens: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine (tokens, 1, dim / 2), with YaRN as `rope_scaling` has it."""
    yarn, dim, theta = config["rope_scaling"], config["head_dim"], float(config["rope_theta"])
    turns = torch.arange(0, dim, 2, dtype=torch.double) / dim
    fast = theta**-turns
    slow = fast / yarn["factor"]
    context = yarn["original_max_position_embeddings"]

    def place(beta: float) -> float:
        return float(dim * math.log(context / (2 * math.pi * beta)) / (2 * math.log(theta)))

    low, high = place(yarn["beta_fast"]), place(yarn["beta_slow"])
    if yarn["truncate"]:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    share = ((torch.arange(dim // 2) - low) / max(high - low, 0.001)).clamp(0, 1)
    frequencies = fast * (1 - share) + slow * share
    angles = torch.arange(tokens, dtype=torch.double)[:, None, None] * frequencies
    scale = 0.1 * math.log(yarn["factor"]) + 1
    return (angles.cos() * scale).float().to(device), (angles.sin() * scale).float().to(device)


def rotated(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """(batch, tokens, heads, dim): the halves of a head are a pair's two coordinates."""
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
