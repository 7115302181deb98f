"""When an editor is told of the daemon's state, and when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from ingle.errors import ConnectionLost, DaemonNotRunning, IngleError, Unsupported
from ingle.messages import Done, Message, ModelStatus, Report, Watch
from ingle.results import Completion
from ingle_lsp import status_stream
from ingle_lsp.connection import DaemonClient, DaemonConnection
from ingle_lsp.status import Status
from ingle_lsp.status_stream import StatusStream
from support.waiting import eventually

DOWN = DaemonNotRunning("ingled is not running: start it with `ingle up`")


def report(*models: ModelStatus) -> Report:
    return Report(id=1, version="1", pid=1, uptime_s=1.0, models=[*models])


def ready(name: str = "tiny", **more: Any) -> Report:
    return report(ModelStatus(name=name, engine="scripted", state="ready", **more))


class Daemon:
    """A daemon whose reports the test gives; None ends the stream, an error breaks it."""

    def __init__(self) -> None:
        self.lost = False
        self.closed = 0
        self.down: IngleError | None = None
        self.reports: asyncio.Queue[Report | IngleError | None] = asyncio.Queue()
        self.watches: list[dict[str, Any]] = []
        self.latest = report()

    async def infill(self, prefix: str, suffix: str = "", **fields: object) -> Completion:
        raise AssertionError("not asked for here")

    async def call(self, request_type: type[Message], **fields: Any) -> AsyncIterator[Message]:
        if request_type is not Watch:
            yield self.latest
            yield Done(id=2)
            return
        self.watches.append(fields)
        while (given := await self.reports.get()) is not None:
            if isinstance(given, IngleError):
                raise given
            yield given
        yield Done(id=1)

    async def close(self) -> None:
        self.closed += 1


class World:
    """A stream between a daemon and an editor."""

    def __init__(self) -> None:
        self.daemon = Daemon()
        self.sent: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.tries = 0
        self.mark = 0
        self.paused = False
        self.started: Callable[[], None] = lambda: None
        self.connection = DaemonConnection(
            connect=self.connect,
            start=self.start,
            may_start=lambda: False,
            tell=self.told.append,
            clock=lambda: 0.0,
            look=lambda: self.mark,
        )
        self.stream = StatusStream(
            connection=self.connection, describe=self.describe, send=self.sent.append
        )

    async def connect(self) -> DaemonClient:
        self.tries += 1
        if self.daemon.down is not None:
            raise self.daemon.down
        return self.daemon

    def start(self) -> World:
        self.started()
        return self

    def poll(self) -> int | None:
        return None

    def describe(self, status: Status) -> dict[str, Any]:
        return {"state": status.state, "text": status.text, "paused": self.paused}

    @property
    def states(self) -> list[str]:
        return [message["state"] for message in self.sent]

    async def until(self, *states: str) -> None:
        await eventually(lambda: self.states == list(states), f"{states}, not {self.states}")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(status_stream, "LOOK_INTERVAL", 0.01)
    monkeypatch.setattr(status_stream, "SEND_INTERVAL", 0.0)
    made = World()
    yield made
    await made.stream.close()
    await made.connection.close()


async def test_only_changes_are_sent(world: World) -> None:
    world.stream.start()
    for _ in range(5):
        world.daemon.reports.put_nowait(report())
    await world.until("idle")
    for _ in range(5):
        world.daemon.reports.put_nowait(ready())
    await world.until("idle", "ready")
    # What a status does not show is no change of it.
    world.daemon.reports.put_nowait(ready(memory_bytes=7, slots=4))
    world.daemon.reports.put_nowait(ready(busy_slots=1))
    await world.until("idle", "ready", "busy")


async def test_nothing_is_sent_before_it_is_started(world: World) -> None:
    world.stream.refresh()
    await world.connection.client()
    assert world.sent == []
    assert world.daemon.watches == []


async def test_at_most_four_a_second_and_the_last_one_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_stream, "SEND_INTERVAL", 0.1)
    at: list[float] = []
    loop = asyncio.get_running_loop()
    world.stream._send = lambda message: (at.append(loop.time()), world.sent.append(message))
    world.stream.start()
    for number in range(200):
        world.daemon.reports.put_nowait(ready(f"m{number}"))
    await eventually(lambda: world.sent and world.sent[-1]["text"] == "m199", "the last one")
    assert len(world.sent) <= 3
    assert all(later - earlier >= 0.099 for earlier, later in pairwise(at))


async def test_what_changed_back_meanwhile_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stream.start()
    world.daemon.reports.put_nowait(ready())
    await world.until("ready")
    monkeypatch.setattr(status_stream, "SEND_INTERVAL", 0.05)
    world.daemon.reports.put_nowait(ready(busy_slots=1))
    world.daemon.reports.put_nowait(ready())
    world.daemon.reports.put_nowait(ready("other"))
    await eventually(lambda: world.sent[-1]["text"] == "other", "the last one")
    assert world.states == ["ready", "ready"]


async def test_without_a_daemon_it_says_so_once_and_quietly(world: World) -> None:
    world.daemon.down = DOWN
    world.stream.start()
    await world.until("down")
    # Time stands still for the connection, so no try is due; but looks go on.
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        return 0

    world.connection._look = look
    await eventually(lambda: looks > 5, "more looks")
    assert world.states == ["down"]
    assert world.told == []
    assert world.tries == 1


async def test_a_daemon_that_comes_is_noticed(world: World) -> None:
    world.daemon.down = DOWN
    world.stream.start()
    await world.until("down")
    world.daemon.down, world.mark = None, 1
    world.daemon.reports.put_nowait(ready())
    await world.until("down", "ready")


@pytest.mark.parametrize("end", [None, ConnectionLost("gone")])
async def test_a_daemon_that_goes_is_noticed(world: World, end: IngleError | None) -> None:
    world.stream.start()
    world.daemon.reports.put_nowait(ready())
    await world.until("ready")
    world.daemon.down = DOWN
    world.daemon.reports.put_nowait(end)
    await world.until("ready", "down")
    assert world.daemon.closed == 1
    world.daemon.down, world.mark = None, 1
    world.daemon.reports.put_nowait(ready())
    await world.until("ready", "down", "ready")


async def test_a_daemon_without_reports_is_not_asked_without_a_pause(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        world.daemon.reports.put_nowait(Unsupported("no reports here"))
    world.stream.start()
    world.daemon.reports.put_nowait(ready())
    await world.until("ready")
    assert caplog.text.count("no reports here") == 3
    assert world.tries == 1


async def test_somebody_else_finds_the_daemon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_stream, "LOOK_INTERVAL", 1000.0)
    world.daemon.down = DOWN
    world.stream.start()
    await world.until("down")
    world.daemon.down = None
    world.daemon.reports.put_nowait(ready())
    assert await world.connection.client(urgent=True) is world.daemon
    await world.until("down", "ready")


async def test_a_start_is_shown(world: World) -> None:
    world.daemon.down = DOWN
    world.stream.start()
    await world.until("down")

    def come() -> None:
        world.daemon.down = None

    world.started = come
    world.daemon.reports.put_nowait(ready())
    await world.connection.start()
    await world.until("down", "starting", "ready")


async def test_what_is_not_the_daemons_is_sent_too(world: World) -> None:
    world.stream.start()
    world.daemon.reports.put_nowait(ready())
    await world.until("ready")
    world.stream.refresh()
    world.paused = True
    world.stream.refresh()
    await world.until("ready", "ready")
    assert world.sent[-1]["paused"] is True


async def test_reports_come_often_only_while_something_happens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paces() -> list[int]:
        return [fields["interval_ms"] for fields in world.daemon.watches]

    monkeypatch.setattr(status_stream, "CALM", 0.05)
    world.stream.start()
    world.daemon.reports.put_nowait(ready())
    await world.until("ready")
    assert paces() == [1000]
    # Somebody asks: it may be busy at once.
    await world.connection.client()
    await eventually(lambda: paces() == [1000, 250], "reports more often")
    world.daemon.reports.put_nowait(ready(busy_slots=1))
    await world.until("ready", "busy")
    # Nothing more happens.
    loop = asyncio.get_running_loop()
    calm = loop.time() + 0.06
    await eventually(lambda: loop.time() > calm, "the calm")
    world.daemon.reports.put_nowait(ready(busy_slots=2))
    world.daemon.reports.put_nowait(ready())
    await world.until("ready", "busy", "ready")
    assert paces() == [1000, 250]
    calm = loop.time() + 0.06
    await eventually(lambda: loop.time() > calm, "the calm")
    world.daemon.reports.put_nowait(ready())
    await eventually(lambda: paces() == [1000, 250, 1000], "reports at rest")
    # Work of others makes it lively, too.
    world.daemon.reports.put_nowait(ready(busy_slots=1))
    await eventually(lambda: paces() == [1000, 250, 1000, 250], "reports more often")
    assert world.tries == 1


async def test_asking_needs_no_stream(world: World) -> None:
    world.daemon.latest = ready()
    assert (await world.stream.now())["state"] == "ready"
    world.daemon.down = DOWN
    world.connection.lost(world.daemon)
    assert (await world.stream.now())["state"] == "down"
    assert world.sent == []
