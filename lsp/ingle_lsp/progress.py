"""Work-done progress: a request shows how far it is, and the user can end it there.

The token is the editor's, or one of ours where the editor can show progress that nobody asked for
with a token (`window.workDoneProgress`). `window/workDoneProgress/cancel` cancels the task, just as
`$/cancelRequest` does.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

#: Seconds between two reports; what comes in between is left out.
REPORT_INTERVAL = 0.2


class Work:
    """One request's progress. Without a way to show it, nothing is shown."""

    def __init__(
        self,
        server: LanguageServer,
        title: str,
        task: asyncio.Task[Any],
        clock: Callable[[], float],
    ) -> None:
        self._server = server
        self._title = title
        self._task = task
        self._clock = clock
        self._token: types.ProgressToken | None = None
        self._creating: asyncio.Task[None] | None = None
        self._reported_at = clock()
        self._over = False

    def report(self, message: str, percentage: int | None = None) -> None:
        """Say how far it is; `percentage` is 0 to 100. At most every `REPORT_INTERVAL` seconds."""
        if self._token is None or self._clock() - self._reported_at < REPORT_INTERVAL:
            return
        self._reported_at = self._clock()
        self._server.work_done_progress.report(
            self._token,
            types.WorkDoneProgressReport(message=message, percentage=percentage, cancellable=True),
        )

    def _begin(self, token: types.ProgressToken) -> None:
        self._token = token
        progress = self._server.work_done_progress
        progress.begin(token, types.WorkDoneProgressBegin(title=self._title, cancellable=True))
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            if not self._over:
                self._task.cancel()

        def cancelled(future: Future[Any]) -> None:
            if future.cancelled():
                loop.call_soon_threadsafe(cancel)

        progress.tokens[token].add_done_callback(cancelled)

    async def _create(self) -> None:
        """Begin under a token of our own, if the editor agrees to it."""
        token = str(uuid.uuid4())
        try:
            await self._server.work_done_progress.create_async(token)
        except JsonRpcException:
            return
        if not self._over:
            self._begin(token)

    def _end(self) -> None:
        self._over = True
        if self._token is not None:
            progress = self._server.work_done_progress
            progress.end(self._token, types.WorkDoneProgressEnd())
            progress.tokens.pop(self._token, None)


@asynccontextmanager
async def work_done(
    server: LanguageServer,
    token: types.ProgressToken | None,
    title: str,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Work]:
    """Progress of the current task, from here to the end of the block, however that comes."""
    task = asyncio.current_task()
    assert task is not None
    work = Work(server, title, task, clock)
    window = server.client_capabilities.window
    if token is not None:
        work._begin(token)
    elif window is not None and window.work_done_progress:
        # Its answer is not waited for: the work begins now.
        work._creating = asyncio.create_task(work._create())
    try:
        yield work
    finally:
        work._end()
