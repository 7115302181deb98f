"""The answer of a completion: what every dialect makes of it once it has the text."""

from __future__ import annotations

from collections.abc import Sequence

from .completion_text import CompletionText
from .dialect import Piece, Stream


class InfillStream(Stream):
    """Pieces from a `CompletionText`; how tokens become its text is the subclass's affair."""

    def __init__(self, text: CompletionText) -> None:
        self._text = text
        #: Since the last piece.
        self._tokens = 0

    def finish(self) -> list[Piece]:
        return self._pieces(self._text.finish())

    @property
    def complete(self) -> bool:
        return self._text.complete

    @property
    def cut(self) -> bool:
        return self._text.cut

    @property
    def to_repeat(self) -> int:
        return self._text.to_repeat

    def _pieces(self, shown: str) -> list[Piece]:
        if not shown:
            return []
        tokens, self._tokens = self._tokens, 0
        return [Piece(channel="final", text=shown, tokens=tokens)]


class TextInfillStream(InfillStream):
    """A completion from the engine's text."""

    def feed(self, ids: Sequence[int], text: str) -> list[Piece]:
        self._tokens += len(ids)
        return self._pieces(self._text.feed(text))
