"""Every message of the protocol, as a typed struct.

`protocol/SPEC.md` is the authority; this module follows it. A message is one msgpack map whose
`type` field names the struct. Unknown fields are ignored, so a newer peer may add some; an
unknown `type` is an error. Requests carry an `id` that the client chooses; every event carries
the id of the request it answers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

RequestId = Annotated[int, Meta(ge=0, le=2**53)]
PositiveInt = Annotated[int, Meta(ge=1, le=2**31)]
Milliseconds = Annotated[int, Meta(ge=1, le=24 * 3600 * 1000)]
Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
Probability = Annotated[float, Meta(gt=0.0, le=1.0)]
Name = Annotated[str, Meta(max_length=4096)]

#: Name of a tool; the empty one means none.
ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{0,64}$")]

Role = Literal["system", "user", "assistant", "tool"]
Effort = Literal["low", "medium", "high"]
Channel = Literal["analysis", "final", "tool"]
#: Scheduling classes, most urgent first. An `infill` is `inline`, a speculative one `prefetch`.
Priority = Literal["inline", "interactive", "batch", "prefetch"]
FinishReason = Literal[
    "stop", "length", "tool_call", "cancelled", "superseded", "deadline", "complete"
]
#: What a `progress` event is about.
Phase = Literal["queued", "loading", "restarting", "prefill", "draining"]
ModelState = Literal["absent", "starting", "loading", "ready", "stopping", "backoff", "failed"]


class Message(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type"):
    """Common base; not a message itself."""


# --- parts ---------------------------------------------------------------------------------


class ChatMessage(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One turn of a conversation. The text is data: control tokens in it stay plain text."""

    role: Role
    content: str
    #: With role `assistant`: `content` is the arguments (JSON) of a call of this tool. With role
    #: `tool`: `content` is this tool's result.
    tool: ToolName = ""
    #: With role `assistant`: what the model thought before it said `content`.
    analysis: str = ""


class Tool(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A function that the model may ask the client to call."""

    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str = ""
    #: JSON schema of the arguments, an object; empty for a function without any.
    parameters: dict[str, Any] = {}


class Snippet(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Text of another place that may help a completion."""

    path: Name
    text: str


class Usage(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Token counts of one request; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Timings(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where a request's time went, in milliseconds."""

    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    #: How long it was stopped for more urgent requests.
    paused_ms: float = 0.0


class CachedPrefix(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The beginning of a document or a conversation that a model need not compute again."""

    kind: Literal["document", "conversation"]
    #: As the requests named it.
    name: Name
    tokens: int


class ModelStatus(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A model that has, or should have, a worker process."""

    name: str
    engine: str
    state: ModelState
    detail: str = ""
    #: Loading progress, 0..1; None when unknown.
    progress: float | None = None
    dialect: str = ""
    device: str = ""
    #: What it can't do as it is loaded, one line each.
    limits: list[str] = []
    pid: int | None = None
    slots: int = 0
    busy_slots: int = 0
    #: Tokens that one request may use, prompt and answer together.
    context: int = 0
    memory_bytes: int = 0
    restarts: int = 0
    #: Measured on recent requests; 0 until there is one.
    prefill_tokens_per_second: float = 0.0
    decode_tokens_per_second: float = 0.0
    #: The most recently used first.
    cached: list[CachedPrefix] = []


class ActiveRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A request that is open; never its text. `paused` for something more urgent."""

    client: str
    kind: str
    priority: Priority
    model: str
    state: Literal["queued", "running", "paused"]
    age_ms: int = 0
    completion_tokens: int = 0


class Totals(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Counts since the daemon started. Tokens are counted when a request ends."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    superseded: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    #: Computed for requests that ended `cancelled`, `superseded` or with `deadline`.
    wasted_tokens: int = 0
    #: How often a request was stopped for a more urgent one.
    preemptions: int = 0
    #: Completions that went on with a running generation, and its tokens that were kept so.
    rides: int = 0
    ridden_tokens: int = 0


class ModelInfo(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A model of the catalog or the store."""

    name: str
    installed: bool = False
    resident: bool = False
    bytes: int = 0
    licence: str = ""
    source: str = ""
    format: str = ""
    #: Engine that can run it on this machine; empty if none can.
    engine: str = ""
    #: Why no engine can, or what is missing.
    reason: str = ""
    description: str = ""


# --- requests ------------------------------------------------------------------------------


class Hello(Message, tag="hello", kw_only=True, frozen=True):
    """First message of a connection. Answered by `welcome` or `error`."""

    id: RequestId
    protocol: int
    client: Name
    version: str = ""
    capabilities: list[str] = []


class Chat(Message, tag="chat", kw_only=True, frozen=True):
    """Continue a conversation. Streams `delta` events."""

    id: RequestId
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=4096)]
    model: Name | None = None
    effort: Effort | None = None
    max_tokens: PositiveInt | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    seed: Annotated[int, Meta(ge=0, lt=2**32)] | None = None
    stop: Annotated[list[str], Meta(max_length=16)] = []
    priority: Literal["interactive", "batch"] = "interactive"
    deadline_ms: Milliseconds | None = None
    #: Requests with the same name share a prefix cache where the engine can.
    conversation: Name = ""
    #: What the model may call; refused by models that can't.
    tools: Annotated[list[Tool], Meta(max_length=128)] = []


class Infill(Message, tag="infill", kw_only=True, frozen=True):
    """Complete code between `prefix` and `suffix`. Streams `delta` events on `final`."""

    id: RequestId
    prefix: str
    suffix: str = ""
    path: Name = ""
    language: Name = ""
    #: A newer infill of the same client and document supersedes an older one; "" never does.
    document: Name = ""
    context: Annotated[list[Snippet], Meta(max_length=64)] = []
    model: Name | None = None
    max_tokens: PositiveInt | None = None
    #: One line, or several.
    multiline: bool = False
    temperature: Temperature | None = None
    seed: Annotated[int, Meta(ge=0, lt=2**32)] | None = None
    deadline_ms: Milliseconds | None = None
    #: Nobody waits for it yet: it is computed only while nothing else is, and otherwise refused as
    #: `busy`, or cancelled.
    speculative: bool = False


class Cancel(Message, tag="cancel", kw_only=True, frozen=True):
    """End another request of this connection. `done` even if that one is already over."""

    id: RequestId
    request: RequestId


class Status(Message, tag="status", kw_only=True, frozen=True):
    """One `report` event, then `done`."""

    id: RequestId


class Watch(Message, tag="watch", kw_only=True, frozen=True):
    """A `report` event at every interval until cancelled."""

    id: RequestId
    interval_ms: Annotated[int, Meta(ge=50, le=3_600_000)] = 1000


class Load(Message, tag="load", kw_only=True, frozen=True):
    """Make a model resident. Streams `progress`."""

    id: RequestId
    #: Name in the store, or an absolute path.
    model: Name
    engine: Name | None = None


class Unload(Message, tag="unload", kw_only=True, frozen=True):
    """End the worker of one model, or of all; its memory comes back."""

    id: RequestId
    model: Name | None = None


class Models(Message, tag="models", kw_only=True, frozen=True):
    """One `catalog` event, then `done`."""

    id: RequestId


class Metrics(Message, tag="metrics", kw_only=True, frozen=True):
    """One `exposition` event, then `done`."""

    id: RequestId


class Shutdown(Message, tag="shutdown", kw_only=True, frozen=True):
    """Stop the daemon. Running requests get `drain_ms` to finish."""

    id: RequestId
    drain_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0


# --- events --------------------------------------------------------------------------------


class Welcome(Message, tag="welcome", kw_only=True, frozen=True):
    """Answer to `hello`."""

    id: RequestId
    protocol: int
    version: str
    capabilities: list[str] = []
    max_message_bytes: int
    heartbeat_ms: int


class Accepted(Message, tag="accepted", kw_only=True, frozen=True):
    """The request is in; exactly one `done` or `error` will follow."""

    id: RequestId


class Progress(Message, tag="progress", kw_only=True, frozen=True):
    """Something long is under way. `fraction` is 0..1, None when unknown."""

    id: RequestId
    phase: Phase
    fraction: float | None = None
    detail: str = ""


class Started(Message, tag="started", kw_only=True, frozen=True):
    """The engine works on it; `queue_ms` is how long it waited."""

    id: RequestId
    queue_ms: float = 0.0
    model: str = ""


class Delta(Message, tag="delta", kw_only=True, frozen=True):
    """More text. `tokens` is how many tokens it took (a text may come in fewer events)."""

    id: RequestId
    channel: Channel = "final"
    text: str
    tokens: int = 0
    #: On `tool`: the tool that is called, with `text` as its arguments; empty for text about calls.
    tool: ToolName = ""
    #: Of completions: the geometric mean of the token probabilities so far; nil if the engine has
    #: none.
    confidence: float | None = None


class Report(Message, tag="report", kw_only=True, frozen=True):
    """Answer to `status` and `watch`."""

    id: RequestId
    version: str
    pid: int
    uptime_s: float
    endpoint: str = ""
    memory_bytes: int = 0
    clients: int = 0
    models: list[ModelStatus] = []
    #: Waiting requests by class.
    queue: dict[str, int] = {}
    active: list[ActiveRequest] = []
    totals: Totals = Totals()
    #: One line each: what the owner should know (a setting that waits for a reload, …).
    notices: list[str] = []


class Catalog(Message, tag="catalog", kw_only=True, frozen=True):
    """Answer to `models`."""

    id: RequestId
    models: list[ModelInfo] = []


class Exposition(Message, tag="exposition", kw_only=True, frozen=True):
    """Answer to `metrics`: Prometheus' text format, version 0.0.4."""

    id: RequestId
    text: str


class Done(Message, tag="done", kw_only=True, frozen=True):
    """The request ended as asked. Terminal."""

    id: RequestId
    finish: FinishReason = "complete"
    model: str = ""
    usage: Usage | None = None
    timings: Timings | None = None
    #: Geometric mean of the answer's token probabilities; None if the engine has none.
    confidence: float | None = None


class Error(Message, tag="error", kw_only=True, frozen=True):
    """The request failed. Terminal. `id` is None when the bytes had no readable id."""

    id: RequestId | None = None
    code: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None


class Heartbeat(Message, tag="heartbeat", kw_only=True, frozen=True):
    """Sent to every client with an open request: the daemon lives. Belongs to no request."""


Request = (
    Hello | Chat | Infill | Cancel | Status | Watch | Load | Unload | Models | Metrics | Shutdown
)
Event = (
    Welcome
    | Accepted
    | Progress
    | Started
    | Delta
    | Report
    | Catalog
    | Exposition
    | Done
    | Error
    | Heartbeat
)

#: `type` → struct.
REQUESTS: dict[str, type[Message]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(Request)
}
EVENTS: dict[str, type[Message]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(Event)
}


def is_terminal(event: Any) -> bool:
    """True for the last event of a request."""
    return isinstance(event, Done | Error | Welcome)
