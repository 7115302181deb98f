"""One model's service: its queue, its worker, and what happens when the worker dies.

It joins the pure scheduler to a worker process. The life of the worker is the table below; events
that the table does not know are bugs and raise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal, Protocol

from ingle.errors import (
    Busy,
    DeadlineExceeded,
    IngleError,
    LoadFailed,
    ShuttingDown,
    WorkerDied,
    from_wire,
)
from ingle.messages import (
    ActiveRequest,
    Delta,
    Message,
    ModelState,
    ModelStatus,
    Started,
    Timings,
)

from .requests import OpenRequest
from .scheduler import Command, Drop, Refuse, Scheduler, Start, Stop, Ticket
from .settings import Settings
from .worker.wire import (
    Configure,
    Halt,
    JobDone,
    JobFailed,
    JobPiece,
    JobPrefill,
    Loaded,
    Loading,
    LoadModel,
    LoadRefused,
    Run,
    WorkerLog,
)

log = logging.getLogger("ingled.service")

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
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
#: A worker that was told to end and did not is killed after this.
QUIT_GRACE_S = 5.0


class Worker(Protocol):
    """What this module needs of `worker_process.WorkerProcess`."""

    pid: int

    def send(self, message: Message) -> None: ...
    def quit(self) -> None: ...
    def kill(self) -> None: ...


SpawnWorker = Callable[[Callable[[Message], None], Callable[[int], None]], Worker]


class ModelService:
    """See the module. Lives in the event loop's thread."""

    def __init__(
        self, name: str, engine: str, load: LoadModel, settings: Settings, spawn: SpawnWorker
    ) -> None:
        self.name = name
        self.engine = engine
        self.state: ModelState = "absent"
        self.load_message = load
        self._settings = settings
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._scheduler = Scheduler()
        self._jobs: dict[int, OpenRequest] = {}
        self._last_job = 0
        self._load_waiters: list[OpenRequest] = []
        self._worker: Worker | None = None
        self._loaded: Loaded | None = None
        self._last_done: JobDone | None = None
        self._progress: Loading = Loading()
        self._detail = ""
        self._deaths = 0
        self._restarts = 0
        self._retry_at = 0.0
        self._idle_since = self._loop.time()
        self._retiring = False
        self._gone = asyncio.Event()
        self._gone.set()
        self._timer: asyncio.TimerHandle | None = None
        self.configure(settings)

    # --- what the broker asks ------------------------------------------------------------

    def submit(self, request: OpenRequest) -> None:
        """Queue a generation; loads the model first if it is not resident."""
        self._last_job += 1
        job = self._last_job
        request.model = self.name
        self._jobs[job] = request
        document = getattr(request.message, "document", "")
        ticket = Ticket(
            key=job,
            client=request.client,
            priority=request.priority,
            supersedes=(request.client, document) if document else None,
            deadline=request.deadline,
        )
        self._apply(self._scheduler.submit(ticket, self._loop.time()))
        if self.state != "ready" and not request.closed:
            self._tell_progress(request)
            self.ensure_loaded()

    def load(self, request: OpenRequest) -> None:
        """A `load` request: ends when the model is resident."""
        if self.state == "ready":
            request.done(model=self.name)
            return
        self._load_waiters.append(request)
        self._tell_progress(request)
        self.ensure_loaded()

    def ensure_loaded(self) -> None:
        """Start the worker unless it runs, or is about to."""
        if self.state in ("absent", "failed"):
            self._deaths = 0
            self._happened("load")
            self._start_worker()

    def cancel(self, request: OpenRequest) -> None:
        """Stop one of this service's requests."""
        if request in self._load_waiters:
            self._load_waiters.remove(request)
            request.done(finish="cancelled")
        for job, other in list(self._jobs.items()):
            if other is request:
                self._apply(self._scheduler.cancel(job, self._loop.time()))

    def unload(self, why: IngleError | None = None) -> None:
        """End the worker now; open requests end with `why`."""
        self._fail_all(why or ShuttingDown(f"{self.name} was unloaded: ask again to load it"))
        if self.state in ("absent", "stopping"):
            return
        worker_runs = self.state in ("starting", "loading", "ready")
        self._happened("unload")
        if worker_runs and self._worker:
            worker = self._worker
            worker.quit()
            self._loop.call_later(QUIT_GRACE_S, self._kill_if_still, worker)

    async def retire(self) -> None:
        """Make room: end the worker as soon as nothing runs on it."""
        self._retiring = True
        self._apply(self._scheduler.set_slots(0, self._loop.time()))
        for job in self._scheduler.drop_waiting():
            self._take(job).fail(Busy(f"{self.name} is making room for another model: try again"))
        self._retire_if_idle()
        await self._gone.wait()
        self._retiring = False

    async def wait_gone(self) -> None:
        """Return once there is no worker process."""
        await self._gone.wait()

    def configure(self, settings: Settings) -> None:
        """Take settings that need no reload."""
        self._settings = settings
        self._scheduler.max_queue = settings.daemon.max_queue
        self._scheduler.max_per_client = settings.daemon.max_requests_per_client
        if self.state == "ready":
            self._send_configuration()
        self._arm()

    @property
    def idle(self) -> bool:
        """No request of this service is open."""
        return not self._jobs and not self._load_waiters

    def waiting(self) -> dict[str, int]:
        """Waiting requests by class."""
        return self._scheduler.waiting()

    def active(self) -> list[ActiveRequest]:
        """Open generations."""
        now = self._loop.time()
        return [request.describe(now) for request in self._jobs.values()]

    def status(self) -> ModelStatus:
        """For reports."""
        loaded = self._loaded if self.state == "ready" else None
        last = self._last_done
        return ModelStatus(
            name=self.name,
            engine=self.engine,
            state=self.state,
            detail=self._detail,
            progress=self._progress.fraction if self.state == "loading" else None,
            dialect=loaded.dialect if loaded else "",
            device=loaded.device if loaded else "",
            pid=self._worker.pid if self._worker else None,
            slots=loaded.slots if loaded else 0,
            busy_slots=self._scheduler.busy_slots,
            context=loaded.context if loaded else 0,
            memory_bytes=(last or loaded).memory_bytes if loaded else 0,
            restarts=self._restarts,
            prefill_tokens_per_second=round(last.prefill_tokens_per_second, 1) if last else 0.0,
            decode_tokens_per_second=round(last.decode_tokens_per_second, 1) if last else 0.0,
        )

    # --- what the worker says ------------------------------------------------------------

    def _on_message(self, worker: Worker, message: Message) -> None:
        if worker is not self._worker:
            return
        match message:
            case JobPiece():
                self._piece(message)
            case JobPrefill(job=job, fraction=fraction):
                if job in self._jobs:
                    self._jobs[job].progress("prefill", fraction)
            case JobDone():
                self._done(message)
            case JobFailed(job=job, code=code, message=text):
                if job in self._jobs:
                    self._jobs.pop(job).fail(from_wire(code, text))
                    self._after_job(job)
            case Loading() if self.state in ("starting", "loading"):
                self._happened("loading")
                self._progress, self._detail = message, message.detail
                for request in self._everyone_waiting():
                    self._tell_progress(request)
            case Loaded() if self.state in ("starting", "loading"):
                self._on_loaded(message)
            case LoadRefused(code=code, message=text) if self.state in ("starting", "loading"):
                self._happened("refused")
                self._detail = text
                self._fail_all(from_wire(code, text))
            case WorkerLog(level=level, text=text):
                log.log(level, "worker: %s", text)

    def _on_loaded(self, message: Loaded) -> None:
        self._happened("loaded")
        self._loaded, self._detail = message, ""
        self._idle_since = self._loop.time()
        self._send_configuration()
        log.info("%s is resident", self.name, extra={"model": self.name, "pid": self._pid()})
        waiters, self._load_waiters = self._load_waiters, []
        for request in waiters:
            request.done(model=self.name)
        self._apply(self._scheduler.set_slots(message.slots, self._loop.time()))

    def _piece(self, message: JobPiece) -> None:
        request = self._jobs.get(message.job)
        if request and self._scheduler.ending(message.job) is None:
            request.completion_tokens += message.tokens
            request.send(
                Delta(
                    id=request.message.id,
                    channel=message.channel,
                    text=message.text,
                    tokens=message.tokens,
                )
            )

    def _done(self, message: JobDone) -> None:
        self._last_done = message
        self._deaths = 0
        request = self._jobs.pop(message.job, None)
        if request is None:
            return
        finish = message.finish
        if finish == "cancelled":
            finish = self._scheduler.ending(message.job) or "cancelled"
        request.done(
            finish=finish,
            model=self.name,
            usage=message.usage,
            timings=Timings(
                queue_ms=round(request.queued_s * 1000, 3),
                prefill_ms=message.timings.prefill_ms,
                decode_ms=message.timings.decode_ms,
            ),
            confidence=message.confidence,
        )
        self._after_job(message.job)

    def _after_job(self, job: int) -> None:
        now = self._loop.time()
        self._idle_since = now
        self._apply(self._scheduler.finished(job, now))
        self._retire_if_idle()

    def _on_exit(self, worker: Worker, code: int) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        self._loaded = self._last_done = None
        self._gone.set()
        if self.state in ("failed", "stopping"):
            if self.state == "stopping":
                self._happened("exited")
                self._detail = ""
                if self._jobs or self._load_waiters:
                    # Somebody asked for it again while it was on its way out.
                    self.ensure_loaded()
            return
        self._died(code)

    def _died(self, code: int) -> None:
        was_loading = self.state != "ready"
        self._happened("exited")
        self._deaths += 1
        self._restarts += 1
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        log.error("worker died", extra={"model": self.name, "how": how, "deaths": self._deaths})
        self._detail = f"the model's process died ({how})"
        for job in self._scheduler.lose_running():
            self._take(job).fail(
                WorkerDied(f"the model's process died ({how}) and is being restarted: ask again")
            )
        if self._deaths >= MAX_DEATHS or (was_loading and self._deaths >= 2):
            self._happened("gave_up")
            doing = "while loading" if was_loading else "again and again"
            self._fail_all(
                LoadFailed(
                    f"{self.name}: its process died {doing} ({how}), likely out of memory: "
                    "try a smaller `model.context` or `model.slots`, see `ingle logs`"
                )
            )
            return
        self._retry_at = self._loop.time() + min(
            MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (self._deaths - 1)
        )
        for request in self._everyone_waiting():
            self._tell_progress(request)
        self._arm()

    # --- plumbing ------------------------------------------------------------------------

    def _apply(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(key=job, queued_s=queued_s) if isinstance(job, int):
                    self._run(job, queued_s)
                case Stop(key=job) if isinstance(job, int):
                    if self._worker:
                        self._worker.send(Halt(job=job))
                case Drop(key=job, reason="deadline"):
                    self._take(job).fail(
                        DeadlineExceeded("its time ran out before it started: the model is busy")
                    )
                case Drop(key=job, reason=reason):
                    self._take(job).done(finish=reason, model=self.name)
                case Refuse(key=job, retry_after_s=seconds):
                    self._take(job).fail(
                        Busy(
                            "too many requests are waiting: try again later",
                            retry_after_ms=round(seconds * 1000),
                        )
                    )
        self._arm()

    def _run(self, job: int, queued_s: float) -> None:
        request = self._jobs[job]
        request.running, request.queued_s = True, queued_s
        request.send(
            Started(id=request.message.id, queue_ms=round(queued_s * 1000, 3), model=self.name)
        )
        remaining = None
        if request.deadline is not None:
            remaining = max(0.0, (request.deadline - self._loop.time()) * 1000)
        if self._worker:
            self._worker.send(
                Run(
                    job=job,
                    request=request.message,
                    client=request.client.hex(),
                    remaining_ms=remaining,
                )
            )

    def _take(self, job: Any) -> OpenRequest:
        return self._jobs.pop(job)

    def _start_worker(self) -> None:
        self._progress = Loading()
        self._detail = "starting its process"
        self._gone.clear()
        worker: list[Worker] = []
        worker.append(
            self._spawn(
                lambda message: self._on_message(worker[0], message),
                lambda code: self._on_exit(worker[0], code),
            )
        )
        self._worker = worker[0]
        self._worker.send(self.load_message)

    def _send_configuration(self) -> None:
        chat, inline = self._settings.chat, self._settings.inline
        if self._worker:
            self._worker.send(
                Configure(
                    effort=chat.effort,
                    chat_max_tokens=chat.max_tokens,
                    chat_temperature=chat.temperature,
                    infill_max_tokens=inline.max_tokens,
                    infill_multiline_max_tokens=inline.multiline_max_tokens,
                )
            )

    def _fail_all(self, why: IngleError) -> None:
        waiters, self._load_waiters = self._load_waiters, []
        jobs, self._jobs = self._jobs, {}
        self._scheduler.lose_running()
        self._scheduler.drop_waiting()
        for request in [*waiters, *jobs.values()]:
            request.fail(why)

    def _everyone_waiting(self) -> list[OpenRequest]:
        return [*self._load_waiters, *(r for r in self._jobs.values() if not r.running)]

    def _tell_progress(self, request: OpenRequest) -> None:
        if self.state == "backoff":
            request.progress("restarting", None, self._detail)
        else:
            request.progress("loading", self._progress.fraction, self._detail or "starting")

    def _happened(self, occurrence: Occurrence) -> None:
        following = TRANSITIONS.get((self.state, occurrence))
        if following is None:
            raise RuntimeError(f"{self.name}: {occurrence!r} can't happen in state {self.state!r}")
        self.state = following

    def _kill_if_still(self, worker: Worker) -> None:
        if worker is self._worker:
            worker.kill()

    def _retire_if_idle(self) -> None:
        if self._retiring and not self._scheduler.busy_slots:
            self.unload(Busy(f"{self.name} made room for another model: ask again"))

    def _pid(self) -> int | None:
        return self._worker.pid if self._worker else None

    # --- time ----------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer for whatever is due first."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = [self._scheduler.next_deadline(), self._idle_deadline()]
        if self.state == "backoff":
            due.append(self._retry_at)
        at = min((moment for moment in due if moment is not None), default=None)
        if at is not None:
            self._timer = self._loop.call_at(at, self._on_time)

    def _idle_deadline(self) -> float | None:
        keep = self._settings.model.keep_alive
        if keep == "forever" or self.state != "ready" or not self.idle:
            return None
        return self._idle_since + keep

    def _on_time(self) -> None:
        self._timer = None
        now = self._loop.time()
        idle_deadline = self._idle_deadline()
        if self.state == "backoff" and now >= self._retry_at:
            self._happened("retry")
            self._start_worker()
        elif idle_deadline is not None and now >= idle_deadline:
            log.info("unloading an idle model", extra={"model": self.name})
            self.unload()
        self._apply(self._scheduler.tick(now))
