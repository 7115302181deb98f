"""One completion from the daemon: what is sent, how long it is waited for, what its errors mean.

What is worth asking, and what of an answer is shown, is `inline_completion`'s and `postprocess`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
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
from .debounce import Debounce
from .documents import Document
from .postprocess import Cursor
from .settings import Settings
from .so_far import SoFar

log = logging.getLogger(__name__)

#: Characters after the cursor that go to the model.
SUFFIX_CHARACTERS = 4_000
#: Longest text of a protocol name (path, language, document).
MAX_NAME = 4096
#: Seconds past the daemon's own deadline after which an answer is not waited for.
PATIENCE = 1.0
#: Tokens of a prompt, computed for an answer, from which on its time is no typical one.
COLD_TOKENS = 64
#: Further candidates are sampled, each more freely than the one before.
FIRST_TEMPERATURE = 0.7
TEMPERATURE_STEP = 0.2
HIGHEST_TEMPERATURE = 1.1

#: What passes by itself and needs no word.
_PASSING = (Busy, DeadlineExceeded, ShuttingDown, WorkerDied)


class Infilling:
    """Asks the daemon. `tell` shows a sentence to the user; `debounce` learns how long it takes."""

    def __init__(
        self,
        *,
        connection: DaemonConnection,
        tell: Callable[[str], None],
        debounce: Debounce,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._tell = tell
        self._debounce = debounce
        self._clock = clock
        self._told: set[str] = set()
        self._let_go_calls: set[asyncio.Future[Completion]] = set()

    async def ask(
        self,
        document: Document,
        cursor: Cursor,
        settings: Settings,
        *,
        block: bool,
        candidate: int = 0,
        deadline_ms: int | None = None,
        in_background: bool = False,
        goes_on: Callable[[str], bool] = lambda _: False,
        grace: float = 0.0,
        so_far: SoFar | None = None,
    ) -> Completion | None:
        """The completion at a cursor, or None: no daemon, superseded, too late, refused.

        `block`: several lines are wanted. `candidate` 0 is the likeliest text, the others are
        sampled. All of a document supersede each other in the daemon, and share its prefix cache.
        `so_far` is given what comes. `in_background`: it may cost nobody anything. `deadline_ms`:
        instead of the setting.

        When the caller is cancelled, so is the request; but where `goes_on` says of the text so far
        that it may still be wanted, only after `grace` seconds: a newer request of the document
        rides along until then.
        """
        deadline = settings.deadline_ms if deadline_ms is None else deadline_ms
        fields: dict[str, object] = {
            "path": _shown_path(document.uri),
            "language": document.language[:MAX_NAME],
            "document": document.uri[-MAX_NAME:],
            "multiline": block,
            "deadline_ms": deadline,
        }
        if settings.max_tokens is not None:
            fields["max_tokens"] = settings.max_tokens
        if candidate:
            fields["temperature"] = _temperature(candidate)
            fields["seed"] = candidate
        if in_background:
            fields["speculative"] = True
        try:
            async with asyncio.timeout(deadline / 1000 + PATIENCE):
                return await self._asked(cursor, fields, goes_on, grace, so_far or SoFar())
        except TimeoutError:
            log.info("the daemon gave no completion in time")
        except IngleError as error:
            self._report(error)
        return None

    async def _asked(
        self,
        cursor: Cursor,
        fields: dict[str, object],
        goes_on: Callable[[str], bool],
        grace: float,
        so_far: SoFar,
    ) -> Completion | None:
        # A daemon that was restarted since the last key is worth a second try.
        for _attempt in range(2):
            client = await self._connection.client()
            if client is None:
                return None
            begun = self._clock()
            call = asyncio.ensure_future(
                client.infill(
                    cursor.prefix,
                    cursor.suffix[:SUFFIX_CHARACTERS],
                    on_delta=so_far.take,
                    **fields,
                )
            )
            try:
                completion = await asyncio.shield(call)
            except (ConnectionFailed, HelloRequired):
                self._connection.lost(client)
            except asyncio.CancelledError:
                self._learn(begun, fields, answered=False)
                self._let_go(call, grace if goes_on(so_far.text) else 0.0)
                raise
            else:
                self._told.clear()
                is_whole = completion.finish not in ("cancelled", "superseded")
                if not _was_cold(completion):
                    self._learn(begun, fields, answered=is_whole)
                return completion if is_whole else None
        return None

    def _let_go(self, call: asyncio.Future[Completion], grace: float) -> None:
        """Nobody waits for it any more; after `grace` seconds it ends."""
        self._let_go_calls.add(call)
        ending = asyncio.get_running_loop().call_later(grace, call.cancel) if grace else None
        if ending is None:
            call.cancel()

        def over(call: asyncio.Future[Completion]) -> None:
            if ending is not None:
                ending.cancel()
            self._let_go_calls.discard(call)
            if not call.cancelled():
                # Whatever became of it is nobody's affair.
                call.exception()

        call.add_done_callback(over)

    def _learn(self, begun: float, fields: dict[str, object], *, answered: bool) -> None:
        # Further candidates find their prompt computed, guesses wait for nobody: neither says
        # anything of what somebody waits for.
        if "seed" not in fields and "speculative" not in fields:
            learn = self._debounce.answered if answered else self._debounce.given_up
            learn(self._clock() - begun)

    def _report(self, error: IngleError) -> None:
        """Tell the user once what only the user can mend: no model, a failed load."""
        if isinstance(error, _PASSING) or str(error) in self._told:
            return
        self._told.add(str(error))
        log.warning("no completion: %s", error)
        self._tell(str(error))


def _was_cold(completion: Completion) -> bool:
    """Whether its prompt had to be computed first, which says nothing of the next one's time."""
    usage = completion.usage
    return usage is not None and usage.prompt_tokens - usage.cached_tokens > COLD_TOKENS


def _temperature(candidate: int) -> float:
    return min(FIRST_TEMPERATURE + TEMPERATURE_STEP * (candidate - 1), HIGHEST_TEMPERATURE)


def _shown_path(uri: str) -> str:
    """The file's name and folder: a model can use that; the whole path is not its affair."""
    try:
        path = unquote(urlsplit(uri).path)
    except ValueError:
        return ""
    return "/".join([part for part in path.split("/") if part][-2:])[:MAX_NAME]
