"""The language server against a real daemon with the scripted engine, as an editor drives it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from ingle.messages import Report
from support.daemons import ENDLESS_LINE, SCRIPTED, DaemonUnderTest
from support.editors import SERVER, Editor, an_editor, ghost_text
from support.waiting import eventually

MakeDaemon = Callable[..., DaemonUnderTest]
TEXT = "def add(a, b):\n    return "
END = (1, 11)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One that completes everything with `a + b`; for tests that leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="ingle-l-"))
    daemon = DaemonUnderTest(folder, **SCRIPTED)
    daemon.configure(scripted={"script": "a + b"})
    daemon.start()
    yield daemon
    daemon.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slow_daemon(make_daemon: MakeDaemon) -> DaemonUnderTest:
    """One that is never done."""
    scripted = {"script": ENDLESS_LINE, "tokens_per_second": 20.0}
    return make_daemon(scripted=scripted, inline={"max_tokens": 1000}).start()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository that ignores `ignored.py`."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    return tmp_path


def report(daemon: DaemonUnderTest) -> Report:
    with daemon.client() as client:
        return client.status()


# --- completions -------------------------------------------------------------------------------


async def test_ghost_text(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env) as editor:
        editor.open(TEXT)
        assert await editor.ghost(END) == "a + b"
        assert await editor.ghost(END, invoked=False) == "a + b"
        assert editor.messages == []


@pytest.mark.parametrize(
    ("encoding", "at"), [("utf-8", (0, 11)), ("utf-16", (0, 9)), ("utf-32", (0, 8))]
)
async def test_typing_in_all_encodings(
    daemon: DaemonUnderTest, encoding: str, at: tuple[int, int]
) -> None:
    async with an_editor(daemon.env, encoding=encoding) as editor:
        assert editor.capabilities.position_encoding == encoding
        editor.open("x = '😀'\n")
        editor.type((0, at[1] - 1), ";")
        assert await editor.ghost(at) == "a + b"
        assert await editor.ghost((0, at[1] + 1)) is None


async def test_what_stands_after_the_cursor_is_not_repeated(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env) as editor:
        editor.open("x = a + b\ny = |".replace("|", " + b"))
        assert await editor.ghost((1, 4)) == "a"


async def test_an_editor_without_inline_completion(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env, inline=False) as editor:
        assert editor.capabilities.completion_provider is not None
        editor.open(TEXT)
        answer = await editor.client.text_document_completion_async(
            types.CompletionParams(
                text_document=types.TextDocumentIdentifier("untitled:Untitled-1"),
                position=types.Position(*END),
            )
        )
        assert isinstance(answer, types.CompletionList)
        assert answer.is_incomplete
        assert [item.label for item in answer.items] == ["a + b"]


async def test_a_document_of_a_hundred_thousand_lines(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env) as editor:
        editor.open("value = compute(value)\n" * 100_000 + "x = ")
        for character in range(4, 8):
            editor.type((100_000, character), "y")
        assert await editor.ghost((100_000, 8)) == "a + b"


# --- nothing wasted ----------------------------------------------------------------------------


async def test_a_cancel_reaches_the_engine(slow_daemon: DaemonUnderTest) -> None:
    async with an_editor(slow_daemon.env) as editor:
        editor.open(TEXT)
        answer = editor.request(END, number=77)
        await eventually(lambda: _running(slow_daemon) == 1, "a running request")
        editor.client.cancel_request(types.CancelParams(id=77))
        with pytest.raises(JsonRpcException) as caught:
            await answer
        assert caught.value.code == -32800
        await eventually(lambda: report(slow_daemon).totals.cancelled == 1, "the cancel")
        assert _running(slow_daemon) == 0


async def test_a_newer_request_ends_the_older(slow_daemon: DaemonUnderTest) -> None:
    async with an_editor(slow_daemon.env) as editor:
        editor.open(TEXT)
        older = editor.request(END)
        await eventually(lambda: _running(slow_daemon) == 1, "a running request")
        editor.type(END, "a")
        newer = editor.request((1, 12), number=78)
        async with asyncio.timeout(20):
            assert ghost_text(await older) is None
        assert report(slow_daemon).totals.superseded == 1
        editor.client.cancel_request(types.CancelParams(id=78))
        with pytest.raises(JsonRpcException):
            await newer


async def test_who_types_what_is_being_generated_rides_along(make_daemon: MakeDaemon) -> None:
    """As editors do it: change, cancel, ask again. The engine generates once."""
    scripted = {"script": "alpha beta gamma delta epsilon", "tokens_per_second": 5.0}
    daemon = make_daemon(scripted=scripted).start()
    async with an_editor(daemon.env, debounceMs=20) as editor:
        editor.open(TEXT)
        older = editor.request(END, invoked=False, number=77)
        # Something is generated; not all.
        await eventually(
            lambda: any(item.completion_tokens for item in report(daemon).active), "some text"
        )
        editor.type(END, "al")
        editor.client.cancel_request(types.CancelParams(id=77))
        newer = editor.request((1, 13), invoked=False)
        with pytest.raises(JsonRpcException):
            await older
        async with asyncio.timeout(20):
            assert ghost_text(await newer) == "pha beta gamma delta epsilon"
    totals = report(daemon).totals
    assert totals.rides == 1
    assert totals.wasted_tokens == 0


async def test_a_deadline_is_kept(slow_daemon: DaemonUnderTest) -> None:
    async with an_editor(slow_daemon.env, deadlineMs=300) as editor:
        editor.open(TEXT)
        shown = await editor.ghost(END)
        assert shown is None or shown.startswith("0.1")
        await eventually(lambda: _running(slow_daemon) == 0, "a free engine")


def _running(daemon: DaemonUnderTest) -> int:
    return len(report(daemon).active)


@pytest.mark.parametrize("name", [".env", "id_rsa", "ignored.py"])
async def test_what_is_private_is_never_sent(
    daemon: DaemonUnderTest, repository: Path, name: str
) -> None:
    async with an_editor(daemon.env) as editor:
        before = report(daemon).totals.prompt_tokens
        private, public = (repository / name).as_uri(), (repository / "kept.py").as_uri()
        editor.open(TEXT, private)
        assert await editor.ghost(END, private) is None
        assert report(daemon).totals.prompt_tokens == before
        editor.open(TEXT, public)
        assert await editor.ghost(END, public) == "a + b"
        assert report(daemon).totals.prompt_tokens > before


# --- bad days ----------------------------------------------------------------------------------


async def test_without_a_daemon_there_is_one_message(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    async with an_editor(daemon.env) as editor:
        editor.open(TEXT)
        for _ in range(20):
            assert await editor.ghost(END) is None
        assert editor.messages == ["ingle: ingled is not running: start it with `ingle up`"]


async def test_a_daemon_that_comes_later_is_found(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    async with an_editor(daemon.env) as editor:
        editor.open(TEXT)
        assert await editor.ghost(END) is None
        await asyncio.to_thread(daemon.start)
        await _until_completed(editor)


async def test_a_daemon_that_restarts_is_found_again(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    async with an_editor(daemon.env) as editor:
        editor.open(TEXT)
        assert await editor.ghost(END) == "a + b"
        await asyncio.to_thread(daemon.restart)
        # Another place: what was suggested here needs no daemon.
        editor.type(END, "z ")
        await _until_completed(editor, (1, 13))
        assert len(editor.messages) <= 1


async def test_a_daemon_that_is_killed_in_mid_request(slow_daemon: DaemonUnderTest) -> None:
    async with an_editor(slow_daemon.env) as editor:
        editor.open(TEXT)
        answer = editor.request(END)
        await eventually(lambda: _running(slow_daemon) == 1, "a running request")
        await asyncio.to_thread(slow_daemon.kill)
        async with asyncio.timeout(20):
            assert ghost_text(await answer) is None
        assert await editor.ghost(END) is None
        assert len(editor.messages) == 1
        slow_daemon.configure(scripted={"script": "a + b"})
        await asyncio.to_thread(slow_daemon.start)
        await _until_completed(editor)


async def test_the_daemon_is_started_for_who_allows_it(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    try:
        async with an_editor(daemon.env, startDaemon=True) as editor:
            editor.open(TEXT)
            await _until_completed(editor)
            assert editor.messages == []
        # It outlives the editor.
        assert report(daemon).pid
    finally:
        with daemon.client() as client:
            pid = client.status().pid
            client.shutdown()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)


async def _until_completed(editor: Editor, at: tuple[int, int] = END) -> None:
    """Ask again and again, as typing does."""
    give_up = time.monotonic() + 30
    while await editor.ghost(at) != "a + b":
        assert time.monotonic() < give_up


# --- the process -------------------------------------------------------------------------------


async def test_it_is_small(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env) as editor:
        editor.open(TEXT)
        assert await editor.ghost(END) == "a + b"
        assert psutil.Process(editor.process.pid).memory_info().rss <= 70e6


async def test_it_ends_well_after_shutdown_and_exit(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env) as editor:
        await editor.client.shutdown_async(None)
        editor.client.exit(None)
        assert await editor.process.wait() == 0


class RawEditor:
    """A server whose streams the test holds in its hands."""

    def __init__(self, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            SERVER,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.send(id=1, method="initialize", params={"processId": None, "capabilities": {}})

    def send(self, **message: Any) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def write(self, body: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def read(self) -> Any:
        assert self.process.stdout is not None
        size = 0
        while (line := self.process.stdout.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        return json.loads(self.process.stdout.read(size)) if size else None

    def read_answer(self, number: int) -> Any:
        while (message := self.read()) is not None:
            if message.get("id") == number and "method" not in message:
                return message
        raise AssertionError("the server ended")

    def end(self) -> tuple[int, str]:
        """Close standard input; exit status and standard error."""
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors.decode()


def test_it_ends_when_the_editor_is_gone(daemon: DaemonUnderTest) -> None:
    editor = RawEditor(daemon.env)
    editor.read_answer(1)
    assert editor.end() == (1, "")


def test_it_ends_when_the_editor_dies_in_mid_request(slow_daemon: DaemonUnderTest) -> None:
    editor = RawEditor(slow_daemon.env)
    editor.read_answer(1)
    document = {"uri": "untitled:a", "languageId": "python", "version": 1, "text": TEXT}
    editor.send(method="textDocument/didOpen", params={"textDocument": document})
    position = {"line": 1, "character": 11}
    editor.send(
        id=2,
        method="textDocument/inlineCompletion",
        params={
            "textDocument": {"uri": "untitled:a"},
            "position": position,
            "context": {"triggerKind": 1},
        },
    )
    give_up = time.monotonic() + 20
    while _running(slow_daemon) != 1:
        assert time.monotonic() < give_up
    assert editor.process.stdout is not None
    editor.process.stdout.close()
    assert editor.process.stdin is not None
    editor.process.stdin.close()
    assert editor.process.wait(20) == 1
    assert editor.process.stderr is not None
    with editor.process.stderr as errors:
        assert errors.read() == b""
    while _running(slow_daemon) != 0:
        assert time.monotonic() < give_up


def test_rubbish_is_survived_and_never_logged(daemon: DaemonUnderTest) -> None:
    editor = RawEditor(daemon.env)
    editor.read_answer(1)
    editor.write(b"{ this is not JSON, secret_source")
    editor.write(b'["secret_source"]')
    editor.write(b'{"jsonrpc": "1.0", "id": 5, "method": "secret_source"}')
    editor.send(method="textDocument/didOpen", params={"textDocument": "secret_source"})
    editor.send(method="textDocument/didChange", params={"contentChanges": ["secret_source"]})
    editor.send(id=2, method="textDocument/inlineCompletion", params={"position": "secret_source"})
    assert editor.read_answer(2)["error"]["code"] == -32602
    editor.send(id=3, method="shutdown")
    assert editor.read_answer(3)["result"] is None
    editor.send(method="exit")
    status, errors = editor.end()
    assert status == 0
    assert "Traceback" not in errors
    assert "secret_source" not in errors
    # One line each, and no more.
    assert len(errors.splitlines()) <= 6


def test_it_says_what_it_is() -> None:
    for option, word in (("--version", "ingle-lsp "), ("--help", "editor")):
        done = subprocess.run([*SERVER, option], capture_output=True, text=True, check=True)
        assert word in done.stdout
