"""Long chats that run while somebody types: one after the other in each of some conversations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from ingle.async_client import AsyncClient
from ingle.messages import Chat, Delta

from .llama_http import LlamaServer

#: Tokens of one answer: longer than a pause at the keyboard on any machine.
ANSWER_TOKENS = 400

#: Number of a conversation → the tokens of each event of its next answer.
Talk = Callable[[int], AsyncIterator[int]]


def with_ingle(client: AsyncClient) -> Talk:
    """Chats of one client of the daemon."""

    async def talk(number: int) -> AsyncIterator[int]:
        fields = _question(number) | {"conversation": f"bench-{number}"}
        async for event in client.call(Chat, **fields):
            if isinstance(event, Delta):
                yield event.tokens

    return talk


def with_llama(server: LlamaServer) -> Talk:
    """The same chats with llama.cpp's server."""

    async def talk(number: int) -> AsyncIterator[int]:
        body = _question(number) | {"cache_prompt": True}
        async for chunk in server.stream("/v1/chat/completions", body):
            if any(choice["delta"].get("content") for choice in chunk["choices"]):
                yield 1

    return talk


class Chats:
    """`count` conversations, until they are stopped."""

    def __init__(self, talk: Talk, count: int) -> None:
        self._talk = talk
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        self._began = 0.0
        self._took = 0.0
        self._running = asyncio.Event()
        #: Since the first token of the first answer.
        self.tokens = 0
        #: Of all answers.
        self.all_tokens = 0
        #: Milliseconds from each question to its first token.
        self.first_token_ms: list[float] = []

    @property
    def tokens_per_second(self) -> float:
        """Of all conversations together, from the first token to the end."""
        return self.tokens / self._took if self._took else 0.0

    @property
    def seconds(self) -> float:
        """From the first token to the end."""
        return self._took

    async def __aenter__(self) -> Chats:
        self._tasks = [asyncio.create_task(self._converse(number)) for number in range(self._count)]
        if self._tasks:
            await self._running.wait()
            self._began = time.perf_counter()
            self.tokens = 0
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._took = time.perf_counter() - self._began
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _converse(self, number: int) -> None:
        while True:
            asked = time.perf_counter()
            first = True
            async with contextlib.aclosing(self._talk(number)) as answer:
                async for tokens in answer:
                    if first:
                        self.first_token_ms.append((time.perf_counter() - asked) * 1000)
                        first = False
                    self.tokens += tokens
                    self.all_tokens += tokens
                    self._running.set()


def _question(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"Tell me a long story about {number + 2} whales."}
        ],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0.0,
    }
