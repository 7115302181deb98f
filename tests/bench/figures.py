"""What a measurement gives: samples, their median and spread, and the target if there is one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the report. Its value is the median of its samples."""

    #: `module.name`; the JSON's readers know it by this.
    name: str
    #: What it is, in a few words.
    what: str
    unit: str
    samples: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def low(self) -> float:
        """Nine of ten samples are above."""
        return quantile(self.samples, 0.1)

    @property
    def high(self) -> float:
        """Nine of ten samples are below."""
        return quantile(self.samples, 0.9)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None for a figure without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table that explains a figure."""

    name: str
    what: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]


Result = Figure | Listing


def quantile(samples: Sequence[float], share: float) -> float:
    """The value that `share` of the samples don't exceed, interpolated."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
