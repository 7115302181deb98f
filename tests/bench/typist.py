"""One typing session: a trace is replayed in real time, and what the user sees is noted.

Owns the document, the clock of the keys, and what counts as seen. Whoever suggests (`Suggester`)
is told of every key, and says when it has something for the cursor as it is now.

A **pause** is a rest of `PAUSE_S` or more after a key. It ends in one of three ways: a suggestion
became visible (its time is from the last key), there was nothing to suggest, or the next key came
first. For latencies the last is counted with the pause's whole length, which is less than it would
have taken: leaving it out would favour whoever answers only what is easy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .traces import Stroke, Trace

#: Shortest rest that is a pause.
PAUSE_S = 0.5


@dataclass
class Document:
    """Text with a cursor. `revision` counts the keys."""

    language: str
    text: str
    offset: int = 0
    revision: int = 0

    @property
    def before(self) -> str:
        """The text before the cursor."""
        return self.text[: self.offset]

    @property
    def after(self) -> str:
        """The text after the cursor."""
        return self.text[self.offset :]

    @property
    def place(self) -> tuple[int, int]:
        """Line and column of the cursor, from 0; the text is ASCII."""
        before = self.before
        return before.count("\n"), len(before) - before.rfind("\n") - 1

    def apply(self, stroke: Stroke) -> None:
        """A key."""
        self.revision += 1
        if stroke.kind == "jump":
            lines = self.text.splitlines(keepends=True)[: stroke.line + 1]
            self.offset = len("".join(lines).removesuffix("\n")) if lines else 0
        else:
            start = self.offset - stroke.erased
            self.text = self.text[:start] + stroke.text + self.after
            self.offset = start + len(stroke.text)


class Suggester(Protocol):
    """An editor with something that completes in it."""

    name: str
    #: Called with a revision and the text for it; "" means that there is nothing to suggest.
    on_answer: Callable[[int, str], None]

    async def open(self, document: Document) -> None:
        """Show a document; returns when its prompt is computed as far as it ever is at rest."""

    def key(self, document: Document, stroke: Stroke) -> None:
        """The document and its cursor are now like this."""

    async def rest(self) -> None:
        """Typing is over: give up what is still asked for."""


@dataclass
class Session:
    """What came of one trace. Times are milliseconds from the last key."""

    shown: list[float] = field(default_factory=list)
    #: Pauses that ended before there was an answer: their length.
    unanswered: list[float] = field(default_factory=list)
    #: Pauses in which there was nothing to suggest: their length.
    nothing: list[float] = field(default_factory=list)
    #: The texts that became visible, each once, whether in a pause or not.
    visible: list[str] = field(default_factory=list)
    #: The document in each pause.
    places: list[Document] = field(default_factory=list)

    @property
    def latencies(self) -> list[float]:
        """One for each pause that had an answer or should have had one."""
        return self.shown + self.unanswered

    @property
    def answered(self) -> float:
        """Share of the pauses with something to suggest in which it became visible."""
        return len(self.shown) / len(self.latencies) if self.latencies else 1.0


class Typist:
    """Replays one trace to one suggester."""

    def __init__(self, trace: Trace, suggester: Suggester) -> None:
        self._trace = trace
        self._suggester = suggester
        self._document = Document(trace.language, trace.document)
        self._session = Session()
        self._pressed = 0.0
        #: Text and time of the first answer for the present revision.
        self._answer: tuple[str, float] | None = None

    async def open(self) -> None:
        """Show the document, the cursor where the trace begins."""
        self._suggester.on_answer = self._answered
        self._document.apply(self._trace.strokes[0])
        self._document.revision = 0
        await self._suggester.open(self._document)

    async def type(self) -> Session:
        """In real time: takes as long as the trace says."""
        suggester = self._suggester
        self._pressed = time.perf_counter()
        for stroke in self._trace.strokes[1:]:
            due = self._pressed + stroke.wait_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._settle(stroke.wait_s)
            self._document.apply(stroke)
            self._answer = None
            self._pressed = time.perf_counter()
            suggester.key(self._document, stroke)
        await suggester.rest()
        return self._session

    def _answered(self, revision: int, text: str) -> None:
        if revision != self._document.revision or self._answer is not None:
            return
        self._answer = text, (time.perf_counter() - self._pressed) * 1000
        if text:
            self._saw(text)

    def _saw(self, text: str) -> None:
        """The rest of what was visible already is not computed again."""
        visible = self._session.visible
        if not visible or not visible[-1].endswith(text):
            visible.append(text)

    def _settle(self, waited_s: float) -> None:
        """The next key is due: what came of the pause before it?"""
        if waited_s < PAUSE_S or not self._document.revision:
            return
        session = self._session
        session.places.append(
            Document(self._document.language, self._document.text, self._document.offset)
        )
        if self._answer is None:
            session.unanswered.append(waited_s * 1000)
        elif not self._answer[0]:
            session.nothing.append(waited_s * 1000)
        else:
            session.shown.append(self._answer[1])
