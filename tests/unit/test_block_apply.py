"""`ingle/chat/apply`: the edit that the editor gets, and what is refused in a line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.exchange import local_time
from ingle.threads import Excerpt, Position, Range, Thread, ThreadStore, Turn
from ingle_lsp.answers import Refused
from ingle_lsp.block_apply import _edits
from ingle_lsp.blocks import Block
from ingle_lsp.documents import Document
from ingle_lsp.edits import applied
from support.applied_edits import apply_edits
from support.wire import INLINE, URI, Wire

CAN_APPLY: dict[str, Any] = INLINE | {
    "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}
}
CODE = """\
class A:
    def area(self, w, h):
        return w * h

    def half(self, w):
        return w / 2


def main():
    print(A().area(2, 3))
"""
AREA = "```python\ndef area(self, w, h):\n    return abs(w * h)\n```\n"


def span(start: tuple[int, int], end: tuple[int, int] | None = None) -> dict[str, Any]:
    places = [{"line": at[0], "character": at[1]} for at in (start, end or start)]
    return {"start": places[0], "end": places[1]}


class Editor:
    """An editor whose documents change as it is told."""

    def __init__(self, wire: Wire, store: ThreadStore) -> None:
        self.wire = wire
        self.text = ""
        self._store = store
        self._number = 100

    def open(self, text: str, language: str = "python") -> None:
        self.text = text
        item = {"uri": URI, "languageId": language, "version": 1, "text": text}
        self.wire.receive(method="textDocument/didOpen", params={"textDocument": item})

    def answer(self, text: str, *about: Excerpt, more: list[Turn] | None = None) -> None:
        """Have a thread whose second turn is this answer."""
        question = Turn(role="user", text="Why?", context=list(about))
        turns = [question, Turn(role="assistant", text=text, finish="stop"), *(more or [])]
        now = local_time()
        self._store.write(Thread(name="a", title="A", created=now, updated=now, turns=turns))

    async def apply(self, **params: Any) -> dict[str, Any]:
        """The response."""
        self._number += 1
        asked = {"thread": "a", "turn": 1, "block": 0, "uri": URI, "version": 1} | params
        self.wire.receive(id=self._number, method="ingle/chat/apply", params=asked)
        return await self.wire.until(id=self._number)

    async def applied(self, **params: Any) -> list[dict[str, Any]]:
        """The edits of the request, which the editor grants."""
        before = len(self.wire.sent)
        task = asyncio.ensure_future(self.apply(**params))
        request = await self.wire.until(method="workspace/applyEdit")
        assert self.wire.sent.index(request) >= before
        self.wire.sent.remove(request)
        self.wire.receive(id=request["id"], result={"applied": True})
        assert (await task)["result"] == {"applied": True, "message": ""}
        (change,) = request["params"]["edit"]["documentChanges"]
        assert change["textDocument"] == {"uri": URI, "version": 1}
        edits: list[dict[str, Any]] = change["edits"]
        self.text = apply_edits(self.text, edits, "utf-16")
        return edits

    async def refused(self, **params: Any) -> str:
        """Why nothing was changed."""
        result = (await self.apply(**params))["result"]
        assert result["applied"] is False
        assert self.wire.matching(method="workspace/applyEdit") == []
        message: str = result["message"]
        assert "\n" not in message
        return message


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ThreadStore:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path / "home"))
    return ThreadStore()


@pytest.fixture
async def editor(store: ThreadStore) -> Editor:
    wire = Wire()
    await wire.initialize(CAN_APPLY)
    return Editor(wire, store)


def excerpt(text: str, start: tuple[int, int] = (0, 0), end: tuple[int, int] = (0, 0)) -> Excerpt:
    places = [Position(line=line, character=character) for line, character in (start, end)]
    return Excerpt(uri=URI, range=Range(start=places[0], end=places[1]), text=text)


# --- where it goes -----------------------------------------------------------------------------


async def test_what_it_rewrites(editor: Editor) -> None:
    editor.open(CODE)
    editor.answer(AREA)
    edits = await editor.applied(range=span((8, 0)))
    assert editor.text == CODE.replace("w * h", "abs(w * h)")
    # As little as can be: the brackets.
    assert sum(len(edit["newText"]) for edit in edits) <= len("abs(w * h)")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_line_ends_are_the_documents(editor: Editor, line_end: str) -> None:
    editor.open(CODE.replace("\n", line_end))
    editor.answer(AREA.replace("    return", "    w = w or 1\n    return"))
    await editor.applied()
    wanted = CODE.replace("        return w * h", "        w = w or 1\n        return abs(w * h)")
    assert editor.text == wanted.replace("\n", line_end)


async def test_the_place_of_the_question(editor: Editor) -> None:
    editor.open(CODE + "\n\ndef other():\n    print(A().area(2, 3))\n")
    asked = excerpt("    print(A().area(2, 3))\n", (13, 0), (14, 0))
    editor.answer("```\nprint(A().area(3, 2), end='')\n```", asked)
    await editor.applied(range=span((0, 0)))
    assert editor.text == CODE + "\n\ndef other():\n    print(A().area(3, 2), end='')\n"


async def test_a_question_that_goes_on(editor: Editor) -> None:
    editor.open(CODE)
    asked = excerpt("    print(A().area(2, 3))\n", (9, 0), (10, 0))
    more = [
        Turn(role="user", text="With 4?"),
        Turn(role="assistant", text="```\nprint(A().area(2, 4))\n```"),
    ]
    editor.answer("No code.", asked, more=more)
    await editor.applied(turn=3)
    assert editor.text == CODE.replace("2, 3", "2, 4")


async def test_the_selection(editor: Editor) -> None:
    editor.open(CODE)
    editor.answer("```\nraise SystemExit(0)\n```")
    await editor.applied(range=span((9, 0), (10, 0)))
    assert editor.text == CODE.replace("print(A().area(2, 3))", "raise SystemExit(0)")


async def test_a_selection_within_a_line(editor: Editor) -> None:
    editor.open(CODE)
    editor.answer("```\nbox.volume()\n```")
    await editor.applied(range=span((9, 10), (9, 24)))
    assert editor.text == CODE.replace("A().area(2, 3)", "box.volume()")


@pytest.mark.parametrize(
    ("cursor", "wanted"),
    [
        # In an empty line; at the end of a line; before one; in the middle of one.
        ((3, 0), CODE.replace("* h\n\n", "* h\nx = 1\ny = 2\n")),
        ((9, 25), CODE + "    x = 1\n    y = 2\n"),
        ((9, 0), CODE.replace("    print", "    x = 1\n    y = 2\n    print")),
        ((9, 10), CODE + "    x = 1\n    y = 2\n"),
        ((10, 0), CODE + "x = 1\ny = 2"),
    ],
)
async def test_the_cursor(editor: Editor, cursor: tuple[int, int], wanted: str) -> None:
    editor.open(CODE)
    editor.answer("```\n\nx = 1\ny = 2\n\n```")
    await editor.applied(range=span(cursor))
    assert editor.text == wanted


async def test_a_word_at_the_cursor(editor: Editor) -> None:
    editor.open("value = (first)\n")
    editor.answer("```\n, second\n```")
    await editor.applied(range=span((0, 14)))
    assert editor.text == "value = (first, second)\n"


async def test_tabs(editor: Editor) -> None:
    editor.open("func area(w int) int {\n\treturn w\n}\n", "go")
    lines = [
        "func area(w int) int {",
        "    if w < 0 {",
        "        return 0",
        "    }",
        "    return w",
    ]
    code = "\n".join([*lines, "}"])
    editor.answer(f"```go\n{code}\n```")
    await editor.applied()
    assert editor.text == code.replace("    ", "\t") + "\n"


async def test_what_is_there_already(editor: Editor) -> None:
    editor.open(CODE)
    editor.answer("```\ndef half(self, w):\n    return w / 2\n```")
    result = (await editor.apply())["result"]
    assert result == {"applied": True, "message": "project/main.py has it already"}
    assert editor.wire.matching(method="workspace/applyEdit") == []


# --- what is refused ---------------------------------------------------------------------------

TWINS = """\
class A:
    def run(self):
        return 1


class B:
    def run(self):
        return 2
"""


async def test_twins(editor: Editor) -> None:
    editor.open(TWINS)
    editor.answer("```python\ndef run(self):\n    return 3\n```")
    assert "2 places in project/main.py are alike" in await editor.refused(range=span((4, 0)))
    assert "alike" in await editor.refused()
    await editor.applied(range=span((7, 3)))
    assert editor.text == TWINS.replace("return 2", "return 3")


THREE = "\n\n\n".join(f"def f{number}(a):\n    return a + {number}" for number in range(3))
#: The first and the last of them.
TWO = "```python\ndef f0(a):\n    return a\n\n\ndef f2(a):\n    return a - 2\n```"


@pytest.mark.parametrize("params", [{}, {"range": span((2, 0))}, {"range": span((4, 0), (5, 0))}])
async def test_a_block_that_changes_several_places(editor: Editor, params: dict[str, Any]) -> None:
    editor.open(THREE)
    editor.answer(TWO)
    message = await editor.refused(**params)
    assert "does not replace all of one place in project/main.py" in message
    assert "f0 would stand there twice" in message


async def test_a_selection_of_all_that_it_replaces(editor: Editor) -> None:
    editor.open(THREE)
    editor.answer(TWO)
    await editor.applied(range=span((0, 0), (9, 16)))
    assert editor.text == TWO.removeprefix("```python\n").removesuffix("\n```")


async def test_a_method_may_have_a_namesake_in_another_class(editor: Editor) -> None:
    text = """\
class A:
    def run(self):
        queue, done = deque(roots), set()
        while queue:
            done.add(queue.popleft())
        return done


class B:
    x = 1
    #
"""
    text = text.replace("#", "")
    editor.open(text)
    editor.answer("```python\ndef run(self, other):\n    yield self.walk(other)\n```")
    await editor.applied(range=span((10, 4)))
    method = "    def run(self, other):\n        yield self.walk(other)\n"
    assert editor.text == text.removesuffix("    \n") + method


@pytest.mark.parametrize(
    ("answer", "params", "said"),
    [
        ("```\nx = 1\n```", {}, "rewrites nothing in project/main.py: put the cursor where"),
        ("```\nx = 1\n", {"range": span((0, 0))}, "ends in the middle"),
        ("```\n\n```", {"range": span((0, 0))}, "is empty"),
        (AREA.replace("    return", "    # ... existing code\n    return"), {}, "leaves out code"),
        (AREA, {"version": 2}, "has changed meanwhile"),
        (AREA, {"uri": "file:///b.py"}, "b.py is not open"),
        ("```\nx = 1\n```", {"range": span((99, 0))}, "the selection is not in"),
    ],
)
async def test_what_is_not_applied(
    editor: Editor, answer: str, params: dict[str, Any], said: str
) -> None:
    editor.open(CODE)
    editor.answer(answer)
    assert said in await editor.refused(**params)


@pytest.mark.parametrize(("text", "said"), [("a\0b", "is binary"), ("x" * 5_000_001, "too large")])
async def test_documents_that_are_no_source(editor: Editor, text: str, said: str) -> None:
    editor.open(text)
    editor.answer(AREA)
    assert said in await editor.refused(range=span((0, 0)))


@pytest.mark.parametrize(
    ("params", "code", "said"),
    [
        ({"thread": "no"}, -32803, "there is no thread 'no'"),
        ({"thread": "../a"}, -32803, "can't be a thread's name"),
        ({"turn": 0}, -32803, "there is no answer 0"),
        ({"turn": 2}, -32803, "there is no answer 2"),
        ({"turn": -1}, -32803, "there is no answer -1"),
        ({"block": 1}, -32803, "there is no block 1"),
        ({"block": -1}, -32803, "there is no block -1"),
        ({"turn": "1"}, -32602, "turn"),
        ({"range": {}}, -32602, "range"),
    ],
)
async def test_what_there_is_not(
    editor: Editor, params: dict[str, Any], code: int, said: str
) -> None:
    editor.open(CODE)
    editor.answer(AREA)
    error = (await editor.apply(**params))["error"]
    assert error["code"] == code
    assert said in error["message"]
    assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"result": {"applied": False, "failureReason": "read-only\nbuffer"}}, "read-only buffer"),
        ({"result": {"applied": False}}, "the document has changed"),
        ({"error": {"code": -32603, "message": "no"}}, "did not apply it: no"),
    ],
)
async def test_an_editor_that_does_not_apply_it(
    editor: Editor, answer: dict[str, Any], said: str
) -> None:
    editor.open(CODE)
    editor.answer(AREA)
    task = asyncio.ensure_future(editor.apply())
    request = await editor.wire.until(method="workspace/applyEdit")
    editor.wire.receive(id=request["id"], **answer)
    result = (await task)["result"]
    assert result["applied"] is False
    assert said in result["message"]


async def test_an_editor_that_can_not_apply(store: ThreadStore) -> None:
    wire = Wire()
    await wire.initialize()
    editor = Editor(wire, store)
    editor.open(CODE)
    editor.answer(AREA)
    assert "can't apply edits" in await editor.refused()


async def test_a_document_that_changes_meanwhile(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor.open(CODE)
    editor.answer(AREA)
    found = asyncio.to_thread

    async def slow(function: Any, *arguments: Any) -> Any:
        result = await found(function, *arguments)
        if function is _edits:
            editor.wire.change({"text": CODE + "\n"})
        return result

    monkeypatch.setattr("ingle_lsp.block_apply.asyncio.to_thread", slow)
    assert "has changed meanwhile" in await editor.refused()


# --- any text ----------------------------------------------------------------------------------

positions = st.builds(Position, line=st.integers(-1, 6), character=st.integers(-1, 12))


@given(
    st.text(alphabet="ab (){}:\r\n\t😀", max_size=60),
    st.text(alphabet="ab (){}:\n\t", max_size=30),
    st.none() | st.builds(Range, start=positions, end=positions),
    st.text(alphabet="ab \n", max_size=6),
)
def test_an_edit_adds_the_block_and_leaves_the_rest(
    text: str, code: str, selection: Range | None, asked: str
) -> None:
    document = Document(URI, text, "python", "utf-16")
    about = [excerpt(asked)]
    try:
        edits = _edits(document, Block(0, "", code, True), about, selection)
    except Refused:
        return
    after = applied(document, edits)
    for line in code.split("\n"):
        assert line.strip() in after


@given(
    st.lists(
        st.sampled_from(["a + b", "a - b", "b[a]", "[a, b]", "max(a, b)"]), min_size=2, max_size=5
    ),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.sampled_from(["return b\n", "x = a\n    return x, b\n"]),
)
def test_every_function_is_there_once_afterwards(
    bodies: list[str], changed: list[bool], body: str
) -> None:
    names = [f"function_{number}" for number in range(len(bodies))]
    text = "\n\n".join(
        f"def {name}(a, b):\n    return {old}\n" for name, old in zip(names, bodies, strict=True)
    )
    chosen = [name for name, is_chosen in zip(names, changed, strict=False) if is_chosen]
    code = "\n\n".join(f"def {name}(a, b):\n    {body}" for name in chosen)
    document = Document(URI, text, "python", "utf-16")
    try:
        edits = _edits(document, Block(0, "", code, True), [], None)
    except Refused:
        # Not side by side, or none.
        assert not chosen or " ".join(chosen) not in " ".join(names)
        return
    after = applied(document, edits)
    assert [line.split("(")[0] for line in after.split("\n") if line.startswith("def ")] == [
        f"def {name}" for name in names
    ]
    assert after.count(body) == len(chosen)
