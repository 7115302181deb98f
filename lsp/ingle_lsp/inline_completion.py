"""One completion at a cursor: from an editor's position to texts to insert.

Owns the order of things: what makes a request not worth sending, what is known already, the pause
for typing, how many candidates there are, and which answers come too late. Knows nothing of LSP's
types and nothing of sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ingle.results import Completion

from .ahead import following, odds
from .connection import DaemonConnection
from .debounce import Debounce
from .documents import Document, Documents, Place
from .infilling import Infilling
from .postprocess import Cursor, polished
from .privacy import Privacy
from .question import Question, question_at, unix
from .riding import agrees
from .settings import Settings
from .so_far import SoFar
from .typed_through import Known, Spot, TypedThrough

log = logging.getLogger(__name__)

#: Characters after a place in which is looked for what was typed there since.
RIDING_CHARACTERS = 400
#: Seconds from a cancelled request to the next one, besides its pause for typing.
GRACE = 0.1


@dataclass(frozen=True)
class Selected:
    """The entry that is selected in the editor's completion menu, and from where it replaces."""

    start_line: int
    start_units: int
    end_line: int
    end_units: int
    text: str


@dataclass(frozen=True)
class Suggestion:
    """Texts for a place of a document, the best first; each replaces what is from `start` on."""

    document: Document
    start: Place
    place: Place
    texts: tuple[str, ...]


@dataclass(frozen=True)
class _Further:
    """Further candidates that are being computed although nobody waits for them yet."""

    question: Question
    task: asyncio.Task[None]


class InlineCompletion:
    """Answers completion requests; the newest of each document counts.

    `first_at_once`: the editor asks again for further candidates, so that the first one need not
    wait for them.
    """

    def __init__(
        self,
        *,
        documents: Documents,
        connection: DaemonConnection,
        privacy: Privacy,
        settings: Callable[[], Settings],
        is_paused: Callable[[], bool],
        first_at_once: Callable[[], bool],
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._privacy = privacy
        self._settings = settings
        self._is_paused = is_paused
        self._first_at_once = first_at_once
        self._sleep = sleep
        self._clock = clock
        self._debounce = Debounce()
        self._infilling = Infilling(
            connection=connection, tell=tell, debounce=self._debounce, clock=clock
        )
        self._known = TypedThrough()
        self._newest: dict[str, object] = {}
        self._further: dict[str, _Further] = {}
        self._background: set[asyncio.Task[None]] = set()
        #: What is being computed although nobody has asked for it yet.
        self._guess: Spot | None = None

    async def suggest(
        self, uri: str, line: int, units: int, *, invoked: bool, selected: Selected | None = None
    ) -> Suggestion | None:
        """What to insert at a position, or None: nothing to say, not allowed, or too late.

        `invoked`: the user asked by a key, so there is no pause for typing, and there are several
        candidates. Raises only `asyncio.CancelledError`, which cancels the request in the daemon.
        """
        document = self._documents.get(uri)
        settings = self._settings()
        if document is None or not settings.enabled or self._is_paused():
            return None
        place = document.locate(line, units)
        if place is None:
            log.info("a position outside of its document was asked for")
            return None
        start, promised = place, ""
        if selected is not None:
            # The text before the cursor that it replaces is the beginning of what it inserts.
            found = _start_of(document, place, selected)
            if found is None:
                return None
            start, promised = found, selected.text[place.column - found.column :]
        question = question_at(document, place, settings, promised, invoked=invoked)
        if question is None:
            return None
        ticket = self._newest[uri] = object()
        try:
            texts = await self._texts(question, ticket)
        finally:
            if self._newest.get(uri) is ticket:
                del self._newest[uri]
        before = selected.text if selected is not None else ""
        whole = tuple(before + text for text in texts)
        return Suggestion(document, start, place, whole) if whole else None

    def model_changed(self) -> None:
        """Another model has other suggestions."""
        self._known = TypedThrough()

    def document_closed(self, uri: str) -> None:
        """Forget what is known of a document."""
        self._known.forget(uri)
        self._stop_further(uri)

    # --- the order of things ---------------------------------------------------------------

    async def _texts(self, question: Question, ticket: object) -> tuple[str, ...]:
        uri = question.spot.uri
        further = self._further.get(uri)
        if further is not None and not further.question.is_same(question):
            self._stop_further(uri)
        elif further is not None and question.candidates > 1:
            # Not awaited: its end, whatever it is, is not this request's.
            await asyncio.wait([further.task])

        def is_current() -> bool:
            return self._newest.get(uri) is ticket and self._is_unchanged(question)

        known = self._find(question)
        texts = known.texts if known is not None else ()
        if not question.invoked:
            self._look_ahead(question, known)
        if known is not None and _is_answer(known, question):
            return texts if question.is_wanted else ()
        if not question.invoked:
            await self._pause(question.settings)
        if not is_current() or not question.is_wanted:
            return ()
        if await self._privacy.is_private(uri) or not is_current():
            return ()
        begun = self._clock()
        if not texts:
            completion = await self._answer(question)
            if completion is None or not is_current():
                return ()
            texts = self._taken(question, completion)
            if question.candidates == 1:
                self._look_ahead(question, self._find(question))
                return texts
            if texts and self._first_at_once():
                task = asyncio.create_task(self._add(question, texts))
                self._further[uri] = _Further(question, task)
                return texts
        deadline = begun + question.settings.deadline_ms / 1000
        texts = await self._with_further(question, texts, is_current, deadline)
        return texts if is_current() else ()

    async def _answer(self, question: Question) -> Completion | None:
        """What the model says; of a long block perhaps its first lines only, the rest follows."""
        so_far = SoFar()
        answer = asyncio.create_task(
            self._infilling.ask(
                *_asked(question),
                block=question.block,
                goes_on=lambda text: self._goes_on(question, text),
                # The next request comes after its own pause.
                grace=self._pause_s(question.settings) + GRACE,
                so_far=so_far,
            )
        )
        try:
            if question.block and not question.invoked:
                await so_far.wait(answer, lambda part: bool(_shown(question, part)))
            else:
                await asyncio.wait({answer})
        except asyncio.CancelledError:
            answer.cancel()
            raise
        if answer.done():
            return answer.result()
        self._in_background(self._take_rest(question, answer))
        return so_far.completion

    async def _take_rest(self, question: Question, answer: asyncio.Task[Completion | None]) -> None:
        completion = await answer
        if completion is not None and self._documents.get(question.spot.uri):
            self._taken(question, completion)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _pause(self, settings: Settings) -> None:
        pause = self._pause_s(settings)
        if pause:
            await self._sleep(pause)

    def _pause_s(self, settings: Settings) -> float:
        automatic = settings.debounce_ms == "auto"
        return self._debounce.pause if automatic else int(settings.debounce_ms) / 1000

    def _goes_on(self, question: Question, generated: str) -> bool:
        """Whether a request that was given up is generating what is being typed."""
        if self._documents.get(question.spot.uri) is not question.document:
            return False
        if self._is_unchanged(question):
            # It was not given up for typing.
            return False
        if question.spot.place.line >= question.document.line_count:
            return False
        after = unix(question.document.after(question.spot.place, RIDING_CHARACTERS))
        return agrees(after, generated, question.spot.cursor.suffix)

    def _is_unchanged(self, question: Question) -> bool:
        document = question.document
        return (
            self._documents.get(document.uri) is document and document.revision == question.revision
        )

    def _taken(self, question: Question, completion: Completion) -> tuple[str, ...]:
        """What is shown of an answer, which is remembered."""
        texts = _shown(question, completion)
        is_whole = completion.finish == "stop" and "".join(texts) == completion.text.rstrip()
        if texts or completion.finish == "stop":
            self._known.remember(
                question.spot,
                texts,
                question.settings,
                complete=False,
                whole=is_whole,
                odds=odds(completion) if is_whole else 0.0,
            )
        return texts

    # --- the next suggestion ---------------------------------------------------------------

    def _look_ahead(self, question: Question, known: Known | None) -> None:
        """Compute what will probably be asked for next, if the model has nothing else to do."""
        guess = following(question, known, self._find) if known is not None else None
        if guess is not None and guess.spot != self._guess:
            self._guess = guess.spot
            self._in_background(self._prefetch(guess))

    def _find(self, question: Question) -> Known | None:
        return self._known.find(question.spot, question.settings)

    async def _prefetch(self, question: Question) -> None:
        # With the deadline of all others: the daemon fits the prompt to it, and they share that.
        completion = await self._infilling.ask(
            *_asked(question), block=question.block, in_background=True
        )
        if self._guess == question.spot:
            self._guess = None
        if completion is not None and self._documents.get(question.spot.uri):
            self._taken(question, completion)

    # --- further candidates ----------------------------------------------------------------

    async def _with_further(
        self,
        question: Question,
        texts: tuple[str, ...],
        is_current: Callable[[], bool],
        deadline: float | None,
    ) -> tuple[str, ...]:
        """Add sampled candidates that differ, one after the other: each finds its prompt computed.

        `deadline` is a time of the clock; None: in the background, with all the time there is.
        """
        for candidate in range(1, question.candidates):
            left = None if deadline is None else round((deadline - self._clock()) * 1000)
            if not is_current() or (left is not None and left < 1):
                return texts
            completion = await self._infilling.ask(
                *_asked(question),
                block=question.block,
                candidate=candidate,
                deadline_ms=left,
                in_background=deadline is None,
            )
            if completion is None:
                return texts
            texts = tuple(dict.fromkeys(texts + _shown(question, completion)))
            self._known.remember(question.spot, texts, question.settings, complete=False)
        self._known.remember(question.spot, texts, question.settings, complete=True)
        return texts

    async def _add(self, question: Question, texts: tuple[str, ...]) -> None:
        try:
            await self._with_further(question, texts, lambda: self._is_unchanged(question), None)
        except Exception:
            log.exception("further candidates failed")
        finally:
            further = self._further.get(question.spot.uri)
            if further is not None and further.question is question:
                del self._further[question.spot.uri]

    def _stop_further(self, uri: str) -> None:
        further = self._further.pop(uri, None)
        if further is not None:
            further.task.cancel()


def _start_of(document: Document, place: Place, selected: Selected) -> Place | None:
    """Where the selected entry's text begins; None if what stands there is not its beginning."""
    start = document.locate(selected.start_line, selected.start_units)
    end = document.locate(selected.end_line, selected.end_units)
    if start is None or end != place or start.line != place.line or start.column > place.column:
        return None
    typed = document.before(place, place.column)[start.column :] if place.column else ""
    is_line = not any(end in selected.text for end in "\r\n")
    return start if is_line and selected.text.startswith(typed) else None


def _shown(question: Question, completion: Completion) -> tuple[str, ...]:
    """The part of an answer that is worth showing: one text or none."""
    confidence = completion.confidence
    # Who asks by a key gets what there is.
    is_sure = confidence is None or confidence >= question.settings.min_confidence
    if not question.invoked and not is_sure:
        return ()
    unfinished = completion.finish in ("length", "deadline")
    text = polished(
        completion.text, question.spot.cursor, block=question.block, unfinished=unfinished
    )
    return (text,) if text else ()


def _is_answer(known: Known, question: Question) -> bool:
    """Whether nobody needs to be asked. Who asks by a key wants to hear of more."""
    if question.candidates > 1:
        return bool(known.texts) and known.complete
    return bool(known.texts) or not question.invoked


def _asked(question: Question) -> tuple[Document, Cursor, Settings]:
    return question.document, question.spot.cursor, question.settings
