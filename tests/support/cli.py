"""The command line inside the test's process, against a daemon that only pretends."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pytest

from ingle.messages import Message
from ingled.cli.main import run


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


class FakeCall:
    """An open request whose events are given; an exception among them is raised."""

    id = 7

    def __init__(self, events: Sequence[Message | BaseException]) -> None:
        self._events = iter(events)

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        event = next(self._events)
        if isinstance(event, BaseException):
            raise event
        return event

    def wait(self) -> None:
        """Read to the end."""
        for _ in self:
            pass


class FakeClient:
    """Stands in for `ingle.blocking_client.Client`; remembers what was asked."""

    def __init__(self, *events: Message | BaseException) -> None:
        self.events = events
        #: Type and fields of every request.
        self.asked: list[tuple[type[Message], dict[str, Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(
        self, request_type: type[Message], *, wait: float | None = None, **fields: Any
    ) -> FakeCall:
        """The first request gets the events, later ones (a cancel) end at once."""
        first = not self.asked
        self.asked.append((request_type, fields | {"wait": wait}))
        return FakeCall(self.events if first else ())


class Shell:
    """Runs commands as the program does, and catches what they write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.pipe(b"")

    def pipe(self, data: bytes) -> None:
        """What the next command finds on its standard input."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))

    def connect(self, where: str, client: Any) -> None:
        """Let the command in module `where` find `client`; an exception is raised instead."""

        def connect(*_: object, **__: object) -> Any:
            if isinstance(client, BaseException):
                raise client
            return client

        self._monkeypatch.setattr(f"ingled.cli.{where}.connect", connect)

    def __call__(self, *arguments: str) -> Outcome:
        self._capsys.readouterr()
        code = run(arguments)
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)
