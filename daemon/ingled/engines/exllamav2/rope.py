"""YaRN, by the model's own parameters.

The library computes YaRN from the length of the cache and leaves it out for short ones; gpt-oss
was trained with fixed parameters, `truncate` among them, that hold at every length.

Formula: "YaRN: Efficient Context Window Extension of Large Language Models", Peng et al. 2023,
https://arxiv.org/abs/2309.00071, as `_compute_yarn_parameters` of transformers has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ingle.errors import ModelInvalid

DEFAULT_THETA = 150_000.0


@dataclass(frozen=True, kw_only=True)
class Yarn:
    """Parameters of YaRN; names as in `config.json`."""

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    #: What cosine and sine are multiplied with.
    attention_factor: float = 1.0


def read_yarn(read: Mapping[str, Any], file: Path) -> tuple[Yarn | None, float]:
    """YaRN, or None for plain rotary embeddings, and theta, from a `config.json`.

    Understands `rope_scaling` beside `rope_theta`, and transformers 5's `rope_parameters`, which
    holds both. Raises `ModelInvalid`.
    """
    given = read.get("rope_parameters") or read.get("rope_scaling") or {}
    theta = float(given.get("rope_theta") or read.get("rope_theta") or DEFAULT_THETA)
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind == "default":
        return None, theta
    if kind != "yarn":
        raise ModelInvalid(f"{file} asks for rotary embeddings of type {kind!r}: gpt-oss has yarn")
    try:
        factor = float(given["factor"])
        original = int(
            given.get("original_max_position_embeddings")
            or read["original_max_position_embeddings"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(
            f"{file} lacks factor or original_max_position_embeddings of yarn: "
            "download the whole model again"
        ) from error
    return (
        Yarn(
            factor=factor,
            original_max_position_embeddings=original,
            beta_fast=float(given.get("beta_fast") or 32.0),
            beta_slow=float(given.get("beta_slow") or 1.0),
            truncate=bool(given.get("truncate", True)),
            attention_factor=_attention_factor(given, factor),
        ),
        theta,
    )


def inverse_frequencies(yarn: Yarn, dimensions: int, theta: float, device: Any) -> torch.Tensor:
    """Inverse frequencies of a head with `dimensions` rotated dimensions: float32 (dimensions/2,).

    Fast dimensions (more than `beta_fast` turns within the original context) are left alone, slow
    ones (fewer than `beta_slow` turns) are slowed down by `factor`, those between are mixed.
    """

    def dimension_of(turns: float) -> float:
        context = yarn.original_max_position_embeddings
        return dimensions * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension_of(yarn.beta_fast), dimension_of(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dimensions - 1)
    if low == high:
        high += 0.001
    steps = torch.arange(dimensions // 2, dtype=torch.float, device=device)
    slowed = ((steps - low) / (high - low)).clamp(0, 1)
    inverse = theta ** (-2 * steps / dimensions)
    return inverse / yarn.factor * slowed + inverse * (1 - slowed)


def _attention_factor(given: Mapping[str, Any], factor: float) -> float:
    def scale(multiplier: float = 1.0) -> float:
        return 1.0 if factor <= 1 else 0.1 * multiplier * math.log(factor) + 1.0

    if given.get("attention_factor") is not None:
        return float(given["attention_factor"])
    if given.get("mscale") and given.get("mscale_all_dim"):
        return scale(float(given["mscale"])) / scale(float(given["mscale_all_dim"]))
    return scale()
