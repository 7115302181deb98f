"""The server as its editor sees it, message by message, with a stand-in for the daemon."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from ingle.errors import DaemonNotRunning
from ingle.results import Completion
from ingle_lsp.logs import SafeFormatter
from ingle_lsp.server import IngleServer
from support.waiting import eventually
from support.wire import INLINE, URI, Wire


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


# --- capabilities ------------------------------------------------------------------------------


async def test_inline_completion_is_advertised(wire: Wire) -> None:
    capabilities = await wire.initialize()
    # An empty object would read as nil in Emacs.
    assert capabilities["inlineCompletionProvider"] == {"workDoneProgress": False}
    assert "completionProvider" not in capabilities
    assert capabilities["textDocumentSync"]["change"] == 2
    assert capabilities["textDocumentSync"]["openClose"] is True


@pytest.mark.parametrize("capabilities", [{}, {"textDocument": {}}])
async def test_an_editor_without_inline_completion_gets_a_menu(
    wire: Wire, capabilities: Any
) -> None:
    assert "." in (await wire.initialize(capabilities))["completionProvider"]["triggerCharacters"]
    wire.open("result = add(fir")
    wire.engine.reply = Completion(text="st, second)", finish="stop")
    answer = await wire.request(2, "textDocument/completion", wire.place(0, 16))
    (item,) = answer["result"]["items"]
    assert answer["result"]["isIncomplete"] is True
    assert item["label"] == "first, second)"
    assert item["filterText"] == "first, second)"
    assert item["preselect"] is False
    assert item["textEdit"] == {
        "newText": "first, second)",
        "range": {"start": {"line": 0, "character": 13}, "end": {"line": 0, "character": 16}},
    }


async def test_a_menu_counts_in_the_editors_units(wire: Wire) -> None:
    await wire.initialize({})
    wire.open("'😀'.añ")
    wire.engine.reply = Completion(text="o", finish="stop")
    answer = await wire.request(2, "textDocument/completion", wire.place(0, 7))
    (item,) = answer["result"]["items"]
    assert item["textEdit"]["range"]["start"]["character"] == 5
    assert item["textEdit"]["newText"] == "año"


async def test_a_menu_without_entries(wire: Wire) -> None:
    await wire.initialize({})
    answer = await wire.request(2, "textDocument/completion", wire.place(0, 0))
    assert answer["result"] == {"isIncomplete": True, "items": []}


@pytest.mark.parametrize(
    ("offered", "chosen", "character"),
    [
        (None, "utf-16", 9),
        (["utf-32"], "utf-32", 8),
        (["utf-8", "utf-16"], "utf-8", 11),
        (["utf-7", "utf-32"], "utf-32", 8),
    ],
)
async def test_the_editors_encoding(
    wire: Wire, offered: list[str] | None, chosen: str, character: int
) -> None:
    general = {"general": {"positionEncodings": offered}} if offered else {}
    capabilities = await wire.initialize(INLINE | general)
    assert capabilities["positionEncoding"] == chosen
    wire.open("x = '😀';")
    assert (await wire.ghost(2, 0, character))["result"] is not None
    assert wire.engine.calls[0]["prefix"] == "x = '😀';"
    assert (await wire.ghost(3, 0, character + 1))["result"] is None


# --- completions -------------------------------------------------------------------------------


async def test_ghost_text(wire: Wire) -> None:
    await wire.initialize()
    wire.open("def add(a, b):\n    return ")
    answer = await wire.ghost(2, 1, 11)
    here = {"line": 1, "character": 11}
    assert answer["result"] == {
        "items": [{"insertText": "a + b", "range": {"start": here, "end": here}}]
    }


async def test_edits_arrive_before_the_request_behind_them(wire: Wire) -> None:
    await wire.initialize()
    wire.open("")
    at = {"line": 0, "character": 0}
    wire.change({"text": "one\ntwo"}, {"range": {"start": at, "end": at}, "text": "zero\n"})
    await wire.ghost(2, 2, 3)
    assert wire.engine.calls[0]["prefix"] == "zero\none\ntwo"


async def test_a_cancelled_request(wire: Wire) -> None:
    await wire.initialize()
    wire.engine.gate = asyncio.Event()
    wire.open("x = ")
    wire.receive(
        id=2,
        method="textDocument/inlineCompletion",
        params=wire.place(0, 4) | {"context": {"triggerKind": 1}},
    )
    await eventually(lambda: wire.engine.calls, "a request to the daemon")
    wire.receive(method="$/cancelRequest", params={"id": 2})
    assert (await wire.until(id=2))["error"]["code"] == -32800
    assert wire.engine.cancelled == 1


async def test_a_late_cancel_is_no_news(wire: Wire) -> None:
    await wire.initialize()
    wire.open("x = ")
    await wire.ghost(2, 0, 4)
    wire.receive(method="$/cancelRequest", params={"id": 2})
    assert (await wire.ghost(3, 0, 4))["result"] is not None


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "character"), [(0, 5), (1, 0), (99, 99), (0, 2**31 - 1)])
async def test_a_position_outside_is_nothing(wire: Wire, line: int, character: int) -> None:
    await wire.initialize()
    wire.open("x = ")
    assert (await wire.ghost(2, line, character))["result"] is None


async def test_an_unknown_document_is_nothing(wire: Wire) -> None:
    await wire.initialize()
    assert (await wire.ghost(2, 0, 0, uri="file:///nowhere"))["result"] is None
    wire.change({"text": "x"}, uri="file:///nowhere")
    assert (await wire.ghost(3, 0, 0, uri="file:///nowhere"))["result"] is None
    assert wire.shown == []


@pytest.mark.parametrize("position", [{"line": -1, "character": 0}, {"line": "one"}, None, 3])
async def test_a_request_that_makes_no_sense_is_answered(wire: Wire, position: Any) -> None:
    await wire.initialize()
    params = {"textDocument": {"uri": URI}, "position": position, "context": {"triggerKind": 1}}
    answer = await wire.request(2, "textDocument/inlineCompletion", params)
    assert answer["error"]["code"] == -32602
    wire.open("x = ")
    assert (await wire.ghost(3, 0, 4))["result"] is not None


async def test_an_unknown_method_is_answered(wire: Wire) -> None:
    await wire.initialize()
    answer = await wire.request(2, "ingle/nonsense", {})
    assert answer["error"]["code"] == -32601
    wire.receive(method="$/nonsense", params={})
    assert wire.shown == []


async def test_a_defect_of_ours_is_an_empty_answer(
    wire: Wire, log: pytest.LogCaptureFixture
) -> None:
    await wire.initialize()
    wire.open("secret_source = ")
    wire.engine.failures = [RuntimeError("secret_source")]
    assert (await wire.ghost(2, 0, 16))["result"] is None
    assert wire.shown == []
    written = [SafeFormatter().format(record) for record in log.records if record.levelno >= 30]
    assert len(written) == 1
    assert "RuntimeError at " in written[0]
    assert "secret_source" not in written[0]


async def test_source_text_never_reaches_the_log(wire: Wire, log: pytest.LogCaptureFixture) -> None:
    log.set_level(logging.DEBUG)
    await wire.initialize()
    wire.open("secret_source = ")
    wire.change({"text": "secret_source = 2"}, uri="file:///nowhere")
    wire.change({"text": ["secret_source"]})
    wire.receive(method="textDocument/didOpen", params={"textDocument": "secret_source"})
    wire.engine.failures = [ValueError("secret_source")]
    wire.engine.reply = Completion(text="secret_source + 1", finish="stop")
    for number in range(2, 5):
        await wire.ghost(number, 0, 16)
    assert any("secret_source" in record.getMessage() for record in log.records)
    formatter = SafeFormatter()
    assert not any("secret_source" in formatter.format(record) for record in log.records)


# --- settings ----------------------------------------------------------------------------------


async def test_a_wrong_setting_is_shown(wire: Wire) -> None:
    await wire.initialize(multiline="perhaps", deadlineMs=100)
    (shown,) = wire.shown
    assert shown.startswith('ingle: ingle.multiline must be "auto", "never" or "always", not ')
    assert shown.endswith('not "perhaps": "auto" stays in force')
    assert wire.server.settings.deadline_ms == 100


async def test_settings_change_at_any_time(wire: Wire) -> None:
    await wire.initialize()
    wire.open("x = ")
    for number, enabled in enumerate([False, True], 2):
        wire.receive(
            method="workspace/didChangeConfiguration",
            params={"settings": {"ingle": {"enabled": enabled}, "other": {"enabled": 3}}},
        )
        await settled(wire.server, enabled=enabled)
        assert ((await wire.ghost(number, 0, 4))["result"] is not None) is enabled
    wire.receive(method="workspace/didChangeConfiguration", params={"settings": {"python": {}}})
    assert wire.shown == []


async def settled(server: IngleServer, *, enabled: bool) -> None:
    await eventually(lambda: server.settings.enabled is enabled, "the new settings")


async def test_settings_are_asked_for_where_the_editor_has_them(wire: Wire) -> None:
    workspace = {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}
    await wire.initialize(INLINE | {"workspace": workspace})
    registration = await wire.until(method="client/registerCapability")
    assert registration["params"]["registrations"][0]["registerOptions"] == {"section": "ingle"}
    wire.receive(id=registration["id"], result=None)
    question = await wire.until(method="workspace/configuration")
    assert question["params"]["items"] == [{"section": "ingle"}]
    wire.receive(id=question["id"], result=[{"enabled": False}])
    await settled(wire.server, enabled=False)


async def test_an_editor_that_has_no_settings_after_all(wire: Wire) -> None:
    await wire.initialize(INLINE | {"workspace": {"configuration": True}})
    question = await wire.until(method="workspace/configuration")
    wire.receive(id=question["id"], error={"code": -32601, "message": "no such method"})
    wire.open("x = ")
    assert (await wire.ghost(2, 0, 4))["result"] is not None
    assert wire.shown == []


# --- the daemon --------------------------------------------------------------------------------


async def test_a_daemon_that_is_down_is_told_once(wire: Wire) -> None:
    wire.engine.down = DaemonNotRunning("ingled is not running: start it with `ingle up`")
    await wire.initialize()
    wire.open("x = ")
    for number in range(2, 12):
        assert (await wire.ghost(number, 0, 4))["result"] is None
    assert wire.shown == ["ingle: ingled is not running: start it with `ingle up`"]


async def test_a_server_that_is_switched_off_does_not_look_for_the_daemon(wire: Wire) -> None:
    wire.engine.down = DaemonNotRunning("ingled is not running: start it with `ingle up`")
    await wire.initialize(enabled=False)
    wire.open("x = ")
    assert (await wire.ghost(2, 0, 4))["result"] is None
    assert wire.shown == []
