"""A small asynchronous client of llama.cpp's HTTP server over its unix socket.

Closing the connection is how a request is cancelled, so each has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil

#: A line of a stream may hold a whole text.
_LIMIT = 2**22


class LlamaServer:
    """The process of `peer_server.py`, and requests to it."""

    def __init__(
        self, model: Path, folder: Path, *, slots: int, context: int, threads: int, cache_mb: int
    ) -> None:
        folder.mkdir(mode=0o700)
        child = Path(__file__).with_name("peer_server.py")
        options = [str(model), str(folder), *map(str, (slots, context, threads, cache_mb))]
        log = folder / "log"
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(child), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self._process.stdout is not None
        address = self._process.stdout.readline().decode().strip()
        if not address:
            raise RuntimeError(f"llama.cpp's server did not start: {log.read_text()[-2000:]}")
        self._socket = address.removeprefix("unix://")
        self.process = psutil.Process(self._process.pid)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The whole answer. Cancelling the task closes the connection."""
        async with self._request(path, body) as reader:
            return json.loads(await reader.read())

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a streamed answer."""
        async with self._request(path, body | {"stream": True}) as reader:
            while line := await reader.readline():
                # Chunks of the transfer encoding stand between the events.
                if line.startswith(b"data: {"):
                    yield json.loads(line[len(b"data: ") :])

    async def tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return len((await self.post("/tokenize", {"content": text}))["tokens"])

    @contextlib.asynccontextmanager
    async def _request(
        self, path: str, body: dict[str, Any]
    ) -> AsyncIterator[asyncio.StreamReader]:
        """Send it, read the head of the answer. HTTP/1.0 in words: the end is the connection's."""
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=_LIMIT)
        try:
            payload = json.dumps(body).encode()
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
                + payload
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = head.split(" ", 2)[1]
            if status != "200":
                detail = (await reader.read()).decode(errors="replace")
                raise RuntimeError(
                    f"llama.cpp's server answered {status} to {path}: {detail[:300]}"
                )
            yield reader
        finally:
            writer.close()
