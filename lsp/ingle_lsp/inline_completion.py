"""One completion at a cursor: from an editor's position to a text to insert.

Owns the order of things: what makes a request not worth sending, the pause for typing, what is
sent, and which answers come too late. Knows nothing of LSP's types and nothing of sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ingle.errors import (
    Busy,
    ConnectionFailed,
    DeadlineExceeded,
    HelloRequired,
    IngleError,
    ShuttingDown,
    WorkerDied,
)
from ingle.results import Completion

from .connection import DaemonConnection
from .documents import Document, Documents, Place
from .postprocess import Cursor, polished, wants_block
from .privacy import Privacy, is_secret_text
from .settings import Settings

log = logging.getLogger(__name__)

#: Characters that go to the model. The daemon takes what it can afford, from the cursor outwards.
PREFIX_CHARACTERS = 32_000
SUFFIX_CHARACTERS = 4_000
#: Characters after the cursor that a completion is compared with.
LOOK_AHEAD_CHARACTERS = 32_000
#: Longest text of a protocol name (path, language, document).
MAX_NAME = 4096
#: Seconds past the daemon's own deadline after which an answer is not waited for.
PATIENCE = 1.0

#: What passes by itself and needs no word.
_PASSING = (Busy, DeadlineExceeded, ShuttingDown, WorkerDied)


@dataclass(frozen=True)
class Suggestion:
    """Text to insert at a place of a document."""

    document: Document
    place: Place
    text: str


class InlineCompletion:
    """Answers completion requests; the newest of each document counts."""

    def __init__(
        self,
        *,
        documents: Documents,
        connection: DaemonConnection,
        privacy: Privacy,
        settings: Callable[[], Settings],
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._documents = documents
        self._connection = connection
        self._privacy = privacy
        self._settings = settings
        self._tell = tell
        self._sleep = sleep
        self._newest: dict[str, object] = {}
        self._told: set[str] = set()

    async def suggest(self, uri: str, line: int, units: int, *, invoked: bool) -> Suggestion | None:
        """The completion at a position, or None: nothing to say, not allowed, or too late.

        `invoked`: the user asked by a key, so there is no pause for typing. Raises only
        `asyncio.CancelledError`, which cancels the request in the daemon, too.
        """
        document = self._documents.get(uri)
        settings = self._settings()
        if document is None or not settings.enabled:
            return None
        place = document.locate(line, units)
        if place is None:
            log.info("a position outside of its document was asked for")
            return None
        ticket = self._newest[uri] = object()
        try:
            return await self._suggest(document, place, settings, ticket, invoked=invoked)
        finally:
            if self._newest.get(uri) is ticket:
                del self._newest[uri]

    async def _suggest(
        self,
        document: Document,
        place: Place,
        settings: Settings,
        ticket: object,
        *,
        invoked: bool,
    ) -> Suggestion | None:
        revision = document.revision

        def is_current() -> bool:
            return (
                self._newest.get(document.uri) is ticket
                and self._documents.get(document.uri) is document
                and document.revision == revision
            )

        cursor = _cursor(document, place, settings, invoked=invoked)
        if cursor is None:
            return None
        if not invoked and settings.debounce_ms:
            await self._sleep(settings.debounce_ms / 1000)
        if not is_current() or await self._privacy.is_private(document.uri) or not is_current():
            return None
        block = wants_block(cursor, settings.multiline, invoked=invoked)
        completion = await self._infill(document, cursor, settings, block=block)
        if completion is None or not is_current():
            return None
        if completion.confidence is not None and completion.confidence < settings.min_confidence:
            return None
        unfinished = completion.finish in ("length", "deadline")
        text = polished(completion.text, cursor, block=block, unfinished=unfinished)
        return Suggestion(document, place, text) if text else None

    async def _infill(
        self, document: Document, cursor: Cursor, settings: Settings, *, block: bool
    ) -> Completion | None:
        fields: dict[str, object] = {
            "path": _shown_path(document.uri),
            "language": document.language[:MAX_NAME],
            "document": document.uri[-MAX_NAME:],
            "multiline": block,
            "deadline_ms": settings.deadline_ms,
        }
        if settings.max_tokens is not None:
            fields["max_tokens"] = settings.max_tokens
        try:
            async with asyncio.timeout(settings.deadline_ms / 1000 + PATIENCE):
                # A daemon that was restarted since the last key is worth a second try.
                for _attempt in range(2):
                    client = await self._connection.client()
                    if client is None:
                        return None
                    try:
                        completion = await client.infill(
                            cursor.prefix, cursor.suffix[:SUFFIX_CHARACTERS], **fields
                        )
                    except (ConnectionFailed, HelloRequired):
                        self._connection.lost(client)
                    else:
                        self._told.clear()
                        return _usable(completion)
        except TimeoutError:
            log.info("the daemon gave no completion in time")
        except IngleError as error:
            self._report(error)
        return None

    def _report(self, error: IngleError) -> None:
        """Tell the user once what only the user can mend: no model, a failed load."""
        if isinstance(error, _PASSING) or str(error) in self._told:
            return
        self._told.add(str(error))
        log.warning("no completion: %s", error)
        self._tell(str(error))


def _cursor(
    document: Document, place: Place, settings: Settings, *, invoked: bool
) -> Cursor | None:
    """What stands around the cursor; None where a completion is not wanted or not allowed."""
    if document.language in settings.disabled_languages or document.is_huge or document.is_binary:
        return None
    cursor = Cursor(
        prefix=_unix(document.before(place, PREFIX_CHARACTERS)),
        suffix=_unix(document.after(place, LOOK_AHEAD_CHARACTERS)),
    )
    sent = cursor.prefix + cursor.suffix[:SUFFIX_CHARACTERS]
    if not sent.strip() or is_secret_text(sent) or not _is_unicode(sent):
        return None
    if not invoked and _is_inside_word(cursor):
        return None
    return cursor


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_inside_word(cursor: Cursor) -> bool:
    """Between two letters there is nothing to add that typing on would not make wrong."""
    return cursor.line[-1:].isalnum() and cursor.rest[:1].isalnum()


def _is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which no message can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown_path(uri: str) -> str:
    """The file's name and folder: a model can use that; the whole path is not its affair."""
    try:
        path = unquote(urlsplit(uri).path)
    except ValueError:
        return ""
    return "/".join([part for part in path.split("/") if part][-2:])[:MAX_NAME]


def _usable(completion: Completion) -> Completion | None:
    return None if completion.finish in ("cancelled", "superseded") else completion
