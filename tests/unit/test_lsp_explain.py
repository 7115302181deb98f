"""`ingle.explain`: what is asked, and how each kind of editor is shown the answer."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ingle.errors import Busy
from ingle_lsp.privacy import GitAnswer, Privacy
from support.waiting import eventually
from support.wire import INLINE, URI, Wire

TEXT = "import os\n\n\ndef add(a, b):\n    return a + b\n\n\nx = add(1, 2)\n"
PLUGIN: dict[str, Any] = {"experimental": {"ingle": {"version": 1, "showMarkdown": True}}}
SAID = "It **adds** two numbers.\n\n```python\nadd(1, 2)\n```"


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.server.privacy = Privacy(lambda: 0.0, lambda path, timeout: GitAnswer.NOT_IGNORED)
    wire.engine.answers = [SAID]
    return wire


def at(*numbers: int) -> dict[str, Any]:
    start = {"line": numbers[0], "character": numbers[1]}
    return {"start": start, "end": {"line": numbers[-2], "character": numbers[-1]}}


async def explain(wire: Wire, where: Any, uri: str = URI, number: int = 2) -> Any:
    argument = {"uri": uri, "range": where}
    params = {"command": "ingle.explain", "arguments": [argument]}
    return await wire.request(number, "workspace/executeCommand", params)


async def test_a_plugin_shows_markdown(wire: Wire) -> None:
    await wire.initialize(INLINE | PLUGIN)
    wire.open(TEXT)
    answer = await explain(wire, at(4, 8))
    wanted = {"title": "Explain: add", "markdown": SAID}
    assert answer["result"] == wanted
    (shown,) = wire.matching(method="ingle/showMarkdown")
    assert shown["params"] == wanted | {"uri": URI}
    assert wire.shown == []
    prompt = wire.engine.calls[-1]["messages"][-1].content
    assert "lines 4 to 5 of `project/main.py`" in prompt
    assert "Explain them" in prompt


@pytest.mark.parametrize(
    ("where", "title"),
    [
        (at(0, 0), "Explain: line 1"),
        (at(7, 0, 7, 3), "Explain: line 8"),
        (at(0, 0, 8, 0), "Explain: lines 1 to 8"),
        (at(2, 0), "Explain: add"),
    ],
)
async def test_titles(wire: Wire, where: Any, title: str) -> None:
    await wire.initialize(INLINE | PLUGIN)
    wire.open(TEXT)
    assert (await explain(wire, where))["result"]["title"] == title


async def test_another_editor_opens_a_page(wire: Wire) -> None:
    await wire.initialize(INLINE | {"window": {"showDocument": {"support": True}}})
    wire.open(TEXT)
    for number in (2, 3):
        params = {"command": "ingle.explain", "arguments": [{"uri": URI, "range": at(4, 8)}]}
        wire.receive(id=number, method="workspace/executeCommand", params=params)
        pages = await eventually(
            lambda count=number - 1: (
                (found := wire.matching(method="window/showDocument"))[count - 1 :] and found
            ),
            "a page",
        )
        wire.receive(id=pages[-1]["id"], result={"success": True})
        await wire.until(id=number)
    first, second = (Path(unquote(urlsplit(page["params"]["uri"]).path)) for page in pages)
    assert first != second
    assert first.read_text() == f"# Explain: add\n\n{SAID}\n"
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    assert wire.shown == []


@pytest.mark.parametrize(
    "reply", [{"result": {"success": False}}, {"error": {"code": 1, "message": "x"}}]
)
async def test_an_editor_that_opens_nothing_after_all(wire: Wire, reply: Any) -> None:
    await wire.initialize(INLINE | {"window": {"showDocument": {"support": True}}})
    wire.open(TEXT)
    params = {"command": "ingle.explain", "arguments": [{"uri": URI, "range": at(4, 8)}]}
    wire.receive(id=2, method="workspace/executeCommand", params=params)
    page = await wire.until(method="window/showDocument")
    wire.receive(id=page["id"], **reply)
    await wire.until(id=2)
    assert wire.shown == [f"Explain: add\n\n{SAID}"]


async def test_an_editor_that_can_open_nothing_shows_a_message(wire: Wire) -> None:
    await wire.initialize()
    wire.open(TEXT)
    await explain(wire, at(4, 8))
    assert wire.shown == [f"Explain: add\n\n{SAID}"]


@pytest.mark.parametrize(
    ("text", "uri", "where", "reason"),
    [
        (TEXT, "file:///project/id_rsa", at(0, 0), "looks like a secret"),
        ("k = 'ghp_" + "a" * 36 + "'\n", URI, at(0, 0), "private key or a token"),
        ("a\0", URI, at(0, 0), "is binary"),
        ("\n", URI, at(0, 0), "there is no code here"),
        (TEXT, URI, at(99, 0), "outside of project/main.py"),
    ],
)
async def test_what_is_not_explained(
    wire: Wire, text: str, uri: str, where: Any, reason: str
) -> None:
    await wire.initialize(INLINE | PLUGIN)
    wire.open(text, uri)
    answer = await explain(wire, where, uri)
    assert reason in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]
    assert wire.engine.calls == []


async def test_a_document_that_is_not_open(wire: Wire) -> None:
    await wire.initialize(INLINE | PLUGIN)
    answer = await explain(wire, at(0, 0))
    assert answer["error"]["message"] == "project/main.py is not open in the editor"
    answer = await wire.request(3, "workspace/executeCommand", {"command": "ingle.explain"})
    assert answer["error"]["code"] == -32602


async def test_answers_that_are_none(wire: Wire) -> None:
    await wire.initialize(INLINE | PLUGIN)
    wire.open(TEXT)
    wire.engine.answers = [" \n"]
    assert "nothing to say" in (await explain(wire, at(4, 8)))["error"]["message"]
    wire.engine.answers = ["It adds"]
    wire.engine.finish = "cancelled"
    assert "was cut off" in (await explain(wire, at(4, 8), number=3))["error"]["message"]
    wire.engine.finish = "length"
    assert (await explain(wire, at(4, 8), number=4))["result"]["markdown"].startswith(
        "It adds\n\n*The answer was cut off here"
    )
    wire.engine.refusals = [Busy("the queue is full")]
    assert (await explain(wire, at(4, 8), number=5))["error"]["message"] == "the queue is full"
