"""flash-attn as ingle calls it: output and log-sum-exp, over long and paged caches, with windows.

A sink is applied to the output by the log-sum-exp, so that must be right too. With one query and a
long cache flash-attn splits the keys among its blocks and combines them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from exllamav2 import attn as library

from ingled.finding import Finding

from . import reference
from .measure import relative
from .setup import Setup

#: Probabilities are rounded to half precision before they are multiplied with the values.
OUTPUT_RMS, OUTPUT_MAX = 4e-3, 5e-2
#: In nats; it is computed in float32 from exact products.
LOG_SUM_EXP = 2e-3
_PAGE = 256

REMEDY = (
    "install another version of flash-attn, or uninstall it: without it requests run one at a time"
)


def check(setup: Setup) -> Iterator[Finding]:
    """A finding for every length of the cache, and one for the call without pages."""
    if not library.has_flash_attn_with_paged:
        text = "flash-attn is not used here: there is nothing to check"
        yield Finding(check="flash", grade="skip", text=text)
        return
    generator = setup.generator()
    for keys in setup.sizes.cached:
        cases = [
            _paged(setup, generator, queries, keys, window)
            for queries in (1, 5, 66)
            for window in (0, setup.sizes.window)
        ]
        yield _finding(f"paged cache of {keys:,} tokens", cases)
    keys = setup.sizes.cached[0]
    cases = [
        _contiguous(setup, generator, queries, keys, window)
        for queries in (1, keys)
        for window in (0, setup.sizes.window)
    ]
    yield _finding(f"{keys:,} tokens without pages", cases)


@dataclass(frozen=True)
class Case:
    """Errors of one call."""

    name: str
    output_rms: float
    output_max: float
    log_sum_exp: float

    @property
    def right(self) -> bool:
        return (
            self.output_rms <= OUTPUT_RMS
            and self.output_max <= OUTPUT_MAX
            and self.log_sum_exp <= LOG_SUM_EXP
        )


def _paged(setup: Setup, generator: torch.Generator, queries: int, keys: int, window: int) -> Case:
    """Two sequences of different lengths; their pages lie in any order; new keys are written."""
    sizes = setup.sizes
    lengths = [keys, max(queries, keys * 2 // 3)]
    pages = -(-keys // _PAGE)
    table = torch.randperm(2 * pages, generator=generator).view(2, pages)
    query = _states(setup, generator, 2, queries, sizes.heads, scale=1.5)
    key, value = (_states(setup, generator, 2, keys, sizes.kv_heads) for _ in range(2))
    key_cache, value_cache = (
        torch.zeros(
            (2 * pages, _PAGE, sizes.kv_heads, sizes.head_dim),
            dtype=torch.half,
            device=setup.device,
        )
        for _ in range(2)
    )
    places = (table[:, :, None] * _PAGE + torch.arange(_PAGE)).flatten(1).to(setup.device)
    for row, length in enumerate(lengths):
        known = places[row, : length - queries]
        key_cache.flatten(0, 1)[known] = key[row, : length - queries]
        value_cache.flatten(0, 1)[known] = value[row, : length - queries]
    output, log_sum_exp = library.flash_attn_with_kvcache(
        q=query,
        k=torch.stack([key[row, n - queries : n] for row, n in enumerate(lengths)]),
        v=torch.stack([value[row, n - queries : n] for row, n in enumerate(lengths)]),
        k_cache=key_cache,
        v_cache=value_cache,
        cache_seqlens=torch.tensor(lengths, dtype=torch.int, device=setup.device) - queries,
        block_table=table.int().to(setup.device),
        causal=True,
        softmax_scale=sizes.head_dim**-0.5,
        window_size=_window(window),
        return_softmax_lse=True,
    )
    wanted = [
        reference.attention(
            query[row : row + 1], key[row : row + 1, :n], value[row : row + 1, :n], None,
            window=window,
        )
        for row, n in enumerate(lengths)
    ]  # fmt: skip
    return _case(
        queries,
        window,
        output,
        log_sum_exp,
        reference.Attended(
            output=torch.cat([one.output for one in wanted]),
            log_sum_exp=torch.cat([one.log_sum_exp for one in wanted]),
        ),
    )


def _contiguous(
    setup: Setup, generator: torch.Generator, queries: int, keys: int, window: int
) -> Case:
    sizes = setup.sizes
    query = _states(setup, generator, 1, queries, sizes.heads, scale=1.5)
    key, value = (_states(setup, generator, 1, keys, sizes.kv_heads) for _ in range(2))
    output, log_sum_exp, _ = library.flash_attn_func(
        query,
        key,
        value,
        causal=True,
        softmax_scale=sizes.head_dim**-0.5,
        window_size=_window(window),
        return_attn_probs=True,
    )
    wanted = reference.attention(query, key, value, None, window=window)
    return _case(queries, window, output, log_sum_exp, wanted)


def _case(
    queries: int,
    window: int,
    output: torch.Tensor,
    log_sum_exp: torch.Tensor,
    wanted: reference.Attended,
) -> Case:
    rms, worst = relative(output, wanted.output)
    if log_sum_exp.shape == wanted.log_sum_exp.shape:
        difference = float((log_sum_exp - wanted.log_sum_exp).abs().max())
    else:
        difference = float("inf")
    name = f"{queries} queries" + (f", window {window}" if window else "")
    return Case(name, rms, worst, difference)


def _finding(what: str, cases: list[Case]) -> Finding:
    wrong = [case for case in cases if not case.right]
    figures = {
        "output_error_rms": max(case.output_rms for case in cases),
        "output_error_max": max(case.output_max for case in cases),
        "log_sum_exp_error": max(case.log_sum_exp for case in cases),
    }
    if wrong:
        case = wrong[0]
        text = (
            f"{what}: {len(wrong)} of {len(cases)} calls are wrong; {case.name}: output off by "
            f"{case.output_rms:.2%}, log-sum-exp by {case.log_sum_exp:.2g}"
        )
        return Finding(check="flash", grade="fail", text=text, remedy=REMEDY, figures=figures)
    text = (
        f"{what}: output within {figures['output_error_rms']:.2%}, "
        f"log-sum-exp within {figures['log_sum_exp_error']:.1g}"
    )
    return Finding(check="flash", grade="ok", text=text, figures=figures)


def _states(
    setup: Setup,
    generator: torch.Generator,
    batch: int,
    tokens: int,
    heads: int,
    scale: float = 1.0,
) -> torch.Tensor:
    shape = (batch, tokens, heads, setup.sizes.head_dim)
    return setup.normal(generator, *shape, scale=scale).half()


def _window(window: int) -> tuple[int, int]:
    """flash-attn counts what is left of the query, which sees itself besides."""
    return (window - 1, 0) if window else (-1, -1)
