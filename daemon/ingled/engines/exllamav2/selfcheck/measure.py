"""Errors against a reference, and times: medians after a warm-up, within a limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from .setup import synchronize

#: Relative error of a product whose sums are in half precision: root mean square, and the largest.
#: The library adds up to 128 partial sums of 32 products each in half precision, in any order.
#: Simulated: 0.0016 and 0.009 of the outputs' root mean square at width 2880, 0.0019 and 0.009 at
#: 4096. A last group of 64 rows that is left out is an error of 0.15.
PRODUCT_RMS, PRODUCT_MAX = 8e-3, 5e-2


def relative(found: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    """Error as a part of `wanted`'s root mean square: (root mean square, largest).

    Infinity where `found` isn't finite.
    """
    error = found.float() - wanted.float()
    if not bool(error.isfinite().all()):
        return float("inf"), float("inf")
    scale = wanted.float().pow(2).mean().sqrt()
    return float(error.pow(2).mean().sqrt() / scale), float(error.abs().max() / scale)


def divergence(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of `logits` from `wanted` (…, vocabulary), nats per token."""
    found, right = logits.float().log_softmax(-1), wanted.float().log_softmax(-1)
    return (right.exp() * (right - found)).sum(-1)


def median_seconds(
    function: Callable[[], object],
    *,
    times: int = 10,
    inside: int = 1,
    warm_up: int = 3,
    limit: float = 10.0,
) -> float:
    """Seconds of one call: the median of `times` runs of `inside` calls each.

    Ends early, with at least one run, when `limit` seconds are over.
    """
    for _ in range(warm_up):
        function()
    synchronize()
    begin = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < times and (not seconds or time.perf_counter() - begin < limit):
        start = time.perf_counter()
        for _ in range(inside):
            function()
        synchronize()
        seconds.append((time.perf_counter() - start) / inside)
    return statistics.median(seconds)
