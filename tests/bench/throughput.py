"""Tokens per second through daemon and client, over those of the bare engine."""

from __future__ import annotations

from .figures import Figure, Result
from .in_process import Run, pairs
from .stage import Stage
from .texts import long_answer


def measure(stage: Stage) -> list[Result]:
    """A long answer to a prompt that is in the prefix cache; whole requests, start to end."""
    fields = long_answer(stage.sizes.answer_tokens)
    runs = list(pairs(stage.client, stage.engine, lambda _number: fields, stage.sizes.pairs))
    return [
        Figure(
            name="throughput.ratio",
            what="tokens/s through daemon and client ÷ of the engine in-process",
            unit="",
            samples=[_rate(ours) / _rate(bare) for ours, bare in runs],
            at_least=0.95,
        ),
        Figure(
            name="throughput.decode_ratio",
            what="the same from the first token to the last",
            unit="",
            samples=[_decode_rate(ours) / _decode_rate(bare) for ours, bare in runs],
        ),
        Figure(
            name="throughput.daemon",
            what="through daemon and client",
            unit="tokens/s",
            samples=[_rate(ours) for ours, _ in runs],
        ),
        Figure(
            name="throughput.engine",
            what="the engine in-process",
            unit="tokens/s",
            samples=[_rate(bare) for _, bare in runs],
        ),
    ]


def _rate(run: Run) -> float:
    return run.completion_tokens / run.total_ms * 1000


def _decode_rate(run: Run) -> float:
    return (run.completion_tokens - 1) / (run.last_ms - run.first_ms) * 1000
