"""One question to a thread: from the thread's lock to the last save of the answer.

Owns what is kept of an answer, and when; talks to no daemon. Its user sends what `fields` says,
gives it every event, and leaves its block, however that comes. A question that got no word of an
answer is not kept. What can't be saved is answered all the same, and `note` says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from . import conversation, thread_names
from .errors import InvalidRequest, ThreadBusy, ThreadError
from .messages import Delta, Done, Message, Started
from .threads import Thread, ThreadStore, Turn

#: How often a long answer is saved while it comes.
SAVE_EVERY = timedelta(seconds=5)

_TOO_LONG = "the question is too long: send less text"


def local_time() -> datetime:
    """Now, where the user is: names of threads have the user's date."""
    return datetime.now().astimezone()


class Exchange:
    """See the module; made by `exchange`."""

    def __init__(
        self,
        store: ThreadStore,
        thread: Thread,
        question: Turn,
        *,
        max_tokens: int | None,
        clock: Callable[[], datetime],
        problem: str,
    ) -> None:
        self._store = store
        self._max_tokens = max_tokens
        #: Without the lock there is no saving.
        self._is_held = not problem
        #: Why the exchange is not saved; "" while all is well.
        self.problem = problem
        self._before = thread
        self._question = question
        self._clock = clock
        self._first = thread.first
        self._texts: dict[str, list[str]] = {"final": [], "analysis": []}
        self._model = ""
        self._done: Done | None = None
        self._saved_at: datetime | None = None

    @property
    def name(self) -> str:
        """The thread's name."""
        return self._before.name

    @property
    def title(self) -> str:
        """The thread's title."""
        return self._before.title

    @property
    def turn(self) -> int:
        """The number of the answer among the thread's turns."""
        return len(self._before.turns) + 1

    @property
    def said(self) -> bool:
        """Whether there is a word of an answer, or a thought."""
        return any(self._texts.values())

    @property
    def note(self) -> str:
        """What the user should know besides the answer; "" if there is nothing."""
        notes = [self.problem]
        left_out = self._first - self._before.first
        if left_out:
            cut = ", so the answer was cut" if self._is_cut else ""
            notes.append(
                f"the thread is too long for the model's context{cut}: its oldest {left_out} turns "
                "are left out from now on"
            )
        return "; ".join(filter(None, notes))

    def fields(self) -> dict[str, Any]:
        """Fields of the `Chat`. Raises `InvalidRequest` if the question alone is too long."""
        turns = [*self._before.turns, self._question]
        while not conversation.fits(self._before.system, turns[self._first :]):
            if not self.shorten():
                raise InvalidRequest(_TOO_LONG)
        return {
            "messages": conversation.messages(self._before.system, turns[self._first :]),
            "conversation": self.name,
        }

    def shorten(self) -> bool:
        """Leave out the oldest turns, for a model whose context is too small.

        False if that helps no more: nothing is left to leave out, or the answer has begun.
        """
        before = self._first
        if not self.said:
            self._first = conversation.shortened([*self._before.turns, self._question], before)
        return self._first > before

    def add(self, event: Message) -> None:
        """Take an event of the request."""
        if isinstance(event, Started):
            self._model = event.model
        elif isinstance(event, Delta) and event.channel in self._texts and event.text:
            self._texts[event.channel].append(event.text)
            if self._saved_at is None or self._clock() - self._saved_at >= SAVE_EVERY:
                self._save("")
        elif isinstance(event, Done):
            self._done = event
            if self._is_cut:
                # The next question gets more room.
                self._first = conversation.shortened(self.answered("").turns, self._first)
            if self.said or event.finish != "cancelled":
                self._save(event.finish)

    def broken_off(self, error: BaseException) -> None:
        """The request ended without its `done`."""
        if self.said and self._done is None:
            # A reader of a pipe that leaves ends an answer as Ctrl-C does.
            failed = isinstance(error, Exception) and not isinstance(error, BrokenPipeError)
            self._save("error" if failed else "cancelled")

    def answered(self, finish: str) -> Thread:
        """The thread with the question and what is said so far."""
        usage = self._done.usage if self._done else None
        answer = Turn(
            role="assistant",
            text="".join(self._texts["final"]),
            analysis="".join(self._texts["analysis"]),
            finish=finish,
            model=(self._done.model if self._done else "") or self._model,
            tokens=usage.completion_tokens if usage else 0,
        )
        return replace(
            self._before,
            updated=self._clock(),
            first=self._first,
            turns=[*self._before.turns, self._question, answer],
        )

    @property
    def _is_cut(self) -> bool:
        """Whether the model's context came to its end before the answer did.

        The daemon says `length` then, as it does for an answer that is long by itself.
        """
        if self._done is None or self._done.finish != "length" or self._done.usage is None:
            return False
        usage = self._done.usage
        if self._max_tokens is not None and usage.completion_tokens >= self._max_tokens:
            return False
        return usage.completion_tokens < usage.prompt_tokens / 2

    def _save(self, finish: str) -> None:
        self._saved_at = self._clock()
        if not self._is_held:
            return
        try:
            self._store.write(self.answered(finish))
        except ThreadError as error:
            self.problem = str(error)
        else:
            self.problem = ""


@contextmanager
def exchange(
    store: ThreadStore,
    name: str | None,
    question: Turn,
    *,
    create: bool = False,
    system: str | None = None,
    first_system: str = "",
    max_tokens: int | None = None,
    clock: Callable[[], datetime] = local_time,
) -> Iterator[Exchange]:
    """Ask the thread `name`; None begins one, and so does an unknown name with `create`.

    `system` replaces the thread's instructions, if it is given; `first_system` are those of a
    thread that is begun. `max_tokens` is the request's, if it has one. Raises `ThreadBusy`,
    `ThreadNameError`, or `ThreadError`: there is no such thread, or its file is damaged.
    """
    with ExitStack() as held:
        title = thread_names.title_of(question.text)
        problem = ""
        is_new = name is None
        if name is None:
            name, problem = _begun(store, title, clock(), held)
        else:
            name = thread_names.checked(name)
            try:
                held.enter_context(store.hold(name))
            except ThreadBusy:
                raise
            except ThreadError as error:
                problem = str(error)
            is_new = create and not store.exists(name)
        if is_new:
            now = clock()
            thread = Thread(name=name, title=title, created=now, updated=now, system=first_system)
        else:
            thread = store.read(name)
        if system is not None:
            thread = replace(thread, system=system)
        going_on = Exchange(
            store, thread, question, max_tokens=max_tokens, clock=clock, problem=problem
        )
        try:
            yield going_on
        except BaseException as error:
            going_on.broken_off(error)
            raise


def _begun(store: ThreadStore, title: str, now: datetime, held: ExitStack) -> tuple[str, str]:
    """A name that no thread has, held; and why it can't be held, if that is so."""
    for number in itertools.count(1):
        name = thread_names.begun_on(now.date(), title, number)
        try:
            if store.exists(name):
                continue
            held.enter_context(store.hold(name))
            if not store.exists(name):
                break
        except ThreadBusy:
            continue
        except ThreadError as error:
            return name, str(error)
        # Somebody was quicker.
        held.close()
    return name, ""
