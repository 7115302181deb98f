"""Which bits, context and cache type for which card: preferences on top of `fit`.

Pure. Owns the order of preferences, the advice when something doesn't fit, and README's table.

What is preferred, best first:

1. At least 8,192 tokens of cache: less is no use for code with a reasoning model.
2. Up to 6 bits per weight, with 32,768 tokens in a q8 cache; not below 4 bits for that.
3. The same with 16,384 tokens, then down to 3 bits.
4. 8,192 tokens, down to 2.5 bits, then q6 and q4 instead of a q8 cache.
5. With the bits settled, as many tokens as fit, in q8 rather than more tokens in q6 or q4; and half
   precision instead of q8 where it costs no token.
6. Where nothing fits so far, all of this with prefill in steps of 512 instead of 2,048 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache as memoized

import msgspec

from .fit import (
    CACHE_TYPES,
    DESKTOP_BYTES,
    GIB,
    PAGE,
    CacheType,
    Fit,
    Memory,
    Plan,
    fits,
    memory_text,
)
from .model_shape import GPT_OSS_20B, PUBLISHED, ModelShape
from .weights import Weights, exl2_weights, lossless_weights

#: Bits per weight worth making, best first.
BITS = (6.0, 5.0, 4.5, 4.0, 3.5, 3.0, 2.5)
#: Sizes of cards, in GB of 2**30 bytes.
CARDS = (8, 12, 16, 24, 48, 80)
LEAST_TOKENS = 8192
#: Contexts worth offering, best first.
TOKENS = (131_072, 98_304, 65_536, 49_152, 32_768, 24_576, 16_384, 12_288, LEAST_TOKENS)
SMALL_CHUNK = 512

#: Least bits, tokens and cache type that are asked for, one after the other.
_STAGES: tuple[tuple[float, int, CacheType], ...] = (
    (4.0, 32_768, "q8"),
    (4.0, 16_384, "q8"),
    (3.0, 16_384, "q8"),
    (3.0, LEAST_TOKENS, "q8"),
    (2.5, LEAST_TOKENS, "q8"),
    (2.5, LEAST_TOKENS, "q6"),
    (2.5, LEAST_TOKENS, "q4"),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of weights on one card: how many tokens of cache fit, by type; 0 for none."""

    label: str
    weight_bytes: int
    tokens: dict[CacheType, int]


def recommend(
    shape: ModelShape,
    memory: Memory,
    *,
    weights: Weights | None = None,
    tokens: int | None = None,
    cache: CacheType | None = None,
    plan: Plan | None = None,
) -> Fit | None:
    """The best that fits under the preferences above; None if nothing does.

    What is given is kept: `weights` (else every step of `BITS` is tried), `tokens`, `cache`.
    `plan` has all else.
    """
    plan = plan or Plan()
    for chunk in sorted({plan.chunk, min(plan.chunk, SMALL_CHUNK)}, reverse=True):
        for fit in _in_order(shape, memory, weights, tokens, cache, plan, chunk):
            if fit.ok:
                return fit if tokens is not None else _with_more(fit, keep_cache=cache is not None)
    return None


def _in_order(
    shape: ModelShape,
    memory: Memory,
    weights: Weights | None,
    tokens: int | None,
    cache: CacheType | None,
    plan: Plan,
    chunk: int,
) -> Iterator[Fit]:
    for least_bits, goal, kind in _STAGES:
        wanted = msgspec.structs.replace(
            plan,
            tokens=min(goal, shape.longest) if tokens is None else tokens,
            cache=cache or kind,
            chunk=chunk,
        )
        for candidate in [weights] if weights else _quantized(shape, least_bits):
            yield fits(shape, candidate, wanted, memory)


def least(
    shape: ModelShape,
    memory: Memory,
    *,
    weights: Weights | None = None,
    tokens: int | None = None,
    cache: CacheType | None = None,
    plan: Plan | None = None,
) -> Fit:
    """The smallest that `recommend` would have tried: what to explain when nothing fits."""
    plan = msgspec.structs.replace(
        plan or Plan(),
        tokens=min(LEAST_TOKENS, shape.longest) if tokens is None else tokens,
        cache=cache or CACHE_TYPES[-1],
        chunk=SMALL_CHUNK,
    )
    return fits(shape, weights or _exl2(shape, BITS[-1]), plan, memory)


def _quantized(shape: ModelShape, least_bits: float) -> list[Weights]:
    return [_exl2(shape, bits) for bits in BITS if bits >= least_bits]


#: The list of all allocations takes a moment for the large model.
_exl2 = memoized(exl2_weights)


def _with_more(fit: Fit, *, keep_cache: bool) -> Fit:
    """As many tokens as fit, then a cache in half precision if it holds as many."""
    longest = fit.shape.longest
    for tokens in (count for count in TOKENS if fit.plan.tokens < count <= longest):
        larger = _changed(fit, tokens=tokens)
        if larger.ok:
            fit = larger
            break
    if keep_cache:
        return fit
    half = _changed(fit, cache="fp16")
    return half if half.ok else fit


def _changed(fit: Fit, **changes: object) -> Fit:
    plan = msgspec.structs.replace(fit.plan, **changes)
    return fits(fit.shape, fit.weights, plan, fit.memory)


def most_tokens(fit: Fit) -> int:
    """The most tokens of cache with which `fit` would fit, up to what the model is made for."""
    low, high = 0, fit.shape.longest // PAGE
    while low < high:
        middle = (low + high + 1) // 2
        if _changed(fit, tokens=middle * PAGE).ok:
            low = middle
        else:
            high = middle - 1
    return low * PAGE


def rows(shape: ModelShape, memory: Memory, plan: Plan | None = None) -> list[Row]:
    """Every kind of weights on a card."""
    kinds = [lossless_weights(shape), *_quantized(shape, 0)]
    return [row(shape, weights, memory, plan) for weights in kinds]


def row(shape: ModelShape, weights: Weights, memory: Memory, plan: Plan | None = None) -> Row:
    """One kind of weights on a card."""
    plan = plan or Plan()
    tokens = {
        kind: most_tokens(fits(shape, weights, msgspec.structs.replace(plan, cache=kind), memory))
        for kind in CACHE_TYPES
    }
    return Row(label=weights.label, weight_bytes=weights.bytes, tokens=tokens)


# --- advice ----------------------------------------------------------------------------------


def refusal(fit: Fit) -> str:
    """Why `fit` is refused and what to choose instead, in one line."""
    return f"{fit.explain()}: {advice(fit)}"


def advice(fit: Fit) -> str:
    """What to choose instead of something that doesn't fit: the smallest changes first."""
    changes = []
    tokens = most_tokens(fit)
    if tokens >= min(LEAST_TOKENS, fit.plan.tokens):
        changes.append(f"{tokens:,} tokens of cache or fewer")
    smaller = CACHE_TYPES[CACHE_TYPES.index(fit.plan.cache) + 1 :]
    kind = next((kind for kind in smaller if _changed(fit, cache=kind).ok), None)
    if kind:
        changes.append(f"a {kind} cache")
    bits = _bits_that_fit(fit)
    if bits:
        changes.append(f"weights at {bits} bpw (`ingle quantize --bpw {bits}`)")
    if changes:
        return f"choose {_either(changes)}"
    other = recommend(fit.shape, fit.memory, plan=fit.plan)
    return f"choose {summary(other)}" if other else _elsewhere(fit)


def _bits_that_fit(fit: Fit) -> float | None:
    for weights in _quantized(fit.shape, 0):
        if weights.bytes < fit.weights.bytes:
            other = fits(fit.shape, weights, fit.plan, fit.memory)
            if other.ok:
                return weights.bits
    return None


def _elsewhere(fit: Fit) -> str:
    """What to do with a model of which nothing fits a card."""
    is_larger = fit.shape.experts > GPT_OSS_20B.experts
    smaller = is_larger and recommend(GPT_OSS_20B, fit.memory, plan=fit.plan)
    instead = f"use {GPT_OSS_20B.name}, or " if smaller else "use "
    return f"{instead}the llamacpp engine, which keeps in RAM what the card has no room for"


def summary(fit: Fit) -> str:
    """`5.0 bpw, 65,536 tokens of q8 cache`."""
    return f"{fit.weights.label}, {fit.plan.rounded_tokens:,} tokens of {fit.plan.cache} cache"


def _either(choices: list[str]) -> str:
    *first, last = choices
    return f"{', '.join(first)}, or {last}" if first else last


# --- README ----------------------------------------------------------------------------------


def card(gigabytes: int) -> Memory:
    """A card of that size, with a desktop on it."""
    return Memory(total=gigabytes * GIB, used=DESKTOP_BYTES, name=f"{gigabytes} GB")


def readme_table(sizes: Iterable[int] = CARDS) -> str:
    """README's table of what fits where, in Markdown."""
    shapes = list(PUBLISHED.values())
    lines = [
        "| Card | " + " | ".join(shape.name for shape in shapes) + " |",
        "| --- |" + " --- |" * len(shapes),
    ]
    for size in sizes:
        cells = [_cell(recommend(shape, card(size))) for shape in shapes]
        lines.append(f"| {size} GB | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(fit: Fit | None) -> str:
    return f"{summary(fit)}: {memory_text(fit.needed)}" if fit else "does not fit"
