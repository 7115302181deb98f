"""Suggestions that are typed, and several of them at once, over a real daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from ingle.messages import Report
from support.daemons import DaemonUnderTest
from support.editors import Editor, an_editor
from support.waiting import eventually

MakeDaemon = Callable[..., DaemonUnderTest]
URI = "untitled:Untitled-1"
TEXT = "def add(a, b):\n    return "
END = (1, 11)
ALTERNATIVES = ["b + a", "a - -b"]


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> DaemonUnderTest:
    """One that has three answers."""
    daemon = make_daemon(scripted={"script": "a + b", "alternatives": ALTERNATIVES})
    return daemon.start()


def report(daemon: DaemonUnderTest) -> Report:
    with daemon.client() as client:
        return client.status()


async def texts(
    editor: Editor, at: tuple[int, int], *, invoked: bool = True, uri: str = URI
) -> list[Any]:
    async with asyncio.timeout(30):
        answer = await editor.request(at, uri, invoked=invoked)
    return [item.insert_text for item in answer.items] if answer else []


async def test_typing_what_is_shown_sends_nothing(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env, prefetch="never") as editor:
        editor.open(TEXT)
        assert await texts(editor, END, invoked=False) == ["a + b"]
        asked = report(daemon).totals.requests
        for column, character in enumerate("a + ", END[1]):
            editor.type((1, column), character)
            rest = "a + b"[column + 1 - END[1] :]
            assert await texts(editor, (1, column + 1), invoked=False) == [rest]
        assert report(daemon).totals.requests == asked
        editor.type((1, 15), "z")
        assert await texts(editor, (1, 16), invoked=False) == ["a + b"]
        assert report(daemon).totals.requests == asked + 1


async def test_a_key_gives_all_at_once(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env) as editor:
        editor.open(TEXT)
        assert await texts(editor, END) == ["a + b", *ALTERNATIVES]
        assert report(daemon).totals.requests == 3
        assert await texts(editor, END) == ["a + b", *ALTERNATIVES]
        assert report(daemon).totals.requests == 3


async def test_the_first_comes_alone_to_a_plugin_that_asks_again(make_daemon: MakeDaemon) -> None:
    first = "one two three four five six seven eight nine ten"
    alternatives = [first.replace("ten", end) for end in ("eleven", "twelve")]
    scripted = {"script": first, "alternatives": alternatives, "tokens_per_second": 20.0}
    daemon = make_daemon(scripted=scripted).start()
    announced = {"version": 1, "candidates": True}
    async with an_editor(daemon.env, announced=announced) as editor:
        editor.open(TEXT)
        assert await texts(editor, END) == [first]
        assert report(daemon).totals.finished == 1
        assert len(await texts(editor, END)) == 3
        assert report(daemon).totals.requests == 3


async def test_typing_ends_what_nobody_waits_for(make_daemon: MakeDaemon) -> None:
    numbers = " ".join(map(str, range(500)))
    scripted = {"script": "one", "alternatives": [numbers], "tokens_per_second": 20.0}
    daemon = make_daemon(scripted=scripted, inline={"multiline_max_tokens": 500}).start()
    announced = {"version": 1, "candidates": True}
    async with an_editor(daemon.env, announced=announced, prefetch="never") as editor:
        editor.open(TEXT)
        assert await texts(editor, END) == ["one"]
        await eventually(lambda: report(daemon).active, "a further candidate under way")
        editor.type(END, "o")
        assert await texts(editor, (1, 12), invoked=False) == ["ne"]
        await eventually(lambda: not report(daemon).active, "a free engine")
        totals = report(daemon).totals
        assert (totals.requests, totals.cancelled) == (2, 1)


async def test_a_selected_menu_entry(daemon: DaemonUnderTest) -> None:
    async with an_editor(daemon.env, encoding="utf-16") as editor:
        editor.open("x = '😀'.app")
        here, start = types.Position(0, 12), types.Position(0, 9)
        info = types.SelectedCompletionInfo(range=types.Range(start, here), text="append(")
        kind = types.InlineCompletionTriggerKind.Automatic
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(kind, selected_completion_info=info),
            text_document=types.TextDocumentIdentifier(URI),
            position=here,
        )
        answer = await editor.client.text_document_inline_completion_async(params)
        assert isinstance(answer, types.InlineCompletionList)
        (item,) = answer.items
        assert item.insert_text == "append(a + b"
        assert item.range == types.Range(start, here)
        info.text = "prepend("
        assert await editor.client.text_document_inline_completion_async(params) is None


async def test_where_no_suggestions_are_wanted(daemon: DaemonUnderTest, tmp_path: Path) -> None:
    options = {"inComments": False, "inStrings": False, "disabledFolders": [str(tmp_path / "no")]}
    async with an_editor(daemon.env, candidates=1, **options) as editor:
        editor.open("x = 1  # so \ny = 'so \nz = ")
        assert await texts(editor, (0, 12)) == []
        assert await texts(editor, (1, 8)) == []
        assert await texts(editor, (2, 4)) == ["a + b"]
        disabled, other = (tmp_path / "no" / "a.py").as_uri(), (tmp_path / "a.py").as_uri()
        for uri, shown in ((disabled, []), (other, ["a + b"])):
            editor.open(TEXT, uri)
            assert await texts(editor, END, uri=uri) == shown


async def test_a_key_in_a_long_document_is_quick_whatever_is_wanted(
    daemon: DaemonUnderTest,
) -> None:
    """Comments are looked for near the cursor only."""
    async with an_editor(daemon.env, inComments=False, candidates=1) as editor:
        editor.open("value = compute(value)  # so it is\n" * 100_000 + "x = ")
        assert await texts(editor, (100_000, 4), invoked=False) == ["a + b"]
        loop = asyncio.get_running_loop()
        took = []
        for column in range(4, 7):
            editor.type((100_000, column), "a + b"[column - 4])
            begun = loop.time()
            assert await texts(editor, (100_000, column + 1), invoked=False)
            took.append(loop.time() - begun)
        assert min(took) < 0.5
