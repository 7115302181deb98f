"""`python -m ingled.engines.exllamav2.selfcheck`: one JSON object a line on standard output.

A finding, or `{"step": …}` before work that takes a while. Exit code 1 when a check failed, 0
otherwise, also where there is nothing to check: the one finding then says why.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ingled.finding import Finding

from . import environment

Write = Callable[[dict[str, Any]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    options = _options(arguments)
    write = _writer()
    failed = False
    for finding in _findings(options, lambda step: write({"step": step})):
        write({name: getattr(finding, name) for name in finding.__struct_fields__})
        failed = failed or finding.grade == "fail"
    return int(failed)


def _findings(options: argparse.Namespace, report: Callable[[str], None]) -> Iterator[Finding]:
    report("looking for a card")
    why = environment.missing()
    if why:
        yield Finding(check="card", grade="skip", text=why)
        return
    from ingled.engines.exllamav2.device import configure_allocator

    configure_allocator()
    yield from environment.check_cards()
    if options.beside:
        text = f"the daemon holds {', '.join(options.beside)}: speed is measured beside it"
        remedy = "run `ingle unload` first for the card's own figures"
        yield Finding(check="card", grade="info", text=text, remedy=remedy)
    report("starting ExLlamaV2; the first time it may build its kernels for minutes")
    library = list(environment.check_library())
    yield from library
    if library[0].grade == "fail":
        return
    from exllamav2 import device

    from .run import findings
    from .setup import Setup

    setup = Setup(device=device._torch_device(0))
    yield from findings(setup, model=options.model, quick=options.quick, report=report)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ingled.engines.exllamav2.selfcheck")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="model to be timed")
    parser.add_argument("--quick", action="store_true", help="time nothing")
    parser.add_argument(
        "--beside", action="append", default=[], metavar="NAME", help="model of a running daemon"
    )
    return parser.parse_args(arguments)


def _writer() -> Write:
    """Writes lines to what is standard output now. The library prints: that goes to the errors."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lambda line: _write(output, line)


def _write(output: Any, line: dict[str, Any]) -> None:
    output.write(msgspec.json.encode(line) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
