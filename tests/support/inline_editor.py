"""An editor with one document, as inline completion sees it, with a stand-in for the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ingle_lsp.documents import Documents, Edit
from ingle_lsp.inline_completion import InlineCompletion, Selected
from ingle_lsp.privacy import GitAnswer, Privacy
from ingle_lsp.settings import Settings
from support.fake_engine import FakeEngine
from support.waiting import eventually

URI = "file:///project/src/main.py"


class InlineEditor:
    """An editor with one open document; `|` is the cursor."""

    def __init__(self) -> None:
        self.engine = FakeEngine("a + b")
        self.settings = Settings(debounce_ms=0, candidates=1)
        self.at_once = False
        self.paused = False
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.now = 0.0
        #: Called in the middle of the pause for typing.
        self.meanwhile: Callable[[], None] = lambda: None
        self.git = GitAnswer.NOT_IGNORED
        self.documents = Documents()
        self.completion = InlineCompletion(
            documents=self.documents,
            connection=self.engine.connection(self.told.append),
            privacy=Privacy(lambda: 0.0, lambda path, timeout: self.git),
            settings=lambda: self.settings,
            is_paused=lambda: self.paused,
            first_at_once=lambda: self.at_once,
            tell=self.told.append,
            sleep=self.pause,
            clock=lambda: self.now,
        )

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)
        self.meanwhile()

    def open(self, text: str, uri: str = URI, language: str = "python") -> tuple[int, int]:
        """Open it anew: what was suggested in it before is forgotten."""
        self.completion.document_closed(uri)
        before, _, after = text.partition("|")
        self.documents.open(uri, before + after, language, "utf-16")
        return before.count("\n"), len(before.rpartition("\n")[2])

    async def ask(self, text: str, *, invoked: bool = True, uri: str = URI) -> str | None:
        line, units = self.open(text, uri)
        found = await self.completion.suggest(uri, line, units, invoked=invoked)
        return found.texts[0] if found else None

    async def texts(
        self, at: tuple[int, int], *, invoked: bool = False, selected: Selected | None = None
    ) -> list[str]:
        """All that is suggested at a place of the open document."""
        found = await self.completion.suggest(URI, *at, invoked=invoked, selected=selected)
        return list(found.texts) if found else []

    def type(self, at: tuple[int, int], text: str, remove: int = 0) -> tuple[int, int]:
        """Replace `remove` characters before a place by `text` → the place behind it."""
        line, column = at
        self.documents.change(URI, [Edit(line, column - remove, line, column, text)])
        before, newline, last = text.rpartition("\n")
        if newline:
            return line + before.count("\n") + 1, len(last)
        return line, column - remove + len(text)

    def begin(self, text: str, *, invoked: bool = True) -> asyncio.Task[str | None]:
        return asyncio.create_task(self.ask(text, invoked=invoked))

    async def until_asked(self, calls: int = 1) -> None:
        await eventually(lambda: len(self.engine.calls) >= calls, "a request to the daemon")
