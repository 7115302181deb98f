"""VS Code on the first day: nothing is installed yet, and the user is told once what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from support.code_server import missing
from support.vscode_window import Stage, a_stage
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

TITLE = "Get Started with ingle"
MISSING = "ingle: ingle-lsp is not on the PATH: pip install ingle, or set ingle.serverPath."


@pytest.fixture
def stage() -> Iterator[Stage]:
    """An editor that has never been started, on a machine without `ingle-lsp`."""
    with a_stage(
        load=False,
        start=False,
        path="/usr/bin:/bin",
        **{"workbench.welcomePage.walkthroughs.openOnInstall": True},
    ) as stage:
        assert shutil.which("ingle-lsp", path="/usr/bin:/bin") is None
        yield stage


def test_the_first_start(stage: Stage) -> None:
    window = stage.window
    window.load()
    told = window.listen()
    walkthrough = window.page.locator(".getting-started-category", has_text=TITLE)
    walkthrough.first.wait_for()
    window.page.locator(".step-title", has_text="Install ingle").wait_for()
    wait_until(lambda: window.told, what="a message")
    assert window.told == [MISSING]
    window.screenshot("walkthrough")

    # Typing is as it was.
    file = window.file("add.py", "def add(a, b):\n    return")
    window.type(" a")
    window.save()
    assert file.read_text() == "def add(a, b):\n    return a"
    assert window.ghost == ""

    # Who asks for something is told again; the log has no stack trace to show.
    window.page.get_by_role("button", name="Check Health", exact=True).first.click()
    report = window.webview("document")
    report.locator("td", has_text="ingle-lsp is not on the PATH").wait_for()
    report.locator("li", has_text="pip install ingle").wait_for()
    assert told() == []
    stage.check()
