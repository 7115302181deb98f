"""The same chat through both: the engine called in-process, and the daemon with its client."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ingle.blocking_client import Client
from ingle.messages import Chat, Delta, Done, Infill


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Times of one generation, in milliseconds since it was asked for, and its token counts."""

    first_ms: float
    last_ms: float
    total_ms: float
    #: As the engine measured it.
    prefill_ms: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    #: Rendering and tokenizing; known only in-process, where it is outside of the other times.
    dialect_ms: float = 0.0


class InProcessEngine:
    """The child process that `in_process_child.py` describes."""

    def __init__(self, model: dict[str, Any], log: Path) -> None:
        child = Path(__file__).with_name("in_process_child.py")
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(child)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self._log = log
        self._answer(msgspec.json.encode(model))

    def chat(self, fields: dict[str, Any]) -> Run:
        """Run one chat; `fields` are those of `ingle.messages.Chat`."""
        return msgspec.json.decode(
            self._answer(msgspec.json.encode(Chat(id=0, **fields))), type=Run
        )

    def infill(self, fields: dict[str, Any]) -> Run:
        """Run one completion; `fields` are those of `ingle.messages.Infill`."""
        return msgspec.json.decode(
            self._answer(msgspec.json.encode(Infill(id=0, **fields))), type=Run
        )

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _answer(self, line: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the in-process engine ended: {self._log.read_text()[-2000:]}")
        return answer


def through_daemon(client: Client, fields: dict[str, Any]) -> Run:
    """Run one chat through client and daemon."""
    times: list[float] = []
    done: Done | None = None
    asked = time.perf_counter()
    for event in client.call(Chat, **fields):
        if isinstance(event, Delta):
            times.append((time.perf_counter() - asked) * 1000)
        elif isinstance(event, Done):
            done = event
    total = (time.perf_counter() - asked) * 1000
    assert done is not None
    assert done.usage is not None
    assert done.timings is not None
    return Run(
        first_ms=times[0],
        last_ms=times[-1],
        total_ms=total,
        prefill_ms=done.timings.prefill_ms,
        prompt_tokens=done.usage.prompt_tokens,
        cached_tokens=done.usage.cached_tokens,
        completion_tokens=done.usage.completion_tokens,
    )


def pairs(
    client: Client,
    engine: InProcessEngine,
    request: Callable[[int], dict[str, Any]],
    count: int,
) -> Iterator[tuple[Run, Run]]:
    """`count` pairs of (through the daemon, in-process) runs of the same request.

    Who begins changes from pair to pair, so that drift and noise of the machine hit both. One
    pair comes before them and is not counted: caches and code are warm for both then.
    """
    for number in range(count + 1):
        fields = request(number)
        if number % 2:
            ours = through_daemon(client, fields)
            bare = engine.chat(fields)
        else:
            bare = engine.chat(fields)
            ours = through_daemon(client, fields)
        if (ours.prompt_tokens, ours.completion_tokens) != (
            bare.prompt_tokens,
            bare.completion_tokens,
        ):
            raise RuntimeError(
                "daemon and engine did not do the same work: "
                f"prompt {ours.prompt_tokens} / {bare.prompt_tokens} tokens, "
                f"answer {ours.completion_tokens} / {bare.completion_tokens}"
            )
        if number:
            yield ours, bare
