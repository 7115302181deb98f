"""The answer of a model that speaks through a chat template, as it comes.

Owns the split of a leading `<think>…</think>` block (channel `analysis`) from the answer
(`final`), and the texts that end the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ingle.messages import Channel
from ingled.engines.engine import Tokenizer

from .dialect import Piece, Stream
from .text_cut import TextCut

THINK, END_THINK = "<think>", "</think>"


class Phase(Enum):
    """Where in its answer the model is."""

    OPEN = "open"
    ANALYSIS = "analysis"
    FINAL = "final"


class ChatStream(Stream):
    """Splits the text; how it is cut into tokens makes no difference."""

    def __init__(
        self, tokenizer: Tokenizer, *, phase: Phase = Phase.FINAL, stop: Sequence[str] = ()
    ) -> None:
        """`phase` is where the prompt left off: `OPEN` when the model may begin to think."""
        self._tokenizer = tokenizer
        self._phase = phase
        self._opening = ""
        self._thinking = TextCut([END_THINK])
        self._final = TextCut(stop)
        self._begun = False
        self._tokens = 0
        self._marks = {
            token: mark
            for mark in (THINK, END_THINK)
            if phase is not Phase.FINAL and (token := tokenizer.special(mark)) is not None
        }

    @property
    def complete(self) -> bool:
        return bool(self._final.met)

    def feed(self, ids: Sequence[int], text: str) -> list[Piece]:
        if self.complete:
            return []
        self._tokens += len(ids)
        return self._pass(self._with_marks(ids, text))

    def finish(self) -> list[Piece]:
        if self._phase is Phase.ANALYSIS:
            return self._piece("analysis", self._thinking.finish())
        pieces = self._show(self._opening) if self._phase is Phase.OPEN else []
        self._opening = ""
        return pieces + self._piece("final", self._final.finish())

    def _pass(self, text: str) -> list[Piece]:
        if self._phase is Phase.OPEN:
            self._opening += text
            start = self._opening.lstrip()
            if THINK.startswith(start):
                if start != THINK:
                    return []
            elif not start.startswith(THINK):
                self._phase = Phase.FINAL
                return self._show(self._opening)
            self._phase = Phase.ANALYSIS
            text = start[len(THINK) :]
        if self._phase is Phase.ANALYSIS:
            shown = self._thinking.feed(text)
            if not self._begun:
                shown = shown.lstrip()
                self._begun = bool(shown)
            pieces = self._piece("analysis", shown)
            if not self._thinking.met:
                return pieces
            self._phase, self._begun = Phase.FINAL, False
            return pieces + self._show(self._thinking.rest)
        return self._show(text)

    def _show(self, text: str) -> list[Piece]:
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return self._piece("final", self._final.feed(text))

    def _piece(self, channel: Channel, text: str) -> list[Piece]:
        if not text:
            return []
        tokens, self._tokens = self._tokens, 0
        return [Piece(channel=channel, text=text, tokens=tokens)]

    def _with_marks(self, ids: Sequence[int], text: str) -> str:
        """Write in the marks that the engine left out of the text as control tokens."""
        for place, token in enumerate(ids):
            mark = self._marks.get(token)
            if mark and mark not in text:
                before = self._tokenizer.decode(ids[:place]) if place else ""
                at = len(before) if text.startswith(before) else len(text)
                text = text[:at] + mark + text[at:]
        return text
