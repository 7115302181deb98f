"""Chat threads on the command line: what is asked, kept, listed, shown, deleted."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingle.errors import Busy, ContextOverflow
from ingle.messages import Chat, Delta, Done, Message, Started, Usage
from ingle.threads import Excerpt, Position, Range, Thread, ThreadStore, Turn
from ingled.cli.thread_names import complete_threads
from support.cli import FakeCall, FakeClient, Shell

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ANSWER: tuple[Message, ...] = (
    Started(id=7, model="m"),
    Delta(id=7, channel="analysis", text="Hm."),
    Delta(id=7, text="Because."),
    Done(id=7, finish="stop", model="m", usage=Usage(completion_tokens=5)),
)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Shell:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INGLE_DEBUG", raising=False)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def store(shell: Shell) -> ThreadStore:
    return ThreadStore()


def texts(client: FakeClient, number: int = 0) -> list[str]:
    return [turn.content for turn in client.asked[number][1]["messages"]]


def asked(shell: Shell, *arguments: str, events: tuple[Any, ...] = ANSWER) -> FakeClient:
    client = FakeClient(*events)
    shell.connect("ask", client)
    shell("ask", *arguments)
    return client


# --- ask ---------------------------------------------------------------------------------------


def test_a_thread_goes_on(shell: Shell, store: ThreadStore) -> None:
    assert texts(asked(shell, "--thread", "mine", "Why?")) == ["Why?"]
    client = asked(shell, "--thread", "mine", "And?")
    assert texts(client) == ["Why?", "Because.", "And?"]
    kind, fields = client.asked[0]
    assert kind is Chat
    assert fields["conversation"] == "mine"
    thread = store.read("mine")
    assert [turn.text for turn in thread.turns] == ["Why?", "Because.", "And?", "Because."]
    assert thread.turns[1] == Turn(
        role="assistant", text="Because.", analysis="Hm.", finish="stop", model="m", tokens=5
    )


def test_without_a_thread_nothing_is_kept(shell: Shell, store: ThreadStore) -> None:
    asked(shell, "Why?")
    assert not store.folder.exists()


def test_the_newest_thread(shell: Shell, store: ThreadStore) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    outcome = shell("ask", "--thread", "last", "Why?")
    assert (outcome.code, outcome.out) == (1, "")
    assert "begin one with `ingle ask --thread NAME`" in outcome.err
    asked(shell, "--thread", "b", "B?")
    asked(shell, "--thread", "a", "A?")
    assert texts(asked(shell, "--thread", "last", "More?")) == ["A?", "Because.", "More?"]


def test_instructions_are_the_threads(shell: Shell) -> None:
    asked(shell, "--thread", "a", "--system", "Be brief.", "Why?")
    client = asked(shell, "--thread", "a", "And?")
    assert texts(client) == ["Be brief.", "Why?", "Because.", "And?"]
    client = asked(shell, "--thread", "a", "--system", "Be long.", "And?")
    assert texts(client)[0] == "Be long."
    assert sum(turn.role == "system" for turn in client.asked[0][1]["messages"]) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "con"])
def test_what_is_no_name(shell: Shell, store: ThreadStore, name: str) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    for arguments in (("ask", "--thread", name, "x"), ("threads", "show", name)):
        outcome = shell(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert "can't be a thread's name" in outcome.err
        assert outcome.err.count("\n") == 1
    assert not store.folder.exists() or list(store.folder.iterdir()) == []


def test_ctrl_c_keeps_what_was_said(shell: Shell, store: ThreadStore) -> None:
    client = FakeClient(Delta(id=7, text="Bec"), KeyboardInterrupt())
    shell.connect("ask", client)
    assert shell("ask", "--thread", "a", "Why?").code == 130
    assert store.read("a").turns[1] == Turn(role="assistant", text="Bec", finish="cancelled")


def test_a_reader_that_leaves_keeps_what_was_said(shell: Shell, store: ThreadStore) -> None:
    asked(shell, "--thread", "a", "Why?", events=(Delta(id=7, text="Bec"), BrokenPipeError()))
    assert store.read("a").turns[1].finish == "cancelled"


def test_a_question_that_was_refused_is_not_kept(shell: Shell, store: ThreadStore) -> None:
    shell.connect("ask", FakeClient(Busy("later")))
    assert shell("ask", "--thread", "a", "Why?").code == 4
    assert list(store.folder.iterdir()) == []


def test_one_question_at_a_time(shell: Shell, store: ThreadStore) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    with store.hold("a"):
        outcome = shell("ask", "--thread", "a", "Why?")
    assert (outcome.code, outcome.out) == (4, "")
    assert "answers another question" in outcome.err


def test_a_damaged_thread_is_reported_and_stays(shell: Shell, store: ThreadStore) -> None:
    asked(shell, "--thread", "a", "Why?")
    file = store.folder / "a.json"
    file.write_bytes(file.read_bytes()[:-9])
    before = file.read_bytes()
    outcome = shell("ask", "--thread", "a", "And?")
    assert (outcome.code, outcome.out) == (1, "")
    assert "a.json is damaged" in outcome.err
    assert outcome.err.count("\n") == 1
    assert file.read_bytes() == before


def test_a_full_disk_costs_the_thread_and_not_the_answer(
    shell: Shell, store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ingle.threads.os.fsync", full)
    shell.connect("ask", FakeClient(*ANSWER))
    outcome = shell("ask", "--thread", "a", "Why?")
    assert (outcome.code, outcome.out) == (0, "Because.\n")
    assert outcome.err.startswith("ingle: the thread 'a' can't be saved in ")
    assert outcome.err.endswith(": no space left on device\n")
    assert outcome.err.count("\n") == 1


class SmallClient(FakeClient):
    """A daemon whose model has no room for more than so many messages."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def call(
        self, request_type: type[Message], *, wait: float | None = None, **fields: Any
    ) -> FakeCall:
        self.asked.append((request_type, fields | {"wait": wait}))
        if len(fields["messages"]) > self._most:
            return FakeCall([ContextOverflow("too long: send less")])
        return FakeCall(ANSWER)


def test_a_thread_that_is_too_long_loses_its_oldest_turns(shell: Shell, store: ThreadStore) -> None:
    for number in range(8):
        asked(shell, "--thread", "a", f"Q{number}?")
    client = SmallClient(6)
    shell.connect("ask", client)
    outcome = shell("ask", "--thread", "a", "Last?")
    assert (outcome.code, outcome.out) == (0, "Because.\n")
    assert outcome.err.startswith("ingle: the thread is too long")
    assert texts(client, -1) == ["Q6?", "Because.", "Q7?", "Because.", "Last?"]
    assert len(store.read("a").turns) == 18
    shell.connect("ask", SmallClient(0))
    outcome = shell("ask", "--thread", "a", "Last?")
    assert (outcome.code, outcome.out) == (1, "")
    assert "too long: send less" in outcome.err
    assert len(store.read("a").turns) == 18


# --- threads -----------------------------------------------------------------------------------


def a_thread(name: str = "a", **fields: Any) -> Thread:
    here = Range(start=Position(line=2, character=0), end=Position(line=8, character=3))
    code = Excerpt(uri="file:///h/src/a.py", range=here, text="x")
    turns = [
        Turn(
            role="user",
            text="Why?\nReally?",
            context=[code],
        ),
        Turn(role="assistant", text="Because.\n", analysis="Hm.", finish="stop"),
        Turn(role="user", text="And?", context=[Excerpt(uri="untitled:b", text="y")]),
        Turn(role="assistant", text="So", finish="cancelled"),
    ]
    values: dict[str, Any] = {"title": "Why?", "created": NOW, "updated": NOW, "turns": turns}
    return Thread(name=name, **values | fields)


def test_no_threads(shell: Shell) -> None:
    outcome = shell("threads")
    assert (outcome.code, outcome.out) == (0, "")
    assert "ingle ask --thread NAME" in outcome.err
    assert shell("threads", "--json").out == ""


def test_the_list(shell: Shell, store: ThreadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(a_thread("old", updated=NOW.replace(year=2025)))
    store.write(a_thread("new", title="Warum? 🐌"))
    (store.folder / "bad.json").write_text("{")
    outcome = shell("threads")
    assert outcome.code == 0
    header, *lines = outcome.out.splitlines()
    assert header.split() == ["NAME", "CONTINUED", "TURNS", "TITLE"]
    assert [line.split()[0] for line in lines] == ["new", "old"]
    assert lines[0].endswith("4      Warum? 🐌")
    assert outcome.err.startswith("ingle: the thread file ")
    assert outcome.err.count("\n") == 1
    objects = [json.loads(line) for line in shell("threads", "--json").out.splitlines()]
    assert objects[0] == {
        "name": "new",
        "title": "Warum? 🐌",
        "updated": "2026-11-24T12:00:00Z",
        "turns": 4,
    }


def test_showing_one(shell: Shell, store: ThreadStore) -> None:
    store.write(a_thread())
    shown = (
        "> [src/a.py, lines 3 to 9]\n> Why?\n> Really?\n\nBecause.\n\n"
        "> [b]\n> And?\n\nSo\n\n[cancelled]\n"
    )
    assert shell("threads", "show", "a").out == shown
    assert shell("threads", "show", "last").out == shown
    thinking = shell("threads", "show", "--show-thinking", "a").out
    assert thinking == shown.replace("Because.", "[thinking]\nHm.\n[/thinking]\n\nBecause.")
    (line,) = shell("threads", "show", "--json", "a").out.splitlines()
    assert json.loads(line)["turns"][1]["analysis"] == "Hm."
    assert json.loads(line)["name"] == "a"


def test_a_thread_can_not_steer_the_terminal(
    shell: Shell, store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "\x1b]0;owned\x07"
    store.write(a_thread(title=evil, turns=[Turn(role="user", text=evil)]))
    monkeypatch.setattr("ingled.cli.output.is_terminal", lambda stream: True)
    for arguments in (("threads",), ("threads", "show", "a")):
        assert "\x1b" not in shell(*arguments).out


def test_deleting(shell: Shell, store: ThreadStore) -> None:
    for name in ("a", "b", "c"):
        store.write(a_thread(name))
    outcome = shell("threads", "rm", "a", "last", "c")
    assert (outcome.code, outcome.out) == (0, "a is deleted\nc is deleted\n")
    with store.hold("b"):
        outcome = shell("threads", "rm", "b")
    assert (outcome.code, outcome.out) == (4, "")
    outcome = shell("threads", "rm", "no")
    assert (outcome.code, outcome.out) == (1, "")
    assert "there is no thread 'no'" in outcome.err
    assert store.names() == ["b"]


def test_the_doctor_looks_at_the_threads(shell: Shell, store: ThreadStore) -> None:
    def found() -> list[str]:
        return [line for line in shell("doctor").out.splitlines() if "threads" in line.split()[1]]

    assert [line.split()[0] for line in found()] == ["ok"]
    store.write(a_thread())
    (store.folder / "bad.json").write_text("{")
    store.folder.chmod(0o755)
    bad, private, count = found()
    assert bad.startswith("warn")
    assert "bad.json is damaged" in bad
    assert private.startswith("fail")
    assert f"chmod go= {store.folder}" in private
    assert "1 chat threads in" in count


@pytest.mark.parametrize("arguments", [("rm",), ("show",), ("nonsense",), ("--nonsense",)])
def test_wrong_command_lines(shell: Shell, arguments: tuple[str, ...]) -> None:
    outcome = shell("threads", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err


def test_what_a_shell_offers(shell: Shell, store: ThreadStore) -> None:
    def offered(text: str) -> list[str]:
        nothing: Any = SimpleNamespace()
        return complete_threads(nothing, nothing, text)

    assert offered("") == []
    for name in ("alpha", "beta", "late"):
        store.write(a_thread(name))
    assert offered("") == ["alpha", "beta", "late", "last"]
    assert offered("la") == ["late", "last"]
    assert offered("x") == []
