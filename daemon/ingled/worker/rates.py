"""How fast the engine is, measured on what it did; and what a request can afford."""

from __future__ import annotations

from ingled.engines.engine import Finished

#: Tokens per second assumed before anything was measured; a small CPU.
FIRST_PREFILL = 100.0
#: Share of the time left that prefill may take; the rest is for decode.
PREFILL_SHARE = 0.5
#: A budget below this is not worth a request.
MIN_BUDGET = 32
#: Weight of the newest measurement in the moving averages.
SMOOTHING = 0.3
#: Prompts with fewer uncached tokens say little about the rate.
MIN_MEASURED = 8


class Rates:
    """Tokens per second, moving averages; 0 until measured."""

    def __init__(self) -> None:
        self.prefill = 0.0
        self.decode = 0.0

    def measure(self, event: Finished) -> None:
        """Take the times of a job that is over."""
        computed = event.prompt_tokens - event.cached_tokens
        if computed >= MIN_MEASURED and event.prefill_ms > 0 and event.reason != "cancelled":
            self.prefill = _average(self.prefill, computed / event.prefill_ms * 1000)
        if event.completion_tokens > 1 and event.decode_ms > 0:
            rate = (event.completion_tokens - 1) / event.decode_ms * 1000
            self.decode = _average(self.decode, rate)

    def affordable(self, remaining_ms: float | None, context: int) -> int:
        """Prompt tokens that can be computed in a request's time; None is all the time."""
        if remaining_ms is None:
            return context
        tokens = int((self.prefill or FIRST_PREFILL) * PREFILL_SHARE * remaining_ms / 1000)
        return min(context, max(MIN_BUDGET, tokens))


def _average(old: float, new: float) -> float:
    return new if not old else old + SMOOTHING * (new - old)
