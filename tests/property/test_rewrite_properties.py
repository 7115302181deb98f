"""`ingle.edit` on random documents with random answers: only the lines meant change, exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.applied_edits import apply_workspace_edit
from support.waiting import eventually
from support.wire import Wire

URI = "untitled:main.py"
MARGIN = st.sampled_from(["", "  ", "    ", "\t", "\t\t"])
WORDS = st.sampled_from(
    ["x = 1", "def f(a):", "'😀' + é", "if a:", "return (", ")", "漢 # \u2028 \x0c."]
)
LINE = st.one_of(st.builds(lambda margin, words: margin + words, MARGIN, WORDS), st.just(""))
LINES = st.lists(LINE, min_size=1, max_size=12)


def span(first: int, last: int) -> Any:
    """Whole lines."""
    return {"start": {"line": first, "character": 0}, "end": {"line": last + 1, "character": 0}}


class Sessions:
    """An editor for each encoding. Servers take long to make, so all examples share them."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._wires: dict[str, Wire] = {}
        self._numbers = count(2)

    def edited(self, text: str, where: Any, answer: str, encoding: str) -> Any:
        """What an editor is sent: the edit, or why there is none."""
        return self._runner.run(self._edited(text, where, answer, encoding))

    async def _edited(self, text: str, where: Any, answer: str, encoding: str) -> Any:
        wire = self._wires.get(encoding) or await self._made(encoding)
        wire.engine.answers = [answer]
        wire.sent.clear()
        wire.open(text, URI)
        number = next(self._numbers)
        argument = {"action": "refactor", "instruction": "…", "uri": URI, "range": where}
        params = {"command": "ingle.edit", "arguments": [argument]}
        wire.receive(id=number, method="workspace/executeCommand", params=params)
        await eventually(
            lambda: wire.matching(id=number) or wire.matching(method="workspace/applyEdit"),
            "an answer",
        )
        for question in wire.matching(method="workspace/applyEdit"):
            wire.receive(id=question["id"], result={"applied": True})
            await wire.until(id=number)
            return question["params"]["edit"]
        return wire.matching(id=number)[0]["result"]["message"]

    async def _made(self, encoding: str) -> Wire:
        wire = self._wires[encoding] = Wire()
        await wire.initialize(
            {
                "general": {"positionEncodings": [encoding]},
                "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}},
            }
        )
        return wire


@pytest.fixture(scope="module")
def sessions() -> Iterator[Sessions]:
    with asyncio.Runner() as runner:
        yield Sessions(runner)


@settings(deadline=None, max_examples=60)
@given(
    lines=LINES,
    code=LINES,
    data=st.data(),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
)
def test_only_the_lines_meant_change(
    sessions: Sessions,
    lines: list[str],
    code: list[str],
    data: st.DataObject,
    encoding: str,
    line_end: str,
    ended: bool,
) -> None:
    text = line_end.join(lines) + (line_end if ended else "")
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    answer = "```\n" + "\n".join(code) + "\n```"
    found = sessions.edited(text, span(first, last), answer, encoding)
    meant = [number for number in range(first, last + 1) if lines[number].strip()]
    if isinstance(found, str):
        if not meant:
            assert found == "there is no code here"
        elif found.startswith("the answer has f in it"):
            # It would be defined twice.
            beside = lines[: meant[0]] + lines[meant[-1] + 1 :]
            assert any(line.strip() == "def f(a):" for line in beside)
            assert any(line.strip() == "def f(a):" for line in code)
        else:
            assert found.startswith("the model would change nothing")
            shown = [line.strip() for line in lines[meant[0] : meant[-1] + 1]]
            assert [line.strip() for line in "\n".join(code).strip().split("\n")] == shown
        return
    after = apply_workspace_edit({URI: text}, found, encoding, {URI: 1})[URI]
    kept = [line for line in code if line.strip()]
    if line_end not in text:
        # A single line does not say how lines end.
        line_end = "\n"
    above, below = lines[: meant[0]], lines[meant[-1] + 1 :]
    result = after.split(line_end)
    assert "\r" not in after.replace(line_end, "")
    assert result[: len(above)] == above
    if ended:
        assert result.pop() == ""
    assert below == result[len(result) - len(below) :]
    middle = result[len(above) : len(result) - len(below)]
    if not kept:
        # The lines are gone; of the last one an empty line stays if nothing ends it.
        assert [line for line in middle if line] == []
        return
    wanted = "\n".join(code).strip("\n ").split("\n")
    while wanted and not wanted[0].strip():
        wanted.pop(0)
    assert [line.strip() for line in middle] == [line.strip() for line in wanted]
    indent = lines[meant[0]][: len(lines[meant[0]]) - len(lines[meant[0]].lstrip())]
    assert middle[0].startswith(indent)
    assert middle[0][len(indent) :] == middle[0].strip()
