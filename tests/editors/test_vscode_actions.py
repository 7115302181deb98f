"""Changes, explanations and commit messages in a real VS Code: what is edited, what is refused."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from support.code_server import missing
from support.vscode_window import Stage, Window, a_stage
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ADD = "import os\n\n\ndef add(a, b):\n    return a - b\n\n\nx = '😀'\n"
FIXED = ADD.replace("a - b", "a + b")
ANSWER = "Here:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
#: Long enough for a user to do something meanwhile.
SLOW = {"script": "well " * 40 + ANSWER, "tokens_per_second": 40.0}
ENDLESS = {"script": "word " * 4000, "tokens_per_second": 20.0}
_numbers = itertools.count(1)

Told = Callable[[], list[str]]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An editor in a git repository; the engine's every answer has the code of `ANSWER`."""
    with a_stage(
        ANSWER,
        load=False,
        **{
            "editor.inlineSuggest.enabled": False,
            "files.readonlyInclude": {"**/readonly*": True},
        },
    ) as stage:
        git(stage, "init", "-q")
        stage.window.load()
        stage.window.wait_status("scripted")
        yield stage


@pytest.fixture
def window(stage: Stage) -> Iterator[Window]:
    """The window; what a test opens is closed, and nothing went wrong behind the scenes."""
    yield stage.window
    stage.window.close_editors()
    stage.window.close_notifications()
    stage.check()


@pytest.fixture
def told(window: Window) -> Told:
    """What the user is told from now on."""
    return window.listen()


@pytest.fixture
def file(window: Window) -> Path:
    """A file in the editor, with the cursor in its function."""
    file = window.file(f"add{next(_numbers)}.py", ADD)
    to_function(window)
    return file


@pytest.fixture
def slow(stage: Stage) -> Iterator[Stage]:
    """The stage, while its engine takes a few seconds for the same answer."""
    stage.say(**SLOW)
    yield stage
    stage.say(ANSWER, tokens_per_second=500.0)


def git(stage: Stage, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(stage.window.server.workspace), *arguments], check=True)


def to_function(window: Window) -> None:
    window.press("Control+Home", *["ArrowDown"] * 4)


def wait_saved(window: Window, file: Path, text: str) -> None:
    """Wait for a text in the active editor, and look at it on the disk."""
    wanted = text.split("\n")

    def is_there() -> bool:
        window.page.wait_for_timeout(20)
        return window.lines == wanted

    wait_until(is_there, what=f"{text!r} in the editor")
    window.save()
    assert file.read_text() == text


def argument(stage: Stage) -> dict[str, Any]:
    """What the server's last command was given."""
    found = stage.sent("workspace/executeCommand")[-1].message["params"]["arguments"][0]
    assert isinstance(found, dict)
    return found


# --- changes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ingle: Document", "Alt+i d", "in the menu"])
def test_the_function_is_documented_and_taken_back(
    window: Window, file: Path, told: Told, how: str
) -> None:
    if how == "in the menu":
        window.act("Document")
    elif how.startswith("Alt"):
        window.press(*how.split())
    else:
        window.command(how)
    wait_saved(window, file, FIXED)
    window.press("Control+z")
    wait_saved(window, file, ADD)
    assert told() == []


def test_a_selection_is_changed(stage: Stage, window: Window, file: Path) -> None:
    window.press("ArrowUp", "Shift+ArrowDown", "Shift+ArrowDown")
    window.command("ingle: Document")
    wait_saved(window, file, FIXED)
    assert argument(stage)["range"] == {
        "start": {"line": 3, "character": 0},
        "end": {"line": 5, "character": 0},
    }


@pytest.mark.parametrize("how", ["ingle: Refactor…", "Alt+i r"])
def test_it_is_refactored_as_one_says(stage: Stage, window: Window, file: Path, how: str) -> None:
    if how.startswith("Alt"):
        window.press(*how.split())
    else:
        window.command(how)
    window.answer("use a sum")
    wait_saved(window, file, FIXED)
    assert argument(stage)["instruction"] == "use a sum"


def test_nothing_is_refactored_without_an_instruction(
    stage: Stage, window: Window, file: Path
) -> None:
    before = len(stage.sent("workspace/executeCommand"))
    window.press("Alt+i", "r")
    window.answer("  ")
    window.page.locator(".quick-input-message", has_text="Say what is to be changed").wait_for()
    window.press("Escape")
    window.page.locator(".quick-input-widget").wait_for(state="hidden")
    assert window.lines == ADD.split("\n")
    assert len(stage.sent("workspace/executeCommand")) == before


TESTS = "def add(a, b):\n    return a + b\n"


def test_tests_are_written_into_a_new_file(window: Window, file: Path) -> None:
    window.command("ingle: Write Tests")
    made = file.with_name(f"test_{file.name}")
    # It waits in a tab, to be saved by the user.
    window.page.locator(f'.tab.dirty[data-resource-name="{made.name}"]').click()
    wait_saved(window, made, TESTS)
    assert file.read_text() == ADD


def test_tests_of_the_menu_are_shown_beside(window: Window, file: Path) -> None:
    window.act("Write tests")
    made = file.with_name(f"test_{file.name}")
    beside = window.page.locator(".editor-group-container:not(.active) .view-lines")
    beside.filter(has_text="return").wait_for()
    # The menu's changes are saved by VS Code itself.
    wait_until(lambda: made.read_text() == TESTS, what="the file")
    window.type("#")
    wait_until(lambda: (window.page.wait_for_timeout(20), "#    return a - b" in window.lines)[1])


# --- problems ----------------------------------------------------------------------------------

WRONG = 'const sum: number = "a";\n'
RIGHT = WRONG.replace('"a"', "1")


@pytest.mark.parametrize("how", ["ingle: Fix", "in the menu"])
def test_a_problem_is_fixed(stage: Stage, window: Window, how: str) -> None:
    stage.say(f"```typescript\n{RIGHT}```\n")
    try:
        file = window.file(f"sum{next(_numbers)}.ts", WRONG)
        window.press("Control+Home", *["ArrowRight"] * 6)
        # VS Code's own service for the language is what finds it.
        window.page.locator(".squiggly-error").wait_for()
        if how == "in the menu":
            window.act("Fix: Type 'string' is not assignable")
        else:
            window.command(how)
            wait_until(lambda: (window.page.wait_for_timeout(20), RIGHT[:-1] in window.lines)[1])
            (problem,) = argument(stage)["diagnostics"]
            assert problem["message"] == "Type 'string' is not assignable to type 'number'."
            assert problem["range"]["start"] == {"line": 0, "character": 6}
        wait_saved(window, file, RIGHT)
    finally:
        stage.say(ANSWER)


def test_without_a_problem_there_is_nothing_to_fix(window: Window, file: Path, told: Told) -> None:
    window.command("ingle: Fix")
    assert wait_until(told, what="a message") == [
        "ingle: no problem is reported here: nothing to fix"
    ]
    assert window.lines == ADD.split("\n")


# --- explanations ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ingle: Explain", "in the menu"])
def test_an_explanation_is_shown_beside(window: Window, file: Path, how: str) -> None:
    if how == "in the menu":
        window.act("Explain")
    else:
        window.command(how)
    page = window.webview("document")
    page.locator("h1", has_text="Explain: add").wait_for()
    page.locator("pre", has_text="return a + b").wait_for()
    window.screenshot("explain")
    # The cursor stays where it was.
    window.type("#")
    wait_until(
        lambda: (
            window.page.wait_for_timeout(20),
            window.lines[:5] == [*ADD.split("\n")[:4], "#    return a - b"],
        )[1],
        what="what is typed meanwhile",
    )
    window.press("Control+z")
    wait_saved(window, file, ADD)


# --- what is refused, or too late --------------------------------------------------------------


def test_it_is_cancelled(stage: Stage, window: Window, file: Path, told: Told) -> None:
    stage.say(**ENDLESS)
    try:
        window.command("ingle: Document")
        notice = window.notification("documenting")
        notice.hover()
        notice.get_by_role("button", name="Cancel").click()
        notice.wait_for(state="detached")
        with stage.daemon.client() as client:
            wait_until(lambda: not client.status().active, what="the engine stops, too")
        assert window.lines == ADD.split("\n")
        assert told() == []
    finally:
        stage.say(ANSWER, tokens_per_second=500.0)


@pytest.mark.parametrize("how", ["ingle: Document", "in the menu"])
def test_lines_that_changed_meanwhile_are_left_alone(
    slow: Stage, window: Window, file: Path, told: Told, how: str
) -> None:
    begin(slow, window, how)
    window.press("End")
    window.type("  # mine")
    (message,) = wait_until(told, what="a message")
    assert message.startswith("ingle: ")
    assert "meanwhile" in message
    wait_saved(window, file, ADD.replace("a - b", "a - b  # mine"))


@pytest.mark.parametrize("how", ["ingle: Document", "in the menu"])
def test_lines_elsewhere_may_change_meanwhile(
    slow: Stage, window: Window, file: Path, told: Told, how: str
) -> None:
    begin(slow, window, how)
    window.press("Control+Home")
    window.type("# mine\n")
    wait_saved(window, file, "# mine\n" + FIXED)
    assert told() == []


def begin(stage: Stage, window: Window, how: str) -> None:
    """Ask for documentation; the model is at work afterwards."""
    if how == "in the menu":
        window.act("Document")
    else:
        window.command(how)
    with stage.daemon.client() as client:
        wait_until(lambda: client.status().active, what="a running request")


@pytest.mark.parametrize("key", "dftr")
def test_a_read_only_file_is_not_changed(
    stage: Stage, window: Window, told: Told, key: str
) -> None:
    before = len(stage.sent("workspace/executeCommand"))
    file = window.file("readonly.py", ADD)
    to_function(window)
    window.press("Alt+i", key)
    assert wait_until(told, what="a message") == ["ingle: this file is read-only"]
    assert len(stage.sent("workspace/executeCommand")) == before
    assert window.lines == ADD.split("\n")
    assert file.read_text() == ADD


def test_the_palette_offers_no_change_of_a_read_only_file(window: Window) -> None:
    window.file("readonly.py", ADD)
    window.press("F1")
    window.page.locator(".quick-input-widget .quick-input-box input").fill(">ingle: ")
    rows = window.page.locator(".quick-input-list .monaco-list-row .label-name")
    rows.filter(has_text="ingle: Explain").wait_for()
    offered = set(rows.all_text_contents())
    assert offered.isdisjoint(
        {"ingle: Document", "ingle: Fix", "ingle: Write Tests", "ingle: Refactor…"}
    )
    window.press("Escape")


def test_an_answer_without_code_changes_nothing(
    stage: Stage, window: Window, file: Path, told: Told
) -> None:
    stage.say("I would rather not.")
    try:
        window.command("ingle: Document")
        (message,) = wait_until(told, what="a message")
        assert message.startswith("ingle: ")
        assert window.lines == ADD.split("\n")
    finally:
        stage.say(ANSWER)


# --- commit messages ---------------------------------------------------------------------------

MESSAGE = "Add numbers\n\nThey were subtracted before.\n"


def test_a_commit_message_is_written(stage: Stage, window: Window) -> None:
    stage.say(MESSAGE)
    try:
        file = stage.window.server.workspace / "staged.py"
        file.write_text("x = 1\n")
        git(stage, "add", file.name)
        window.press("Control+Shift+g")
        box = window.page.locator(".scm-view .scm-editor .view-lines")
        button = window.page.get_by_role("button", name="Write Commit Message", exact=True)
        box.wait_for()
        button.click()
        box.filter(has_text="Add numbers").wait_for()
        window.screenshot("commit-message")
        # What stands there is not replaced by itself.
        stage.say("Count numbers")
        window.command("ingle: Write Commit Message")
        dialog = window.page.locator(".monaco-dialog-box")
        dialog.filter(has_text="there is a commit message already").wait_for()
        assert "Count numbers" in (dialog.text_content() or "")
        window.press("Escape")
        dialog.wait_for(state="hidden")
        assert "Add numbers" in (box.text_content() or "").replace("\u00a0", " ")
        window.command("ingle: Write Commit Message")
        window.confirm("Replace")
        box.filter(has_text="Count numbers").wait_for()
    finally:
        stage.say(ANSWER)
