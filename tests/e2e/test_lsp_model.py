"""The language server on the real demo model, SmolLM2-135M: the whole path and nothing less."""

from __future__ import annotations

from typing import Any

import pytest

from ingle_lsp import brackets
from support.daemons import DaemonUnderTest
from support.editors import an_editor

pytestmark = pytest.mark.model

#: Shown whatever the model thinks of it, and given all the time that a slow machine needs.
OPTIONS: dict[str, Any] = {"minConfidence": 0.0, "deadlineMs": 30_000}


def ends_at(text: str) -> tuple[int, int]:
    lines = text.split("\n")
    return len(lines) - 1, len(lines[-1])


async def test_a_line_that_any_model_knows(model_daemon: DaemonUnderTest) -> None:
    text = "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a -"
    async with an_editor(model_daemon.env, multiline="never", **OPTIONS) as editor:
        editor.open(text)
        assert await editor.ghost(ends_at(text)) == " b"


async def test_what_it_says_is_tidy(model_daemon: DaemonUnderTest) -> None:
    text = "import os\n\n\ndef list_files(path):\n    for name in os.listdir("
    async with an_editor(model_daemon.env, multiline="never", **OPTIONS) as editor:
        editor.open(text + ")\n        print(name)\n")
        shown = await editor.ghost(ends_at(text))
        assert shown
        assert "\n" not in shown
        assert shown == shown.rstrip()
        assert not brackets.unopened(shown)


async def test_a_block(model_daemon: DaemonUnderTest) -> None:
    text = "def fibonacci(n):\n    if n < 2:\n        return n\n    return"
    async with an_editor(model_daemon.env, multiline="always", **OPTIONS) as editor:
        editor.open(text)
        shown = await editor.ghost(ends_at(text))
        assert shown
        assert "<|" not in shown
        below = shown.split("\n")[1:]
        assert all(line.startswith("    ") for line in below if line)


async def test_typing_along(model_daemon: DaemonUnderTest) -> None:
    text = "numbers = [1, 2, 3, 4, 5]\n\n\nfor number in"
    async with an_editor(model_daemon.env, **OPTIONS) as editor:
        editor.open(text)
        line, character = ends_at(text)
        seen = []
        for key in " numbers":
            editor.type((line, character), key)
            character += 1
            seen.append(await editor.ghost((line, character), invoked=False))
        assert any(seen)
        assert editor.messages == []


async def test_what_it_is_unsure_of_is_not_shown(model_daemon: DaemonUnderTest) -> None:
    text = "qzx = vbn("
    async with an_editor(model_daemon.env, multiline="never", minConfidence=1.0) as editor:
        editor.open(text)
        assert await editor.ghost(ends_at(text), invoked=False) is None
        # Who asks by a key gets what there is.
        assert await editor.ghost(ends_at(text), invoked=True)
        assert editor.messages == []


async def test_several_by_a_key(model_daemon: DaemonUnderTest) -> None:
    text = "import random\n\n# A name for a cat.\nname ="
    shown = []
    for candidates in (1, 4):
        options = OPTIONS | {"multiline": "never", "candidates": candidates}
        async with an_editor(model_daemon.env, **options) as editor:
            editor.open(text)
            answer = await editor.request(ends_at(text))
            assert answer is not None
            shown.append([item.insert_text for item in answer.items])
    (alone,), several = shown
    assert several[0] == alone
    assert len(several) > 1
    assert len(set(several)) == len(several)
