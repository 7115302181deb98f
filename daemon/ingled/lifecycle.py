"""The life of one model's worker process: load, death, back-off, unload.

The table below is the state machine; an occurrence that it does not know is a bug and raises. What
the requests of the model make of it is the owner's affair (`service.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, Protocol

from ingle.errors import IngleError, LoadFailed, WorkerDied, from_wire
from ingle.messages import Message, ModelState

from .worker.wire import Loaded, Loading, LoadModel, LoadRefused, WorkerLog

log = logging.getLogger("ingled.lifecycle")

Occurrence = Literal["load", "loading", "loaded", "refused", "exited", "gave_up", "retry", "unload"]

TRANSITIONS: dict[tuple[ModelState, Occurrence], ModelState] = {
    ("absent", "load"): "starting",
    ("failed", "load"): "starting",
    ("starting", "loading"): "loading",
    ("loading", "loading"): "loading",
    ("starting", "loaded"): "ready",
    ("loading", "loaded"): "ready",
    ("starting", "refused"): "failed",
    ("loading", "refused"): "failed",
    ("starting", "exited"): "backoff",
    ("loading", "exited"): "backoff",
    ("ready", "exited"): "backoff",
    ("backoff", "retry"): "starting",
    ("backoff", "gave_up"): "failed",
    ("backoff", "unload"): "absent",
    ("failed", "unload"): "absent",
    ("starting", "unload"): "stopping",
    ("loading", "unload"): "stopping",
    ("ready", "unload"): "stopping",
    ("stopping", "exited"): "absent",
}

#: Deaths in a row after which a worker is not started again by itself.
MAX_DEATHS = 5
#: The same while loading: what killed it once will most likely do so again.
MAX_DEATHS_LOADING = 2
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
#: A worker that was told to end and did not is killed after this.
QUIT_GRACE_S = 5.0


class Worker(Protocol):
    """What this module needs of `worker_process.WorkerProcess`."""

    pid: int

    def send(self, message: Message) -> None:
        """Give it a message."""

    def quit(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it now."""


#: Starts a worker process; the callbacks get its messages, and its exit code in the end.
SpawnWorker = Callable[[Callable[[Message], None], Callable[[int], None]], Worker]


class Owner(Protocol):
    """Who is told what becomes of the worker."""

    def worker_ready(self, loaded: Loaded) -> None:
        """The model is resident."""

    def worker_said(self, message: Message) -> None:
        """A message about a job."""

    def worker_progress(self) -> None:
        """`state`, `progress` or `detail` changed on the way to ready."""

    def worker_lost(self, error: IngleError) -> None:
        """It died; what ran is lost. It will be started again."""

    def worker_failed(self, error: IngleError) -> None:
        """It will not come up by itself."""

    def worker_gone(self) -> None:
        """It ended as told."""


class Lifecycle:
    """See the module. Lives in the event loop's thread; time is the loop's."""

    def __init__(self, name: str, load: LoadModel, spawn: SpawnWorker, owner: Owner) -> None:
        self.state: ModelState = "absent"
        #: What `LoadModel` came to; None unless the state is `ready`.
        self.loaded: Loaded | None = None
        self.progress: float | None = None
        #: One line about the state, for people.
        self.detail = ""
        #: How often it died since this object exists.
        self.restarts = 0
        #: When a dead worker is started again; None if none is to be.
        self.retry_at: float | None = None
        self._name = name
        self._load = load
        self._spawn = spawn
        self._owner = owner
        self._worker: Worker | None = None
        self._deaths = 0
        self._gone = asyncio.Event()
        self._gone.set()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None if there is no process."""
        return self._worker.pid if self._worker else None

    def ensure(self) -> None:
        """Start the worker unless it runs or is about to."""
        if self.state in ("absent", "failed"):
            self._deaths = 0
            self._happened("load")
            self._start()

    def send(self, message: Message) -> None:
        """Give the worker a message; without one it is lost."""
        if self._worker:
            self._worker.send(message)

    def unload(self) -> None:
        """End the worker. `worker_gone` follows if it had a process."""
        if self.state in ("absent", "stopping"):
            return
        runs = self.state in ("starting", "loading", "ready")
        self._happened("unload")
        self.loaded = self.retry_at = None
        if runs and self._worker:
            self._worker.quit()
            asyncio.get_running_loop().call_later(QUIT_GRACE_S, self._kill_if_still, self._worker)

    async def wait_gone(self) -> None:
        """Return once there is no worker process."""
        await self._gone.wait()

    def retry(self) -> None:
        """`retry_at` has come."""
        self.retry_at = None
        self._happened("retry")
        self._start()

    def job_succeeded(self) -> None:
        """It works: earlier deaths are forgiven."""
        self._deaths = 0

    # --- what the process does -----------------------------------------------------------

    def _start(self) -> None:
        self.progress, self.detail = None, "starting its process"
        self._gone.clear()
        # The callbacks need the worker that does not exist yet.
        worker: list[Worker] = []
        try:
            worker.append(
                self._spawn(
                    lambda message: self._on_message(worker[0], message),
                    lambda code: self._on_exit(worker[0], code),
                )
            )
        except (IngleError, OSError) as error:
            self._gone.set()
            self._refused(LoadFailed(f"{self._name}: its process can't be started: {error}"))
            return
        self._worker = worker[0]
        self._worker.send(self._load)

    def _on_message(self, worker: Worker, message: Message) -> None:
        if worker is not self._worker:
            return
        coming = self.state in ("starting", "loading")
        match message:
            case WorkerLog(level=level, text=text):
                log.log(level, "worker: %s", text, extra={"model": self._name})
            case Loading(fraction=fraction, detail=detail):
                if coming:
                    self._happened("loading")
                    self.progress, self.detail = fraction, detail
                    self._owner.worker_progress()
            case Loaded():
                if coming:
                    self._happened("loaded")
                    self.loaded, self.detail = message, ""
                    log.info("resident", extra={"model": self._name, "pid": self.pid})
                    self._owner.worker_ready(message)
            case LoadRefused(code=code, message=text):
                if coming:
                    self._refused(from_wire(code, text))
            case _:
                self._owner.worker_said(message)

    def _refused(self, error: IngleError) -> None:
        self._happened("refused")
        self.detail = str(error)
        log.error("load refused: %s", error, extra={"model": self._name})
        self._owner.worker_failed(error)

    def _on_exit(self, worker: Worker, code: int) -> None:
        if worker is not self._worker:
            return
        self._worker = self.loaded = None
        self._gone.set()
        if self.state == "stopping":
            self._happened("exited")
            self.detail = ""
            self._owner.worker_gone()
        elif self.state != "failed":
            self._died(code)

    def _died(self, code: int) -> None:
        loading = self.state != "ready"
        self._happened("exited")
        self._deaths += 1
        self.restarts += 1
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self.detail = f"the model's process died ({how})"
        log.error("worker died", extra={"model": self._name, "how": how, "deaths": self._deaths})
        if self._deaths >= (MAX_DEATHS_LOADING if loading else MAX_DEATHS):
            self._happened("gave_up")
            when = "while loading" if loading else "again and again"
            self._owner.worker_failed(
                LoadFailed(
                    f"{self._name}: its process died {when} ({how}), likely out of memory: "
                    "try a smaller `model.context` or `model.slots`, see `ingle logs`"
                )
            )
            return
        delay = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (self._deaths - 1))
        self.retry_at = asyncio.get_running_loop().time() + delay
        self._owner.worker_lost(
            WorkerDied(f"the model's process died ({how}) and is being restarted: ask again")
        )

    def _kill_if_still(self, worker: Worker) -> None:
        if worker is self._worker:
            worker.kill()

    def _happened(self, occurrence: Occurrence) -> None:
        following = TRANSITIONS.get((self.state, occurrence))
        if following is None:
            raise RuntimeError(f"{self._name}: {occurrence!r} can't happen in {self.state!r}")
        self.state = following
