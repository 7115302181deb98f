"""Chat threads as they are used: editors and shells take turns on one, over a real daemon."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from lsprotocol.converters import get_converter
from pygls.exceptions import JsonRpcException

from ingle.threads import Thread, ThreadStore
from support.applied_edits import apply_workspace_edit
from support.daemons import DaemonUnderTest
from support.editors import Editor, an_editor
from support.waiting import eventually, wait_until

MakeDaemon = Callable[..., DaemonUnderTest]

INGLE = str(Path(sys.executable).with_name("ingle"))
#: Talks for minutes.
TALKATIVE = {"script": "word " * 5000, "tokens_per_second": 50.0}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


class Panel:
    """A plugin's chat, in a real editor session."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.deltas: list[dict[str, Any]] = []
        editor.client.feature("ingle/chat/delta")(
            lambda params: self.deltas.append(params._asdict())
        )

    def send(self, method: str, number: int | None = None, **params: Any) -> asyncio.Future[Any]:
        """A request, without waiting for it."""
        protocol = self.editor.client.protocol
        return asyncio.wrap_future(protocol.send_request(method, params, msg_id=number))

    async def request(self, method: str, **params: Any) -> Any:
        """The result of a request. Raises `JsonRpcException`."""
        async with asyncio.timeout(60):
            return _plain(await self.send(method, **params))

    async def ask(self, text: str, thread: str | None = None, **params: Any) -> dict[str, Any]:
        """The answer."""
        result: dict[str, Any] = await self.request(
            "ingle/chat", text=text, thread=thread, token="t", **params
        )
        return result

    @property
    def streamed(self) -> str:
        """What the deltas said."""
        return "".join(delta["text"] for delta in self.deltas)


def _plain(value: Any) -> Any:
    """pygls makes named tuples of what it does not know."""
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _applies_edits(capabilities: types.ClientCapabilities) -> None:
    capabilities.workspace = types.WorkspaceClientCapabilities(
        apply_edit=True,
        workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True),
    )


@asynccontextmanager
async def a_panel(daemon: DaemonUnderTest, encoding: str = "utf-16") -> AsyncIterator[Panel]:
    async with an_editor(daemon.env, encoding=encoding, more=_applies_edits) as editor:
        yield Panel(editor)


def shell(
    daemon: DaemonUnderTest, *arguments: str, piped: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [INGLE, *arguments],
        env=daemon.env,
        input=piped.encode(),
        capture_output=True,
        timeout=60,
        **options,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


async def in_shell(daemon: DaemonUnderTest, *arguments: str, **options: Any) -> Any:
    """A command beside a running editor: its answer, or the failed process."""
    return await asyncio.to_thread(shell, daemon, *arguments, **options)


def stored(daemon: DaemonUnderTest, name: str) -> Thread:
    return ThreadStore(daemon.home / "data" / "threads").read(name)


# --- taking turns ------------------------------------------------------------------------------


async def test_an_editor_and_a_shell_continue_the_same_thread(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"context": 8192}).start()
    async with a_panel(daemon) as panel:
        panel.editor.open("def add(a, b):\n    return a - b\n", "file:///project/a.py")
        context = [{"uri": "file:///project/a.py"}]
        first = await panel.ask("What is wrong?", context=context)
        name = first["thread"]
        assert first["text"].endswith("What is wrong?")
        assert panel.streamed == first["text"]
        assert first["finish"] == "stop"

        answer = await in_shell(daemon, "ask", "--thread", "last", "--json", "And now?")
        assert (answer.returncode, answer.stderr) == (0, "")
        events = [json.loads(line) for line in answer.stdout.splitlines()]
        usage = events[-1]["usage"]
        # All that was said before was in the prefix cache; the rest is the new question's frame.
        assert usage["cached_tokens"] > 0.6 * usage["prompt_tokens"]

        third = await panel.ask("Sure?", name)
        assert third["turn"] == 5
        assert third["text"] == "Sure?"
        answer = await in_shell(daemon, "ask", "--thread", name, "Thanks.")
        assert answer.stdout == "Thanks.\n"

        thread = await panel.request("ingle/chat/thread", thread=name)
        questions = [turn["text"] for turn in thread["turns"] if turn["role"] == "user"]
        assert questions == ["What is wrong?", "And now?", "Sure?", "Thanks."]
        (listed,) = await panel.request("ingle/chat/threads")
        assert (listed["thread"], listed["turns"]) == (name, 8)
    table = shell(daemon, "threads")
    assert table.stdout.splitlines()[1].startswith(name)
    assert "> Sure?\n\nSure?\n" in shell(daemon, "threads", "show", name).stdout
    assert shell(daemon, "threads", "rm", name).stdout == f"{name} is deleted\n"
    assert shell(daemon, "threads", "--json").stdout == ""
    assert list((daemon.home / "data" / "threads").iterdir()) == []
    assert "wrong" not in daemon.log()


@pytest.mark.model
async def test_on_a_real_model(model_daemon: DaemonUnderTest) -> None:
    async with a_panel(model_daemon) as panel:
        first = await panel.ask("Name a fruit.", thread="fruit", newThread=True)
        assert first["text"]
        assert first["tokens"] > 0
        assert first["tokensPerSecond"] > 0
        assert panel.streamed == first["text"]
        answer = await in_shell(
            model_daemon, "ask", "--thread", "fruit", "--json", "--max-tokens", "20", "Another one."
        )
        done = json.loads(answer.stdout.splitlines()[-1])
        assert done["type"] == "done"
        assert done["usage"]["cached_tokens"] > done["usage"]["prompt_tokens"] / 2
        assert (await panel.ask("And another?", "fruit"))["turn"] == 5


async def test_deltas_come_while_it_is_said_and_not_too_often(make_daemon: MakeDaemon) -> None:
    words = {"script": "word " * 1500, "tokens_per_second": 1000.0}
    daemon = make_daemon(scripted=words, model={"context": 8192}).start()
    async with a_panel(daemon) as panel:
        begun = time.monotonic()
        answer = panel.send("ingle/chat", text="Go.", token="t")
        await eventually(lambda: panel.deltas, "a delta")
        assert not answer.done()
        result = _plain(await answer)
        seconds = time.monotonic() - begun
        assert panel.streamed == result["text"]
        assert result["text"].count("word") == 1500
        assert 5 < len(panel.deltas) <= 61 * seconds + 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_a_block_becomes_an_edit(make_daemon: MakeDaemon, encoding: str) -> None:
    code = "def add(a, b):\n    return '😀', a + b\n"
    script = f"Use a sum:\n\n```python\n{code}```\n"
    daemon = make_daemon(scripted={"script": script}).start()
    uri = "file:///project/a.py"
    text = "import os\n\n\n" + code.replace("+", "-") + "\n\nprint(add(1, 2))\n"
    async with a_panel(daemon, encoding) as panel:
        files = {uri: text}

        @panel.editor.client.feature(types.WORKSPACE_APPLY_EDIT)
        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            edit = get_converter().unstructure(params.edit)
            files.update(apply_workspace_edit(files, edit, encoding, {uri: 1}))
            return types.ApplyWorkspaceEditResult(applied=True)

        panel.editor.open(text, uri)
        answer = await panel.ask("What is wrong?", context=[{"uri": uri}])
        assert [block["text"] for block in answer["blocks"]] == [code]
        block = {"thread": answer["thread"], "turn": answer["turn"], "block": 0}
        result = await panel.request("ingle/chat/apply", **block, uri=uri, version=1)
        assert result == {"applied": True, "message": ""}
        assert files == {uri: text.replace("a - b", "a + b")}


# --- at the same time --------------------------------------------------------------------------


async def test_two_editors_on_one_thread(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    async with a_panel(daemon) as one, a_panel(daemon) as other:
        first = one.send("ingle/chat", 77, text="Go.", token="t", thread="a", newThread=True)
        await eventually(lambda: one.deltas, "a delta")
        with pytest.raises(JsonRpcException, match="answers another question"):
            await other.ask("Me, too.", "a")
        busy = await in_shell(daemon, "ask", "--thread", "a", "Me, too.")
        assert (busy.returncode, busy.stdout) == (4, "")
        assert "answers another question" in busy.stderr
        busy = await in_shell(daemon, "threads", "rm", "a")
        assert busy.returncode == 4
        # It can be read all the same.
        (listed,) = await other.request("ingle/chat/threads")
        assert listed["thread"] == "a"

        second = other.send("ingle/chat", 78, text="Else.", token="t", thread="b", newThread=True)
        await eventually(lambda: other.deltas, "a delta of another thread")
        one.editor.client.cancel_request(types.CancelParams(id=77))
        with pytest.raises(JsonRpcException):
            await first
        kept = stored(daemon, "a").turns[1]
        assert kept.finish == "cancelled"
        assert kept.text.startswith("word word")
        third = other.send("ingle/chat", 79, text="Now me.", token="t", thread="a")
        await eventually(lambda: len(stored(daemon, "a").turns) == 4, "the second question")
        for number in (78, 79):
            other.editor.client.cancel_request(types.CancelParams(id=number))
        for answer in (second, third):
            with pytest.raises(JsonRpcException):
                await answer
    assert [turn.text for turn in stored(daemon, "a").turns[::2]] == ["Go.", "Now me."]


# --- killed in the middle ----------------------------------------------------------------------


async def test_an_editor_that_is_killed(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    async with a_panel(daemon) as panel:
        panel.send("ingle/chat", text="Go.", token="t", thread="a", newThread=True)
        await eventually(lambda: len(panel.deltas) > 3, "deltas")
        panel.editor.process.kill()
        await panel.editor.process.wait()
    turns = stored(daemon, "a").turns
    assert turns[0].text == "Go."
    assert turns[1].text.startswith("word")
    assert turns[1].finish == ""
    shown = shell(daemon, "threads", "show", "a").stdout
    assert shown.endswith("[ended with its process]\n")
    daemon.configure(scripted={"script": "Here."})
    await asyncio.to_thread(daemon.restart)
    assert shell(daemon, "ask", "--thread", "a", "Still there?").stdout == "Here.\n"


async def test_an_editor_that_quits(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    async with a_panel(daemon) as panel:
        answer = panel.send("ingle/chat", text="Go.", token="t", thread="a", newThread=True)
        await eventually(lambda: len(panel.deltas) > 3, "deltas")
        await panel.editor.client.shutdown_async(None)
        with pytest.raises(JsonRpcException):
            await answer
        panel.editor.client.exit(None)
        await panel.editor.process.wait()
    turn = stored(daemon, "a").turns[1]
    assert turn.finish == "cancelled"
    assert turn.text.count("word") >= 3


def _killed_in_the_middle(daemon: DaemonUnderTest, number: int) -> None:
    with subprocess.Popen(
        [INGLE, "ask", "--thread", "a", "Go."],
        env=daemon.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # A test run in the background of a shell script ignores it, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(10) == b"word word "
        process.send_signal(number)
        process.wait(20)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_shell_that_is_killed(make_daemon: MakeDaemon, number: int) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    await asyncio.to_thread(_killed_in_the_middle, daemon, number)
    turn = stored(daemon, "a").turns[1]
    assert turn.text.startswith("word")
    assert turn.finish == ("cancelled" if number == signal.SIGINT else "")
    daemon.configure(scripted={"script": "Here."})
    await asyncio.to_thread(daemon.restart)
    async with a_panel(daemon) as panel:
        assert (await panel.ask("Still there?", "a"))["text"] == "Here."


async def test_a_daemon_that_is_killed(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    async with a_panel(daemon) as panel:
        answer = panel.send("ingle/chat", text="Go.", token="t", thread="a", newThread=True)
        await eventually(lambda: panel.deltas, "a delta")
        await asyncio.to_thread(daemon.kill)
        with pytest.raises(JsonRpcException, match="connection to the daemon was lost"):
            await answer
        assert stored(daemon, "a").turns[1].finish == "error"
        with pytest.raises(JsonRpcException, match="not running"):
            await panel.ask("Still there?", "a")
        assert len(stored(daemon, "a").turns) == 2
        daemon.configure(scripted={"script": "Here."})
        await asyncio.to_thread(daemon.start)
        assert (await panel.ask("Still there?", "a"))["text"] == "Here."
        await asyncio.to_thread(daemon.restart)
        assert (await panel.ask("And now?", "a"))["text"] == "Here."


# --- large and small ---------------------------------------------------------------------------


async def test_turns_of_a_megabyte(make_daemon: MakeDaemon) -> None:
    scripted = {"prefill_tokens_per_second": 10_000_000.0, "script": "naïve 日本語"}
    daemon = make_daemon(scripted=scripted, model={"context": 1_000_000}).start()
    text = "naïve 日本語 😀\t\u2028 'quoted'\n" * 35_000
    answer = shell(daemon, "ask", "--thread", "a", "Read:", piped=text)
    assert (answer.returncode, answer.stdout) == (0, "naïve 日本語\n")
    assert stored(daemon, "a").turns[0].text == f"Read:\n\n{text.rstrip()}"
    assert len(stored(daemon, "a").turns[0].text.encode()) > 1_000_000
    async with a_panel(daemon) as panel:
        assert (await panel.ask("Again?", "a"))["text"] == "naïve 日本語"
        (listed,) = await panel.request("ingle/chat/threads")
        assert listed["title"] == "Read:"
        thread = await panel.request("ingle/chat/thread", thread="a")
        assert thread["turns"][0]["text"].count("😀") == 35_000


async def test_a_thread_that_outgrows_the_context(make_daemon: MakeDaemon) -> None:
    scripted = {"tokens_per_second": 2000.0, "script": "word " * 40}
    daemon = make_daemon(scripted=scripted, model={"context": 512}).start()
    notes = []
    async with a_panel(daemon) as panel:
        name: str | None = None
        for number in range(12):
            result = await panel.ask(f"Question {number}?", name)
            name = result["thread"]
            notes.append(result["note"])
            assert result["finish"] == "stop" or "the answer was cut" in result["note"]
        assert any("oldest" in note for note in notes)
        # Seldom, so that the prefix cache is of use in between.
        assert sum("oldest" in note for note in notes) <= 4
        assert len(stored(daemon, str(name)).turns) == 24
    for number in range(6):
        answer = shell(daemon, "ask", "--thread", "last", f"Question {number}?")
        assert answer.returncode == 0
        assert answer.stdout.count("word") == 40 or "the answer was cut" in answer.stderr
        notes.append(answer.stderr)
    assert any(note.startswith("ingle: the thread is too long") for note in notes[12:])
    too_long = shell(daemon, "ask", "--thread", "last", "word " * 600)
    assert (too_long.returncode, too_long.stdout) == (1, "")
    assert "send less text" in too_long.stderr
    assert len(stored(daemon, str(name)).turns) == 36


def test_what_a_shell_completes(scripted_daemon: DaemonUnderTest) -> None:
    for name in ("alpha", "beta"):
        assert shell(scripted_daemon, "ask", "--thread", name, "Why?").returncode == 0
    for words, offered in (
        ("ingle ask --thread al", ["alpha"]),
        ("ingle threads show ", ["alpha", "beta", "last"]),
        ("ingle threads rm alpha b", ["beta"]),
    ):
        env = scripted_daemon.env | {
            "_INGLE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        done = subprocess.run([INGLE], env=env, capture_output=True, text=True, timeout=60)
        assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offered


def test_a_thousand_threads(scripted_daemon: DaemonUnderTest) -> None:
    assert shell(scripted_daemon, "ask", "--thread", "t0", "Why?").returncode == 0
    folder = scripted_daemon.home / "data" / "threads"
    data = (folder / "t0.json").read_bytes()
    for number in range(1, 1000):
        (folder / f"t{number}.json").write_bytes(data)
    listed = shell(scripted_daemon, "threads", "--json").stdout.splitlines()
    assert len(listed) == 1000
    assert shell(scripted_daemon, "ask", "--thread", "t500", "And?").stdout == "And?\n"
    assert shell(scripted_daemon, "threads").stdout.splitlines()[1].startswith("t500 ")


# --- bad disks ---------------------------------------------------------------------------------


async def test_a_folder_that_can_not_be(scripted_daemon: DaemonUnderTest) -> None:
    (scripted_daemon.home / "data").mkdir(exist_ok=True)
    (scripted_daemon.home / "data" / "threads").write_text("")
    answer = shell(scripted_daemon, "ask", "--thread", "a", "Why?")
    assert (answer.returncode, answer.stdout) == (0, "Why?\n")
    assert answer.stderr.startswith("ingle: the thread 'a' can't be changed in ")
    assert answer.stderr.count("\n") == 1
    listing = shell(scripted_daemon, "threads")
    assert (listing.returncode, listing.stdout) == (1, "")
    assert "can't be listed" in listing.stderr
    async with a_panel(scripted_daemon) as panel:
        result = await panel.ask("Why?")
        assert result["text"] == "Why?"
        assert "can't be" in result["note"]
        with pytest.raises(JsonRpcException, match="can't be listed"):
            await panel.request("ingle/chat/threads")


def test_a_disk_that_takes_no_more(scripted_daemon: DaemonUnderTest) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    assert shell(scripted_daemon, "ask", "--thread", "a", "Why?").returncode == 0
    before = stored(scripted_daemon, "a")
    text = "word " * 600
    answer = shell(scripted_daemon, "ask", "--thread", "a", "Why?", piped=text, preexec_fn=limited)
    assert answer.returncode == 0
    assert answer.stdout.startswith("word word")
    assert answer.stderr.startswith("ingle: the thread 'a' can't be saved in ")
    assert answer.stderr.endswith(": file too large\n")
    assert answer.stderr.count("\n") == 1
    assert stored(scripted_daemon, "a") == before
    wait_until(lambda: stored(scripted_daemon, "a") == before)
    assert shell(scripted_daemon, "ask", "--thread", "a", "Again?").stdout == "Again?\n"
