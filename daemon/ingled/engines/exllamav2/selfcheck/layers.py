"""ingle's own layers on the card: attention with sinks and windows, and headroom."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from exllamav2 import attn as library

from ingled.engines.exllamav2.attention import GptOssAttention
from ingled.engines.exllamav2.mixture import GptOssMixture
from ingled.finding import Finding

from . import reference
from .flash import OUTPUT_MAX, OUTPUT_RMS
from .measure import PRODUCT_MAX, PRODUCT_RMS, relative
from .products import REMEDY
from .resident import layers_of, resident
from .setup import Setup
from .synthetic import Model

#: What a projection gives at its largest: more than twice what half precision can hold.
_PEAK = 150_000.0
_LARGEST_HALF = 65_504.0


def check_sinks(setup: Setup, model: Model) -> Iterator[Finding]:
    """A finding for attention in torch, and one for flash-attn where it is used."""
    ways = {"torch": "_attn_torch"}
    if library.has_flash_attn:
        ways["flash-attn"] = "_attn_flash"
    with resident(model.folder, tokens=1024, chunk=64) as loaded:
        layers = layers_of(loaded, GptOssAttention)
        for way, name in ways.items():
            generator = setup.generator()
            errors = [
                _sinks_error(setup, layer, name, queries, keys, generator)
                for layer in layers
                for queries, keys in ((1, 300), (100, 300), (300, 300))
            ]
            rms, worst = max(error[0] for error in errors), max(error[1] for error in errors)
            figures = {"error_rms": rms, "error_max": worst}
            right = rms <= OUTPUT_RMS and worst <= OUTPUT_MAX
            text = f"sinks and windows in {way}: {'within' if right else 'off by'} {rms:.2%}"
            yield Finding(
                check="sinks",
                grade="ok" if right else "fail",
                text=text,
                remedy="" if right else REMEDY,
                figures=figures,
            )


def _sinks_error(
    setup: Setup, layer: Any, name: str, queries: int, keys: int, generator: torch.Generator
) -> tuple[float, float]:
    sizes = setup.sizes
    query = setup.normal(generator, 1, queries, sizes.heads, sizes.head_dim, scale=1.5).half()
    key, value = (
        setup.normal(generator, 1, keys, sizes.kv_heads, sizes.head_dim).half() for _ in range(2)
    )
    params = SimpleNamespace(input_mask=None, block_diag_layers=())
    found = getattr(layer, name)(1, queries, query, key, value, params, None)
    wanted = reference.attention(query, key, value, layer.sinks, window=layer.sliding_window)
    return relative(found, wanted.output.flatten(-2))


def check_headroom(model: Model) -> Iterator[Finding]:
    """One finding: projections whose result half precision can't hold."""
    kind = model.config["quantization_config"]["quant_method"].upper()
    with resident(model.folder, tokens=1024, chunk=64) as loaded:
        attention = layers_of(loaded, GptOssAttention)[0]
        mixture = layers_of(loaded, GptOssMixture)[0]
        prefix = "model.layers.0"
        experts = f"{prefix}.mlp.experts.down_proj"
        cases = (
            (
                attention.o_proj,
                model.weights[f"{prefix}.self_attn.o_proj.weight"].T,
                model.weights[f"{prefix}.self_attn.o_proj.bias"],
            ),
            (mixture.w2[0], model.weights[experts][0], model.weights[f"{experts}_bias"][0]),
        )
        results = [_headroom_error(*case, rows) for case in cases for rows in (1, 40)]
    peak = min(result[0] for result in results)
    rms, worst = max(result[1] for result in results), max(result[2] for result in results)
    figures = {"peak": peak, "error_rms": rms, "error_max": worst}
    if peak <= _LARGEST_HALF:
        raise RuntimeError(f"the peak of {peak:.0f} is no test of headroom")
    right = rms <= PRODUCT_RMS and worst <= PRODUCT_MAX * _spread(results)
    what = f"{kind} projections with results of {peak:,.0f}"
    text = f"{what} stay finite, within {rms:.2%}" if right else f"{what} overflow or are wrong"
    yield Finding(
        check="headroom",
        grade="ok" if right else "fail",
        text=text,
        remedy="" if right else REMEDY,
        figures=figures,
    )


#: The peak, the relative errors, and the peak as a multiple of the root mean square.
Result = tuple[float, float, float, float]


def _headroom_error(layer: Any, weight: torch.Tensor, bias: torch.Tensor, rows: int) -> Result:
    """`weight` (in, out). The input points where the first output is the largest."""
    direction = weight[:, 0].float().sign()
    size = _PEAK / float((direction * weight[:, 0].float()).sum())
    states = (direction * size).half().repeat(rows, 1)
    wanted = states.float() @ weight.float() + bias.float()
    rms, worst = relative(layer.forward(states), wanted)
    scale = float(wanted.pow(2).mean().sqrt())
    peak = float(wanted.abs().max())
    return peak, rms, worst, peak / scale


def _spread(results: list[Result]) -> float:
    """Half precision is as exact as its values are large: the largest error grows with the peak."""
    return max(result[3] for result in results)
