"""What the daemon counts and times; nothing of any request's text.

Counting is a few additions a request. `exposition` turns it into Prometheus' text format, by the
library `prometheus_client`, which is imported only then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ingle.messages import Done, Message, ModelStatus, Totals

from .requests import OpenRequest

#: Upper bounds of the histograms, in seconds.
BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
#: Endings that nobody read to the end.
UNWANTED = frozenset({"cancelled", "superseded", "deadline"})

_STAGES = {
    "queue": "Time from a request's arrival to its start.",
    "prefill": "Time to compute what of a prompt was not cached.",
    "decode": "Time to generate an answer.",
    "paused": "Time that a request was stopped for more urgent ones.",
}


@dataclass
class Histogram:
    """Counts of durations up to each of `BOUNDS`, and beyond."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Take one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """See the module. One for the whole daemon; lives in the event loop's thread."""

    def __init__(self) -> None:
        self.requests = 0
        self.preemptions = 0
        self.rides = 0
        self.ridden_tokens = 0
        #: (class, how it ended) → requests.
        self._endings: Counter[tuple[str, str]] = Counter()
        self._tokens: Counter[str] = Counter()
        #: (stage, class) → times.
        self._times: dict[tuple[str, str], Histogram] = {}

    def rode_along(self, tokens: int) -> None:
        """A request went on with a running generation, which had so many tokens."""
        self.rides += 1
        self.ridden_tokens += tokens

    def ended(self, request: OpenRequest, terminal: Message) -> None:
        """A generation is over."""
        priority = request.priority
        if not isinstance(terminal, Done):
            self._endings[priority, getattr(terminal, "code", "")] += 1
            return
        self._endings[priority, terminal.finish] += 1
        if terminal.usage:
            for name in terminal.usage.__struct_fields__:
                self._tokens[name] += getattr(terminal.usage, name)
            if terminal.finish in UNWANTED:
                self._tokens["wasted_tokens"] += terminal.usage.completion_tokens
        if terminal.timings:
            for stage in _STAGES:
                milliseconds = getattr(terminal.timings, f"{stage}_ms")
                if milliseconds or stage == "queue":
                    histogram = self._times.setdefault((stage, priority), Histogram())
                    histogram.observe(milliseconds / 1000)

    def totals(self) -> Totals:
        """For reports."""
        ended: Counter[str] = Counter()
        for (_, ending), count in self._endings.items():
            ended[_kind(ending)] += count
        return Totals(
            requests=self.requests,
            finished=ended["finished"],
            cancelled=ended["cancelled"],
            superseded=ended["superseded"],
            failed=ended["failed"],
            prompt_tokens=self._tokens["prompt_tokens"],
            cached_tokens=self._tokens["cached_tokens"],
            completion_tokens=self._tokens["completion_tokens"],
            wasted_tokens=self._tokens["wasted_tokens"],
            preemptions=self.preemptions,
            rides=self.rides,
            ridden_tokens=self.ridden_tokens,
        )

    def exposition(
        self, models: list[ModelStatus], queue: dict[str, int], clients: int, memory_bytes: int
    ) -> str:
        """Prometheus' text format, version 0.0.4."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        families = [*self._families(), *_gauges(models, queue, clients, memory_bytes)]
        registry.register(_Collected(families))
        return generate_latest(registry).decode()

    def _families(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        endings = CounterMetricFamily(
            "ingle_requests", "Generations that are over.", labels=["class", "ending"]
        )
        for (priority, ending), count in self._endings.items():
            endings.add_metric([priority, ending], count)
        yield endings
        tokens = CounterMetricFamily("ingle_tokens", "Tokens of requests.", labels=["kind"])
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "wasted_tokens"):
            tokens.add_metric([name.removesuffix("_tokens")], self._tokens[name])
        tokens.add_metric(["ridden"], self.ridden_tokens)
        yield tokens
        for name, text, value in (
            ("ingle_preemptions", "Requests stopped for more urgent ones.", self.preemptions),
            ("ingle_rides", "Completions that went on with a running generation.", self.rides),
        ):
            yield CounterMetricFamily(name, text, value=value)
        for stage, text in _STAGES.items():
            family = HistogramMetricFamily(f"ingle_{stage}_seconds", text, labels=["class"])
            for (of, priority), histogram in self._times.items():
                if of == stage:
                    family.add_metric([priority], _buckets(histogram), histogram.sum)
            yield family


class _Collected:
    """What the library asks of a collector."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _gauges(
    models: list[ModelStatus], queue: dict[str, int], clients: int, memory_bytes: int
) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    yield GaugeMetricFamily("ingle_clients", "Connections.", value=clients)
    yield GaugeMetricFamily("ingle_daemon_memory_bytes", "Of the daemon.", value=memory_bytes)
    waiting = GaugeMetricFamily("ingle_waiting", "Requests without a slot.", labels=["class"])
    for priority, count in queue.items():
        waiting.add_metric([priority], count)
    yield waiting
    for name, text, attribute in (
        ("ingle_slots", "Requests that can run at the same time.", "slots"),
        ("ingle_busy_slots", "Slots that are taken.", "busy_slots"),
        ("ingle_model_memory_bytes", "Of the model's process.", "memory_bytes"),
        ("ingle_restarts", "Of the model's process.", "restarts"),
        ("ingle_prefill_tokens_per_second", "Recent rate.", "prefill_tokens_per_second"),
        ("ingle_decode_tokens_per_second", "Recent rate.", "decode_tokens_per_second"),
    ):
        family = GaugeMetricFamily(name, text, labels=["model", "engine"])
        for model in models:
            family.add_metric([model.name, model.engine], getattr(model, attribute))
        yield family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], histogram.counts, strict=True):
        total += count
        found.append((bound, total))
    return found


def _kind(ending: str) -> str:
    """How `Totals` counts an ending: a finish reason, or an error's code."""
    if ending in ("cancelled", "superseded"):
        return ending
    return "finished" if ending in ("stop", "length", "tool_call", "deadline") else "failed"
