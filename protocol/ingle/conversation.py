"""What a model gets to read of a thread. Pure.

The same turns always make the same messages, whoever continues a thread: then a new question finds
the conversation before it in the prefix cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from .codec import MAX_MESSAGE_BYTES
from .messages import ChatMessage
from .threads import Excerpt, Range, Turn

#: Messages of one request at most (the protocol allows 4096).
MAX_TURNS = 4000
#: Bytes of all texts at most; the rest of a request is small.
MAX_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
#: What stays when the oldest turns are left out because a model's context is too small. One turn
#: at a time would take many tries, and would change the beginning of the prompt at every question.
KEPT = 2 / 3

_BACKTICKS = re.compile(r"`{3,}")


def messages(system: str, turns: Sequence[Turn]) -> list[ChatMessage]:
    """The messages of a request. An answer without a word is left out, as are thoughts."""
    said = [ChatMessage(role="system", content=system)] if system else []
    for turn in turns:
        text = question_text(turn) if turn.role == "user" else turn.text
        if text:
            said.append(ChatMessage(role=turn.role, content=text))
    return said


def question_text(turn: Turn) -> str:
    """A question with what it is about, which comes first: it is what stays while one asks on."""
    return "\n\n".join([*map(_excerpt_text, turn.context), turn.text])


def fits(system: str, turns: Sequence[Turn]) -> bool:
    """Whether one request can hold these turns; a model's context is another matter."""
    return len(turns) <= MAX_TURNS and (
        sum(len(message.content.encode()) for message in messages(system, turns)) <= MAX_BYTES
    )


def shortened(turns: Sequence[Turn], first: int) -> int:
    """Where to begin instead of at `first`, so that the last question has more room.

    Leaves out at least a third of what stands before the last turn, in whole pairs of question and
    answer. The result is `first` only if there is nothing to leave out.
    """
    last = len(turns) - 1
    lengths = [_length(turn) for turn in turns[:last]]
    room = sum(lengths[first:]) * KEPT
    for place in range(first + 1, last + 1):
        if turns[place].role == "user" and sum(lengths[place:]) <= room:
            return place
    return first


def shown_path(uri: str) -> str:
    """The file's name and folder: a model can use that; the whole path is not its affair."""
    try:
        path = unquote(urlsplit(uri).path)
    except ValueError:
        return ""
    return "/".join([part for part in path.split("/") if part][-2:])


def shown_lines(span: Range) -> str:
    """The lines of a range for a person: `line 3`, `lines 3 to 9`."""
    first, last = span.start.line + 1, span.end.line + 1
    if span.end.character == 0 and last > first:
        last -= 1
    return f"line {first}" if first == last else f"lines {first} to {last}"


def fence_around(text: str) -> str:
    """Backticks that no line of `text` can end."""
    return "`" * max([3, *(len(run) + 1 for run in _BACKTICKS.findall(text))])


def _excerpt_text(excerpt: Excerpt) -> str:
    where = shown_path(excerpt.uri)
    if excerpt.range is not None:
        where = f"{where}, {shown_lines(excerpt.range)}"
    fence = fence_around(excerpt.text)
    end = "" if excerpt.text.endswith("\n") else "\n"
    return f"{where}:\n\n{fence}{excerpt.language}\n{excerpt.text}{end}{fence}"


def _length(turn: Turn) -> int:
    return len(turn.text) + sum(len(excerpt.text) for excerpt in turn.context)
