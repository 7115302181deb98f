"""Command line of the benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from . import (
    cancel,
    editors,
    first_token,
    footprint,
    growth,
    language_server,
    load,
    startup,
    throughput,
    typing_sessions,
)
from .figures import Result
from .report import table, write_json
from .stage import QUICK, Sizes, Stage

#: Name → measurement, in the order in which they run: those that compare with the bare engine come
#: first, while the daemon's caches hold what the engine's do.
MEASUREMENTS: dict[str, Callable[[Stage], list[Result]]] = {
    "throughput": throughput.measure,
    "first_token": first_token.measure,
    "cancel": cancel.measure,
    "footprint": footprint.measure,
    "language_server": language_server.measure,
    "editors": editors.measure,
    "typing": typing_sessions.measure,
    "growth": growth.measure,
    "load": load.measure,
    "startup": startup.measure,
}

#: Busier than this before anything was started, and the figures are worth less.
QUIET_PERCENT = 10.0
RESULTS = Path(__file__).parents[2] / "bench-results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write. A missed target is a number like any other: the exit code is 0."""
    given = _parser().parse_args(arguments)
    started = datetime.now(UTC)
    busy = psutil.cpu_percent(interval=1.0)
    if busy > QUIET_PERCENT:
        print(f"other programs keep this machine {busy:.0f} % busy: expect noise", file=sys.stderr)
    results: list[Result] = []
    file = given.json or RESULTS / f"{started:%Y-%m-%dT%H%M%SZ}.json"
    with Stage(QUICK if given.quick else Sizes(), pictures=file.parent) as stage:
        for name in given.only or MEASUREMENTS:
            print(f"==> {name}", file=sys.stderr, flush=True)
            results += MEASUREMENTS[name](stage)
    write_json(
        file,
        results,
        started=started.isoformat(timespec="seconds"),
        quick=given.quick,
        busy_percent=busy,
    )
    print(table(results))
    print(f"\nwritten to {file}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure what ingle must reach, on the real demo model.",
    )
    parser.add_argument("--quick", action="store_true", help="few samples: to try it out")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASUREMENTS),
        metavar="NAME",
        help=f"measure this alone; may be repeated: {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the JSON")
    return parser


if __name__ == "__main__":
    main()
