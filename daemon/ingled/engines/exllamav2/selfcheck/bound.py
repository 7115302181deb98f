"""What memory bandwidth allows: the bytes that one decode step must read, and so its least time.

::

    bytes = attention and norms of every layer
          + router of every layer, in float32
          + experts of every layer that at least one sequence chooses
          + output layer
          + keys and values of every sequence: the whole of it in full layers, a window in others
    least seconds = bytes / measured bandwidth

A step can't be faster than that on this card, whatever the software. Activations are left out: they
stay in the cache of the chip. With one sequence k of n experts are read; with several that choose
on their own, each expert with the probability 1 − (1 − k/n)^sequences.
"""

from __future__ import annotations

from typing import Any

from ingled.engines.exllamav2.attention import GptOssAttention
from ingled.engines.exllamav2.mixture import GptOssMixture


def step_bytes(model: Any, *, context: int, sequences: int = 1, cache_bytes: float = 2.0) -> float:
    """Bytes that one decode step of a loaded `ExLlamaV2` reads.

    `context` tokens are in the cache for every sequence, a value takes `cache_bytes`.
    """
    return sum(
        layer_bytes(module, context=context, sequences=sequences, cache_bytes=cache_bytes)
        for module in model.modules
    )


def layer_bytes(
    module: Any, *, context: int, sequences: int = 1, cache_bytes: float = 2.0
) -> float:
    """The part of `step_bytes` that is one layer's."""
    if isinstance(module, GptOssAttention):
        tokens = min(context, module.sliding_window) if module.sliding_window else context
        width = module.num_key_value_heads * module.head_dim
        return float(module.weight_footprint() + sequences * tokens * 2 * width * cache_bytes)
    if isinstance(module, GptOssMixture):
        chosen = module.num_experts_per_token / module.num_experts
        share = 1 - (1 - chosen) ** sequences
        experts = sum(part.weight_footprint() for part in (*module.w1, *module.w2, *module.w3))
        router = 4 * module.gate.in_features * module.num_experts
        return float(share * experts + router)
    if module.key == "model.embed_tokens":
        # On the CPU; a row a token.
        return 0.0
    return float(module.weight_footprint())
