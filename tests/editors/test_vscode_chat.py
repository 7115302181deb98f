"""The chat in a real VS Code: what its page shows, and what keys and buttons do."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Frame, Request

from support.code_server import missing
from support.vscode_window import Stage, Window, a_stage
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ADD = "def add(a, b):\n    pass\n"
ANSWER = """\
Use **`add`**, like this:

```python
def add(a, b):
    return a + b
```

1. It is short.
2. It is & stays &lt;plain&gt;.
"""
NASTY = """\
<img src="https://example.org/a.png" onerror="document.title='owned'">
<script>document.title = 'owned'</script>

![a picture](https://example.org/b.png)
[run](command:workbench.action.quit) [go](javascript:alert(1))

[a page](https://example.org/page)
"""
#: What scripts in the page could wish for → the part of its policy that is against it.
FORBIDDEN = {
    "document.body.innerHTML = '<b>x</b>'": "require-trusted-types-for",
    "document.createElement('script').text = '1'": "require-trusted-types-for",
    "document.createElement('img').src = 'https://example.org/a.png'": "img-src",
    "fetch('https://example.org/')": "connect-src",
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An editor whose engine answers every question with `ANSWER`."""
    settings = {
        "editor.inlineSuggest.enabled": False,
        "files.readonlyInclude": {"**/readonly*": True},
    }
    with a_stage(ANSWER, **settings) as stage:
        attempts: list[Request] = []
        stage.window.page.on("request", lambda request: attempts.append(request))
        yield stage
        # Nothing was asked of the outside, not even what the answers named. What VS Code has of
        # its own under the second name is answered by its service worker, in the browser.
        local = ("127.0.0.1", ".vscode-resource.vscode-cdn.net")
        for request in attempts:
            host = urlsplit(request.url).hostname
            assert host is None or host.endswith(local) or request.failure == "csp"


@pytest.fixture
def window(stage: Stage) -> Iterator[Window]:
    """The window; what a test opens is closed, and nobody was told of anything."""
    before = len(stage.window.told)
    yield stage.window
    stage.window.close_editors()
    assert stage.window.told[before:] == []
    stage.check()


@pytest.fixture
def chat(window: Window) -> Frame:
    """The page of a new chat."""
    window.command("ingle: New Chat")
    page = window.webview("chat")
    page.locator("h2", has_text="New chat").wait_for()
    return page


def ask(chat: Frame, question: str) -> None:
    """Ask, and wait for the whole answer."""
    chat.locator("textarea").fill(question)
    chat.locator("textarea").press("Enter")
    chat.locator("article.user", has_text=question).wait_for()
    idle(chat)


def idle(chat: Frame) -> None:
    chat.locator("main[aria-busy=false]").wait_for()


def busy(chat: Frame) -> None:
    chat.locator("main[aria-busy=true]").wait_for()


def opened(window: Window, text: str = ADD) -> str:
    name = f"chat{next(_numbers)}.py"
    window.file(name, text)
    return name


def asked(stage: Stage) -> dict[str, Any]:
    """The parameters of the last question."""
    params: dict[str, Any] = stage.sent("ingle/chat")[-1].message["params"]
    return params


# --- questions and answers ---------------------------------------------------------------------


def test_a_question_is_answered(stage: Stage, chat: Frame, window: Window) -> None:
    # The cursor is in the question.
    window.type("What is it?")
    window.press("Enter")
    chat.locator("article.assistant li", has_text="It is & stays <plain>.").wait_for()
    idle(chat)
    assert chat.locator("article.user .text").text_content() == "What is it?"
    assert chat.locator("article.assistant strong").text_content() == "add"
    code = chat.locator("article.assistant pre").text_content()
    assert code == "def add(a, b):\n    return a + b"
    assert chat.locator("h2").text_content() == "What is it?"
    assert chat.locator("textarea").input_value() == ""
    window.screenshot("chat")


def test_it_streams_and_stops(stage: Stage, chat: Frame, window: Window) -> None:
    stage.say("word " * 500, tokens_per_second=20.0)
    try:
        window.type("Go on?")
        window.press("Enter")
        busy(chat)
        answer = chat.locator("article.assistant .text")
        lengths = set()

        def has_grown() -> bool:
            window.page.wait_for_timeout(20)
            lengths.add(len(answer.text_content() or ""))
            return len(lengths) > 4

        wait_until(has_grown, what="an answer that grows")
        assert chat.locator("button.primary").text_content() == "Stop"
        window.screenshot("chat-streams")
        window.press("Escape")
        chat.locator(".note", has_text="Stopped.").wait_for()
        idle(chat)
        assert "word word" in (answer.text_content() or "")
        with stage.daemon.client() as client:
            wait_until(
                lambda: all(model.busy_slots == 0 for model in client.status().models),
                what="the engine stops, too",
            )
    finally:
        stage.say(ANSWER, tokens_per_second=500.0)


def test_a_line_break_does_not_send(chat: Frame, window: Window) -> None:
    window.type("one")
    window.press("Shift+Enter")
    window.type("two")
    assert chat.locator("textarea").input_value() == "one\ntwo"
    assert chat.locator("article").count() == 0


def test_an_answer_can_do_nothing(stage: Stage, chat: Frame, window: Window) -> None:
    stage.say(NASTY)
    try:
        ask(chat, "Show me a picture?")
        answer = chat.locator("article.assistant")
        answer.locator("a", has_text="a page").wait_for()
        assert answer.locator("img, script, iframe, object, video, [onerror], [style]").count() == 0
        assert "<script>document.title = 'owned'</script>" in (answer.text_content() or "")
        links = [link.get_attribute("href") for link in answer.locator("a").all()]
        assert links == ["https://example.org/b.png", "https://example.org/page"]
        assert chat.title() == "ingle"
        # And the page itself can't be made to do more, whatever is in it.
        for wish, forbidden in FORBIDDEN.items():
            blocked = chat.evaluate(
                f"""() => new Promise(resolve => {{
                  document.addEventListener('securitypolicyviolation',
                    event => resolve(event.violatedDirective), {{once: true}});
                  try {{ {wish} }} catch {{ /* That is what is hoped for. */ }}
                }})"""
            )
            assert blocked == forbidden
    finally:
        stage.say(ANSWER)


# --- context -----------------------------------------------------------------------------------


def test_selection_and_file_are_context(stage: Stage, chat: Frame, window: Window) -> None:
    name = opened(window)
    window.press("Control+Home", "Shift+ArrowDown")
    window.press("Alt+i", "a")
    chat.locator("footer .chips li", has_text=f"{name}:1").wait_for()
    chat.get_by_role("button", name="Add the file to the question").click()
    chat.locator("footer .chips li").nth(1).wait_for()
    window.screenshot("chat-context")
    ask(chat, "What is it?")
    first, second = asked(stage)["context"]
    assert first["range"]["start"] == {"line": 0, "character": 0}
    assert first["range"]["end"] == {"line": 1, "character": 0}
    assert second["uri"].endswith(name)
    assert "range" not in second
    assert chat.locator("article.user .chips li").all_text_contents() == [f"{name}:1", name]
    # The next question is about nothing by itself.
    assert chat.locator("footer .chips li").count() == 0


def test_context_is_removed_again(stage: Stage, chat: Frame, window: Window) -> None:
    name = opened(window)
    window.command("ingle: Add File to Chat")
    chat.get_by_role("button", name=f"Remove {name}").click()
    chat.locator("footer .chips li").wait_for(state="detached")
    ask(chat, "What is it?")
    assert asked(stage)["context"] == []


def test_nothing_is_selected(chat: Frame, window: Window) -> None:
    opened(window)
    chat.get_by_role("button", name="Add the selection to the question").click()
    chat.locator(".problem", has_text="select something").wait_for()


def test_secrets_are_refused(chat: Frame, window: Window) -> None:
    window.file(".env", "PASSWORD=hunter2\n")
    window.command("ingle: Add File to Chat")
    window.webview("chat").locator("textarea").fill("What is it?")
    window.press("Enter")
    chat.locator(".problem", has_text=".env").wait_for()
    assert chat.locator("textarea").input_value() == "What is it?"
    assert chat.locator("article").count() == 0


# --- blocks ------------------------------------------------------------------------------------


def test_a_block_is_applied(stage: Stage, chat: Frame, window: Window) -> None:
    name = opened(window, ADD + "\n\nprint(add(1, 2))\n")
    window.command("ingle: Add File to Chat")
    ask(chat, "Make it work?")
    chat.get_by_role("button", name="Apply").click()
    window.page.locator(".tab.active.dirty").wait_for()
    window.screenshot("chat-applied")
    window.open(name)
    window.save()
    text = (window.server.workspace / name).read_text()
    assert text == "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n"
    window.press("Control+z")
    window.save()
    assert (window.server.workspace / name).read_text() == ADD + "\n\nprint(add(1, 2))\n"


def test_a_block_is_not_applied_to_a_read_only_file(chat: Frame, window: Window) -> None:
    file = window.file("readonly.py", ADD)
    window.command("ingle: Add File to Chat")
    ask(chat, "Make it work?")
    chat.get_by_role("button", name="Apply").click()
    chat.locator(".problem", has_text="this file is read-only").wait_for()
    assert window.page.locator(".tab.dirty").count() == 0
    assert file.read_text() == ADD


def test_a_block_without_a_file_is_not_applied(chat: Frame, window: Window) -> None:
    ask(chat, "What is it?")
    chat.get_by_role("button", name="Apply").click()
    chat.locator(".problem", has_text="open the file").wait_for()


def test_a_block_is_copied(chat: Frame, window: Window) -> None:
    ask(chat, "What is it?")
    chat.get_by_role("button", name="Copy").click()
    wait_until(
        lambda: (
            window.page.evaluate("navigator.clipboard.readText()")
            == "def add(a, b):\n    return a + b"
        ),
        what="the block in the clipboard",
    )


# --- threads and options -----------------------------------------------------------------------


def test_threads_are_listed_opened_and_deleted(stage: Stage, chat: Frame, window: Window) -> None:
    ask(chat, "A first thread?")
    window.command("ingle: New Chat")
    ask(chat, "A second thread?")
    shell = subprocess.run(
        [str(Path(sys.executable).parent / "ingle"), "threads"],
        env=stage.daemon.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "A first thread?" in shell.stdout
    window.command("ingle: Show Chat Threads")
    listed = chat.locator("nav .thread button:first-child")
    listed.first.wait_for()
    assert (listed.first.text_content() or "").startswith("A second thread?")
    window.screenshot("chat-threads")
    chat.get_by_role("button", name="A first thread?").first.click()
    chat.locator("article.user", has_text="A first thread?").wait_for()
    assert chat.locator("article").count() == 2
    ask(chat, "And on?")
    assert asked(stage)["thread"].endswith("a-first-thread")
    assert chat.locator("article").count() == 4

    window.command("ingle: Show Chat Threads")
    listed.first.wait_for()
    count = listed.count()
    chat.get_by_role("button", name="Delete A first thread?").click()
    window.confirm("Delete")
    wait_until(
        lambda: (window.page.wait_for_timeout(20), listed.count())[1] == count - 1,
        what="one thread less",
    )
    # It was the open one.
    opened = chat.locator("h2", has_text="New chat")

    def is_back() -> bool:
        # The dialog takes a moment to give the focus back; a key is lost until then.
        chat.locator("main").press("Escape")
        window.page.wait_for_timeout(200)
        return opened.is_visible()

    wait_until(is_back, what="a new chat in its place")


def test_effort_and_analysis(stage: Stage, chat: Frame, window: Window) -> None:
    chat.get_by_label("Reasoning effort").select_option("high")
    # The setting is the menu's, too, once the server knows it.
    wait_until(lambda: _effort_in_the_menu(window) == "high", what="the effort in the menu")
    ask(chat, "What is it?")
    assert asked(stage)["effort"] == "high"
    chat.get_by_label("Reasoning effort").select_option("")

    # A thread with reasoning in it; the scripted engine has none.
    stage_thread(stage, asked_thread(stage), "First I think.")
    window.command("ingle: Show Chat Threads")
    chat.get_by_role("button", name="What is it?").first.click()
    analysis = chat.locator("article.assistant details")
    analysis.first.wait_for(state="attached")
    assert not analysis.first.is_visible()
    chat.get_by_label("Show analysis").check()
    analysis.first.wait_for()
    assert "First I think." in (analysis.first.text_content() or "")
    chat.get_by_label("Show analysis").uncheck()
    analysis.first.wait_for(state="hidden")


def _effort_in_the_menu(window: Window) -> str:
    window.status.click()
    row = window.page.locator(".quick-input-list .monaco-list-row", has_text="Reasoning effort")
    row.wait_for()
    described = row.locator(".label-description").text_content() or ""
    window.press("Escape")
    row.wait_for(state="hidden")
    return described.strip()


def asked_thread(stage: Stage) -> str:
    """The thread that was answered last."""
    name: str = stage.received("ingle/chat/delta")[-1].message["params"]["thread"]
    return name


def stage_thread(stage: Stage, name: str, analysis: str) -> None:
    """Give the answer of a thread some reasoning, in its file."""
    (file,) = stage.daemon.home.rglob(f"{name}.json")
    thread = json.loads(file.read_text())
    for turn in thread["turns"]:
        if turn["role"] == "assistant":
            turn["analysis"] = analysis
    file.write_text(json.dumps(thread))


def test_everything_can_be_reached_by_keyboard(chat: Frame, window: Window) -> None:
    ask(chat, "What is it?")
    chat.locator("textarea").focus()
    reached = set()
    for _key in range(12):
        window.press("Shift+Tab")
        reached.add(
            chat.evaluate(
                "document.activeElement.ariaLabel ?? document.activeElement.textContent"
                " ?? document.activeElement.tagName"
            )
        )
    assert {"Apply", "Copy", "Conversation", "Reasoning effort"} <= reached


def test_colours_are_the_themes(chat: Frame, window: Window) -> None:
    def colours() -> tuple[str, str]:
        found: list[str] = chat.evaluate(
            """() => [getComputedStyle(document.body).color,
                      getComputedStyle(document.querySelector('button.primary')).backgroundColor]"""
        )
        return found[0], found[1]

    light = colours()
    window.server.configure_folder(**{"workbench.colorTheme": "Default High Contrast"})
    try:
        wait_until(
            lambda: (window.page.wait_for_timeout(20), colours())[1] != light,
            what="other colours",
        )
        assert colours()[0] == "rgb(255, 255, 255)"
        window.screenshot("chat-high-contrast")
    finally:
        window.server.configure_folder()
