"""ingle as an editor uses it: the language server's process, asked at every key.

Asynchronous, unlike `editor.Editor`: an editor does not wait for a suggestion before it sends the
next key. It sends the change, gives up what it asked before, and asks for the new cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from .traces import Stroke
from .typist import Document

#: Seconds for which the first prompt of a document is waited for, and how often it is asked for:
#: an answer that comes too late for the language server is none, but its prompt is computed.
PATIENCE_S = 120.0
TRIES = 4
#: An answer without text is "nothing to suggest" unless it took as long as the deadline allows.
DEADLINE_S = 2.0
AUTOMATIC = 2


class IngleEditor:
    """A `Suggester`; settings are the defaults, but that nothing is held back as too unsure."""

    name = "ingle"

    def __init__(self, env: dict[str, str], log: Path, **settings: Any) -> None:
        self.on_answer: Callable[[int, str], None] = lambda _revision, _text: None
        self._env = env
        self._log = log
        # The peers show what they get, however unsure the model is; the demo model often is.
        self._settings = {"minConfidence": 0.0} | settings
        self._ids = itertools.count(1)
        self._documents = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._uri = ""
        self._before: tuple[int, int] = (0, 0)
        #: Request that is open, and its task.
        self._open: tuple[int, asyncio.Task[None]] | None = None

    async def start(self) -> None:
        """Start the language server."""
        with self._log.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ingle_lsp.server",
                env=self._env,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        self._reader = asyncio.create_task(self._read())
        await self._request(
            "initialize",
            {
                "processId": None,
                "rootUri": None,
                "capabilities": {"textDocument": {"inlineCompletion": {}}},
                "initializationOptions": self._settings,
            },
        )
        self._notify("initialized", {})

    @property
    def server(self) -> psutil.Process:
        """The language server's process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    async def close(self) -> None:
        """Leave as editors do."""
        if self._process is None:
            return
        await self._request("shutdown", None)
        self._notify("exit", None)
        await asyncio.wait_for(self._process.wait(), 30)
        if self._reader is not None:
            await self._reader

    # --- a suggester -----------------------------------------------------------------------

    async def open(self, document: Document) -> None:
        """Show it as a new file, and complete once, so that its prompt is computed."""
        if self._uri:
            self._notify("textDocument/didClose", {"textDocument": {"uri": self._uri}})
        self._uri = f"untitled:typed-{next(self._documents)}"
        self._notify(
            "textDocument/didOpen",
            {
                "textDocument": {
                    "uri": self._uri,
                    "languageId": document.language,
                    "version": 0,
                    "text": document.text,
                }
            },
        )
        self._before = document.place
        for _ in range(TRIES):
            if await asyncio.wait_for(self.complete(document), PATIENCE_S):
                return

    def key(self, document: Document, stroke: Stroke) -> None:
        """Tell of the key, give up what was asked, ask anew: in the order of VS Code and Neovim."""
        if stroke.kind != "jump":
            end = self._before
            start = end[0], end[1] - stroke.erased
            self._notify(
                "textDocument/didChange",
                {
                    "textDocument": {"uri": self._uri, "version": document.revision},
                    "contentChanges": [
                        {
                            "range": {"start": _position(start), "end": _position(end)},
                            "text": stroke.text,
                        }
                    ],
                },
            )
        self._before = document.place
        self._give_up()
        number = next(self._ids)
        task = asyncio.create_task(self._suggest(number, document))
        self._open = number, task

    async def rest(self) -> None:
        """Nobody waits any more."""
        self._give_up()

    async def complete(self, document: Document) -> str:
        """Ask as typing does, and wait."""
        result = await self._request("textDocument/inlineCompletion", self._at(document))
        return _text(result, document)

    async def _suggest(self, number: int, document: Document) -> None:
        revision = document.revision
        asked = time.perf_counter()
        with contextlib.suppress(LookupError):
            result = await self._send(number, "textDocument/inlineCompletion", self._at(document))
            text = _text(result, document) if revision == document.revision else ""
            if text or time.perf_counter() - asked < 0.9 * DEADLINE_S:
                self.on_answer(revision, text)

    def _give_up(self) -> None:
        if self._open is not None:
            number, task = self._open
            if not task.done():
                self._notify("$/cancelRequest", {"id": number})
            self._open = None

    def _at(self, document: Document) -> dict[str, Any]:
        return {
            "textDocument": {"uri": self._uri},
            "position": _position(document.place),
            "context": {"triggerKind": AUTOMATIC},
        }

    # --- messages --------------------------------------------------------------------------

    async def _request(self, method: str, params: Any) -> Any:
        return await self._send(next(self._ids), method, params)

    def _send(self, number: int, method: str, params: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._write({"id": number, "method": method, "params": params})
        return future

    def _notify(self, method: str, params: Any) -> None:
        self._write({"method": method, "params": params})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0"} | message).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            length = 0
            while (line := await self._process.stdout.readline()) != b"\r\n":
                if not line:
                    error = RuntimeError(f"the language server ended: see {self._log}")
                    for future in self._waiting.values():
                        future.set_exception(error)
                    return
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            self._take(json.loads(await self._process.stdout.readexactly(length)))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            if "id" in message:
                self._write({"id": message["id"], "result": None})
            return
        future = self._waiting.pop(message["id"])
        if "error" in message:
            # Given up, or replaced by a newer request.
            future.set_exception(LookupError(message["error"]["message"]))
        else:
            future.set_result(message["result"])


def _position(place: tuple[int, int]) -> dict[str, int]:
    return {"line": place[0], "character": place[1]}


def _text(result: Any, document: Document) -> str:
    """What would be inserted at the cursor; "" if nothing."""
    items = result["items"] if isinstance(result, dict) else result
    if not items:
        return ""
    line, column = document.place
    begin = items[0].get("range", {"start": _position((line, column))})["start"]["character"]
    return str(items[0]["insertText"])[column - begin :]
