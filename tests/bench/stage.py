"""What is measured on: a daemon with the demo model, the bare engine beside it, and sizes."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil

from ingle.blocking_client import Client
from ingled.settings_schema import ModelSettings
from support.daemons import DaemonUnderTest
from support.demo_model import demo_model

from .in_process import InProcessEngine

CONTEXT = 2048


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    pairs: int = 12
    answer_tokens: int = 96
    starts: int = 20
    idle_s: float = 20.0
    completions: int = 20
    cancels: int = 15
    loads: int = 3
    keys: int = 300
    editor_keys: int = 100
    editor_starts: int = 10
    document_lines: int = 100_000
    traces: int = 4
    #: Of these, beside more than one chat.
    busy_traces: int = 1
    trace_keys: int = 250
    trace_lines: int = 60
    chats: tuple[int, ...] = (0, 1, 2, 4)
    chat_alone_s: float = 15.0
    clients: tuple[int, ...] = (1, 4, 16, 64)
    growth_completions: int = 12
    typing_s: float = 15.0
    documents: tuple[int, ...] = (1_000, 10_000, 100_000)
    contexts: tuple[int, ...] = (1024, 2048, 4096, 8192)


#: For trying it out, and for the tests.
QUICK = Sizes(
    pairs=2,
    answer_tokens=16,
    starts=2,
    idle_s=1.0,
    completions=2,
    cancels=2,
    loads=1,
    keys=20,
    editor_keys=5,
    editor_starts=2,
    document_lines=10_000,
    traces=1,
    busy_traces=1,
    trace_keys=20,
    trace_lines=10,
    chats=(0, 1),
    chat_alone_s=2.0,
    clients=(1, 64),
    growth_completions=2,
    typing_s=1.5,
    documents=(1_000, 10_000),
    contexts=(1024,),
)


class Stage:
    """Processes that measurements share. Each is started when it is first needed."""

    def __init__(self, sizes: Sizes, pictures: Path | None = None) -> None:
        self.sizes = sizes
        #: Folder for pictures; None: none are drawn.
        self.pictures = pictures
        # Short, because sockets live in it.
        self.folder = Path(tempfile.mkdtemp(prefix="ingle-b-"))
        self._started: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in reversed(self._started):
            process.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def daemon(self) -> DaemonUnderTest:
        """A daemon in which the demo model is resident."""
        daemon = DaemonUnderTest(
            self.folder / "home", model={"name": str(demo_model()), "context": CONTEXT}
        )
        self._started.append(daemon)
        return daemon.start()

    @cached_property
    def client(self) -> Client:
        """A connection to the daemon."""
        client = self.daemon.client("bench", timeout=60.0)
        self._started.append(client)
        return client

    @cached_property
    def engine(self) -> InProcessEngine:
        """The engine that the daemon's worker runs, loaded with the same settings, alone."""
        settings = ModelSettings()
        engine = InProcessEngine(
            {
                "engine": self.client.status().models[0].engine,
                "name": "bare",
                "path": str(demo_model()),
                "context": CONTEXT,
                "slots": settings.slots,
                "threads": settings.threads,
                "gpu_layers": settings.gpu_layers,
                "cache_mb": settings.cache_mb,
            },
            self.folder / "in-process.log",
        )
        self._started.append(engine)
        return engine

    @property
    def broker(self) -> psutil.Process:
        """The daemon's process."""
        return psutil.Process(self.client.status().pid)

    @property
    def worker(self) -> psutil.Process:
        """The process of the resident model."""
        pid = self.client.status().models[0].pid
        assert pid is not None
        return psutil.Process(pid)
