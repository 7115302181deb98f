"""Pictures of the typing sessions, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from .figures import quantile

# No display is needed.
matplotlib.use("Agg")


def latencies(
    folder: Path, outcomes: Mapping[Any, Any], names: Mapping[str, str], one: int
) -> None:
    """`typing-latency.png`: which share of the pauses had a suggestion after how long."""
    figure, axes = _figure()
    for colour, (name, label) in enumerate(names.items()):
        for chats, style in ((0, "-"), (one, "--")):
            samples = sorted(outcomes[name, chats].latencies)
            shares = [100 * place / len(samples) for place in range(len(samples) + 1)]
            beside = f"{label}, {chats} chats"
            axes.step(
                [samples[0], *samples],
                shares,
                style,
                where="post",
                color=f"C{colour}",
                label=beside,
            )
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from the last key (unanswered pauses count with their length)")
    axes.set_ylabel("% of pauses")
    axes.legend(fontsize="small")
    _save(figure, folder / "typing-latency.png")


def by_chats(folder: Path, outcomes: Mapping[Any, Any], names: Mapping[str, str]) -> None:
    """`typing-by-chats.png`: p50 and p95 of the latency against the number of chats."""
    figure, axes = _figure()
    for colour, (name, label) in enumerate(names.items()):
        counts = sorted(chats for who, chats in outcomes if who == name)
        for share, style in ((0.5, "-"), (0.95, "--")):
            values = [quantile(outcomes[name, count].latencies, share) for count in counts]
            label_of = f"{label}, p{100 * share:.0f}"
            axes.plot(counts, values, f"o{style}", color=f"C{colour}", label=label_of)
    axes.set_yscale("log")
    axes.set_xticks(counts)
    axes.set_xlabel("long chats at the same time")
    axes.set_ylabel("milliseconds from the last key")
    axes.legend(fontsize="small")
    _save(figure, folder / "typing-by-chats.png")


def growth(folder: Path, name: str, x_label: str, lines: Mapping[str, Mapping[int, float]]) -> None:
    """`NAME.png`: milliseconds against something that grows, a line each."""
    figure, axes = _figure()
    for label, values in lines.items():
        axes.plot(list(values), list(values.values()), "o-", label=label)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x_label)
    axes.set_ylabel("milliseconds")
    axes.legend(fontsize="small")
    _save(figure, folder / f"{name}.png")


def _figure() -> tuple[Any, Any]:
    # Not pyplot: nothing is kept, and no window system is looked for.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
