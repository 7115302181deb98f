"""Code actions, explanations and commit messages over a real daemon, as an editor drives them."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from lsprotocol.converters import get_converter
from pygls.exceptions import JsonRpcException

from ingle.messages import Report
from support.applied_edits import apply_workspace_edit
from support.daemons import SCRIPTED, DaemonUnderTest
from support.editors import Editor, an_editor
from support.waiting import eventually

MakeDaemon = Callable[..., DaemonUnderTest]
URI = "file:///project/main.py"
TEXT = "import os\n\n\ndef add(a, b):\n    return '😀', a - b  # secret_source\n\n\nx = 1\n"
FIXED = TEXT.replace("a - b", "a + b")
ANSWER = "Here:\n\n```python\ndef add(a, b):\n    return '😀', a + b  # secret_source\n```\n"
PROBLEM = types.Diagnostic(
    range=types.Range(types.Position(4, 0), types.Position(4, 5)), message="should be a sum"
)
HERE = {"start": {"line": 4, "character": 4}, "end": {"line": 4, "character": 4}}
#: Long enough to be caught in the middle.
ENDLESS = {"script": "word " * 4000, "tokens_per_second": 20.0}


class ActionsEditor:
    """What a person does with actions; the editor applies what it is sent."""

    def __init__(self, editor: Editor, encoding: str) -> None:
        self.editor = editor
        self.client = editor.client
        self.encoding = encoding
        self.files = {URI: TEXT}
        self.pages: list[Any] = []

        @self.client.feature(types.WORKSPACE_APPLY_EDIT)
        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.take(params.edit)
            return types.ApplyWorkspaceEditResult(applied=True)

        @self.client.feature("ingle/showMarkdown")
        def show(params: Any) -> None:
            self.pages.append(params)

        editor.open(TEXT, URI)

    def take(self, edit: types.WorkspaceEdit | None) -> None:
        """Apply an edit, with nothing of ours."""
        assert edit is not None
        plain = get_converter().unstructure(edit)
        self.files = apply_workspace_edit(self.files, plain, self.encoding, {URI: 1})

    async def actions(self, *problems: types.Diagnostic) -> list[types.CodeAction]:
        place = types.Position(4, 4)
        found = await self.client.text_document_code_action_async(
            types.CodeActionParams(
                text_document=types.TextDocumentIdentifier(URI),
                range=types.Range(place, place),
                context=types.CodeActionContext(diagnostics=problems),
            )
        )
        assert found is not None
        return [action for action in found if isinstance(action, types.CodeAction)]

    async def fix(self) -> None:
        """Choose the first action, which is the fix."""
        action, *_ = await self.actions(PROBLEM)
        self.take((await self.client.code_action_resolve_async(action)).edit)

    async def edit(self, **argument: Any) -> Any:
        """`ingle.edit` with an instruction."""
        whole = {"action": "refactor", "instruction": "…", "uri": URI, "range": HERE} | argument
        return await self.editor.command("ingle.edit", whole)


@asynccontextmanager
async def an_actions_editor(
    daemon: DaemonUnderTest, encoding: str = "utf-16"
) -> AsyncIterator[ActionsEditor]:
    def more(capabilities: types.ClientCapabilities) -> None:
        assert capabilities.text_document is not None
        capabilities.text_document.code_action = types.CodeActionClientCapabilities(
            code_action_literal_support=types.ClientCodeActionLiteralOptions(
                types.ClientCodeActionKindOptions([])
            ),
            data_support=True,
            disabled_support=True,
            resolve_support=types.ClientCodeActionResolveOptions(["edit"]),
        )
        capabilities.workspace = types.WorkspaceClientCapabilities(
            apply_edit=True,
            workspace_edit=types.WorkspaceEditClientCapabilities(
                document_changes=True, resource_operations=[types.ResourceOperationKind.Create]
            ),
        )

    announced = {"version": 1, "showMarkdown": True}
    async with an_editor(daemon.env, encoding=encoding, announced=announced, more=more) as editor:
        yield ActionsEditor(editor, encoding)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One whose answers have the code of `ANSWER`; for tests that leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="ingle-a-"))
    daemon = DaemonUnderTest(folder, **SCRIPTED)
    daemon.configure(scripted={"script": ANSWER, "tokens_per_second": 5000.0})
    daemon.start()
    yield daemon
    daemon.close()
    shutil.rmtree(folder, ignore_errors=True)


def report(daemon: DaemonUnderTest) -> Report:
    with daemon.client() as client:
        return client.status()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_a_fix_in_all_encodings(
    daemon: DaemonUnderTest, encoding: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with an_actions_editor(daemon, encoding) as editor:
        assert editor.editor.capabilities.position_encoding == encoding
        await editor.fix()
        assert editor.files == {URI: FIXED}
        # A refusal is answered, and is no news for a log.
        with pytest.raises(JsonRpcException):
            await editor.edit(action="secret_source")
    assert "secret_source" not in daemon.log() + capfd.readouterr().err


async def test_an_instruction_and_tests(daemon: DaemonUnderTest, tmp_path: Path) -> None:
    async with an_actions_editor(daemon) as editor:
        assert await editor.edit() == {"applied": True, "message": ""}
        assert editor.files == {URI: FIXED}
        uri = (tmp_path / "main.py").as_uri()
        editor.editor.open(TEXT, uri)
        assert await editor.edit(action="tests", uri=uri) == {"applied": True, "message": ""}
        made = editor.files[(tmp_path / "test_main.py").as_uri()]
        assert made.startswith("def add(a, b):\n")
        assert not (tmp_path / "test_main.py").exists()


async def test_a_second_action_finds_the_document_in_the_cache(daemon: DaemonUnderTest) -> None:
    async with an_actions_editor(daemon) as editor:
        await editor.edit()
        before = report(daemon).totals
        await editor.edit(instruction="something else")
        after = report(daemon).totals
    prompt = after.prompt_tokens - before.prompt_tokens
    cached = after.cached_tokens - before.cached_tokens
    assert cached > prompt / 2


async def test_an_explanation(daemon: DaemonUnderTest) -> None:
    async with an_actions_editor(daemon) as editor:
        argument = {"uri": URI, "range": HERE}
        shown = await editor.editor.command("ingle.explain", argument)
        assert shown["title"] == "Explain: add"
        assert shown["markdown"] == ANSWER.strip()
        await eventually(lambda: editor.pages, "the explanation")


async def test_a_commit_message(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    script = "Subject: Add a sum.\n\nBecause there was none."
    daemon = make_daemon(scripted={"script": script}).start()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: ASYNC221
    (tmp_path / "main.py").write_text(TEXT)
    (tmp_path / ".env").write_text("secret")
    subprocess.run(["git", "add", "-f", "."], cwd=tmp_path, check=True)  # noqa: ASYNC221
    async with an_actions_editor(daemon) as editor:
        result = await editor.editor.command("ingle.commitMessage", {"uri": tmp_path.as_uri()})
        assert result == {"message": "Add a sum\n\nBecause there was none."}


# --- answers that are no use -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("I'd use a sum there, of course.", "without code"),
        ("%&/ ``` ~~ ``", "without code"),
        ("Sure:\n```python\ndef add(a, b):\n    return a", "in the middle of its code"),
        ("Sure:\n```python\n" + "x = 1\n" * 3000, "did not fit"),
    ],
    ids=["prose", "nonsense", "cut off", "too long"],
)
async def test_nothing_is_changed(make_daemon: MakeDaemon, script: str, reason: str) -> None:
    scripted = {"script": script, "tokens_per_second": 100_000.0}
    daemon = make_daemon(scripted=scripted, model={"context": 1024}).start()
    async with an_actions_editor(daemon) as editor:
        result = await editor.edit()
        assert result["applied"] is False
        assert reason in result["message"]
        with pytest.raises(JsonRpcException, match=reason):
            await editor.fix()
        assert editor.files == {URI: TEXT}


async def test_more_than_the_context_holds(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": ANSWER}, model={"context": 256}).start()
    async with an_actions_editor(daemon) as editor:
        result = await editor.edit(instruction="word " * 400)
        assert result["applied"] is False
        assert "more than fits into the model's context" in result["message"]


# --- bad days ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["request", "progress"])
async def test_a_cancel_reaches_the_engine(make_daemon: MakeDaemon, way: str) -> None:
    daemon = make_daemon(scripted=ENDLESS).start()
    async with an_actions_editor(daemon) as editor:
        argument = {"action": "refactor", "instruction": "…", "uri": URI, "range": HERE}
        params = types.ExecuteCommandParams("ingle.edit", [argument], work_done_token="t")
        answer = asyncio.wrap_future(
            editor.client.protocol.send_request(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id=77)
        )
        editor.client.progress_reports["t"] = []
        await eventually(lambda: report(daemon).active, "a running request")
        (active,) = report(daemon).active
        assert active.priority == "interactive"
        await eventually(lambda: len(editor.client.progress_reports["t"]) >= 2, "progress")
        if way == "request":
            editor.client.cancel_request(types.CancelParams(id=77))
        else:
            editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams("t"))
        with pytest.raises(JsonRpcException) as caught:
            await answer
        assert caught.value.code == -32800
        await eventually(lambda: report(daemon).totals.cancelled == 1, "the cancel")
        assert report(daemon).active == []
        first, *_, last = editor.client.progress_reports["t"]
        assert (first.kind, last.kind) == ("begin", "end")  # type: ignore[attr-defined]


async def test_without_a_daemon_actions_say_so(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": ANSWER})
    async with an_actions_editor(daemon) as editor:
        assert await editor.actions(PROBLEM)
        for _ in range(2):
            with pytest.raises(JsonRpcException, match="ingled is not running"):
                await editor.fix()
        await asyncio.to_thread(daemon.start)
        await editor.fix()
        assert editor.files == {URI: FIXED}


async def test_a_daemon_that_dies_in_the_middle(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=ENDLESS).start()
    async with an_actions_editor(daemon) as editor:
        answer = asyncio.create_task(editor.edit())
        await eventually(lambda: report(daemon).active, "a running request")
        await asyncio.to_thread(daemon.kill)
        with pytest.raises(JsonRpcException) as caught:
            await answer
        assert "\n" not in caught.value.message
        assert editor.files == {URI: TEXT}
        daemon.configure(scripted={"script": ANSWER, "tokens_per_second": 500.0})
        await asyncio.to_thread(daemon.start)
        await editor.fix()
        assert editor.files == {URI: FIXED}


async def test_changes_while_the_model_answers(make_daemon: MakeDaemon) -> None:
    # Slow enough to type while it answers.
    daemon = make_daemon(scripted={"script": ANSWER, "tokens_per_second": 20.0}).start()
    async with an_actions_editor(daemon) as editor:
        answer = asyncio.create_task(editor.edit())
        await eventually(lambda: report(daemon).active, "a running request")
        editor.editor.type((4, 4), "x", URI)
        result = await answer
        assert result["applied"] is False
        assert "have changed meanwhile" in result["message"]
        assert editor.files == {URI: TEXT}
