"""The commands for the daemon, its models and pauses, message by message."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from ingle.errors import ConnectionLost, DaemonNotRunning, LoadFailed, ModelNotFound
from ingle.messages import (
    Catalog,
    Load,
    ModelInfo,
    Models,
    ModelStatus,
    Progress,
    Report,
    Status,
    Unload,
    Watch,
)
from ingle_lsp.pause import Pause
from support.waiting import eventually
from support.wire import INLINE, Wire

README = Path(__file__).parents[2] / "lsp" / "README.md"
#: All of the contract's that concern the daemon.
COMMANDS = {
    "ingle.status",
    "ingle.startDaemon",
    "ingle.models",
    "ingle.loadModel",
    "ingle.unloadModel",
    "ingle.pause",
    "ingle.resume",
}
DOWN = DaemonNotRunning("ingled is not running: start it with `ingle up`")


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    models = [ModelStatus(name="tiny", engine="scripted", state="ready", device="script")]
    report = Report(id=1, version="1", pid=1, uptime_s=1.0, models=models)
    wire.engine.events |= {Status: [report], Watch: [report]}
    wire.engine.events[Models] = [
        Catalog(
            id=1,
            models=[
                ModelInfo(name="tiny", installed=True, resident=True, description="a small one"),
                ModelInfo(name="huge", reason="needs 80 GB"),
            ],
        )
    ]
    return wire


async def command(wire: Wire, number: int, name: str, *arguments: Any, **params: Any) -> Any:
    params = {"command": name, "arguments": list(arguments), **params}
    return await wire.request(number, "workspace/executeCommand", params)


async def test_all_are_advertised(wire: Wire) -> None:
    capabilities = await wire.initialize()
    commands = set(capabilities["executeCommandProvider"]["commands"])
    assert commands >= COMMANDS
    # The contract's table has them all, and no other.
    assert commands == set(re.findall(r"^\| `(ingle\.\w+)` \|", README.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("arguments", [[1], ["x"], [[]], [{}, {}]])
async def test_a_wrong_argument_is_refused(wire: Wire, name: str, arguments: list[Any]) -> None:
    await wire.initialize()
    answer = await command(wire, 2, name, *arguments)
    assert answer["error"]["code"] == -32602
    assert answer["error"]["message"] == f"{name} takes one argument, an object"


async def test_status(wire: Wire) -> None:
    await wire.initialize(effort="high")
    answer = await command(wire, 2, "ingle.status")
    assert answer["result"] == {
        "state": "ready",
        "text": "tiny",
        "model": "tiny",
        "progress": None,
        "detail": "",
        "tokensPerSecond": 0.0,
        "effort": "high",
        "device": "script",
        "enabled": True,
    }
    assert wire.matching(method="ingle/status") == []


async def test_the_status_of_a_daemon_that_is_down(wire: Wire) -> None:
    wire.engine.down = DOWN
    await wire.initialize(enabled=False)
    result = (await command(wire, 2, "ingle.status"))["result"]
    assert (result["state"], result["detail"]) == ("down", str(DOWN))
    assert result["enabled"] is False
    assert wire.shown == []


async def test_the_notification_is_for_those_who_asked(wire: Wire) -> None:
    wire.engine.down = DOWN
    announced = INLINE | {"experimental": {"ingle": {"version": 1, "status": True}}}
    await wire.initialize(announced, enabled=False)
    sent = await wire.until(method="ingle/status")
    assert sent["params"]["state"] == "down"
    assert wire.shown == []
    await wire.server.status.close()


async def test_models(wire: Wire) -> None:
    await wire.initialize()
    assert (await command(wire, 2, "ingle.models"))["result"] == [
        {
            "name": "tiny",
            "installed": True,
            "resident": True,
            "description": "a small one",
            "reason": "",
        },
        {
            "name": "huge",
            "installed": False,
            "resident": False,
            "description": "",
            "reason": "needs 80 GB",
        },
    ]


async def test_loading_shows_progress(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingle_lsp.progress.REPORT_INTERVAL", 0.0)
    wire.engine.events[Load] = [Progress(id=1, phase="loading", fraction=0.25)]
    await wire.initialize()
    answer = await command(wire, 2, "ingle.loadModel", {"model": "huge"}, workDoneToken="t")
    assert answer["result"] is None
    assert wire.engine.calls[-1] == {"type": Load, "model": "huge"}
    values = [message["params"]["value"] for message in wire.matching(method="$/progress")]
    assert [value["kind"] for value in values] == ["begin", "report", "end"]
    assert values[0]["title"] == "Loading huge"
    assert values[1]["percentage"] == 25


@pytest.mark.parametrize("argument", [{}, {"model": None}, {"model": ""}, {"model": ["x"]}])
async def test_loading_needs_a_name(wire: Wire, argument: Any) -> None:
    await wire.initialize()
    answer = await command(wire, 2, "ingle.loadModel", argument)
    assert answer["error"]["message"] == "ingle.loadModel needs `model`, a text"
    assert wire.engine.calls == []


@pytest.mark.parametrize(
    "error", [ModelNotFound("no such model: see `ingle models`"), LoadFailed("no room")]
)
async def test_what_the_daemon_refuses_is_the_answer(wire: Wire, error: Exception) -> None:
    await wire.initialize()
    wire.engine.failures = [error]
    answer = await command(wire, 2, "ingle.loadModel", {"model": "x"})
    assert answer["error"] == {"code": -32803, "message": str(error)}
    assert wire.shown == []


async def test_a_load_can_be_cancelled(wire: Wire) -> None:
    await wire.initialize()
    wire.engine.gate = asyncio.Event()
    params = {"command": "ingle.loadModel", "arguments": [{"model": "x"}]}
    wire.receive(id=2, method="workspace/executeCommand", params=params)
    await eventually(lambda: wire.engine.calls, "a request to the daemon")
    wire.receive(method="$/cancelRequest", params={"id": 2})
    assert (await wire.until(id=2))["error"]["code"] == -32800
    await eventually(lambda: wire.engine.cancelled == 1, "the daemon's cancel")


@pytest.mark.parametrize(
    ("arguments", "model"), [([], None), ([{}], None), ([{"model": "tiny"}], "tiny")]
)
async def test_unloading(wire: Wire, arguments: list[Any], model: str | None) -> None:
    await wire.initialize()
    assert (await command(wire, 2, "ingle.unloadModel", *arguments))["result"] is None
    assert wire.engine.calls[-1] == {"type": Unload, "model": model}


async def test_a_restarted_daemon_gets_a_second_try(wire: Wire) -> None:
    await wire.initialize()
    wire.engine.failures = [ConnectionLost("gone")]
    assert len((await command(wire, 2, "ingle.models"))["result"]) == 2


async def test_a_daemon_that_is_down_is_the_answer(wire: Wire) -> None:
    wire.engine.down = DOWN
    await wire.initialize(enabled=False)
    for number, name in enumerate(("ingle.models", "ingle.unloadModel"), 2):
        answer = await command(wire, number, name)
        assert answer["error"] == {"code": -32803, "message": str(DOWN)}
    wire.engine.down = None
    assert "result" in await command(wire, 9, "ingle.models")


# --- pauses --------------------------------------------------------------------------------------


async def test_a_pause_until_it_is_ended(wire: Wire) -> None:
    await wire.initialize()
    wire.open("x = ")
    assert "result" in await command(wire, 2, "ingle.pause")
    assert (await wire.ghost(3, 0, 4))["result"] is None
    assert (await command(wire, 4, "ingle.status"))["result"]["enabled"] is False
    assert "result" in await command(wire, 5, "ingle.resume")
    assert (await wire.ghost(6, 0, 4))["result"] is not None
    assert (await command(wire, 7, "ingle.status"))["result"]["enabled"] is True


async def test_a_pause_ends_by_itself_and_the_status_line_learns_it(wire: Wire) -> None:
    announced = INLINE | {"experimental": {"ingle": {"version": 1, "status": True}}}
    await wire.initialize(announced)
    await wire.until(method="ingle/status")
    await command(wire, 2, "ingle.pause", {"minutes": 0.3 / 60})
    enabled = lambda: [  # noqa: E731
        message["params"]["enabled"] for message in wire.matching(method="ingle/status")
    ]
    await eventually(lambda: enabled()[-2:] == [False, True], "the end of the pause")
    await wire.server.status.close()


@pytest.mark.parametrize("minutes", [0, -1, "ten", True, [], 1e9, float("nan")])
async def test_a_pause_that_makes_no_sense_is_refused(wire: Wire, minutes: Any) -> None:
    await wire.initialize()
    wire.open("x = ")
    answer = await command(wire, 2, "ingle.pause", {"minutes": minutes})
    assert answer["error"]["code"] == -32602
    assert (await wire.ghost(3, 0, 4))["result"] is not None


def test_pauses_replace_each_other() -> None:
    now = 0.0
    pause = Pause(lambda: now)
    assert not pause.active
    pause.begin(60.0)
    pause.begin(10.0)
    assert pause.active
    now = 10.0
    assert not pause.active
    pause.begin(None)
    now = 1e12
    assert pause.active
    pause.resume()
    assert not pause.active
