"""The library's fused norm, projections and rotary embedding, fed with float32 as ingle does.

The library records a CUDA graph at a layer's 205th step of the same shape and from then on only
exchanges its pointers; so the inputs, their places and their positions change with every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch

from ingled.engines.exllamav2.attention import GptOssAttention
from ingled.finding import Finding

from . import reference
from .measure import PRODUCT_MAX, PRODUCT_RMS, relative
from .products import REMEDY
from .resident import layers_of, resident
from .setup import Setup
from .synthetic import Model

_POSITIONS = 1024
#: Some rows of a residual stream are this much larger than the others.
_PEAK = 1000.0


def check(setup: Setup, model: Model) -> Iterator[Finding]:
    """One finding with CUDA graphs, one without."""
    # Batch, tokens and calls; more than 32 rows are never recorded.
    shapes = ((1, 1, setup.sizes.calls), (4, 1, setup.sizes.calls), (1, 40, 3), (4, 40, 3))
    for graphs in (True, False):
        with resident(model.folder, tokens=_POSITIONS, chunk=64, batch=4, graphs=graphs) as loaded:
            layer = layers_of(loaded, GptOssAttention)[0]
            generator = setup.generator()
            calls = list(
                chain.from_iterable(
                    _errors(setup, model, layer, batch, tokens, count, generator)
                    for batch, tokens, count in shapes
                )
            )
        yield _finding(graphs, calls)


#: Of one call: what it was, and the relative errors.
Call = tuple[str, float, float]


def _errors(
    setup: Setup,
    model: Model,
    layer: Any,
    batch: int,
    tokens: int,
    count: int,
    generator: torch.Generator,
) -> Iterator[Call]:
    prefix = "model.layers.0."
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in model.weights.items()
        if name.startswith(prefix)
    }
    cosine, sine = reference.rotary_tables(model.config, _POSITIONS, setup.device)
    kept: list[Any] = []
    for call in range(1, count + 1):
        states = setup.normal(generator, batch, tokens, setup.sizes.hidden)
        states[:, :, 7] *= _PEAK
        first = torch.randint(0, _POSITIONS - tokens, (batch,), generator=generator)
        positions = first.int().to(setup.device)
        outputs = layer._projected(states, positions, None)
        # What the last calls used is kept, so that this one's tensors lie elsewhere.
        kept = [*kept[-6:], (states, positions, outputs)]
        at = (first[:, None] + torch.arange(tokens)).to(setup.device)
        normed = reference.norm(states, weights["input_layernorm.weight"], 1e-5)
        wanted = reference.projected(model.config, weights, normed, cosine[at], sine[at])
        errors = [relative(found, right) for found, right in zip(outputs, wanted, strict=True)]
        yield (
            f"call {call} with {batch} × {tokens} tokens",
            max(rms for rms, _ in errors),
            max(worst for _, worst in errors),
        )


def _finding(graphs: bool, calls: list[Call]) -> Finding:
    how = "with CUDA graphs" if graphs else "without CUDA graphs"
    rms, worst = max(call[1] for call in calls), max(call[2] for call in calls)
    wrong = [call for call in calls if not (call[1] <= PRODUCT_RMS and call[2] <= PRODUCT_MAX)]
    figures = {"calls": len(calls), "wrong": len(wrong), "error_rms": rms, "error_max": worst}
    if wrong:
        text = (
            f"{how}: {len(wrong)} of {len(calls)} projections are wrong, the first is "
            f"{wrong[0][0]} (off by {wrong[0][1]:.2%})"
        )
        return Finding(check="graphs", grade="fail", text=text, remedy=REMEDY, figures=figures)
    text = f"{how}: {len(calls)} projections of a float32 residual within {rms:.2%}"
    return Finding(check="graphs", grade="ok", text=text, figures=figures)
