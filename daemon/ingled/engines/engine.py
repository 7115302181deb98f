"""The engine interface: what runs a model inside the worker process.

A job is token ids plus sampling plus stop rules. Text, channels and templates are the dialect's
affair (`ingled.dialects`). An engine is synchronous and is driven by one thread, the engine
thread; only `wake` may be called from another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

#: Called with a fraction 0..1, or None when the engine can't tell, and a short text.
ProgressCallback = Callable[[float | None, str], None]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What to load, and how."""

    name: str
    #: The model file, or the folder of a model with several; None for engines without files.
    path: Path | None = None
    #: Tokens per request, prompt and answer together.
    context: int = 4096
    #: Requests that run at the same time.
    slots: int = 4
    #: Threads for decode; 0 lets the engine choose.
    threads: int = 0
    #: Layers on the GPU; -1 = all that fit, 0 = CPU.
    gpu_layers: int = -1
    #: Megabytes of host memory for prompt caches.
    cache_mb: int = 512
    #: Free-form settings of one engine (the scripted engine's faults, …).
    options: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)


class Tokenizer(Protocol):
    """Text ↔ token ids of the loaded model."""

    def encode(self, text: str) -> list[int]:
        """Plain text → ids. Control tokens in the text are encoded as plain text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Ids → text; control tokens are written out, invalid UTF-8 becomes U+FFFD."""
        ...

    def special(self, text: str) -> int | None:
        """The id of the control token written `text` (`<|im_end|>`), None if there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a loaded model can do."""

    context: int
    slots: int
    device: str
    #: Jinja source of the model's own chat template; "" if it has none.
    chat_template: str = ""
    #: Text of the control tokens a template may name.
    bos_token: str = ""
    eos_token: str = ""
    #: Whether jobs may carry a GBNF grammar.
    grammar: bool = False
    #: What it can't do as it is loaded, and why: one line each, for the owner.
    limits: tuple[str, ...] = ()
    #: Whether jobs that run at the same time slow each other down about as much as their number:
    #: where a step is bound by arithmetic, not by reading the weights.
    exclusive: bool = False
    #: Whether its first job is worth doing for nobody: the next ones are faster, and measured.
    warms_up: bool = True


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose tokens. Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One generation."""

    id: int
    #: Prompt token ids, control tokens included.
    prompt: list[int]
    max_tokens: int
    sampling: Sampling = Sampling()
    #: Ids that end the generation, besides the model's own end-of-generation ids.
    stop_ids: list[int] = field(default_factory=list)
    #: Texts that end the generation; the text before them is kept, they are not.
    stop_texts: list[str] = field(default_factory=list)
    #: GBNF grammar that the answer must follow; "" for none.
    grammar: str = ""
    #: Jobs with the same affinity share a prefix cache where possible; "" for none.
    affinity: str = ""
    #: Ask for token log-probabilities in `Tokens`.
    logprobs: bool = False
    #: How many of the prompt's last ids the same job generated before it was preempted: their text
    #: has been reported.
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class Prefill:
    """The prompt is being computed."""

    job: int
    processed: int
    total: int
    cached: int


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """New tokens. `text` is their text, whole UTF-8 characters only, control tokens left out."""

    job: int
    ids: list[int]
    text: str
    #: Natural log of each token's probability; empty if not asked for.
    logprobs: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The job ended. `reason` is `cancelled` only after `cancel`.

    All tokens that were sampled have been reported, or can be sampled again: a job that goes on
    with what was reported gives what it would have given.
    """

    job: int
    reason: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prefill_ms: float
    decode_ms: float


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A prefix that is in a cache, by the affinity of the job that left it."""

    affinity: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The job failed; the engine and its other jobs go on. `code` is one of `ingle.errors`."""

    job: int
    code: str
    message: str


EngineEvent = Prefill | Tokens | Finished | Failed


class Engine(ABC):
    """One loaded model. Life: `load`, any number of `submit`/`cancel`/`step`, `unload`."""

    #: Name in settings and status.
    name: str

    @abstractmethod
    def load(self, spec: ModelSpec, progress: ProgressCallback) -> Capabilities:
        """Load the model. Raises `ModelInvalid` or `LoadFailed` of `ingle.errors`."""

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The loaded model's tokenizer."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job. The caller keeps to `Capabilities.slots` at the same time."""

    @abstractmethod
    def cancel(self, job: int) -> None:
        """Stop a job within one decode step, or one prefill chunk; `Finished` follows.

        Nothing happens if the job is over.
        """

    @abstractmethod
    def step(self, timeout: float) -> list[EngineEvent]:
        """Work, and return what happened. Waits up to `timeout` seconds when there is nothing."""

    def kept(self) -> list[Kept]:
        """What of documents and chats is in the caches, the most recently used first."""
        return []

    @abstractmethod
    def wake(self) -> None:
        """Make a waiting `step` return at once. Safe from any thread."""

    @abstractmethod
    def unload(self) -> None:
        """Free everything. Jobs that still run are abandoned."""
