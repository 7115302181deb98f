"""The dialect interface: requests → token ids, token ids → channel deltas.

Pure text and token work: no I/O, no clock, no engine calls besides its tokenizer. User text is
data: control tokens inside a file or a question are encoded as plain text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ingle.errors import ContextOverflow
from ingle.messages import Channel, Chat, Infill
from ingled.engines.engine import Job, Sampling


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Text for the client on one channel. `tokens` is how many tokens it took."""

    channel: Channel
    text: str
    tokens: int = 0
    #: On the channel `tool`: the tool that is called, `text` being its arguments.
    tool: str = ""


class Stream(ABC):
    """The answer of one job, as it comes. A state machine: `feed` any number of times, `finish`."""

    @abstractmethod
    def feed(self, ids: Sequence[int], text: str) -> list[Piece]:
        """New tokens and their text (as in `engine.Tokens`) → what the client may see now."""

    @abstractmethod
    def finish(self) -> list[Piece]:
        """The job is over: what was held back and may be shown."""

    @property
    def complete(self) -> bool:
        """True when the answer is whole and the rest of the generation is not needed."""
        return False

    @property
    def cut(self) -> bool:
        """True when it is complete only because it is long enough."""
        return False

    @property
    def to_repeat(self) -> int:
        """Characters that the model still has to say again before it says anything new."""
        return 0

    @property
    def called(self) -> bool:
        """True when the answer ended with a whole call of a tool that was offered."""
        return False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run and how to read it."""

    job: Job
    stream: Stream


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much prompt a request can afford.

    `uncached_tokens` is what can be computed within the request's deadline at the measured
    prefill rate; `context` is the model's limit for prompt and answer together.
    """

    uncached_tokens: int
    context: int


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Values for the fields that a request leaves out; from the settings."""

    effort: str = "medium"
    chat_max_tokens: int = 2048
    chat_temperature: float = 0.7
    infill_max_tokens: int = 48
    infill_multiline_max_tokens: int = 192


#: No text has more characters a token than this, over its whole length.
MAX_CHARACTERS_PER_TOKEN = 64
#: A chat whose answer gets fewer tokens than this is refused.
MIN_ANSWER_TOKENS = 16


def check_length(characters: int, context: int) -> None:
    """Refuse a conversation that can't fit, before any time goes into tokenizing it.

    Raises `ContextOverflow`.
    """
    if characters > context * MAX_CHARACTERS_PER_TOKEN:
        raise ContextOverflow(
            f"the conversation has {characters:,} characters, far more than the model's context "
            f"of {context:,} tokens: send less text"
        )


def answer_tokens(prompt: int, context: int, wanted: int) -> int:
    """Tokens an answer may have after a prompt of `prompt` tokens.

    Raises `ContextOverflow` when there is no useful room left.
    """
    room = context - prompt
    if room < min(wanted, MIN_ANSWER_TOKENS):
        raise ContextOverflow(
            f"the conversation has {prompt:,} tokens, the model's context is {context:,} with the "
            "answer: send less text, start a new conversation, or load it with a larger context"
        )
    return min(wanted, room)


def chat_sampling(request: Chat, defaults: Defaults) -> Sampling:
    """How a chat's tokens are chosen."""
    temperature = request.temperature
    return Sampling(
        temperature=defaults.chat_temperature if temperature is None else temperature,
        top_p=request.top_p or 1.0,
        seed=request.seed,
    )


class Dialect(ABC):
    """How one family of models is spoken to."""

    #: Name in status.
    name: str

    @abstractmethod
    def chat(self, job_id: int, request: Chat, budget: Budget, defaults: Defaults) -> Plan:
        """Render a conversation.

        Raises `ContextOverflow` or `InvalidRequest` of `ingle.errors`.
        """

    @abstractmethod
    def infill(self, job_id: int, request: Infill, budget: Budget, defaults: Defaults) -> Plan:
        """Render a completion at a cursor. The stream gives the text to insert after `prefix`."""
