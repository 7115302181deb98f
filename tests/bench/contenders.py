"""Everybody who completes in the typing sessions: started once, with the same model and threads.

A contender is a `Suggester` with what the sessions need to know besides: how to chat at the same
time, and how many tokens were computed for its completions.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

import psutil

from ingle.async_client import AsyncClient
from ingled.settings_schema import ModelSettings
from support.demo_model import demo_model

from .chats import Talk, with_ingle, with_llama
from .ingle_editor import IngleEditor
from .llama_http import LlamaServer
from .peers import Fifo, LlamaVim, LlamaVscode, Peer
from .stage import CONTEXT, Stage
from .typist import Suggester


@dataclass(frozen=True)
class Work:
    """What was computed, for completions only: tokens, and seconds of the engine."""

    generated: int
    prefilled: int
    engine_s: float = 0.0

    def since(self, before: Work) -> Work:
        """What came after `before`."""
        return Work(
            self.generated - before.generated,
            self.prefilled - before.prefilled,
            self.engine_s - before.engine_s,
        )


class Contender:
    """One of the peers."""

    def __init__(self, peer: Peer) -> None:
        self.suggester: Suggester = peer
        self.talk: Talk = with_llama(peer.server)
        self.label = peer.name
        self.name = peer.name.replace(".", "_")
        self._peer = peer

    @property
    def processes(self) -> list[psutil.Process]:
        """All that serve it; the editor's own part is not measured."""
        return [self._peer.server.process]

    async def work(self, chat_tokens: int) -> Work:
        """Since its document was opened; `chat_tokens` were generated for chats meanwhile."""
        return Work(self._peer.generated, self._peer.prefilled)


class Ingle(Contender):
    """The daemon, reached through the language server."""

    def __init__(self, editor: IngleEditor, client: AsyncClient, stage: Stage) -> None:
        self.suggester = editor
        self.talk = with_ingle(client)
        self.label = self.name = "ingle"
        self._editor = editor
        self._client = client
        self._stage = stage

    @property
    def processes(self) -> list[psutil.Process]:
        return [self._stage.broker, self._stage.worker, self._editor.server]

    async def work(self, chat_tokens: int) -> Work:
        """Since the daemon started, when nothing is open any more."""
        while True:
            report = await self._client.status()
            if not report.active:
                break
            await asyncio.sleep(0.05)
        totals = report.totals
        text = await self._client.metrics()
        return Work(
            totals.completion_tokens - chat_tokens,
            totals.prompt_tokens - totals.cached_tokens,
            sum(_seconds(text, stage, "inline") for stage in ("prefill", "decode")),
        )


class Contenders:
    """Context manager: ingle first, then the peers."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stack = AsyncExitStack()
        self.all: list[Contender] = []
        #: For tokenizing what was shown.
        self.server: LlamaServer

    async def __aenter__(self) -> Self:
        stage, stack = self._stage, self._stack
        editor = IngleEditor(stage.daemon.env, stage.folder / "typing.log")
        stack.push_async_callback(editor.close)
        await editor.start()
        client = await stack.enter_async_context(
            await AsyncClient.connect(stage.daemon.endpoint, name="bench-chats", timeout=30.0)
        )
        self.server = self._serve("slots", ModelSettings().slots)
        one_slot = self._serve("fifo", 1)
        self.all = [
            Ingle(editor, client, stage),
            Contender(LlamaVim(self.server)),
            Contender(LlamaVscode(self.server)),
            Contender(Fifo(one_slot)),
        ]
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    def _serve(self, name: str, slots: int) -> LlamaServer:
        settings = ModelSettings()
        server = LlamaServer(
            demo_model(),
            self._stage.folder / name,
            slots=slots,
            context=CONTEXT,
            threads=settings.threads,
            cache_mb=settings.cache_mb,
        )
        self._stack.callback(server.close)
        return server


def _seconds(exposition: str, stage: str, priority: str) -> float:
    """The sum of a histogram in Prometheus' text."""
    name = rf'ingle_{stage}_seconds_sum{{class="{priority}"}} (\S+)'
    found = re.search(name, exposition)
    return float(found.group(1)) if found else 0.0
