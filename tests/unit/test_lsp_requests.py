"""Commands and progress, as every feature of ours has them, with a command made for the test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from lsprotocol import types

from ingle.errors import Busy, ConnectionLost, DaemonNotRunning, HelloRequired
from ingle.messages import Chat, ChatMessage, Delta, Message, Progress
from ingle_lsp.asking import Waiting, ask
from ingle_lsp.logs import SafeFormatter, is_news
from ingle_lsp.progress import Work, work_done
from ingle_lsp.requests import add_command, failure
from support.fake_engine import FakeEngine
from support.waiting import eventually
from support.wire import INLINE, Wire

SHOWS_PROGRESS: dict[str, Any] = INLINE | {"window": {"workDoneProgress": True}}


class Endless:
    """A command that reports, and goes on until it is cancelled."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.now = 0.0
        self.work: Work | None = None
        self.cancelled = 0
        self.enough = asyncio.Event()
        add_command(wire.server, "ingle.test", self.run)

    async def run(self, argument: Mapping[str, Any], token: types.ProgressToken | None) -> Any:
        async with work_done(
            self.wire.server, token, "Testing", clock=lambda: self.now
        ) as self.work:
            try:
                await self.enough.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return dict(argument)

    def begin(self, number: int, **params: Any) -> None:
        params = {"command": "ingle.test", "arguments": [{"a": 1}], **params}
        self.wire.receive(id=number, method="workspace/executeCommand", params=params)

    def report(self, seconds: float, message: str, percentage: int | None = None) -> None:
        assert self.work is not None
        self.now += seconds
        self.work.report(message, percentage)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def progress(wire: Wire, token: object) -> list[Any]:
    return [
        message["params"]["value"]
        for message in wire.sent
        if message.get("method") == "$/progress" and message["params"]["token"] == token
    ]


async def test_progress_under_the_editors_token(wire: Wire) -> None:
    command = Endless(wire)
    await wire.initialize(SHOWS_PROGRESS)
    command.begin(2, workDoneToken="t")
    await eventually(lambda: command.work, "the command")
    command.report(0.1, "too soon")
    command.report(0.2, "half", 50)
    command.report(0.3, "more")
    command.enough.set()
    assert (await wire.until(id=2))["result"] == {"a": 1}
    assert progress(wire, "t") == [
        {"kind": "begin", "title": "Testing", "cancellable": True},
        {"kind": "report", "message": "half", "percentage": 50, "cancellable": True},
        {"kind": "report", "message": "more", "cancellable": True},
        {"kind": "end"},
    ]
    assert wire.server.work_done_progress.tokens == {}


async def test_progress_under_a_token_of_ours(wire: Wire) -> None:
    command = Endless(wire)
    await wire.initialize(SHOWS_PROGRESS)
    command.begin(2)
    question = await wire.until(method="window/workDoneProgress/create")
    token = question["params"]["token"]
    assert progress(wire, token) == []
    wire.receive(id=question["id"], result=None)
    await eventually(lambda: progress(wire, token), "progress")
    command.enough.set()
    await wire.until(id=2)
    assert [value["kind"] for value in progress(wire, token)] == ["begin", "end"]


async def test_an_editor_that_refuses_a_token_or_answers_late(wire: Wire) -> None:
    command = Endless(wire)
    command.enough.set()
    await wire.initialize(SHOWS_PROGRESS)
    for number, answer in enumerate([{"error": {"code": 1, "message": "no"}}, {"result": None}], 2):
        command.begin(number)
        await wire.until(id=number)
        *_, question = wire.matching(method="window/workDoneProgress/create")
        wire.receive(id=question["id"], **answer)
    command.begin(4)
    await wire.until(id=4)
    assert wire.matching(method="$/progress") == []


async def test_an_editor_without_progress_is_sent_none(wire: Wire) -> None:
    command = Endless(wire)
    await wire.initialize()
    command.begin(2)
    await eventually(lambda: command.work, "the command")
    command.report(1, "unseen")
    command.enough.set()
    await wire.until(id=2)
    assert not any(message.get("method") == "$/progress" for message in wire.sent)


@pytest.mark.parametrize(
    ("method", "params"),
    [("$/cancelRequest", {"id": 2}), ("window/workDoneProgress/cancel", {"token": "t"})],
)
async def test_both_ways_to_cancel(wire: Wire, method: str, params: Any) -> None:
    command = Endless(wire)
    await wire.initialize()
    command.begin(2, workDoneToken="t")
    await eventually(lambda: command.work, "the command")
    wire.receive(method=method, params=params)
    assert (await wire.until(id=2))["error"]["code"] == -32800
    assert command.cancelled == 1
    assert [value["kind"] for value in progress(wire, "t")] == ["begin", "end"]
    # And once more, when it is over.
    wire.receive(method=method, params=params)
    command.enough.set()
    command.begin(3, workDoneToken="t")
    assert (await wire.until(id=3))["result"] == {"a": 1}


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[1], ["a"], [[]], [{}, {}], [True]])
async def test_an_argument_that_is_none(wire: Wire, arguments: Any) -> None:
    Endless(wire)
    await wire.initialize()
    answer = await wire.request(
        2, "workspace/executeCommand", {"command": "ingle.test", "arguments": arguments}
    )
    assert answer["error"]["code"] == -32602
    assert answer["error"]["message"] == "ingle.test takes one argument, an object"


@pytest.mark.parametrize("arguments", [{}, {"arguments": None}, {"arguments": []}])
async def test_no_argument_is_an_empty_one(wire: Wire, arguments: Any) -> None:
    Endless(wire).enough.set()
    await wire.initialize()
    params = {"command": "ingle.test"} | arguments
    answer = await wire.request(2, "workspace/executeCommand", params)
    assert answer["result"] == {}


async def test_a_command_that_there_is_none(wire: Wire) -> None:
    await wire.initialize()
    answer = await wire.request(2, "workspace/executeCommand", {"command": "ingle.nonsense"})
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("error", "code", "message", "logged"),
    [
        (Busy("the queue is full"), -32803, "the queue is full", 0),
        (failure("not here"), -32803, "not here", 0),
        (KeyError("secret_source"), -32603, "KeyError in ingle-lsp: this is a bug, ", 1),
    ],
)
async def test_a_failure_is_one_line(
    wire: Wire,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: int,
    message: str,
    logged: int,
) -> None:
    async def run(argument: Mapping[str, Any], token: object) -> None:
        raise error

    add_command(wire.server, "ingle.test", run)
    await wire.initialize()
    answer = await wire.request(2, "workspace/executeCommand", {"command": "ingle.test"})
    assert answer["error"]["code"] == code
    assert answer["error"]["message"].startswith(message)
    assert "data" not in answer["error"]
    assert "secret_source" not in str(answer)
    news = [record for record in caplog.records if record.levelno >= 30 and is_news(record)]
    assert len(news) == logged
    assert "secret_source" not in "".join(map(SafeFormatter().format, news))


# --- a question to the daemon ------------------------------------------------------------------


class Asker:
    """Asks, and keeps what it hears."""

    def __init__(self, engine: FakeEngine) -> None:
        self.told: list[str] = []
        self.connection = engine.connection(self.told.append)
        self.events: list[Message] = []

    async def ask(self) -> str:
        turns = [ChatMessage(role="user", content="why?")]
        answer = await ask(self.connection, on_event=self.events.append, messages=turns)
        return answer.text


async def test_a_question() -> None:
    engine = FakeEngine("because\nof it")
    asker = Asker(engine)
    assert await asker.ask() == "because\nof it"
    assert [type(event).__name__ for event in asker.events] == ["Delta", "Delta", "Done"]
    assert engine.calls[0]["type"] is Chat


@pytest.mark.parametrize("error", [ConnectionLost("gone"), HelloRequired("hello?")])
async def test_a_daemon_that_was_restarted_is_asked_again(error: Exception) -> None:
    engine = FakeEngine("yes")
    engine.failures = [error]
    assert await Asker(engine).ask() == "yes"
    engine.failures = [error, error]
    with pytest.raises(type(error)):
        await Asker(engine).ask()


async def test_what_the_daemon_refuses_is_not_asked_again() -> None:
    engine = FakeEngine("yes")
    engine.failures = [Busy("the queue is full")]
    with pytest.raises(Busy):
        await Asker(engine).ask()
    assert len(engine.calls) == 1


async def test_without_a_daemon_every_question_says_why() -> None:
    engine = FakeEngine("yes")
    engine.down = DaemonNotRunning("ingled is not running: start it with `ingle up`")
    asker = Asker(engine)
    for _ in range(3):
        with pytest.raises(DaemonNotRunning, match="`ingle up`"):
            await asker.ask()
    # The answers say it; nobody needs to be told twice.
    assert asker.told == []
    # Asked by name, so the pause between two tries does not count.
    engine.down = None
    assert await asker.ask() == "yes"


async def test_what_a_wait_looks_like(wire: Wire) -> None:
    command = Endless(wire)
    await wire.initialize()
    command.begin(2, workDoneToken="t")
    work = await eventually(lambda: command.work, "the command")
    waiting = Waiting(work)
    for event in (
        Progress(id=1, phase="loading", fraction=0.404),
        Progress(id=1, phase="queued"),
        Delta(id=1, channel="analysis", text="hm", tokens=999),
        Delta(id=1, channel="final", text="so", tokens=1),
    ):
        command.now += 1
        waiting(event)
    command.enough.set()
    await wire.until(id=2)
    said = [
        (value["message"], value.get("percentage"))
        for value in progress(wire, "t")
        if value["kind"] == "report"
    ]
    assert said == [
        ("loading the model", 40),
        ("waiting for its turn", None),
        ("thinking: 999 tokens", None),
        ("writing: 1,000 tokens", None),
    ]
