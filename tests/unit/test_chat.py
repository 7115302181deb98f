"""The chat as an editor sees it, message by message, with a stand-in for the daemon."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import subprocess
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingle.errors import Busy, ConnectionLost, ContextOverflow, DaemonNotRunning, WorkerDied
from ingle.messages import Chat, Delta, Done, Message, Started, Timings, Usage
from ingle.threads import ThreadStore, Turn
from ingle_lsp.chat import INSTRUCTIONS
from ingle_lsp.deltas import INTERVAL, Deltas
from support.waiting import eventually
from support.wire import Wire

TEXT = "def add(a, b):\n    return a - b\n\n\ndef main():\n    print(add(1, 2))\n"
#: Line 2, without its line end.
SELECTION = {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 16}}

Step = Message | Exception | asyncio.Event


class Model:
    """The daemon: each request runs through the next script, the last one stays."""

    def __init__(self) -> None:
        self.scripts: list[list[Step]] = [answer("Because.")]
        self.asked: list[dict[str, Any]] = []
        self.cancelled = 0

    async def call(self, request_type: type[Message], **fields: Any) -> AsyncIterator[Message]:
        assert request_type is Chat
        self.asked.append(fields)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        for step in script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                try:
                    await step.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
            else:
                yield step

    @property
    def texts(self) -> list[str]:
        """What the last request said, without the instructions."""
        return [turn.content for turn in self.asked[-1]["messages"] if turn.role != "system"]


def answer(*texts: str, analysis: str = "") -> list[Step]:
    thought: list[Step] = [Delta(id=1, channel="analysis", text=analysis)] if analysis else []
    usage, timings = Usage(completion_tokens=10), Timings(decode_ms=250.0)
    done = Done(id=1, finish="stop", model="m", usage=usage, timings=timings)
    said: list[Step] = [Delta(id=1, text=text) for text in texts]
    return [Started(id=1, model="m"), *thought, *said, done]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ThreadStore:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path / "home"))
    return ThreadStore()


@pytest.fixture
async def wire(store: ThreadStore) -> Wire:
    wire = Wire()
    await wire.initialize()
    return wire


@pytest.fixture
def model(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Model:
    model = Model()
    monkeypatch.setattr(wire.engine, "call", model.call)
    return model


class Panel:
    """A plugin's chat."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._number = 100

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        return await self.wire.request(self._number, method, params)

    async def ask(self, text: str = "Why?", **params: Any) -> dict[str, Any]:
        """The result."""
        response = await self.request("ingle/chat", text=text, token="t", **params)
        assert "error" not in response, response
        result: dict[str, Any] = response["result"]
        return result

    async def refused(self, text: str = "Why?", **params: Any) -> str:
        """The error's message."""
        error = (await self.request("ingle/chat", text=text, token="t", **params))["error"]
        assert "\n" not in error["message"]
        message: str = error["message"]
        return message

    @property
    def deltas(self) -> list[tuple[str, str]]:
        """(channel, text) of all deltas so far."""
        sent = self.wire.matching(method="ingle/chat/delta")
        assert all(message["params"]["token"] == "t" for message in sent)
        return [(message["params"]["channel"], message["params"]["text"]) for message in sent]


@pytest.fixture
def panel(wire: Wire, model: Model) -> Panel:
    return Panel(wire)


# --- questions ---------------------------------------------------------------------------------


async def test_a_question(panel: Panel, model: Model, store: ThreadStore) -> None:
    code = "So:\n\n```python:src/a.py\nx = 1\n```\n"
    model.scripts = [answer(code, analysis="Hm.")]
    result = await panel.ask("Why is this slow?")
    name = result["thread"]
    assert name.endswith("-why-is-this-slow")
    assert result == {
        "thread": name,
        "title": "Why is this slow?",
        "turn": 1,
        "text": code,
        "finish": "stop",
        "model": "m",
        "tokens": 10,
        "tokensPerSecond": 40.0,
        "note": "",
        "blocks": [{"index": 0, "language": "python", "path": "src/a.py", "text": "x = 1\n"}],
    }
    assert panel.deltas == [("analysis", "Hm."), ("final", code)]
    assert model.asked[0]["conversation"] == name
    assert "effort" not in model.asked[0]
    assert store.read(name).turns[1].analysis == "Hm."


async def test_a_conversation(panel: Panel, model: Model) -> None:
    name = (await panel.ask("One?"))["thread"]
    model.scripts = [answer("Second.")]
    result = await panel.ask("Two?", thread=name, effort="high")
    assert (result["thread"], result["title"], result["turn"]) == (name, "One?", 3)
    assert model.texts == ["One?", "Because.", "Two?"]
    assert model.asked[-1]["messages"][0].content == INSTRUCTIONS
    assert model.asked[-1]["effort"] == "high"
    await panel.ask("Three?")
    assert model.texts == ["Three?"]


async def test_the_effort_of_the_settings(panel: Panel, model: Model) -> None:
    panel.wire.server.apply_settings({"effort": "low"})
    await panel.ask()
    assert model.asked[-1]["effort"] == "low"
    await panel.ask(effort="medium")
    assert model.asked[-1]["effort"] == "medium"


async def test_a_thread_of_the_users_name(panel: Panel, store: ThreadStore) -> None:
    assert "there is no thread 'mine'" in await panel.refused(thread="mine")
    result = await panel.ask(thread="mine", newThread=True)
    assert (result["thread"], result["turn"]) == ("mine", 1)
    assert (await panel.ask(thread="mine"))["turn"] == 3
    assert "can't be a thread's name" in await panel.refused(thread="../mine", newThread=True)


async def test_without_a_token_there_are_no_deltas(panel: Panel) -> None:
    response = await panel.request("ingle/chat", text="Why?")
    assert response["result"]["text"] == "Because."
    assert panel.deltas == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (None, "text"),
        ([], "text"),
        ({}, "text"),
        ({"text": 5}, "$.text"),
        ({"text": "x", "thread": 5}, "$.thread"),
        ({"text": "x", "effort": "extreme"}, "$.effort"),
        ({"text": "x", "context": [{"range": None}]}, "uri"),
        ({"text": "x", "context": [{"uri": "a", "range": {"start": 1}}]}, "$.context"),
    ],
)
async def test_what_is_no_question(panel: Panel, model: Model, params: Any, said: str) -> None:
    error = (await panel.wire.request(9, "ingle/chat", params))["error"]
    assert error["code"] == -32602
    assert said in error["message"]
    assert model.asked == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  \n", "there is no question"),
        ("\ud800", "half a character"),
        ("key: sk-" + "a" * 40, "the question has a private key or a token"),
        ("x" * 600_001, "600,001 characters"),
    ],
)
async def test_questions_that_are_not_sent(
    panel: Panel, model: Model, store: ThreadStore, text: str, said: str
) -> None:
    assert said in await panel.refused(text)
    assert model.asked == []
    assert store.names() == []


# --- context -----------------------------------------------------------------------------------


async def test_what_a_question_is_about(
    panel: Panel, model: Model, store: ThreadStore, tmp_path: Path
) -> None:
    file = tmp_path / "b.py"
    file.write_bytes(b"\xef\xbb\xbfx = 1\r\ny = 2\r\n")
    panel.wire.open(TEXT)
    context = [{"uri": "file:///project/main.py", "range": SELECTION}, {"uri": file.as_uri()}]
    name = (await panel.ask("Why?", context=context))["thread"]
    asked = (
        "project/main.py, line 2:\n\n```python\n    return a - b\n```\n\n"
        f"{tmp_path.name}/b.py:\n\n```py\nx = 1\ny = 2\n```\n\nWhy?"
    )
    assert model.texts == [asked]
    file.unlink()
    panel.wire.change({"text": "changed"})
    await panel.ask("And?", thread=name)
    assert model.texts == [asked, "Because.", "And?"]
    shown = (await panel.request("ingle/chat/thread", thread=name))["result"]["turns"]
    assert shown[0]["context"] == [context[0], {"uri": file.as_uri(), "range": None}]
    assert shown[2] == {"role": "user", "text": "And?", "context": []}


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ((0, 0), (6, 0), TEXT),
        ((0, 4), (0, 999), "add(a, b):\n"),
        ((5, 0), (4, 0), "def main():\n"),
    ],
)
async def test_ranges_as_editors_send_them(
    panel: Panel, model: Model, start: tuple[int, int], end: tuple[int, int], text: str
) -> None:
    panel.wire.open(TEXT)
    await panel.ask(context=[{"uri": "file:///project/main.py", "range": span(start, end)}])
    assert f"```python\n{text}```" in model.texts[0]


def span(start: tuple[int, int], end: tuple[int, int]) -> Any:
    places = [{"line": line, "character": character} for line, character in (start, end)]
    return {"start": places[0], "end": places[1]}


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (span((1, 2), (1, 2)), "the selection in project/main.py is empty"),
        (span((0, 0), (60, 1)), "the selection is not in project/main.py any more"),
        (span((-1, 0), (1, 1)), "the selection is not in"),
        (span((0, -1), (1, 1)), "the selection is not in"),
    ],
)
async def test_ranges_that_mean_nothing(panel: Panel, model: Model, span: Any, said: str) -> None:
    panel.wire.open(TEXT)
    context = [{"uri": "file:///project/main.py", "range": span}]
    assert said in await panel.refused(context=context)
    assert model.asked == []


async def test_a_selection_in_the_middle_of_characters(panel: Panel, model: Model) -> None:
    panel.wire.open("x = '😀😀'")
    context = [{"uri": "file:///project/main.py", "range": span((0, 5), (0, 7))}]
    await panel.ask(context=context)
    assert "```python\n😀\n```" in model.texts[0]
    context[0]["range"] = span((0, 6), (0, 7))
    assert "the selection is not in" in await panel.refused(context=context)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


async def test_what_must_not_be_sent(panel: Panel, model: Model, repository: Path) -> None:
    tmp_path = repository
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / "ignored.py").write_text("secret\n")
    (tmp_path / ".env").write_text("secret\n")
    (tmp_path / "link.py").symlink_to(tmp_path / ".env")
    (tmp_path / "token.py").write_text("token = 'ghp_" + "a" * 36 + "'\n")
    (tmp_path / "binary.py").write_bytes(b"a\0b")
    (tmp_path / "latin.py").write_bytes(b"\xe9")
    (tmp_path / "large.py").write_bytes(b"x" * 700_000)
    (tmp_path / "huge.py").write_bytes(b"x" * 21_000_000)
    os.mkfifo(tmp_path / "pipe.py")
    refusals = {
        "ignored.py": "git ignores it",
        ".env": "looks like a secret",
        "link.py": "looks like a secret",
        "token.py": "has a private key or a token in it",
        "binary.py": "is binary",
        "latin.py": "is not UTF-8 text",
        "large.py": "700,004 characters",
        "huge.py": "is too large",
        "pipe.py": "is no file",
        "missing.py": "can't be read: no such file or directory",
        "": "is a directory",
    }
    for name, said in refusals.items():
        message = await panel.refused(context=[{"uri": (tmp_path / name).as_uri()}])
        assert said in message, name
        assert "secret\n" not in message
    assert "is not open" in await panel.refused(context=[{"uri": "untitled:Untitled-7"}])
    panel.wire.open(TEXT, (tmp_path / ".env").as_uri())
    assert "a secret" in await panel.refused(context=[{"uri": (tmp_path / ".env").as_uri()}])
    many = [{"uri": "file:///project/main.py"}] * 65
    assert "64 parts" in await panel.refused(context=many)
    assert model.asked == []


async def test_nothing_of_it_is_logged(
    panel: Panel, model: Model, log: pytest.LogCaptureFixture
) -> None:
    panel.wire.open("secret_source = 1\n")
    context = [{"uri": "file:///project/main.py"}]
    model.scripts = [answer("secret_source"), [ZeroDivisionError("secret_source")]]
    await panel.ask("secret_source?", thread="a", newThread=True, context=context)
    assert "this is a bug" in await panel.refused("secret_source?", thread="a", context=context)
    for record in log.records:
        if record.name.startswith("ingle"):
            assert "secret_source" not in record.getMessage()


# --- ends --------------------------------------------------------------------------------------


async def test_a_cancel_keeps_what_was_said(panel: Panel, model: Model, store: ThreadStore) -> None:
    forever = asyncio.Event()
    model.scripts = [[Delta(id=1, text="Bec"), Delta(id=1, text="ause"), forever]]
    params = {"text": "Why?", "token": "t", "thread": "a", "newThread": True}
    panel.wire.receive(id=5, method="ingle/chat", params=params)
    await eventually(lambda: panel.deltas, "a delta")
    panel.wire.receive(method="$/cancelRequest", params={"id": 5})
    response = await panel.wire.until(id=5)
    assert response["error"]["code"] == -32800
    await eventually(lambda: model.cancelled == 1, "the cancel in the daemon")
    assert "".join(text for _, text in panel.deltas) == "Because"
    assert store.read("a").turns[1] == Turn(role="assistant", text="Because", finish="cancelled")
    model.scripts = [answer("Yes.")]
    await panel.ask("Again?", thread="a")
    assert model.texts == ["Why?", "Because", "Again?"]


async def test_the_progress_can_be_cancelled(
    panel: Panel, model: Model, store: ThreadStore
) -> None:
    model.scripts = [[Delta(id=1, text="Bec"), asyncio.Event()]]
    params = {"text": "Why?", "token": "t", "workDoneToken": "w", "thread": "a", "newThread": True}
    panel.wire.receive(id=5, method="ingle/chat", params=params)
    await eventually(lambda: panel.deltas, "a delta")
    panel.wire.receive(method="window/workDoneProgress/cancel", params={"token": "w"})
    assert (await panel.wire.until(id=5))["error"]["code"] == -32800
    assert store.read("a").turns[1].finish == "cancelled"
    kinds = [
        message["params"]["value"]["kind"] for message in panel.wire.matching(method="$/progress")
    ]
    assert (kinds[0], kinds[-1]) == ("begin", "end")


async def test_one_question_at_a_time(panel: Panel, model: Model) -> None:
    going_on = asyncio.Event()
    model.scripts = [[Delta(id=1, text="x"), going_on, Done(id=1, finish="stop")], answer("B.")]
    params = {"text": "Why?", "token": "t", "thread": "a", "newThread": True}
    panel.wire.receive(id=5, method="ingle/chat", params=params)
    await eventually(lambda: panel.deltas, "a delta")
    assert "answers another question" in await panel.refused(thread="a")
    assert (
        "answers another"
        in (await panel.request("ingle/chat/delete", thread="a"))["error"]["message"]
    )
    assert (await panel.ask(thread="b", newThread=True))["text"] == "B."
    going_on.set()
    assert (await panel.wire.until(id=5))["result"]["text"] == "x"
    assert (await panel.ask(thread="a"))["turn"] == 3


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Busy("the queue is full: try again"), "the queue is full"),
        (WorkerDied("the model's process ended: ask again"), "the model's process ended"),
    ],
)
async def test_errors_are_one_line(
    panel: Panel, model: Model, store: ThreadStore, error: Exception, said: str
) -> None:
    model.scripts = [[error]]
    assert said in await panel.refused(thread="a", newThread=True)
    assert store.names() == []
    model.scripts = [[Delta(id=1, text="half"), error]]
    assert said in await panel.refused(thread="a", newThread=True)
    assert panel.deltas == [("final", "half")]
    assert store.read("a").turns[1] == Turn(role="assistant", text="half", finish="error")


async def test_a_daemon_that_was_restarted(panel: Panel, model: Model) -> None:
    model.scripts = [[ConnectionLost("gone")], answer("Here.")]
    assert (await panel.ask())["text"] == "Here."
    assert len(model.asked) == 2
    model.scripts = [[Delta(id=1, text="half"), ConnectionLost("gone: start it again")]]
    assert "start it again" in await panel.refused()


async def test_without_a_daemon(panel: Panel, store: ThreadStore) -> None:
    panel.wire.engine.down = DaemonNotRunning("ingled is not running: start it")
    await panel.wire.server.connection.close()
    panel.wire.server.connection = panel.wire.engine.connection(panel.wire.server.tell)
    assert await panel.refused() == "ingled is not running: start it"
    assert store.names() == []


async def test_a_thread_that_is_too_long(panel: Panel, model: Model, store: ThreadStore) -> None:
    for number in range(6):
        await panel.ask(f"Q{number}?", thread="a", newThread=True)
    overflow = ContextOverflow("too long: send less")
    model.scripts = [[overflow], [overflow], answer("Fits.")]
    result = await panel.ask("Last?", thread="a")
    assert "its oldest 8 turns are left out" in result["note"]
    assert model.texts == ["Q4?", "Because.", "Q5?", "Because.", "Last?"]
    assert (await panel.ask("More?", thread="a"))["note"] == ""
    assert model.texts[0] == "Q4?"
    model.scripts = [[overflow]]
    assert "too long: send less" in await panel.refused(thread="a")
    assert len(store.read("a").turns) == 16


async def test_a_disk_that_is_full(
    panel: Panel, store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ingle.threads.os.fsync", full)
    result = await panel.ask()
    assert result["text"] == "Because."
    assert "can't be saved" in result["note"]
    assert "no space left on device" in result["note"]
    assert store.names() == []


async def test_a_read_only_disk(
    panel: Panel, store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, flags: int, mode: int = 0) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("ingle.threads.os.open", refuse)
    result = await panel.ask()
    assert result["text"] == "Because."
    assert "read-only file system" in result["note"]
    assert (await panel.request("ingle/chat/threads"))["result"] == []


# --- threads -----------------------------------------------------------------------------------


async def test_threads(panel: Panel, model: Model, store: ThreadStore) -> None:
    assert (await panel.request("ingle/chat/threads"))["result"] == []
    await panel.ask("Old?", thread="old", newThread=True)
    model.scripts = [answer("```\nx\n", analysis="Hm.")]
    await panel.ask("New?", thread="new", newThread=True)
    (store.folder / "bad.json").write_text("{")
    for _ in range(2):
        listed = (await panel.request("ingle/chat/threads"))["result"]
    assert [thread["thread"] for thread in listed] == ["new", "old"]
    assert listed[0].keys() == {"thread", "title", "updated", "turns"}
    assert listed[0]["title"] == "New?"
    assert listed[0]["turns"] == 2
    assert len(listed[0]["updated"]) == len("2026-11-24T18:00:00Z")
    assert listed[0]["updated"].endswith("Z")
    (told,) = panel.wire.shown
    assert "bad.json is damaged" in told
    shown = (await panel.request("ingle/chat/thread", thread="new"))["result"]
    assert shown == {
        "thread": "new",
        "title": "New?",
        "turns": [
            {"role": "user", "text": "New?", "context": []},
            {
                "role": "assistant",
                "text": "```\nx\n",
                "analysis": "Hm.",
                "finish": "stop",
                "blocks": [{"index": 0, "language": "", "path": "", "text": "x\n"}],
            },
        ],
    }
    assert (await panel.request("ingle/chat/delete", thread="new"))["result"] is None
    assert [
        thread["thread"] for thread in (await panel.request("ingle/chat/threads"))["result"]
    ] == ["old"]


@pytest.mark.parametrize("method", ["ingle/chat/thread", "ingle/chat/delete"])
async def test_threads_that_there_are_not(panel: Panel, store: ThreadStore, method: str) -> None:
    store.folder.mkdir(parents=True)
    (store.folder / "bad.json").write_text("{")
    for name, said in (("no", "there is no thread 'no'"), ("../x", "can't be a thread's name")):
        error = (await panel.request(method, thread=name))["error"]
        assert said in error["message"]
        assert "\n" not in error["message"]
    assert (await panel.request(method))["error"]["code"] == -32602
    if method == "ingle/chat/thread":
        assert "damaged" in (await panel.request(method, thread="bad"))["error"]["message"]
    assert (store.folder / "bad.json").read_text() == "{"


# --- deltas ------------------------------------------------------------------------------------


class Clock:
    """An event loop's timers; time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any) -> Any:
        entry = (self.now + delay, callback)
        self.waiting.append(entry)

        def cancel() -> None:
            if entry in self.waiting:
                self.waiting.remove(entry)

        return SimpleNamespace(cancel=cancel)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for due, callback in list(self.waiting):
            if due <= self.now:
                callback()


def test_deltas_are_bundled() -> None:
    sent: list[tuple[float, str, str]] = []
    clock = Clock()
    deltas = Deltas(lambda channel, text: sent.append((clock.now, channel, text)), clock)
    deltas.add("analysis", "a")
    for number in range(1000):
        clock.pass_by(0.001)
        deltas.add("final" if number >= 500 else "analysis", f"{number} ")
    deltas.add("final", "end")
    deltas.flush()
    assert clock.waiting == []
    assert sent[0] == (0.0, "analysis", "a")
    assert len(sent) <= 63
    whole = "a" + "".join(f"{number} " for number in range(1000)) + "end"
    assert "".join(text for _, _, text in sent) == whole
    assert [channel for _, channel, _ in sent] == sorted(channel for _, channel, _ in sent)
    times = sorted({time for time, _, _ in sent})
    # The last one is flushed.
    assert all(b - a >= INTERVAL - 1e-9 for a, b in pairwise(times[:-1]))


def test_a_delta_by_itself_is_sent_at_once_and_the_last_one_in_time() -> None:
    sent: list[str] = []
    clock = Clock()
    deltas = Deltas(lambda _channel, text: sent.append(text), clock)
    deltas.add("final", "a")
    assert sent == ["a"]
    deltas.add("final", "b")
    assert sent == ["a"]
    clock.pass_by(INTERVAL)
    assert sent == ["a", "b"]
    clock.pass_by(10)
    deltas.add("final", "c")
    deltas.add("final", "d")
    deltas.flush()
    assert sent == ["a", "b", "c", "d"]
