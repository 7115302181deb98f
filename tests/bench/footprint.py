"""What ingle takes while nobody asks: resident memory and idle CPU of all its processes.

An editor is connected, and has been used for a while.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

from .editor import Editor
from .figures import Figure, Result
from .stage import Stage

_CODE = '''"""Shapes."""


def area(width, height):
    """The area of a rectangle."""
    return width * height


'''


def measure(stage: Stage) -> list[Result]:
    """After the start, after use, and then at rest."""
    editor = Editor(stage.daemon.env, stage.folder / "language-server.log")
    try:
        fresh = _megabytes(editor.server)
        _use(editor, stage.sizes.completions)
        used = _megabytes(editor.server)
        processes = [stage.broker, stage.worker, editor.server]
        shares = _cpu_percent(processes, stage.sizes.idle_s)
    finally:
        editor.close()
    return [
        Figure(
            name="memory.broker",
            what="broker, resident",
            unit="MB",
            samples=[_megabytes(stage.broker)],
            at_most=60.0,
        ),
        Figure(
            name="memory.language_server",
            what="language server, resident, just started",
            unit="MB",
            samples=[fresh],
            at_most=70.0,
        ),
        Figure(
            name="memory.language_server_used",
            what=f"language server, resident, after {stage.sizes.completions} completions",
            unit="MB",
            samples=[used],
            at_most=70.0,
        ),
        Figure(
            name="memory.worker",
            what="worker with the model, resident",
            unit="MB",
            samples=[_megabytes(stage.worker)],
        ),
        Figure(
            name="idle.cpu",
            what=f"broker + worker + language server at rest for {stage.sizes.idle_s:g} s",
            unit="% of a core",
            samples=[sum(shares)],
            at_most=1.0,
        ),
        *(
            Figure(
                name=f"idle.{name}_cpu",
                what=f"of that: {name.replace('_', ' ')}",
                unit="% of a core",
                samples=[share],
            )
            for name, share in zip(("broker", "worker", "language_server"), shares, strict=True)
        ),
    ]


def _use(editor: Editor, completions: int) -> None:
    """Write functions, and ask for the body of each."""
    uri = "untitled:shapes.py"
    editor.open(uri, _CODE)
    line = _CODE.count("\n")
    given = 0
    for number in range(completions):
        head = f"def area_{number}(width, height):\n    "
        editor.type(uri, 2 * number + 2, line, 0, head)
        line += 1
        given += bool(editor.complete(uri, line, 4))
        editor.type(uri, 2 * number + 3, line, 4, "return width * height\n\n\n")
        line += 3
    if not given:
        raise RuntimeError("the language server completed nothing, so its memory says nothing")


def _cpu_percent(processes: Sequence[psutil.Process], seconds: float) -> list[float]:
    """Share of one core that each process takes in the next `seconds`."""
    before = [_cpu_seconds(process) for process in processes]
    started = time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - started
    after = [_cpu_seconds(process) for process in processes]
    return [(end - start) / took * 100 for start, end in zip(before, after, strict=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _megabytes(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6
