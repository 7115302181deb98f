"""From a folder to a model, a cache and a generator on the card; nothing is allocated that does
not fit.

Owns the choice of the cache's type and the refusal with the numbers. The formulas are
`ingled.models.fit`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
import torch

from ingle.errors import LoadFailed, ModelInvalid
from ingled.models.checkpoint import read_shape, weights_on_disk
from ingled.models.fit import (
    HEADROOM_BYTES,
    MIB,
    PAGE,
    CacheType,
    Fit,
    Plan,
    dequantization_limit,
    fits,
)
from ingled.models.recommend import refusal
from ingled.models.weights import Block

from . import device

#: Tokens of one prefill step: after it a cancel takes effect, and waiting requests get their turn.
CHUNK = 512
#: What `cache = "auto"` tries, best first. Four bits for keys cost quality: only when asked for.
AUTO: tuple[CacheType, ...] = ("fp16", "q8", "q6")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to load; see `[exllamav2]` in the settings."""

    #: Tokens per request.
    context: int
    slots: int
    cache: CacheType | None = None
    draft_tokens: int = 0
    headroom: int = HEADROOM_BYTES
    #: Sizes of the LoRA adapters on the card.
    adapter_bytes: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of the whole cache: every slot has its own pages, whatever is shared."""
        return ceil((self.context + self.draft_tokens) / PAGE) * PAGE * self.slots


def read_options(
    given: dict[str, Any], context: int, slots: int, adapter_bytes: tuple[int, ...]
) -> Options:
    """The engine's free-form options. Raises `LoadFailed`."""
    cache = given.get("cache", "auto")
    if cache != "auto" and cache not in get_args(CacheType):
        raise LoadFailed(f"there is no cache type {cache!r}: choose auto, fp16, q8, q6 or q4")
    return Options(
        context=context,
        slots=slots,
        cache=None if cache == "auto" else cast(CacheType, cache),
        draft_tokens=int(given.get("draft_tokens", 0)),
        headroom=int(given.get("headroom_mb", HEADROOM_BYTES // MIB)) * MIB,
        adapter_bytes=adapter_bytes,
    )


@dataclass(frozen=True, kw_only=True)
class Resident:
    """What is on the card."""

    model: Any
    cache: Any
    fit: Fit


def choose_fit(folder: Path, options: Options, *, paged: bool) -> Fit:
    """The plan that fits the card. Raises `LoadFailed` with the numbers, `Unsupported` for another
    architecture, `ModelInvalid` or `ModelNotFound` for a damaged folder."""
    shape = read_shape(folder)
    if options.context > shape.longest:
        raise LoadFailed(
            f"{shape.name} has a context of {shape.longest:,} tokens, {options.context:,} are "
            "asked for: lower `model.context`"
        )
    weights = weights_on_disk(folder, shape)
    blocks = (*weights.blocks, *(Block(size) for size in options.adapter_bytes))
    weights = msgspec.structs.replace(weights, blocks=blocks)
    memory = msgspec.structs.replace(device.memory(), headroom=options.headroom)
    tried = [
        fits(
            shape,
            weights,
            Plan(
                tokens=options.tokens,
                cache=cache,
                chunk=CHUNK,
                slots=options.slots,
                tokens_per_step=options.draft_tokens + 1,
                paged=paged,
                expandable_segments=device.has_expandable_segments(),
            ),
            memory,
        )
        for cache in ([options.cache] if options.cache else AUTO)
    ]
    chosen = next((fit for fit in tried if fit.ok), None)
    if chosen is None:
        raise LoadFailed(refusal(tried[-1]))
    return chosen


def load(folder: Path, fit: Fit, progress: Callable[[float], None]) -> Resident:
    """Load weights, allocate the cache. Raises `ModelInvalid` or `LoadFailed`."""
    from exllamav2 import ExLlamaV2, ExLlamaV2Config

    try:
        config = ExLlamaV2Config(str(folder))
    except (ValueError, AssertionError, KeyError, TypeError, OSError) as error:
        what = " ".join(str(error).replace("##", "").split())[:200]
        raise ModelInvalid(f"{folder} is no whole model ({what}): download it again") from error
    plan = fit.plan
    config.max_seq_len = plan.rounded_tokens
    config.max_input_len = max(plan.chunk, plan.slots * plan.tokens_per_step)
    config.max_output_len = plan.slots * plan.tokens_per_step
    config.max_dq_size = dequantization_limit(fit.shape)
    config.no_flash_attn = not plan.paged
    model = ExLlamaV2(config)
    try:
        cache = _load_onto_cards(model, plan, progress)
    except torch.cuda.OutOfMemoryError as error:
        model.unload()
        raise LoadFailed(
            f"the card ran out of memory although {fit.explain()}: "
            "close what else uses the card, or lower `model.context` or `model.slots`"
        ) from error
    return Resident(model=model, cache=cache, fit=fit)


def _load_onto_cards(model: Any, plan: Plan, progress: Callable[[float], None]) -> Any:
    import exllamav2

    kinds = {
        "fp16": exllamav2.ExLlamaV2Cache,
        "q8": exllamav2.ExLlamaV2Cache_Q8,
        "q6": exllamav2.ExLlamaV2Cache_Q6,
        "q4": exllamav2.ExLlamaV2Cache_Q4,
    }

    def report(done: int, total: int) -> None:
        progress(done / total)

    several = torch.cuda.device_count() > 1
    if not several:
        model.load(callback=report)
    cache = kinds[plan.cache](model, max_seq_len=plan.rounded_tokens, lazy=several)
    if several:
        model.load_autosplit(cache, last_id_only=True, callback=report)
    return cache
