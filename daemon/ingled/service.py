"""One model's service: its queue and its open requests, over a worker that may come and go.

It joins the pure scheduler (`scheduler.py`) to the worker's life (`lifecycle.py`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ingle.errors import Busy, DeadlineExceeded, IngleError, ShuttingDown, from_wire
from ingle.messages import (
    ActiveRequest,
    Delta,
    Message,
    ModelState,
    ModelStatus,
    Started,
    Timings,
)

from .lifecycle import Lifecycle, SpawnWorker
from .metrics import Metrics
from .open_jobs import OpenJob, OpenJobs
from .requests import OpenRequest
from .scheduler import Command, Drop, Pause, Refuse, Resume, Scheduler, Start, Stop, Ticket
from .scheduler.ride_along import Diverged
from .settings import Settings
from .worker import wire
from .worker.wire import (
    Configure,
    JobDone,
    JobFailed,
    JobPaused,
    JobPiece,
    JobPrefill,
    Loaded,
    LoadModel,
)

log = logging.getLogger("ingled.service")


class ModelService:
    """See the module. Lives in the event loop's thread."""

    def __init__(
        self, load: LoadModel, settings: Settings, spawn: SpawnWorker, metrics: Metrics
    ) -> None:
        self.name = load.name
        self.engine = load.engine
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._life = Lifecycle(load.name, load, spawn, self)
        self._scheduler = Scheduler()
        self._metrics = metrics
        self._jobs = OpenJobs()
        self._load_waiters: list[OpenRequest] = []
        self._last_done: JobDone | None = None
        self._idle_since = self._loop.time()
        self._retiring = False
        self._timer: asyncio.TimerHandle | None = None
        self.configure(settings)

    # --- what the broker asks ------------------------------------------------------------

    def submit(self, request: OpenRequest) -> None:
        """Queue a generation; loads the model first if it is not resident."""
        request.model = self.name
        ridden = self._jobs.ridden_by(request)
        if ridden and self._ride(request, *ridden):
            return
        job = self._jobs.add(request)
        self._apply(self._scheduler.submit(self._ticket(job.number, request), self._loop.time()))
        if self.state != "ready" and not request.closed:
            self._tell_progress(request)
            self._life.ensure()

    def load(self, request: OpenRequest) -> None:
        """A `load` request: ends when the model is resident."""
        if self.state == "ready":
            request.done(model=self.name)
            return
        self._load_waiters.append(request)
        self._tell_progress(request)
        self._life.ensure()

    def ensure_loaded(self) -> None:
        """Load the model although nobody asked yet."""
        self._life.ensure()

    def cancel(self, request: OpenRequest) -> None:
        """Stop one of this service's requests."""
        if request in self._load_waiters:
            self._load_waiters.remove(request)
            request.done(finish="cancelled")
        job = self._jobs.of(request)
        if job:
            self._apply(self._scheduler.cancel(job.number, self._loop.time()))

    def unload(self, why: IngleError | None = None) -> None:
        """End the worker now; open requests end with `why`."""
        self._fail_all(why or ShuttingDown(f"{self.name} was unloaded: ask again to load it"))
        self._life.unload()

    async def retire(self) -> None:
        """Make room: end the worker as soon as nothing runs on it."""
        self._retiring = True
        self._apply(self._scheduler.set_slots(0, self._loop.time()))
        why = Busy(f"{self.name} is making room for another model: try again")
        for number in self._scheduler.drop_waiting():
            self._fail(number, why)
        self._retire_if_idle()
        await self._life.wait_gone()
        self._retiring = False

    async def wait_gone(self) -> None:
        """Return once there is no worker process."""
        await self._life.wait_gone()

    def configure(self, settings: Settings) -> None:
        """Take settings that need no reload."""
        self._settings = settings
        self._scheduler.max_queue = settings.daemon.max_queue
        self._scheduler.max_per_client = settings.daemon.max_requests_per_client
        if self.state == "ready":
            self._send_configuration()
        self._arm()

    # --- questions -----------------------------------------------------------------------

    @property
    def state(self) -> ModelState:
        """Of the worker."""
        return self._life.state

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
        return [request.describe(now) for request in self._jobs.requests()]

    def status(self) -> ModelStatus:
        """For reports."""
        life, last = self._life, self._last_done
        loaded = life.loaded
        return ModelStatus(
            name=self.name,
            engine=self.engine,
            state=life.state,
            detail=life.detail,
            progress=life.progress if life.state == "loading" else None,
            dialect=loaded.dialect if loaded else "",
            device=loaded.device if loaded else "",
            limits=loaded.limits if loaded else [],
            pid=life.pid,
            slots=loaded.slots if loaded else 0,
            busy_slots=self._scheduler.busy_slots,
            context=loaded.context if loaded else 0,
            memory_bytes=(last or loaded).memory_bytes if loaded else 0,
            restarts=life.restarts,
            prefill_tokens_per_second=round(last.prefill_tokens_per_second, 1) if last else 0.0,
            decode_tokens_per_second=round(last.decode_tokens_per_second, 1) if last else 0.0,
            cached=last.cached if last else [],
        )

    # --- what becomes of the worker (lifecycle.Owner) -------------------------------------

    def worker_ready(self, loaded: Loaded) -> None:
        """The queue starts to move."""
        self._idle_since = self._loop.time()
        self._send_configuration()
        waiters, self._load_waiters = self._load_waiters, []
        for request in waiters:
            request.done(model=self.name)
        now = self._loop.time()
        self._apply(self._scheduler.set_slots(loaded.slots, now, exclusive=loaded.exclusive))

    def worker_progress(self) -> None:
        """Everybody who waits is told."""
        waiting = [request for request in self._jobs.requests() if not request.running]
        for request in [*self._load_waiters, *waiting]:
            self._tell_progress(request)

    def worker_lost(self, error: IngleError) -> None:
        """What ran is lost, what waits goes on waiting."""
        self._last_done = None
        for number in self._scheduler.lose_running():
            self._fail(number, error)
        self.worker_progress()
        self._arm()

    def worker_failed(self, error: IngleError) -> None:
        """Nothing will ever run: everybody is told why."""
        self._fail_all(error)
        self._arm()

    def worker_gone(self) -> None:
        """Somebody may have asked for it again while it was on its way out."""
        self._last_done = None
        if not self.idle:
            self._life.ensure()

    def worker_said(self, message: Message) -> None:
        """A message about a job."""
        match message:
            case JobPiece():
                self._piece(message)
            case JobPrefill(job=number, fraction=fraction):
                job = self._jobs.get(number)
                if job and job.request:
                    job.request.progress("prefill", fraction)
                self._apply(self._scheduler.progressed(number, self._loop.time()))
            case JobPaused(job=number):
                job = self._jobs.get(number)
                if job and job.request:
                    job.request.paused = True
                self._metrics.preemptions += 1
                self._apply(self._scheduler.paused(number, self._loop.time()))
            case JobDone():
                self._done(message)
            case JobFailed(job=number, code=code, message=text):
                self._fail(number, from_wire(code, text))
                self._after_job(number)

    def _piece(self, message: JobPiece) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            return
        job.tokens += message.tokens
        job.confidence = message.confidence
        if job.request and self._scheduler.ending(job.number) is None:
            self._deliver(job, job.request, message)
        now = self._loop.time()
        self._apply(self._scheduler.progressed(job.number, now, max(1, message.tokens)))

    def _deliver(self, job: OpenJob, request: OpenRequest, message: JobPiece) -> None:
        request.completion_tokens += message.tokens
        text = message.text
        if job.ride:
            try:
                text = job.ride.feed(text)
            except Diverged:
                self._start_again(job, request)
                return
        if text:
            request.send(
                Delta(
                    id=request.message.id,
                    channel=message.channel,
                    text=text,
                    tokens=message.tokens,
                    tool=message.tool,
                    confidence=message.confidence,
                )
            )

    def _done(self, message: JobDone) -> None:
        self._last_done = message
        self._life.job_succeeded()
        job = self._jobs.get(message.job)
        wanted = job and self._scheduler.ending(job.number) is None
        if wanted and job and job.request and job.ride and not job.ride.reached:
            # Less was generated than has been typed since: this is no answer to it.
            self._start_again(job, job.request)
        job = self._jobs.remove(message.job)
        if job and job.request:
            self._end(job.request, message)
        self._after_job(message.job)

    def _end(self, request: OpenRequest, message: JobDone) -> None:
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
                paused_ms=round(request.paused_s * 1000, 3),
            ),
            confidence=message.confidence,
        )

    def _after_job(self, number: int) -> None:
        self._idle_since = self._loop.time()
        self._apply(self._scheduler.finished(number, self._idle_since))
        self._retire_if_idle()

    # --- riding along ----------------------------------------------------------------------

    def _ride(self, newer: OpenRequest, job: OpenJob, text: str) -> bool:
        """Let a running job serve a newer request of its document. False if it is being ended."""
        older = job.request
        if older is None or not older.running or self._scheduler.ending(job.number):
            return False
        job.request = newer
        newer.running, newer.paused = True, older.paused
        self._metrics.rode_along(job.tokens)
        older.done(finish="superseded", model=self.name)
        newer.send(Started(id=newer.message.id, model=self.name))
        if text:
            newer.send(Delta(id=newer.message.id, text=text, confidence=job.confidence))
        ticket = self._ticket(job.number, newer)
        self._apply(self._scheduler.rebase(job.number, ticket, self._loop.time()))
        return True

    def _start_again(self, job: OpenJob, request: OpenRequest) -> None:
        """What a job generates is not what was typed: its request gets a job of its own."""
        job.request = None
        request.running = request.paused = False
        fresh = self._jobs.add(request)
        # The old job is superseded by this, as any older one of its document.
        self._apply(self._scheduler.submit(self._ticket(fresh.number, request), self._loop.time()))

    # --- what the scheduler commands -------------------------------------------------------

    def _apply(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(key=number):
                    self._run(command)
                case Pause(key=number):
                    self._tell_worker(wire.Pause(job=number))  # type: ignore[arg-type]
                case Resume(key=number):
                    self._resume(command)
                case Stop(key=number):
                    self._tell_worker(wire.Halt(job=number))  # type: ignore[arg-type]
                case Drop(key=number, reason="deadline"):
                    self._fail(
                        number,
                        DeadlineExceeded("its time ran out before it started: the model is busy"),
                    )
                case Drop(key=number, reason=reason):
                    job = self._jobs.remove(number)  # type: ignore[arg-type]
                    if job and job.request:
                        job.request.done(finish=reason, model=self.name)
                case Refuse(key=number, retry_after_s=seconds):
                    hint = round(seconds * 1000)
                    self._fail(
                        number,
                        Busy("too many requests are waiting: try again later", retry_after_ms=hint),
                    )
        self._arm()

    def _run(self, command: Start) -> None:
        job = self._jobs.get(command.key)  # type: ignore[arg-type]
        if job is None or job.request is None:
            raise RuntimeError(f"job {command.key} was started for nobody")
        request = job.request
        request.running, request.queued_s = True, request.queued_s + command.queued_s
        remaining = None
        if request.deadline is not None:
            remaining = max(0.0, (request.deadline - self._loop.time()) * 1000)
        # The worker first: what the client is told meanwhile costs no time to first token.
        sent = self._tell_worker(
            wire.Run(
                job=job.number,
                request=request.message,
                client=request.client.hex(),
                remaining_ms=remaining,
                report=command.report,
            ),
            job.number,
        )
        if sent:
            waited = round(request.queued_s * 1000, 3)
            request.send(Started(id=request.message.id, queue_ms=waited, model=self.name))

    def _resume(self, command: Resume) -> None:
        job = self._jobs.get(command.key)  # type: ignore[arg-type]
        if job and job.request:
            job.request.paused = False
            job.request.paused_s += command.paused_s
        message = wire.Resume(job=command.key, report=command.report)  # type: ignore[arg-type]
        self._tell_worker(message, message.job)

    def _tell_worker(self, message: Message, job: int | None = None) -> bool:
        """Send; if that can't be, `job` fails."""
        try:
            self._life.send(message)
        except IngleError as error:
            if job is not None:
                self._fail(job, error)
                self._after_job(job)
            return False
        return True

    # --- plumbing ------------------------------------------------------------------------

    def _ticket(self, number: int, request: OpenRequest) -> Ticket:
        document = getattr(request.message, "document", "")
        name = document or getattr(request.message, "conversation", "")
        # A guess replaces nothing, and whatever comes ends it.
        replaces = document and request.priority != "prefetch"
        return Ticket(
            key=number,
            client=request.client,
            priority=request.priority,
            supersedes=(request.client, document) if replaces else None,
            affinity=(request.client, bool(document), name) if name else None,
            deadline=request.deadline,
        )

    def _fail(self, number: Any, error: IngleError) -> None:
        job = self._jobs.remove(number)
        if job and job.request:
            job.request.fail(error)

    def _send_configuration(self) -> None:
        chat, inline = self._settings.chat, self._settings.inline
        self._life.send(
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
        requests = self._jobs.clear()
        self._scheduler.lose_running()
        self._scheduler.drop_waiting()
        for request in [*waiters, *requests]:
            request.fail(why)

    def _tell_progress(self, request: OpenRequest) -> None:
        life = self._life
        if life.state == "backoff":
            request.progress("restarting", None, life.detail)
        else:
            request.progress("loading", life.progress, life.detail or "starting its process")

    def _retire_if_idle(self) -> None:
        if self._retiring and not self._scheduler.busy_slots:
            self.unload(Busy(f"{self.name} made room for another model: ask again"))

    # --- time ----------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer for whatever is due first."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = [self._scheduler.next_deadline(), self._keep_until(), self._life.retry_at]
        at = min((moment for moment in due if moment is not None), default=None)
        if at is not None:
            self._timer = self._loop.call_at(at, self._on_time)

    def _keep_until(self) -> float | None:
        """When an idle model is unloaded; None for never."""
        keep = self._settings.model.keep_alive
        if keep == "forever" or self.state != "ready" or not self.idle:
            return None
        return self._idle_since + keep

    def _on_time(self) -> None:
        self._timer = None
        now = self._loop.time()
        retry_at, keep_until = self._life.retry_at, self._keep_until()
        if retry_at is not None and now >= retry_at:
            self._life.retry()
        elif keep_until is not None and now >= keep_until:
            log.info("unloading an idle model", extra={"model": self.name})
            self.unload()
        self._apply(self._scheduler.tick(now))
