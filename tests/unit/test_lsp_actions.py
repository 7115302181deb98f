"""Code actions and `ingle.edit`, message by message, with a stand-in for the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ingle.errors import Busy, ContextOverflow, DaemonNotRunning
from ingle.messages import Chat, ModelStatus, Report, Status
from ingle_lsp.privacy import GitAnswer, Privacy
from support.applied_edits import apply_workspace_edit
from support.waiting import eventually
from support.wire import Wire

URI = "file:///project/main.py"
TEXT = """\
import os


def add(a, b):
    return a - b


def twice(n):
    return 2 * n
"""
FIXED = "```python\ndef add(a, b):\n    return a + b\n```"
CODE_ACTION: dict[str, Any] = {
    "codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}},
    "dataSupport": True,
    "disabledSupport": True,
    "resolveSupport": {"properties": ["edit"]},
}
WORKSPACE_EDIT = {"documentChanges": True, "resourceOperations": ["create", "rename"]}


def capabilities(code_action: Any = CODE_ACTION, workspace_edit: Any = WORKSPACE_EDIT) -> Any:
    return {
        "textDocument": {"inlineCompletion": {}, "codeAction": code_action},
        "workspace": {"applyEdit": True, "workspaceEdit": workspace_edit},
    }


def span(*numbers: int) -> dict[str, Any]:
    """From line and character to line and character; two numbers are a place."""
    start = {"line": numbers[0], "character": numbers[1]}
    end = {"line": numbers[-2], "character": numbers[-1]}
    return {"start": start, "end": end}


PROBLEM = {"range": span(4, 11, 4, 16), "message": "should be a sum", "source": "lint", "code": 7}


class Session(Wire):
    """An editor that shows one document."""

    def __init__(self) -> None:
        super().__init__()
        self.engine.answers = [FIXED]
        self.git = GitAnswer.NOT_IGNORED
        self.server.privacy = Privacy(lambda: 0.0, lambda path, timeout: self.git)
        self.numbers = iter(range(100, 10_000))
        self.text = ""

    async def start(self, text: str = TEXT, uri: str = URI, **given: Any) -> None:
        await self.initialize(capabilities(**given))
        self.text = text
        self.open(text, uri)

    async def ask(self, method: str, params: Any) -> Any:
        return await self.request(next(self.numbers), method, params)

    async def actions(self, where: Any, uri: str = URI, **context: Any) -> Any:
        context = {"diagnostics": [], "triggerKind": 1, **context}
        params = {"textDocument": {"uri": uri}, "range": where, "context": context}
        return (await self.ask("textDocument/codeAction", params))["result"]

    async def action(self, title: str, where: Any, **context: Any) -> Any:
        found = await self.actions(where, **context)
        return next(action for action in found if action["title"].startswith(title))

    async def edit(self, *, number: int | None = None, **argument: Any) -> Any:
        """Run `ingle.edit`; the editor applies what it is sent. The answer."""
        argument = {"uri": URI, **argument}
        number = number or next(self.numbers)
        params = {"command": "ingle.edit", "arguments": [argument]}
        self.receive(id=number, method="workspace/executeCommand", params=params)
        before = len(self.matching(method="workspace/applyEdit"))
        await eventually(
            lambda: (
                self.matching(id=number) or self.matching(method="workspace/applyEdit")[before:]
            ),
            "an answer or an edit",
        )
        for question in self.matching(method="workspace/applyEdit")[before:]:
            self.applied = question["params"]["edit"]
            self.receive(id=question["id"], result={"applied": True})
        return await self.until(id=number)

    @property
    def prompts(self) -> list[str]:
        """What the model was told last, of each question."""
        return [
            call["messages"][-1].content for call in self.engine.calls if call.get("type") is Chat
        ]

    def result(self, edit: Any, uri: str = URI) -> str:
        """The document after an edit."""
        document = self.server.documents.get(uri)
        assert document is not None
        versions = {uri: document.version}
        return apply_workspace_edit({uri: self.text}, edit, versions=versions)[uri]


@pytest.fixture
def wire() -> Session:
    return Session()


# --- what is offered ---------------------------------------------------------------------------


async def test_what_is_advertised(wire: Session) -> None:
    found = await wire.initialize(capabilities())
    assert found["codeActionProvider"] == {
        "codeActionKinds": [
            "quickfix.ingle",
            "refactor.ingle.tests",
            "refactor.rewrite.ingle.document",
            "ingle.explain",
        ],
        "resolveProvider": True,
    }
    assert found["executeCommandProvider"]["workDoneProgress"] is True
    commands = found["executeCommandProvider"]["commands"]
    assert {"ingle.edit", "ingle.explain", "ingle.commitMessage"} <= set(commands)


async def test_actions_at_a_place(wire: Session) -> None:
    await wire.start()
    found = await wire.actions(span(4, 4), diagnostics=[PROBLEM])
    assert [(action["title"], action["kind"]) for action in found] == [
        ("Fix: should be a sum (lint 7)", "quickfix.ingle"),
        ("Write tests", "refactor.ingle.tests"),
        ("Document", "refactor.rewrite.ingle.document"),
        ("Explain", "ingle.explain"),
    ]
    assert found[0]["diagnostics"] == [PROBLEM]
    assert not any("edit" in action or "disabled" in action for action in found)
    assert [bool(action.get("command")) for action in found] == [False, False, False, True]
    # Nothing of this has asked the model, or even looked for the daemon.
    assert wire.engine.calls == []


@pytest.mark.parametrize(
    ("only", "titles"),
    [
        (["quickfix"], ["Fix"]),
        (["quickfix.ingle"], ["Fix"]),
        (["refactor"], ["Write tests", "Document"]),
        (["refactor.rewrite"], ["Document"]),
        (["refactor.ingle"], ["Write tests"]),
        (["refactor.ing"], []),
        (["ingle"], ["Explain"]),
        (["source.organizeImports", "source.fixAll"], []),
        (["quickfix", "ingle.explain"], ["Fix", "Explain"]),
        ([""], ["Fix", "Write tests", "Document", "Explain"]),
        ([], []),
    ],
)
async def test_only_some_kinds(wire: Session, only: list[str], titles: list[str]) -> None:
    await wire.start()
    found = await wire.actions(span(4, 4), diagnostics=[PROBLEM], only=only)
    assert [action["title"].partition(":")[0] for action in found] == titles


async def test_what_is_asked_for_by_itself_is_not_everywhere(wire: Session) -> None:
    await wire.start()
    assert await wire.actions(span(4, 4), triggerKind=2) == []
    found = await wire.actions(span(4, 4), triggerKind=2, diagnostics=[PROBLEM])
    assert [action["title"] for action in found] == ["Fix: should be a sum (lint 7)"]
    assert len(await wire.actions(span(3, 0, 5, 0), triggerKind=2)) == 3
    assert wire.engine.calls == []


async def test_many_problems_and_long_ones(wire: Session) -> None:
    await wire.start()
    problems = [
        {"range": span(4, 0), "message": f"{number} {'long ' * 50}\nmore"} for number in range(9)
    ]
    found = await wire.actions(span(4, 4), diagnostics=problems, only=["quickfix"])
    assert len(found) == 5
    assert all(len(action["title"]) <= 65 and "\n" not in action["title"] for action in found)


async def test_a_message_in_markdown(wire: Session) -> None:
    await wire.start()
    problem = {"range": span(4, 0), "message": {"kind": "markdown", "value": "**bad**"}}
    answer = await wire.edit(action="fix", range=span(4, 4), diagnostics=[problem])
    assert answer["result"]["applied"]
    assert "- line 5: **bad**\n" in wire.prompts[0]


async def test_a_document_that_is_not_open(wire: Session) -> None:
    await wire.start()
    assert await wire.actions(span(0, 0), uri="file:///other.py") == []


@pytest.mark.parametrize(
    ("text", "uri", "where", "reason"),
    [
        ("a\0b", URI, span(0, 0), "project/main.py is binary: it can't be sent"),
        ("x" * 5_000_001, URI, span(0, 0), "project/main.py is too large for the language server"),
        (TEXT, "file:///project/.env", span(0, 0), "looks like a secret, or git ignores it"),
        ("\n \n", URI, span(0, 0), "there is no code here"),
        (TEXT, URI, span(1, 0, 3, 0), "there is no code here"),
        ("x = 1\n" * 4000, URI, span(0, 0, 4000, 0), "24,000 characters are too many"),
        ("k = 'ghp_" + "a" * 36 + "'\n", URI, span(0, 0), "has a private key or a token in it"),
    ],
)
async def test_why_something_can_not_be_done(
    wire: Session, text: str, uri: str, where: Any, reason: str
) -> None:
    await wire.start(text, uri)
    found = await wire.actions(where, uri=uri)
    assert [action["title"] for action in found] == ["Write tests", "Document", "Explain"]
    assert all(reason in action["disabled"]["reason"] for action in found)
    assert not any("\n" in action["disabled"]["reason"] for action in found)
    # And what is asked for all the same is refused with the same words.
    argument = {"uri": uri, "range": where, "action": "document"}
    answer = await wire.edit(**argument)
    said = answer.get("error", answer.get("result"))["message"]
    assert reason in said
    assert wire.engine.calls == []


async def test_an_editor_that_knows_no_disabled_actions(wire: Session) -> None:
    await wire.start("\n \n", code_action=CODE_ACTION | {"disabledSupport": False})
    assert await wire.actions(span(0, 0)) == []


async def test_what_git_ignores(wire: Session) -> None:
    wire.git = GitAnswer.IGNORED
    await wire.start()
    found = await wire.actions(span(4, 4), diagnostics=[PROBLEM])
    assert all("git ignores it" in action["disabled"]["reason"] for action in found)
    answer = await wire.edit(action="document", range=span(4, 4))
    assert "git ignores it" in answer["error"]["message"]
    assert wire.engine.calls == []


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("untitled:Untitled-1", "save this one first"),
        ("file:///p/pyproject.toml", "there is nothing to test"),
        ("file:///p/test_a.py", "tests in it already"),
    ],
)
async def test_why_there_are_no_tests(wire: Session, uri: str, reason: str) -> None:
    await wire.start(uri=uri)
    found = {action["title"]: action for action in await wire.actions(span(4, 4), uri=uri)}
    assert reason in found["Write tests"]["disabled"]["reason"]
    assert "disabled" not in found["Document"]


@pytest.mark.parametrize(
    "code_action",
    [
        {key: value for key, value in CODE_ACTION.items() if key != "resolveSupport"},
        CODE_ACTION | {"dataSupport": False},
        CODE_ACTION | {"resolveSupport": {"properties": ["command"]}},
    ],
)
async def test_an_editor_that_does_not_resolve(wire: Session, code_action: Any) -> None:
    await wire.start(code_action=code_action)
    action = await wire.action("Fix", span(4, 4), diagnostics=[PROBLEM])
    assert "data" not in action
    assert action["command"]["command"] == "ingle.edit"
    (argument,) = action["command"]["arguments"]
    answer = await wire.edit(**argument)
    assert answer["result"] == {"applied": True, "message": ""}
    assert wire.result(wire.applied) == TEXT.replace("a - b", "a + b")
    # Nobody looks at the result of such a command, so what went wrong is shown.
    wire.engine.answers = ["No."]
    answer = await wire.edit(**argument)
    assert not answer["result"]["applied"]
    assert wire.shown == ["ingle: " + answer["result"]["message"]]


async def test_an_editor_that_knows_commands_only(wire: Session) -> None:
    await wire.start(code_action={})
    found = await wire.actions(span(4, 4), diagnostics=[PROBLEM])
    assert [command["command"] for command in found] == [
        "ingle.edit",
        "ingle.edit",
        "ingle.edit",
        "ingle.explain",
    ]
    assert "kind" not in found[0]


# --- what is made ------------------------------------------------------------------------------


async def test_a_fix_is_resolved(wire: Session) -> None:
    await wire.start()
    action = await wire.action("Fix", span(4, 4), diagnostics=[PROBLEM])
    answer = await wire.ask("codeAction/resolve", action)
    edit = answer["result"]["edit"]
    assert edit == {
        "documentChanges": [
            {
                "textDocument": {"uri": URI, "version": 1},
                "edits": [{"range": span(4, 13, 4, 14), "newText": "+"}],
            }
        ]
    }
    assert wire.result(edit) == TEXT.replace("a - b", "a + b")
    # All of what surrounds the problem is told, and what the problem is.
    (prompt,) = wire.prompts
    assert prompt.startswith("The file `project/main.py`:\n\n```python\nimport os\n")
    assert "lines 4 to 5 of" in prompt
    assert "- line 5: should be a sum (lint 7)\n" in prompt


async def test_what_goes_to_the_daemon(wire: Session) -> None:
    await wire.start()
    wire.server.apply_settings({"effort": "high"})
    await wire.edit(action="document", range=span(4, 4))
    _status, call = wire.engine.calls
    assert call["conversation"] == URI
    assert call["effort"] == "high"
    assert call.get("priority", "interactive") == "interactive"
    assert [turn.role for turn in call["messages"]] == ["system", "user"]
    assert 16_384 <= call["max_tokens"] <= 17_000
    wire.server.apply_settings({"effort": None})
    await wire.edit(action="document", range=span(4, 4))
    assert "effort" not in wire.engine.calls[-1]


async def test_other_actions_are_resolved_as_they_are(wire: Session) -> None:
    await wire.start()
    action = await wire.action("Explain", span(4, 4))
    assert (await wire.ask("codeAction/resolve", action))["result"] == action
    assert wire.engine.calls == []


async def test_an_instruction(wire: Session) -> None:
    await wire.start()
    wire.engine.answers = ["```python\ndef twice(n):\n    return n + n\n```"]
    answer = await wire.edit(
        action="refactor", instruction="no product", range=span(7, 0, 9, 0), version=1
    )
    assert answer["result"] == {"applied": True, "message": ""}
    assert wire.result(wire.applied) == TEXT.replace("2 * n", "n + n")
    assert "Change them as follows: no product\n" in wire.prompts[0]


async def test_lines_that_go_leave_no_blank_one(wire: Session) -> None:
    await wire.start()
    wire.engine.answers = ["```python\n```"]
    await wire.edit(action="refactor", instruction="remove it", range=span(0, 0, 0, 5))
    assert wire.result(wire.applied) == TEXT.removeprefix("import os\n")
    answer = await wire.edit(action="document", range=span(0, 0, 0, 5))
    assert "without code" in answer["result"]["message"]


async def test_the_place_has_its_indentation_and_line_ends(wire: Session) -> None:
    text = "class A:\r\n\tdef f(self):\r\n\t\treturn '😀', 1\r\n"
    await wire.start(text)
    wire.engine.answers = ["```\ndef f(self):\n    # One.\n    return '😀', 2\n```"]
    await wire.edit(action="refactor", instruction="…", range=span(2, 3))
    wanted = "class A:\r\n\tdef f(self):\r\n\t\t# One.\r\n\t\treturn '😀', 2\r\n"
    assert wire.result(wire.applied) == wanted


async def test_a_last_line_without_an_end_stays_without(wire: Session) -> None:
    await wire.start("x = 1")
    wire.engine.answers = ["```\nx = 2\ny = 3\n\n```"]
    await wire.edit(action="refactor", instruction="…", range=span(0, 0, 0, 5))
    assert wire.result(wire.applied) == "x = 2\ny = 3"


async def test_an_editor_without_versions(wire: Session) -> None:
    await wire.start(workspace_edit={"documentChanges": False, "resourceOperations": ["create"]})
    await wire.edit(action="refactor", instruction="…", range=span(4, 4))
    assert wire.applied == {"changes": {URI: [{"range": span(4, 13, 4, 14), "newText": "+"}]}}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            {"result": {"applied": False, "failureReason": "read-\nonly"}},
            "did not apply it: read- only",
        ),
        ({"result": {"applied": False}}, "did not apply it: the document has changed"),
        ({"error": {"code": -32603, "message": "no"}}, "did not apply it: no"),
    ],
)
async def test_an_editor_that_does_not_apply_it(wire: Session, reply: Any, reason: str) -> None:
    await wire.start()
    params = {
        "command": "ingle.edit",
        "arguments": [{"action": "refactor", "instruction": "…", "uri": URI, "range": span(4, 4)}],
    }
    wire.receive(id=2, method="workspace/executeCommand", params=params)
    question = await wire.until(method="workspace/applyEdit")
    assert question["params"]["label"] == "ingle: Refactor"
    wire.receive(id=question["id"], **reply)
    result = (await wire.until(id=2))["result"]
    assert result["applied"] is False
    assert reason in result["message"]


# --- what is not made --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("I would rather not.", "without code"),
        ("def add(a, b):\n    return a + b", "without code"),
        ("```python\ndef add(a, b):\n    return", "in the middle of its code"),
        ("```\na\n```\n```\nb\n```", "2 pieces of code"),
        ("```python\ndef add(a, b):\n    # ... rest of the code\n```", "leaves out code"),
        ("```python\ndef add(a, b):\n    return a - b\n```", "would change nothing"),
        ("", "without code"),
    ],
)
async def test_answers_that_are_no_use(wire: Session, said: str, reason: str) -> None:
    await wire.start()
    wire.engine.answers = [said]
    answer = await wire.edit(action="refactor", instruction="…", range=span(4, 4))
    assert answer["result"]["applied"] is False
    assert reason in answer["result"]["message"]
    assert wire.matching(method="workspace/applyEdit") == []
    assert wire.shown == []
    action = await wire.action("Fix", span(4, 4), diagnostics=[PROBLEM])
    answer = await wire.ask("codeAction/resolve", action)
    assert answer["error"]["code"] == -32803
    assert reason in answer["error"]["message"]


METHODS = """\
class Tree:
    def grow(self):
        return 1

    def fall(self):
        return 2
"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("class Tree:\n    def grow(self):\n        return 3", "has Tree in it"),
        (
            "    def grow(self):\n        return 3\n\n    def fall(self):\n        return 2",
            "has fall",
        ),
        ("    def height(self):\n        return 3", None),
        (
            "    def grow(self):\n        def fall():\n            return 3\n        return fall()",
            None,
        ),
    ],
)
async def test_more_than_was_asked_for(wire: Session, said: str, reason: str | None) -> None:
    await wire.start(METHODS)
    wire.engine.answers = [f"```python\n{said}\n```"]
    answer = await wire.edit(action="refactor", instruction="…", range=span(2, 0))
    if reason is None:
        assert answer["result"]["applied"] is True
        assert "def fall(self)" in wire.result(wire.applied)
    else:
        assert reason in answer["result"]["message"]
        assert "not part of the task" in answer["result"]["message"]


async def test_a_documented_class_has_all_its_methods(wire: Session) -> None:
    await wire.start(METHODS)
    wire.engine.answers = [
        '```\nclass Tree:\n    """Grows."""\n\n    def grow(self):\n        return 1\n```'
    ]
    answer = await wire.edit(action="document", range=span(0, 0))
    assert answer["result"]["message"] == "the answer leaves out fall: select less, or try again"
    # A refactoring may do that.
    answer = await wire.edit(action="refactor", instruction="…", range=span(0, 0))
    assert answer["result"]["applied"] is True


async def test_an_answer_that_was_too_long(wire: Session) -> None:
    await wire.start()
    wire.engine.finish = "length"
    answer = await wire.edit(action="refactor", instruction="…", range=span(4, 4))
    assert "did not fit" in answer["result"]["message"]


@pytest.mark.parametrize(
    "argument",
    [
        {},
        {"action": "fix"},
        {"action": "explode", "range": span(0, 0)},
        {"action": "refactor", "range": span(0, 0)},
        {"action": "refactor", "range": span(0, 0), "instruction": "  "},
        {"action": "refactor", "range": span(0, 0), "instruction": "x" * 8001},
        {"action": "fix", "range": span(0, 0)},
        {"action": "document", "range": {"start": 3}},
        {"action": "document", "range": span(0, 0), "version": "one"},
        {"action": "document", "range": span(0, 0), "uri": 3},
    ],
)
async def test_arguments_that_make_no_sense(wire: Session, argument: Any) -> None:
    await wire.start()
    answer = await wire.edit(**argument)
    assert answer["error"]["code"] == -32602
    assert answer["error"]["message"].startswith("ingle.edit: ")
    answer = await wire.ask("codeAction/resolve", {"title": "x", "data": {"uri": URI, **argument}})
    assert answer["error"]["code"] == -32602
    assert wire.engine.calls == []


@pytest.mark.parametrize("where", [span(-1, 0), span(10, 0), span(2**31 - 1, 0)])
async def test_a_range_outside(wire: Session, where: Any) -> None:
    await wire.start()
    answer = await wire.edit(action="document", range=where)
    assert "outside of project/main.py" in answer["result"]["message"]


async def test_a_range_that_ends_outside_or_backwards(wire: Session) -> None:
    await wire.start()
    for where in (span(7, 0, 99, 0), span(8, 3, 7, 2)):
        wire.engine.answers = ["```\ndef twice(n):\n    return n\n```"]
        await wire.edit(action="refactor", instruction="…", range=where)
        assert wire.result(wire.applied) == TEXT.replace("2 * n", "n")


async def test_another_version(wire: Session) -> None:
    await wire.start()
    answer = await wire.edit(action="document", range=span(4, 4), version=2)
    assert answer["result"]["message"] == "project/main.py has changed meanwhile: try again"
    action = await wire.action("Document", span(4, 4))
    wire.change({"text": TEXT + "\n"})
    answer = await wire.ask("codeAction/resolve", action)
    assert "has changed meanwhile" in answer["error"]["message"]
    assert wire.engine.calls == []


async def test_a_document_that_is_not_open_has_no_edits(wire: Session) -> None:
    await wire.start()
    answer = await wire.edit(action="document", range=span(4, 4), uri="file:///other/b.py")
    assert answer["result"]["message"] == "other/b.py is not open in the editor"


# --- what happens meanwhile --------------------------------------------------------------------


class Meanwhile:
    """A refactoring of `add` whose answer waits."""

    def __init__(self, wire: Session) -> None:
        self.wire = wire
        self.gate = asyncio.Event()

    async def begin(self) -> None:
        await self.wire.start()
        self.wire.engine.gate = self.gate
        argument = {"action": "refactor", "instruction": "…", "uri": URI, "range": span(4, 4)}
        params = {"command": "ingle.edit", "arguments": [argument], "workDoneToken": "t"}
        self.wire.receive(id=2, method="workspace/executeCommand", params=params)
        await eventually(lambda: self.wire.engine.calls, "a request to the daemon")

    def type(self, where: Any, text: str) -> None:
        self.wire.change({"range": where, "text": text})

    async def end(self) -> Any:
        self.gate.set()
        await eventually(
            lambda: self.wire.matching(id=2) or self.wire.matching(method="workspace/applyEdit"),
            "an answer or an edit",
        )
        for question in self.wire.matching(method="workspace/applyEdit"):
            self.wire.receive(id=question["id"], result={"applied": True})
            self.edit = question["params"]["edit"]
        return (await self.wire.until(id=2))["result"]


async def test_changes_elsewhere_move_the_edit(wire: Session) -> None:
    meanwhile = Meanwhile(wire)
    await meanwhile.begin()
    meanwhile.type(span(0, 0), "# 1\n# 2\n")
    meanwhile.type(span(10, 11, 10, 12), "3")
    assert (await meanwhile.end())["applied"] is True
    document = wire.server.documents.get(URI)
    assert document is not None
    after = apply_workspace_edit({URI: document.text}, meanwhile.edit, versions={URI: 2})[URI]
    assert after == "# 1\n# 2\n" + TEXT.replace("a - b", "a + b").replace("2 * n", "3 * n")


async def test_the_same_text_sent_whole_changes_nothing(wire: Session) -> None:
    meanwhile = Meanwhile(wire)
    await meanwhile.begin()
    wire.change({"text": "# new\n" + TEXT})
    assert (await meanwhile.end())["applied"] is True
    after = apply_workspace_edit({URI: "# new\n" + TEXT}, meanwhile.edit, versions={URI: 2})[URI]
    assert after == "# new\n" + TEXT.replace("a - b", "a + b")


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (span(4, 11, 4, 12), "c"),
        (span(3, 14), "  # sum"),
        (span(4, 0, 5, 0), ""),
        (span(0, 0, 9, 0), ""),
        # On its first and on its last line, if beside what was sent.
        (span(3, 0), "async "),
        (span(4, 16), " + 1"),
        (span(2, 0, 3, 0), "x"),
    ],
)
async def test_changes_of_these_lines_end_it(wire: Session, where: Any, text: str) -> None:
    meanwhile = Meanwhile(wire)
    await meanwhile.begin()
    meanwhile.type(where, text)
    result = await meanwhile.end()
    assert result["applied"] is False
    assert "have changed meanwhile" in result["message"]
    assert wire.matching(method="workspace/applyEdit") == []


async def test_a_document_that_is_closed_or_opened_again(wire: Session) -> None:
    meanwhile = Meanwhile(wire)
    await meanwhile.begin()
    wire.receive(method="textDocument/didClose", params={"textDocument": {"uri": URI}})
    wire.open(TEXT)
    result = await meanwhile.end()
    assert result["message"] == "project/main.py was closed meanwhile: nothing was changed"


@pytest.mark.parametrize(
    ("method", "params"),
    [("$/cancelRequest", {"id": 2}), ("window/workDoneProgress/cancel", {"token": "t"})],
)
async def test_a_cancel_in_the_middle(wire: Session, method: str, params: Any) -> None:
    meanwhile = Meanwhile(wire)
    await meanwhile.begin()
    # The first question is how large the context is.
    wire.engine.cancelled = 0
    wire.receive(method=method, params=params)
    assert (await wire.until(id=2))["error"]["code"] == -32800
    assert wire.engine.cancelled == 1
    kinds = [message["params"]["value"]["kind"] for message in wire.matching(method="$/progress")]
    assert kinds == ["begin", "end"]
    document = wire.server.documents.get(URI)
    assert document is not None
    assert document._marks == []


async def test_resolving_can_be_cancelled_where_progress_is_shown(wire: Session) -> None:
    await wire.initialize(capabilities() | {"window": {"workDoneProgress": True}})
    wire.open(TEXT)
    action = await wire.action("Document", span(4, 4))
    wire.engine.gate = asyncio.Event()
    wire.receive(id=2, method="codeAction/resolve", params=action)
    question = await wire.until(method="window/workDoneProgress/create")
    wire.receive(id=question["id"], result=None)
    await eventually(lambda: wire.engine.calls, "a request to the daemon")
    begun = await wire.until(method="$/progress")
    assert begun["params"]["value"]["title"] == "Document"
    token = question["params"]["token"]
    wire.receive(method="window/workDoneProgress/cancel", params={"token": token})
    assert (await wire.until(id=2))["error"]["code"] == -32800
    assert wire.engine.cancelled == 1


async def test_a_cancel_while_the_editor_applies_it(
    wire: Session, caplog: pytest.LogCaptureFixture
) -> None:
    meanwhile = Meanwhile(wire)
    await meanwhile.begin()
    meanwhile.gate.set()
    question = await wire.until(method="workspace/applyEdit")
    wire.receive(method="$/cancelRequest", params={"id": 2})
    assert (await wire.until(id=2))["error"]["code"] == -32800
    wire.receive(id=question["id"], result={"applied": True})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# --- the daemon --------------------------------------------------------------------------------


async def test_without_a_daemon(wire: Session) -> None:
    wire.engine.down = DaemonNotRunning("ingled is not running: start it with `ingle up`")
    await wire.start()
    action = await wire.action("Document", span(4, 4))
    answer = await wire.ask("codeAction/resolve", action)
    assert answer["error"]["message"] == "ingled is not running: start it with `ingle up`"


async def test_what_the_daemon_refuses(wire: Session) -> None:
    await wire.start()
    wire.engine.failures = [Busy("the queue is full: try again")]
    answer = await wire.edit(action="document", range=span(4, 4))
    assert answer["error"]["message"] == "the queue is full: try again"


def context(tokens: int) -> Any:
    model = ModelStatus(name="m", engine="fake", state="ready", context=tokens)
    return {Status: [Report(id=1, version="", pid=1, uptime_s=0.0, models=[model])]}


async def test_the_file_is_shown_as_far_as_the_context_allows(wire: Session) -> None:
    lines = "".join(f"value_{number} = {number}\n" for number in range(3000))
    await wire.start(TEXT + lines)
    sizes = []
    for tokens in (2048, 4096, 8192, 131_072):
        wire.engine.events = context(tokens)
        await wire.edit(action="refactor", instruction="…", range=span(4, 4))
        assert "lines 4 to 5 of" in wire.prompts[-1]
        sizes.append(len(wire.prompts[-1]))
    assert sizes == sorted(sizes)
    assert sizes[0] < 2_000 < sizes[1] < 6_500 < sizes[2] < 12_500 < sizes[3] < 26_000


async def test_less_is_tried_once_when_it_is_too_much(wire: Session) -> None:
    await wire.start()
    wire.engine.refusals = [ContextOverflow("too long")]
    answer = await wire.edit(action="fix", diagnostics=[PROBLEM], range=span(4, 4))
    assert answer["result"]["applied"] is True
    first, second = wire.prompts
    assert "import os" in first
    assert "import os" not in second
    assert "lines 4 to 5 of" in second
    wire.engine.refusals = [ContextOverflow("too long")] * 2
    answer = await wire.edit(action="fix", diagnostics=[PROBLEM], range=span(4, 4))
    assert answer["result"] == {
        "applied": False,
        "message": "this is more than fits into the model's context: select less",
    }
    assert len(wire.prompts) == 4


async def test_secrets_elsewhere_in_the_file_stay_there(wire: Session) -> None:
    token = "ghp_" + "a" * 36
    await wire.start(f"{TEXT}\n\nKEY = '{token}'\n")
    await wire.edit(action="refactor", instruction="…", range=span(4, 4))
    assert wire.result(wire.applied).endswith(f"KEY = '{token}'\n")
    assert wire.prompts[0].startswith("A file `project/main.py`.\n")
    assert token not in str(wire.engine.calls)
    answer = await wire.edit(action="refactor", instruction=f"use {token}", range=span(4, 4))
    assert "private key or a token" in answer["error"]["message"]
    assert token not in str(wire.engine.calls)


async def test_half_a_character_elsewhere(wire: Session) -> None:
    await wire.start(TEXT + "x = '\ud83d'\n")
    await wire.edit(action="refactor", instruction="…", range=span(4, 4))
    assert "import os" not in wire.prompts[0]
    answer = await wire.edit(action="refactor", instruction="…", range=span(9, 0))
    assert "half a character" in answer["error"]["message"]


# --- tests -------------------------------------------------------------------------------------

TESTS = "```python\nfrom main import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n```"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "main.py").write_text(TEXT)
    return tmp_path


async def test_tests_in_a_new_file(wire: Session, project: Path) -> None:
    (project / "tests").mkdir()
    uri, target = (project / "main.py").as_uri(), (project / "tests" / "test_main.py").as_uri()
    await wire.start(uri=uri)
    wire.engine.answers = [TESTS]
    action = await wire.action("Write tests", span(4, 4), uri=uri)
    answer = await wire.ask("codeAction/resolve", action)
    edit = answer["result"]["edit"]
    assert edit["documentChanges"][0] == {"kind": "create", "uri": target}
    after = apply_workspace_edit({uri: TEXT}, edit, versions={uri: 1})
    assert after[target] == TESTS.removeprefix("```python\n").removesuffix("```")
    assert after[uri] == TEXT
    assert "`tests/test_main.py`. Import what you test from `main`." in wire.prompts[0]
    assert not (project / "tests" / "test_main.py").exists()


@pytest.mark.parametrize("is_open", [False, True])
async def test_tests_are_appended(wire: Session, project: Path, is_open: bool) -> None:
    uri, target = (project / "main.py").as_uri(), (project / "test_main.py").as_uri()
    existing = "import main\r\n\r\n\r\ndef test_one():\r\n    pass\r\n\r\n\r\n"
    (project / "test_main.py").write_bytes(b"" if is_open else existing.encode())
    await wire.start(uri=uri)
    if is_open:
        wire.open(existing, target)
    wire.engine.answers = ["```\ndef test_two():\n    pass\n```"]
    await wire.edit(action="tests", range=span(4, 4), uri=uri)
    versions = {target: 1} if is_open else {}
    after = apply_workspace_edit({target: existing}, wire.applied, versions=versions)[target]
    wanted = "def test_one():\r\n    pass\r\n\r\n\r\ndef test_two():\r\n    pass\r\n"
    assert after == "import main\r\n\r\n\r\n" + wanted
    assert "ends like this:\n\n```\nimport main\n\n\ndef test_one():\n" in wire.prompts[0]


async def test_an_editor_that_creates_no_files(wire: Session, project: Path) -> None:
    uri = (project / "main.py").as_uri()
    await wire.start(uri=uri, workspace_edit={"documentChanges": True})
    found = await wire.action("Write tests", span(4, 4), uri=uri)
    reason = "this editor can't create files: create test_main.py first"
    assert found["disabled"] == {"reason": reason}
    answer = await wire.edit(action="tests", range=span(4, 4), uri=uri)
    assert answer["result"] == {"applied": False, "message": reason}
    assert wire.engine.calls == []
    (project / "test_main.py").write_text("")
    wire.engine.answers = [TESTS]
    assert "disabled" not in await wire.action("Write tests", span(4, 4), uri=uri)
    await wire.edit(action="tests", range=span(4, 4), uri=uri)
    target = (project / "test_main.py").as_uri()
    after = apply_workspace_edit({target: ""}, wire.applied)[target]
    assert after.startswith("from main import add\n")


async def test_a_file_of_tests_that_must_not_be_read(wire: Session, project: Path) -> None:
    uri = (project / "main.py").as_uri()
    await wire.start(uri=uri)
    token = "ghp_" + "a" * 36
    for content, reason in [
        (f"KEY = '{token}'\n".encode(), "private key or a token"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"a\0b", "is binary"),
    ]:
        (project / "test_main.py").write_bytes(content)
        answer = await wire.edit(action="tests", range=span(4, 4), uri=uri)
        assert reason in answer["error"]["message"]
    assert wire.engine.calls == []


async def test_a_file_of_tests_that_comes_meanwhile(wire: Session, project: Path) -> None:
    uri = (project / "main.py").as_uri()
    await wire.start(uri=uri)
    wire.engine.gate = asyncio.Event()
    argument = {"action": "tests", "uri": uri, "range": span(4, 4)}
    params = {"command": "ingle.edit", "arguments": [argument]}
    wire.receive(id=2, method="workspace/executeCommand", params=params)
    await eventually(lambda: wire.engine.calls, "a request to the daemon")
    (project / "test_main.py").write_text("")
    wire.engine.gate.set()
    result = (await wire.until(id=2))["result"]
    assert result["message"] == "test_main.py has come or gone meanwhile: try again"


async def test_go_keeps_one_beginning(wire: Session, tmp_path: Path) -> None:
    uri, target = (tmp_path / "a.go").as_uri(), (tmp_path / "a_test.go").as_uri()
    existing = "package a\n\nfunc TestOne(t *testing.T) {\n}\n"
    (tmp_path / "a_test.go").write_text(existing)
    await wire.start("package a\n\nfunc add(a, b int) int {\n\treturn a + b\n}\n", uri)
    wire.engine.answers = ["```go\npackage a\n\nfunc TestTwo(t *testing.T) {\n}\n```"]
    answer = await wire.edit(action="tests", range=span(3, 0), uri=uri)
    assert "is a whole file" in answer["result"]["message"]
    wire.engine.answers = ["```go\nfunc TestTwo(t *testing.T) {\n}\n```"]
    await wire.edit(action="tests", range=span(3, 0), uri=uri)
    after = apply_workspace_edit({target: existing}, wire.applied)[target]
    assert after == existing + "\nfunc TestTwo(t *testing.T) {\n}\n"


RUST = "pub fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n"
RUST_TEST = "#[test]\nfn adds() {\n    assert_eq!(add(1, 2), 3);\n}"
MODULE = (
    "\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn adds() {\n"
    "        assert_eq!(add(1, 2), 3);\n    }\n}\n"
)


@pytest.mark.parametrize("answer", [RUST_TEST, MODULE.strip()])
async def test_rust_has_its_tests_inside(wire: Session, answer: str) -> None:
    uri = "file:///project/main.rs"
    await wire.start(RUST, uri)
    wire.engine.answers = [f"```rust\n{answer}\n```"]
    await wire.edit(action="tests", range=span(1, 0), uri=uri)
    assert wire.result(wire.applied, uri) == RUST + MODULE


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_rust_tests_join_the_others(wire: Session, line_end: str) -> None:
    uri = "file:///project/main.rs"
    text = (RUST + MODULE + "\npub fn last() {}\n").replace("\n", line_end)
    await wire.start(text, uri)
    second = RUST_TEST.replace("adds", "subtracts")
    wire.engine.answers = [f"```rust\n{second}\n```"]
    await wire.edit(action="tests", range=span(1, 0), uri=uri)
    indented = "".join(f"    {line}\n" for line in second.split("\n"))
    wanted = RUST + MODULE.removesuffix("}\n") + "\n" + indented + "}\n\npub fn last() {}\n"
    assert wire.result(wire.applied, uri) == wanted.replace("\n", line_end)


async def test_no_tests_after_all(wire: Session, project: Path) -> None:
    uri = (project / "main.py").as_uri()
    await wire.start(uri=uri)
    wire.engine.answers = ["```python\n\n```"]
    answer = await wire.edit(action="tests", range=span(4, 4), uri=uri)
    assert answer["result"] == {"applied": False, "message": "the model wrote no tests"}
