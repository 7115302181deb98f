"""Answers of gpt-oss as they come: token ids → text on channels.

Owns the state of a Harmony stream as a table, and the repair of what models get wrong: forgotten
`<|start|>`, `<|message|>` or `<|end|>`, garbage and unknown channels in headers, turns of other
roles. Message text is decoded by openai-harmony's own parser. Whatever comes, no control token
and nothing of a message that is not marked as `final` reaches the channel `final`.

Format: https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from openai_harmony import Role, StreamableParser

from ingle.messages import Channel

from .completion_text import CompletionText
from .dialect import Piece, Stream
from .harmony_header import CHANNELS, THOUGHT, Header, is_other_role, read_header, read_unfinished
from .harmony_vocabulary import ORDINARY
from .infill_stream import InfillStream
from .text_cut import TextCut

if TYPE_CHECKING:
    from openai_harmony import HarmonyEncoding

#: A header longer than this has lost its `<|message|>`.
MAX_HEADER_TOKENS = 48

_LABELS = {channel: name for name, channel in CHANNELS.items()}


class Kind(Enum):
    """What a token is to the format."""

    TEXT = "text"
    START = "<|start|>"
    CHANNEL = "<|channel|>"
    CONSTRAIN = "<|constrain|>"
    MESSAGE = "<|message|>"
    END = "<|end|>"
    #: Ends the whole answer.
    STOP = "<|return|>"
    #: Reserved tokens and numbers outside the vocabulary.
    OTHER = ""


_KINDS = {
    199998: Kind.STOP,  # <|startoftext|>
    199999: Kind.STOP,  # <|endoftext|>
    200002: Kind.STOP,  # <|return|>
    200003: Kind.CONSTRAIN,
    200005: Kind.CHANNEL,
    200006: Kind.START,
    200007: Kind.END,
    200008: Kind.MESSAGE,
    200012: Kind.STOP,  # <|call|>
}


def kind_of(token: int) -> Kind:
    """The kind of a token id."""
    if 0 <= token < ORDINARY:
        return Kind.TEXT
    return _KINDS.get(token, Kind.OTHER)


class State(Enum):
    """Where in the format the stream is."""

    BETWEEN = "between messages"
    HEADER = "in a header"
    CONTENT = "in a message"
    OVER = "over"


class MessageText:
    """Text of one message, decoded by openai-harmony's parser."""

    def __init__(self, encoding: HarmonyEncoding, channel: Channel) -> None:
        self._parser = StreamableParser(encoding, Role.ASSISTANT, strict=False)
        header = f"<|channel|>{_LABELS[channel]}<|message|>"
        for token in encoding.encode(header, allowed_special="all"):
            self._parser.process(token)

    def feed(self, token: int) -> str:
        """An ordinary token → text, whole characters only."""
        self._parser.process(token)
        delta: str | None = self._parser.last_content_delta
        return delta or ""


class HarmonyChatStream(Stream):
    """The answer to a chat, from right after `<|start|>assistant`."""

    def __init__(
        self, encoding: HarmonyEncoding, stop: Sequence[str] = (), tools: Collection[str] = ()
    ) -> None:
        """`tools` are the names that may be called."""
        self._encoding = encoding
        self._tools = tools
        self._state = State.HEADER
        #: The prompt has said who speaks; later headers must.
        self._spoken_for = True
        self._header: list[int] = []
        self._place = THOUGHT
        self._arguments = ""
        self._called = False
        self._message: MessageText | None = None
        self._final = TextCut(stop)
        self._tokens = 0
        self._pieces: list[Piece] = []
        #: What to do with a token, by state; the later table completes the earlier one.
        self._table: dict[tuple[State, Kind], Callable[[int], None]] = {
            (State.BETWEEN, Kind.TEXT): self._begin_with,
            (State.BETWEEN, Kind.START): self._begin,
            (State.BETWEEN, Kind.CHANNEL): self._begin_with,
            (State.BETWEEN, Kind.MESSAGE): self._open,
            (State.BETWEEN, Kind.CONSTRAIN): self._drop,
            (State.BETWEEN, Kind.END): self._drop,
            (State.BETWEEN, Kind.STOP): self._stop,
            (State.HEADER, Kind.TEXT): self._add,
            (State.HEADER, Kind.START): self._begin,
            (State.HEADER, Kind.CHANNEL): self._add,
            (State.HEADER, Kind.MESSAGE): self._open,
            (State.HEADER, Kind.CONSTRAIN): self._add,
            (State.HEADER, Kind.END): self._close_headless,
            (State.HEADER, Kind.STOP): self._stop_headless,
            (State.CONTENT, Kind.TEXT): self._say,
            (State.CONTENT, Kind.START): self._close_and_begin,
            (State.CONTENT, Kind.CHANNEL): self._close_and_begin_with,
            (State.CONTENT, Kind.MESSAGE): self._drop,
            (State.CONTENT, Kind.CONSTRAIN): self._drop,
            (State.CONTENT, Kind.END): self._close,
            (State.CONTENT, Kind.STOP): self._stop,
        }

    @property
    def complete(self) -> bool:
        return self._state is State.OVER

    @property
    def called(self) -> bool:
        return self._called

    def feed(self, ids: Sequence[int], _text: str) -> list[Piece]:
        for token in ids:
            if self._state is State.OVER:
                break
            self._tokens += 1
            kind = kind_of(token)
            if kind is not Kind.OTHER:
                self._table[self._state, kind](token)
        return self._taken()

    def finish(self) -> list[Piece]:
        if self._state is State.HEADER:
            self._open_headless()
        self._end_text()
        self._state = State.OVER
        return self._taken()

    # --- transitions ---------------------------------------------------------------------

    def _drop(self, _token: int) -> None:
        """A token that means nothing here."""

    def _begin(self, _token: int) -> None:
        self._state, self._header, self._spoken_for = State.HEADER, [], False

    def _begin_with(self, token: int) -> None:
        """A header without its `<|start|>`."""
        self._begin(token)
        self._add(token)

    def _add(self, token: int) -> None:
        self._header.append(token)
        if len(self._header) > MAX_HEADER_TOKENS:
            self._open_headless()

    def _open(self, _token: int) -> None:
        header = self._header_text()
        if not self._spoken_for and is_other_role(header):
            self._state = State.OVER
            return
        self._enter(read_header(header, self._tools))

    def _open_headless(self) -> None:
        """A header that never came to its `<|message|>`."""
        header = self._header_text()
        if not self._spoken_for and is_other_role(header):
            self._enter(THOUGHT)
            return
        place, text = read_unfinished(header)
        self._enter(place)
        if "<|" not in text:
            self._emit(text.lstrip())

    def _say(self, token: int) -> None:
        if self._message:
            self._emit(self._message.feed(token))

    def _close(self, _token: int) -> None:
        self._end_text()
        # Nothing that belongs to the answer comes after its final message or its call.
        whole = self._place.channel == "final" or self._place.tool
        self._state = State.OVER if whole else State.BETWEEN
        self._header = []

    def _close_and_begin(self, token: int) -> None:
        self._close(token)
        if self._state is State.BETWEEN:
            self._begin(token)

    def _close_and_begin_with(self, token: int) -> None:
        self._close(token)
        if self._state is State.BETWEEN:
            self._begin_with(token)

    def _close_headless(self, token: int) -> None:
        self._open_headless()
        if self._state is State.CONTENT:
            self._close(token)

    def _stop_headless(self, token: int) -> None:
        self._open_headless()
        self._stop(token)

    def _stop(self, _token: int) -> None:
        self._end_text()
        self._state = State.OVER

    # --- text ----------------------------------------------------------------------------

    def _enter(self, place: Header) -> None:
        self._place, self._state = place, State.CONTENT
        self._message = MessageText(self._encoding, place.channel)

    def _emit(self, text: str) -> None:
        if self._place.tool:
            self._arguments += text
        if self._place.channel == "final":
            text = self._final.feed(text)
            if self._final.met:
                self._state = State.OVER
        self._piece(text)

    def _end_text(self) -> None:
        if self._state is not State.CONTENT:
            return
        if self._place.channel == "final":
            self._piece(self._final.finish())
        self._called = bool(self._place.tool) and _is_object(self._arguments)

    def _piece(self, text: str) -> None:
        if text:
            place = self._place
            self._pieces.append(
                Piece(channel=place.channel, text=text, tokens=self._tokens, tool=place.tool)
            )
            self._tokens = 0

    def _taken(self) -> list[Piece]:
        """The pieces so far, neighbours of one channel joined."""
        joined: list[Piece] = []
        for piece in self._pieces:
            if joined and (joined[-1].channel, joined[-1].tool) == (piece.channel, piece.tool):
                last = joined.pop()
                piece = replace(
                    piece, text=last.text + piece.text, tokens=last.tokens + piece.tokens
                )
            joined.append(piece)
        self._pieces = []
        return joined

    def _header_text(self) -> str:
        header: str = self._encoding.decode(self._header)
        return header


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


class HarmonyInfillStream(InfillStream):
    """A completion, from inside an open `final` message: any control token ends it."""

    def __init__(self, encoding: HarmonyEncoding, text: CompletionText) -> None:
        super().__init__(text)
        self._message = MessageText(encoding, "final")
        self._over = False

    @property
    def complete(self) -> bool:
        return self._over or super().complete

    def feed(self, ids: Sequence[int], _text: str) -> list[Piece]:
        shown = ""
        for token in ids:
            if self.complete:
                break
            self._tokens += 1
            if kind_of(token) is Kind.TEXT:
                shown += self._text.feed(self._message.feed(token))
            else:
                shown += self._text.finish()
                self._over = True
        return self._pieces(shown)

    def finish(self) -> list[Piece]:
        return [] if self._over else super().finish()
