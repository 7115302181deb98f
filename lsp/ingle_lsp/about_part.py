"""One question about a part of a document: which lines, what is sent of the rest, and how much.

Explanations and edits share this. What they ask is `prompts`, how the answer comes is `asking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pygls.exceptions import JsonRpcException

from ingle.conversation import shown_path
from ingle.errors import ContextOverflow
from ingle.messages import Effort
from ingle.results import Answer
from ingle.threads import Range

from . import prompts
from .answers import Refused
from .asking import Waiting, ask, context_tokens
from .documents import Document
from .enclosing import Part, enclosing, paragraph
from .positions import is_unicode
from .privacy import is_secret_text
from .progress import Work
from .prompts import Excerpt
from .sources import check_text

if TYPE_CHECKING:
    from .server import IngleServer

#: Longest part of a document that one task is about, in characters.
MAX_PART = 16_000
#: Characters of the file that are shown around it at most, and of all that is said besides.
MAX_SURROUNDINGS = 24_000
_TASK = 2_000
#: Fewer characters a token than code usually has: a budget may be too small, not too large.
_CHARACTERS_PER_TOKEN = 3
#: Longest `Name` of the protocol.
_MAX_NAME = 4096
#: Tokens of an answer before its code: what a reasoning model thinks.
_THINKING: dict[Effort, int] = {"low": 2_048, "medium": 6_144, "high": 16_384}


async def refusal(server: IngleServer, document: Document) -> str | None:
    """Why nothing of a document may be sent, as a line for the user; None if it may."""
    name = shown_path(document.uri) or "this document"
    if document.is_binary:
        return f"{name} is binary: it can't be sent"
    if document.is_huge:
        return f"{name} is too large for the language server"
    if await server.privacy.is_private(document.uri):
        return f"{name} looks like a secret, or git ignores it: it is not sent"
    return None


def part_of(document: Document, span: Range) -> Part:
    """The lines that a range means, without blank ones at its ends.

    An empty range means the function, class or paragraph around it. Raises `Refused` with why there
    are none, or too many.
    """
    name = shown_path(document.uri)
    lines = document.lines
    first, last = sorted((span.start.line, span.end.line))
    if not 0 <= first < len(lines):
        raise Refused(f"the range is outside of {name}: select again")
    if span.start == span.end:
        part = enclosing(lines, first, document.language)
        if part is not None and _size(lines, part) > MAX_PART and lines[first].strip():
            part = paragraph(lines, first)
    else:
        if span.end.character == 0 and last > first:
            # The line behind the last one.
            last -= 1
        part = _without_blank_ends(lines, Part(first, min(last, len(lines) - 1)))
    if part is None:
        raise Refused("there is no code here")
    size = _size(lines, part)
    if size > MAX_PART:
        raise Refused(
            f"{size:,} characters are too many for one task (at most {MAX_PART:,}): select less"
        )
    return part


def reason_against(document: Document, span: Range) -> str | None:
    """Why there can be no task about a range, as a line for the user; None if there can."""
    try:
        part = part_of(document, span)
        check_text("".join(document.lines[part.first : part.last + 1]), shown_path(document.uri))
    except (Refused, JsonRpcException) as reason:
        return str(reason)
    return None


def excerpt_of(document: Document, part: Part) -> Excerpt:
    """A part as a prompt shows it. Raises what the editor shows if it must not be sent."""
    lines = [_unix(line) for line in document.lines]
    excerpt = Excerpt(shown_path(document.uri), document.language, lines, part.first, part.last)
    check_text(excerpt.code, excerpt.path)
    return excerpt


async def ask_about(
    server: IngleServer, document: Document, excerpt: Excerpt, task: str, work: Work
) -> Answer:
    """The answer to a task about a part of a document.

    Raises `Refused` if the task is too large for the model, an `IngleError` if the daemon refuses,
    and what the editor shows if the task must not be sent.
    """
    check_text(task, "what is to be sent")
    fields: dict[str, object] = {
        "conversation": document.uri[-_MAX_NAME:],
        "max_tokens": _THINKING[server.settings.effort or "medium"] + len(excerpt.code) // 2,
    }
    if server.settings.effort is not None:
        fields["effort"] = server.settings.effort
    room = _room(await context_tokens(server.connection), len(excerpt.code), len(task))
    around = prompts.surroundings(excerpt, room)
    if is_secret_text(around) or not is_unicode(around):
        # Not the part's own fault: it goes without them.
        room = 0
    for attempt in dict.fromkeys((room, 0)):
        try:
            return await ask(
                server.connection,
                on_event=Waiting(work),
                messages=prompts.messages(excerpt, task, attempt),
                **fields,
            )
        except ContextOverflow:
            continue
    raise Refused("this is more than fits into the model's context: select less")


def _room(context: int, part: int, task: int) -> int:
    """Characters of the file that may be shown, by the model's context in tokens.

    Half of the context is for prompts: the answer to a long part is about as long again.
    """
    prompt = context * _CHARACTERS_PER_TOKEN // 2
    return max(0, min(MAX_SURROUNDINGS, prompt - max(task, part + _TASK)))


def _without_blank_ends(lines: Sequence[str], part: Part) -> Part | None:
    numbers = [number for number in range(part.first, part.last + 1) if lines[number].strip()]
    return Part(numbers[0], numbers[-1]) if numbers else None


def _size(lines: Sequence[str], part: Part) -> int:
    return sum(map(len, lines[part.first : part.last + 1]))


def _unix(line: str) -> str:
    content = line.rstrip("\r\n")
    return content if len(content) == len(line) else content + "\n"
