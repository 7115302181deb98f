"""What the broker and a worker process say to each other.

Private to one version of ingle: both ends are always the same build. Same codec and limits as the
public protocol, over a ZeroMQ PAIR that only the two of them know.
"""

from __future__ import annotations

from typing import get_args

from msgspec import field

from ingle import codec
from ingle.messages import (
    CachedPrefix,
    Channel,
    Chat,
    FinishReason,
    Infill,
    Message,
    Timings,
    Usage,
)

# --- broker → worker -----------------------------------------------------------------------


class LoadModel(Message, tag="load_model", kw_only=True, frozen=True):
    """Load; once, first."""

    engine: str
    name: str
    path: str = ""
    context: int
    slots: int
    threads: int
    gpu_layers: int
    cache_mb: int
    options: dict[str, str | int | float | bool | list[str]]


class Configure(Message, tag="configure", kw_only=True, frozen=True):
    """Defaults for fields that requests leave out; at any time."""

    effort: str
    chat_max_tokens: int
    chat_temperature: float
    infill_max_tokens: int
    infill_multiline_max_tokens: int


class Run(Message, tag="run", kw_only=True, frozen=True):
    """Start a job. Never more at once than the loaded model has slots."""

    job: int
    request: Chat | Infill
    #: Keeps the documents of different clients apart.
    client: str
    #: Milliseconds left until the request's deadline; None for none.
    remaining_ms: float | None = None
    #: Whether to tell of steps that have nothing to show.
    report: bool = False


class Pause(Message, tag="pause", kw_only=True, frozen=True):
    """Stop a job and keep what it has; `JobPaused` follows, unless it was done by then."""

    job: int


class Resume(Message, tag="resume", kw_only=True, frozen=True):
    """Go on with a paused job."""

    job: int
    report: bool = False


class Halt(Message, tag="halt", kw_only=True, frozen=True):
    """End a job, running or paused; its `JobDone` follows."""

    job: int


class Quit(Message, tag="quit", kw_only=True, frozen=True):
    """End the process."""


# --- worker → broker -----------------------------------------------------------------------


class Loading(Message, tag="loading", kw_only=True, frozen=True):
    """Progress of `LoadModel`."""

    fraction: float | None = None
    detail: str = ""


class Loaded(Message, tag="loaded", kw_only=True, frozen=True):
    """The model is resident."""

    slots: int
    context: int
    device: str
    dialect: str
    memory_bytes: int
    limits: list[str]
    exclusive: bool


class LoadRefused(Message, tag="load_refused", kw_only=True, frozen=True):
    """The model can't be loaded; the worker ends."""

    code: str
    message: str


class JobPrefill(Message, tag="job_prefill", kw_only=True, frozen=True):
    """The prompt is being computed."""

    job: int
    fraction: float


class JobPiece(Message, tag="job_piece", kw_only=True, frozen=True):
    """Text for the client; empty only for jobs that report every step."""

    job: int
    channel: Channel
    text: str
    tokens: int
    tool: str
    #: As in `ingle.messages.Delta`.
    confidence: float | None = None


class JobPaused(Message, tag="job_paused", kw_only=True, frozen=True):
    """The job has stopped; the worker keeps its tokens."""

    job: int


class JobDone(Message, tag="job_done", kw_only=True, frozen=True):
    """The job ended. `finish` is `cancelled` after a `Halt`; the broker knows why."""

    job: int
    finish: FinishReason
    usage: Usage
    timings: Timings
    confidence: float | None = None
    memory_bytes: int = 0
    prefill_tokens_per_second: float = 0.0
    decode_tokens_per_second: float = 0.0
    cached: list[CachedPrefix] = field(default_factory=list)


class JobFailed(Message, tag="job_failed", kw_only=True, frozen=True):
    """The job failed; the worker goes on."""

    job: int
    code: str
    message: str


class WorkerLog(Message, tag="worker_log", kw_only=True, frozen=True):
    """A line for the daemon's log; never prompt text."""

    level: int
    text: str


ToWorker = LoadModel | Configure | Run | Pause | Resume | Halt | Quit
FromWorker = (
    Loading
    | Loaded
    | LoadRefused
    | JobPrefill
    | JobPiece
    | JobPaused
    | JobDone
    | JobFailed
    | WorkerLog
)

_TO_WORKER: dict[str, type[Message]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(ToWorker)
}
_FROM_WORKER: dict[str, type[Message]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(FromWorker)
}


def for_worker(body: bytes) -> Message:
    """Bytes from the broker → message."""
    return codec.unpack(body, _TO_WORKER)


def from_worker(body: bytes) -> Message:
    """Bytes from a worker → message."""
    return codec.unpack(body, _FROM_WORKER)
