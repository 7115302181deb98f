"""`ingle ask`: from the start of its process to its request on the wire, and what that is spent on.

A stand-in for the daemon takes the time, so that the model plays no part.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .figures import Figure, Listing, Result
from .stage import Stage
from .stand_in import StandIn

#: Packages that no quick command may import before it needs them.
UNWANTED = ("xllamacpp", "torch", "openai_harmony", "pygls", "lsprotocol", "rich", "asyncio")

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")


def measure(stage: Stage) -> list[Result]:
    """Starts of `ingle ask` and of bare Python, in turns."""
    asks: list[float] = []
    bare: list[float] = []
    with StandIn(stage.folder) as daemon:
        _ask(daemon)  # The first one may write bytecode.
        for _ in range(stage.sizes.starts):
            bare.append(_python())
            asks.append(_ask(daemon))
        imports = _imports(daemon)
    return [
        Figure(
            name="startup.ask",
            what="`ingle ask`: process start to the request on the wire",
            unit="ms",
            samples=asks,
            at_most=150.0,
        ),
        Figure(
            name="startup.python",
            what="`python -c pass`, start to end",
            unit="ms",
            samples=bare,
        ),
        Figure(
            name="startup.ratio",
            what="÷ `python -c pass`",
            unit="",
            samples=[ours / python for ours, python in zip(asks, bare, strict=True)],
        ),
        Figure(
            name="startup.unwanted",
            what=f"modules imported of {', '.join(UNWANTED)}",
            unit="modules",
            samples=[sum(name.partition(".")[0] in UNWANTED for _, _, name in imports)],
            at_most=0,
        ),
        Listing(
            name="startup.imports",
            what="costliest imports of `ingle ask` (as traced: absolute times are too high)",
            columns=("self ms", "with its imports", "module"),
            rows=sorted(imports, reverse=True)[:10],
        ),
        Listing(
            name="startup.packages",
            what="the same by package",
            columns=("self ms", "modules", "package"),
            rows=_by_package(imports)[:10],
        ),
    ]


def _ask(daemon: StandIn) -> float:
    """Milliseconds until the chat of a new `ingle ask` has arrived."""
    started = time.perf_counter()
    with _spawn(daemon, [_program()]) as process:
        arrived = daemon.wait_for_chat()
        _end(process)
    return (arrived - started) * 1000


def _python() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.perf_counter() - started) * 1000


def _imports(daemon: StandIn) -> list[tuple[float, float, str]]:
    """Every import of `ingle ask`: milliseconds itself, with what it imports, its name."""
    with _spawn(daemon, [sys.executable, "-X", "importtime", _program()]) as process:
        daemon.wait_for_chat()
        trace = _end(process)
    return [
        (int(itself) / 1000, int(together) / 1000, name)
        for itself, together, name in _IMPORT.findall(trace)
    ]


def _by_package(imports: list[tuple[float, float, str]]) -> list[tuple[float, str, str]]:
    sums: dict[str, tuple[float, int]] = {}
    for itself, _, name in imports:
        package = name.partition(".")[0]
        cost, count = sums.get(package, (0.0, 0))
        sums[package] = (cost + itself, count + 1)
    return sorted(
        ((cost, str(count), package) for package, (cost, count) in sums.items()), reverse=True
    )


def _spawn(daemon: StandIn, command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "ask", "Is it on?"],
        env=os.environ | {"INGLE_ENDPOINT_FILE": str(daemon.endpoint_file)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> str:
    """What the finished command wrote to standard error."""
    _, errors = process.communicate(timeout=30)
    if process.returncode:
        raise RuntimeError(f"`ingle ask` failed: {errors[-2000:]}")
    return errors


def _program() -> str:
    """The `ingle` that belongs to this Python."""
    program = shutil.which("ingle", path=str(Path(sys.executable).parent))
    if program is None:
        raise RuntimeError("there is no `ingle` beside this Python: pip install -e '.[dev]'")
    return program
