"""What daemon and client add to the time to the first token.

The engine's own clock starts when it gets token ids; the daemon's path also renders the request,
tokenizes it, and crosses two sockets each way. Prefill itself varies by more than all of that, so
the added time is also given net of it: each side's time to first token less the prefill that the
engine measured in that very run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .figures import Figure, Result
from .in_process import pairs
from .stage import Stage
from .texts import cold_prompt, warm_prompt


def measure(stage: Stage) -> list[Result]:
    """With the prefix in the cache, and without."""
    count = stage.sizes.pairs * 2
    return [
        *_measure(stage, "warm", "prefix in the cache", warm_prompt, count),
        *_measure(stage, "cold", "nothing in the cache", cold_prompt, count),
    ]


def _measure(
    stage: Stage, name: str, which: str, request: Callable[[int], dict[str, Any]], count: int
) -> list[Result]:
    runs = list(pairs(stage.client, stage.engine, request, count))
    return [
        Figure(
            name=f"first_token.{name}_added",
            what=f"added to the time to first token, {which}",
            unit="ms",
            samples=[ours.first_ms - bare.first_ms for ours, bare in runs],
            at_most=5.0,
        ),
        Figure(
            name=f"first_token.{name}_added_net",
            what="the same, net of each run's own prefill",
            unit="ms",
            samples=[
                (ours.first_ms - ours.prefill_ms) - (bare.first_ms - bare.prefill_ms)
                for ours, bare in runs
            ],
            at_most=5.0,
        ),
        Figure(
            name=f"first_token.{name}_daemon",
            what="time to first token through daemon and client",
            unit="ms",
            samples=[ours.first_ms for ours, _ in runs],
        ),
        Figure(
            name=f"first_token.{name}_engine",
            what="of the engine in-process",
            unit="ms",
            samples=[bare.first_ms for _, bare in runs],
        ),
        Figure(
            name=f"first_token.{name}_dialect",
            what="of what is added: rendering and tokenizing",
            unit="ms",
            samples=[bare.dialect_ms for _, bare in runs],
        ),
        Figure(
            name=f"first_token.{name}_computed",
            what="prompt tokens that were not in the cache",
            unit="tokens",
            samples=[ours.prompt_tokens - ours.cached_tokens for ours, _ in runs],
        ),
    ]
