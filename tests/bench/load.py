"""How long it takes until a model is resident: with the daemon, and in a daemon that runs."""

from __future__ import annotations

import time

from support.daemons import DaemonUnderTest
from support.demo_model import demo_model

from .figures import Figure, Result
from .stage import CONTEXT, Stage


def measure(stage: Stage) -> list[Result]:
    """In a daemon of its own: other measurements keep their caches."""
    model = str(demo_model())
    starts: list[float] = []
    loads: list[float] = []
    for number in range(stage.sizes.loads):
        daemon = DaemonUnderTest(
            stage.folder / f"l{number}", model={"name": model, "context": CONTEXT}
        )
        try:
            started = time.perf_counter()
            daemon.start()
            starts.append((time.perf_counter() - started) * 1000)
            with daemon.client() as client:
                client.unload()
                started = time.perf_counter()
                client.load(model)
                loads.append((time.perf_counter() - started) * 1000)
        finally:
            daemon.close()
    return [
        Figure(
            name="load.daemon",
            what="start of the daemon until its model is resident",
            unit="ms",
            samples=starts,
        ),
        Figure(
            name="load.model",
            what="load in a running daemon, the file in the page cache",
            unit="ms",
            samples=loads,
        ),
    ]
