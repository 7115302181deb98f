"""What is asked at a place of a document, and whether it is worth asking. Pure.

A question is what a completion depends on: the text around the cursor, the settings, how much is
wanted. From one follow others: once its answer is accepted, once the next line is begun.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import indentation
from .documents import Document, Place
from .folders import is_inside
from .infilling import SUFFIX_CHARACTERS
from .positions import is_unicode
from .postprocess import Cursor, wants_block
from .privacy import is_secret_text
from .settings import Settings
from .syntax import kind_at
from .typed_through import Spot

#: Characters that go to the model. The daemon takes what it can afford, from the cursor outwards.
PREFIX_CHARACTERS = 32_000
#: Characters after the cursor that a completion is compared with.
LOOK_AHEAD_CHARACTERS = 32_000


@dataclass(frozen=True)
class Question:
    """A request that is worth an answer, and its document as it was then."""

    document: Document
    revision: int
    spot: Spot
    settings: Settings
    #: The user asked by a key.
    invoked: bool
    #: Several lines are wanted.
    block: bool

    @property
    def candidates(self) -> int:
        """How many texts are wanted."""
        return self.settings.candidates if self.invoked else 1

    @property
    def is_wanted(self) -> bool:
        """Whether the user wants suggestions in what the cursor is in: a comment, a string."""
        settings, cursor = self.settings, self.spot.cursor
        if settings.in_comments and settings.in_strings:
            return True
        kind = kind_at(cursor.prefix, cursor.suffix, self.document.language)
        return (kind != "comment" or settings.in_comments) and (
            kind != "string" or settings.in_strings
        )

    def is_same(self, other: Question) -> bool:
        """Whether nothing was typed or moved between the two."""
        return (
            self.document is other.document
            and (self.revision, self.spot.place) == (other.revision, other.spot.place)
            and self.settings == other.settings
        )

    def after(self, text: str) -> Question:
        """The question once `text` was put in at the cursor."""
        spot = self.spot
        lines = text.split("\n")
        column = len(lines[-1]) + (spot.place.column if len(lines) == 1 else 0)
        cursor = Cursor(prefix=spot.cursor.prefix + text, suffix=spot.cursor.suffix)
        return replace(
            self,
            spot=Spot(spot.uri, Place(spot.place.line + len(lines) - 1, column), cursor),
            invoked=False,
            block=wants_block(cursor, self.settings.multiline, invoked=False),
        )

    def next_line(self) -> Question | None:
        """The question on a new line after this one; None where the cursor is not at its end."""
        cursor = self.spot.cursor
        if cursor.rest or not cursor.line.strip():
            return None
        return self.after("\n" + indentation.after_break(cursor.prefix))


def question_at(
    document: Document, place: Place, settings: Settings, promised: str, *, invoked: bool
) -> Question | None:
    """What is asked at a place, or None where a completion is not wanted or not allowed.

    `promised`: text that will stand before the cursor.
    """
    if document.language in settings.disabled_languages or document.is_huge or document.is_binary:
        return None
    if is_inside(document.uri, settings.disabled_folders):
        return None
    cursor = Cursor(
        prefix=unix(document.before(place, PREFIX_CHARACTERS)) + promised,
        suffix=unix(document.after(place, LOOK_AHEAD_CHARACTERS)),
    )
    sent = cursor.prefix + cursor.suffix[:SUFFIX_CHARACTERS]
    if not sent.strip() or is_secret_text(sent) or not is_unicode(sent):
        return None
    if not invoked and _is_inside_word(cursor):
        return None
    return Question(
        document=document,
        revision=document.revision,
        spot=Spot(document.uri, Place(place.line, place.column + len(promised)), cursor),
        settings=settings,
        invoked=invoked,
        block=wants_block(cursor, settings.multiline, invoked=invoked),
    )


def unix(text: str) -> str:
    """With the line ends that a model knows."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_inside_word(cursor: Cursor) -> bool:
    """Between two letters there is nothing to add that typing on would not make wrong."""
    return cursor.line[-1:].isalnum() and cursor.rest[:1].isalnum()
