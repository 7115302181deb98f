"""What daemon and client add to the time to the first token.

The engine's own clock starts when it gets token ids; the daemon's path also renders the request,
tokenizes it, and crosses two sockets each way. A cold prefill takes a hundred times as long as all
of that and varies by more, so there the target is for the time net of it: each side's time to first
token less the prefill that the engine measured in that very run. That the daemon does not slow the
prefill itself down is a figure of its own.
"""

from __future__ import annotations

from .figures import Figure, Result
from .in_process import Run, pairs
from .stage import Stage
from .texts import cold_prompt, warm_prompt

TARGET_MS = 5.0


def measure(stage: Stage) -> list[Result]:
    """With the prefix in the cache, and without."""
    count = stage.sizes.pairs
    # Warm ones are quick: many of them make up for what prefill varies by.
    warm = list(pairs(stage.client, stage.engine, warm_prompt, 6 * count))
    cold = list(pairs(stage.client, stage.engine, cold_prompt, 2 * count))
    return [
        _added("warm", "the prefix in the cache", warm, target=TARGET_MS),
        _added_net("warm", warm),
        *_both("warm", warm),
        _added("cold", "nothing in the cache", cold, target=None),
        _added_net("cold", cold),
        *_both("cold", cold),
        Figure(
            name="first_token.cold_prefill_ratio",
            what="prefill in the daemon's worker ÷ of the engine in-process",
            unit="",
            samples=[ours.prefill_ms / bare.prefill_ms for ours, bare in cold],
        ),
        Figure(
            name="first_token.dialect",
            what="of what is added: rendering and tokenizing",
            unit="ms",
            samples=[bare.dialect_ms for _, bare in warm + cold],
        ),
    ]


def _added(name: str, which: str, runs: list[tuple[Run, Run]], *, target: float | None) -> Figure:
    return Figure(
        name=f"first_token.{name}_added",
        what=f"added to the time to first token, {which}",
        unit="ms",
        samples=[ours.first_ms - bare.first_ms for ours, bare in runs],
        at_most=target,
    )


def _added_net(name: str, runs: list[tuple[Run, Run]]) -> Figure:
    return Figure(
        name=f"first_token.{name}_added_net",
        what="the same, net of each run's own prefill",
        unit="ms",
        samples=[_beyond_prefill(ours) - _beyond_prefill(bare) for ours, bare in runs],
        at_most=TARGET_MS,
    )


def _both(name: str, runs: list[tuple[Run, Run]]) -> list[Result]:
    return [
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
            name=f"first_token.{name}_computed",
            what="prompt tokens that were not in the cache",
            unit="tokens",
            samples=[ours.prompt_tokens - ours.cached_tokens for ours, _ in runs],
        ),
    ]


def _beyond_prefill(run: Run) -> float:
    return run.first_ms - run.prefill_ms
