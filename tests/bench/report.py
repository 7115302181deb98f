"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingle.version import __version__

from .figures import Figure, Listing, Result

_VERDICT = {True: "reached", False: "MISSED", None: ""}


def table(results: Sequence[Result]) -> str:
    """Every figure on a line of its own, then the listings."""
    rows: list[tuple[str, ...]] = [("figure", "median", "10–90 %", "n", "target", "", "what")]
    rows += [_row(result) for result in results if isinstance(result, Figure)]
    parts = [_aligned(rows)]
    for listing in results:
        if isinstance(listing, Listing):
            lines = [tuple(listing.columns), *(tuple(map(_text, row)) for row in listing.rows)]
            parts.append(f"{listing.name}: {listing.what}\n{_aligned(lines)}")
    return "\n\n".join(parts)


def write_json(
    file: Path, results: Sequence[Result], *, started: str, quick: bool, busy_percent: float
) -> None:
    """The whole run. `started` is when, in ISO 8601; `busy_percent`: of the machine, before."""
    document = {
        "ingle": __version__,
        "started": started,
        "quick": quick,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "busy_percent_before": busy_percent,
        },
        "figures": {
            figure.name: _figure(figure) for figure in results if isinstance(figure, Figure)
        },
        "listings": {
            listing.name: {
                "what": listing.what,
                "columns": list(listing.columns),
                "rows": [list(row) for row in listing.rows],
            }
            for listing in results
            if isinstance(listing, Listing)
        },
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "what": figure.what,
        "unit": figure.unit,
        "value": round(figure.value, 4),
        "low": round(figure.low, 4),
        "high": round(figure.high, 4),
        "samples": [round(sample, 4) for sample in figure.samples],
        "at_most": figure.at_most,
        "at_least": figure.at_least,
        "met": figure.met,
    }


def _row(figure: Figure) -> tuple[str, ...]:
    spread = f"{_text(figure.low)}–{_text(figure.high)}" if len(figure.samples) > 1 else ""
    target = ""
    if figure.at_most is not None:
        target = f"≤ {figure.at_most:g}"
    elif figure.at_least is not None:
        target = f"≥ {figure.at_least:g}"
    return (
        figure.name,
        f"{_text(figure.value)} {figure.unit}".rstrip(),
        spread,
        str(len(figure.samples)),
        target,
        _VERDICT[figure.met],
        figure.what,
    )


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
