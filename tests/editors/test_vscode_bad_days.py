"""VS Code when things go wrong: a short message, a way out, and never a changed file."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Locator

from ingle.errors import IngleError
from support.code_server import missing
from support.lsp_proxy import proxy_command
from support.vscode_window import Stage, Window, a_stage
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ADD = "def add(a, b):\n    return"
INLINE = "textDocument/inlineCompletion"
DOWN = "the daemon is not running"
_numbers = itertools.count(1)

Told = Callable[[], list[str]]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An editor whose engine completes everything with `a + b`."""
    with a_stage("a + b") as stage:
        yield stage


@pytest.fixture
def window(stage: Stage) -> Iterator[Window]:
    """The window; what a test opens is closed, and no error of ours is in the logs."""
    yield stage.window
    stage.window.close_editors()
    stage.window.close_notifications()
    stage.check()


@pytest.fixture
def told(window: Window) -> Told:
    """What the user is told from now on."""
    return window.listen()


def ghost(window: Window) -> None:
    """Ghost text appears."""
    window.file(f"add{next(_numbers)}.py", ADD)
    window.type(" ")
    window.wait_ghost("a + b")


@contextmanager
def a_dead_daemon(stage: Stage) -> Iterator[None]:
    """The daemon is killed, and the editor knows; afterwards it runs again, as a child of ours."""
    stage.daemon.kill()
    try:
        stage.window.wait_status(DOWN)
        yield
    finally:
        with suppress(IngleError, OSError), stage.daemon.client(timeout=2.0) as client:
            # The editor has started another.
            daemon = psutil.Process(client.status().pid)
            client.shutdown()
            wait_until(lambda: has_ended(daemon), what="its end")
        stage.daemon.start()
        stage.window.wait_status("scripted")


def has_ended(process: psutil.Process) -> bool:
    """Also where nobody takes notice: it is no child of ours."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def answered(stage: Stage, number: int) -> None:
    """Wait for the answer to the last of so many questions."""
    wait_until(lambda: len(stage.sent(INLINE)) == number, what=f"question {number}")
    asked = stage.sent(INLINE)[-1].message["id"]
    wait_until(
        lambda: any(item.message.get("id") == asked for item in stage.received("")),
        what="its answer",
    )


# --- the daemon --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["key", "button", "menu"])
def test_a_daemon_that_is_killed_is_started_by_one_key(
    stage: Stage, window: Window, told: Told, how: str
) -> None:
    ghost(window)
    with a_dead_daemon(stage):
        # What is shown can still be accepted; afterwards there is no more of it.
        window.press("Tab")
        window.wait_ghost("")
        for number, letter in enumerate("\nxyz", len(stage.sent(INLINE)) + 1):
            window.type(letter)
            answered(stage, number)
        (message,) = wait_until(told, what="a message")
        start = "start it with “ingle: Start Daemon” (Alt+I S)"
        assert message == f"ingle: ingled is not running: {start}"
        window.screenshot("daemon-down")
        if how == "key":
            window.press("Alt+i", "s")
        elif how == "button":
            window.page.get_by_role("button", name="Start Daemon", exact=True).click()
        else:
            window.press("Alt+i", "m")
            window.choose("Start daemon")
        window.wait_status("scripted")
        # Without reloading anything; the file is open still.
        window.type("\n    ")
        window.wait_ghost("a + b")
        assert told() == [message]


def test_a_daemon_that_comes_back_by_itself(stage: Stage, window: Window, told: Told) -> None:
    ghost(window)
    with a_dead_daemon(stage):
        window.type("(")
    window.type("(")
    window.wait_ghost("a + b")
    assert len(told()) <= 1


def test_a_daemon_that_is_killed_in_mid_answer(stage: Stage, window: Window, told: Told) -> None:
    stage.say("word " * 500, tokens_per_second=20.0)
    try:
        window.command("ingle: New Chat")
        chat = window.webview("chat")
        chat.locator("h2", has_text="New chat").wait_for()
        window.type("Go on?")
        window.press("Enter")
        chat.locator("article.assistant .text", has_text="word word").wait_for()
        stage.daemon.kill()
        problem = chat.locator(".problem")
        problem.filter(has_text="daemon").wait_for()
        assert is_one_line(problem)
        chat.locator("main[aria-busy=false]").wait_for()
        # What was said until then is there still.
        assert "word word" in (chat.locator("article.assistant").text_content() or "")
        window.screenshot("chat-daemon-killed")
    finally:
        stage.say("a + b", tokens_per_second=500.0)
    chat.locator("textarea").fill("And now?")
    chat.locator("textarea").press("Enter")
    chat.locator("article.assistant .text", has_text="a + b").wait_for()
    problem.wait_for(state="hidden")
    assert len(told()) <= 1


def is_one_line(problem: Locator) -> bool:
    text = (problem.text_content() or "").strip()
    return 0 < len(text) < 200 and "\n" not in text and "Traceback" not in text


# --- the language server -----------------------------------------------------------------------


def servers(stage: Stage) -> list[psutil.Process]:
    """The processes that the editor runs as `ingle-lsp`."""
    record = str(stage.record)
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if record in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE
    ]


def kill_server(stage: Stage) -> None:
    (server,) = wait_until(lambda: servers(stage), what="a server")
    server.kill()
    server.wait(timeout=20)


def test_a_server_that_is_killed_is_started_again(stage: Stage, window: Window, told: Told) -> None:
    ghost(window)
    started = len(stage.sent("initialized"))
    kill_server(stage)
    wait_until(lambda: len(stage.sent("initialized")) > started, what="another server")
    window.wait_status("scripted")
    window.type("(")
    window.wait_ghost("a + b")
    assert told() == []


def test_one_that_ends_again_and_again_is_told_of(stage: Stage, window: Window, told: Told) -> None:
    ghost(window)
    while not told():
        started = len(stage.sent("initialized"))
        kill_server(stage)
        wait_until(
            lambda started=started: told() or len(stage.sent("initialized")) > started,
            what="another server, or a message",
        )
    assert told() == ["ingle: ingle-lsp ends again and again: its log says why."]
    assert servers(stage) == []
    window.type("xyz")
    # One more message follows only a wish of the user.
    window.command("ingle: Document")
    wait_until(lambda: len(told()) > 1, what="a message")
    assert told()[1:] == ["ingle: ingle-lsp is not running: “ingle: Check Health” says why"]
    window.press("Alt+i", "m")
    window.choose("Start language server")
    window.wait_status("scripted")
    window.type("(")
    window.wait_ghost("a + b")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (None, "ingle: ingle.serverPath is not a program: {}"),
        (["false"], "ingle: ingle-lsp could not be started ({}): its log says why."),
        (
            [sys.executable, "-c", "raise SystemError('oh no')"],
            "ingle: ingle-lsp could not be started ({}): its log says why.",
        ),
    ],
    ids=["no program", "one that ends", "one that fails"],
)
def test_a_wrong_program(
    stage: Stage,
    window: Window,
    told: Told,
    tmp_path: Path,
    command: list[str] | None,
    message: str,
) -> None:
    program = tmp_path / "ingle-lsp"
    if command is not None:
        write_program(program, command)
    try:
        window.server.configure_machine(**{"ingle.serverPath": str(program)})
        wait_until(told, what="a message")
        window.file(f"add{next(_numbers)}.py", ADD)
        window.type(" x")
        assert told() == [message.format(program)]
        window.command("ingle: Check Health")
        report = window.webview("document")
        report.locator("td", has_text="Language server").wait_for()
        report.locator("li", has_text="Language server").wait_for()
        assert "All is well." not in (report.locator("main").text_content() or "")
    finally:
        window.server.configure_machine()
        window.wait_status("scripted")


def write_program(program: Path, command: list[str]) -> None:
    program.write_text(f'#!/bin/sh\nexec {" ".join(map(shlex.quote, command))} "$@"\n')
    program.chmod(0o755)


@pytest.mark.parametrize("announced", [None, 0, 2], ids=["none", "lower", "higher"])
def test_a_server_of_another_version(
    stage: Stage, window: Window, told: Told, tmp_path: Path, announced: int | None
) -> None:
    program = tmp_path / "ingle-lsp"
    record = tmp_path / "messages.jsonl"
    write_program(program, proxy_command(record, announce=announced))
    try:
        window.server.configure_machine(**{"ingle.serverPath": str(program)})
        wait_until(lambda: record.exists(), what="another server")
        window.file(f"add{next(_numbers)}.py", ADD)

        def has_ghost() -> bool:
            # What is asked before the server is there brings nothing.
            window.type(" ")
            window.page.wait_for_timeout(200)
            return window.ghost == "a + b"

        wait_until(has_ghost, what="ghost text")
        if announced == 2:
            # A newer server goes on serving an older extension.
            assert told() == []
        else:
            (message,) = wait_until(told, what="a message")
            assert "is too old for this extension" in message
            assert message.endswith("Upgrade it: pip install -U ingle")
    finally:
        window.server.configure_machine()
        window.wait_status("scripted")


# --- files -------------------------------------------------------------------------------------


def test_a_binary_file(stage: Stage, window: Window, told: Told) -> None:
    name = f"data{next(_numbers)}.bin"
    (window.server.workspace / name).write_bytes(b"\0\1\2\n" * 1000)
    window.press("Escape")
    window.show(name)
    window.page.get_by_text("Open Anyway").click()
    # VS Code asks which editor is to open it.
    window.choose("Text Editor")
    window.page.locator(".monaco-editor.focused").wait_for()
    before = len(stage.sent(INLINE))
    window.press("Control+End")
    window.type("x = ")
    wait_until(lambda: len(stage.sent(INLINE)) > before, what="a question")
    # The answers to it are in once a later question is answered.
    ghost(window)
    window.page.locator(f'.tab[data-resource-name="{name}"]').click()
    window.page.locator(".monaco-editor.focused").wait_for()
    assert window.ghost == ""
    window.command("ingle: Document")
    assert wait_until(told, what="a message") == [
        f"ingle: workspace/{name} is binary: it can't be sent"
    ]


# --- the menu and the report -------------------------------------------------------------------


def test_the_report_of_the_health(stage: Stage, window: Window) -> None:
    window.command("ingle: Check Health")
    report = window.webview("document")
    report.locator("p", has_text="All is well.").wait_for()
    window.screenshot("health")
    rows = report.locator("tr").all_text_contents()
    for what in ("Editor", "Extension", "Language server", "Messages", "Daemon", "Model"):
        assert any(what in row and "✓" in row for row in rows), what


@pytest.mark.parametrize("effort", ["high", "default"])
def test_effort_is_chosen_in_the_menu(window: Window, effort: str) -> None:
    window.press("Alt+i", "m")
    window.choose("Reasoning effort")
    window.choose(effort)
    rows = window.page.locator(".quick-input-list .monaco-list-row")
    entry = rows.filter(has_text="Reasoning effort").filter(has_text=effort)

    def is_shown() -> bool:
        # What is shown there is what the server knows; that takes a moment.
        window.press("Escape", "Alt+i", "m")
        window.page.wait_for_timeout(200)
        return entry.is_visible()

    wait_until(is_shown, what=f"the effort {effort} in the menu")
    window.press("Escape")


def test_models_are_unloaded_and_loaded_in_the_menu(stage: Stage, window: Window) -> None:
    window.status.click()
    window.screenshot("menu")
    window.choose("Unload model")
    with stage.daemon.client() as client:
        wait_until(
            lambda: all(model.state != "ready" for model in client.status().models),
            what="no model",
        )
    window.wait_status("no model")
    window.status.click()
    window.choose("Load model")
    window.choose("scripted")
    window.wait_status("scripted")
    stage.daemon.wait_ready()


def test_suggestions_are_paused_and_resumed(stage: Stage, window: Window) -> None:
    ghost(window)
    window.press("Alt+i", "p")
    window.choose("For 10 minutes")
    window.wait_status("paused")
    # Not even what was suggested before goes on.
    before = len(stage.sent(INLINE))
    window.type("a")
    answered(stage, before + 1)
    window.wait_ghost("")
    window.press("Alt+i", "p")
    window.status.filter(has_not_text="paused").wait_for()
    window.type("(")
    window.wait_ghost("a + b")
