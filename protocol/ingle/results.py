"""What the clients' convenience calls return, and how events add up to it."""

from __future__ import annotations

from msgspec import Struct

from .messages import ChatMessage, Delta, Done, FinishReason, Message, Timings, Usage


class ToolCall(Struct, kw_only=True, frozen=True):
    """What the model wants called."""

    tool: str
    #: A JSON object.
    arguments: str


class Answer(Struct, kw_only=True, frozen=True):
    """A whole answer. `analysis` is the model's reasoning; show it only when asked."""

    text: str
    analysis: str = ""
    #: With `finish` `tool_call`: answer it with a message of the role `tool`.
    call: ToolCall | None = None
    finish: FinishReason
    usage: Usage | None = None
    timings: Timings | None = None
    model: str = ""
    confidence: float | None = None


class Completion(Struct, kw_only=True, frozen=True):
    """Text to insert at the cursor; may be empty."""

    text: str
    finish: FinishReason
    usage: Usage | None = None
    timings: Timings | None = None
    model: str = ""
    #: Geometric mean of the token probabilities, 0..1; None if the engine has none.
    confidence: float | None = None


class Gathered:
    """Adds up the events of one generation."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"final": [], "analysis": [], "tool": []}
        self._arguments: list[str] = []
        self._tool = ""
        self._done: Done | None = None

    def add(self, event: Message) -> None:
        """Take one event; those that carry no result are ignored."""
        if isinstance(event, Delta):
            self._texts[event.channel].append(event.text)
            if event.tool:
                self._tool = event.tool
                self._arguments.append(event.text)
        elif isinstance(event, Done):
            self._done = event

    def answer(self) -> Answer:
        """The result of a chat, after its `done`."""
        done = self._finished()
        return Answer(
            text="".join(self._texts["final"]),
            analysis="".join(self._texts["analysis"]),
            call=self._call() if done.finish == "tool_call" else None,
            finish=done.finish,
            usage=done.usage,
            timings=done.timings,
            model=done.model,
            confidence=done.confidence,
        )

    def completion(self) -> Completion:
        """The result of an infill, after its `done`."""
        done = self._finished()
        return Completion(
            text="".join(self._texts["final"]),
            finish=done.finish,
            usage=done.usage,
            timings=done.timings,
            model=done.model,
            confidence=done.confidence,
        )

    def _call(self) -> ToolCall:
        return ToolCall(tool=self._tool, arguments="".join(self._arguments))

    def _finished(self) -> Done:
        if self._done is None:
            raise RuntimeError("the events were not read to the end")
        return self._done


def chat_fields(
    prompt: str, system: str | None, timeout: float | None, **fields: object
) -> dict[str, object]:
    """Arguments of the clients' `ask` and `stream` → fields of `Chat`; None means unset."""
    turns = [ChatMessage(role="system", content=system)] if system else []
    turns.append(ChatMessage(role="user", content=prompt))
    if timeout is not None:
        fields["deadline_ms"] = max(1, round(timeout * 1000))
    return {"messages": turns} | {
        name: value for name, value in fields.items() if value is not None
    }
