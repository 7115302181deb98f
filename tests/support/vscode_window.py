"""What a person does and sees in a window of VS Code; and a whole stage for tests of the extension.

Owns the browser and what is read from its page. The server behind it is `code_server`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from support.code_server import PATIENCE, CodeServer, chromium
from support.daemons import SCRIPTED, DaemonUnderTest
from support.lsp_proxy import Recorded, install_proxy, recorded
from support.waiting import wait_until

#: Remembers every notification that was ever shown; they are drawn in several steps.
_REMEMBER = """
window.toasts = [];
new MutationObserver(records => {
  for (const { addedNodes } of records) for (const node of addedNodes) {
    if (!(node instanceof Element)) continue;
    const found = [node, ...node.querySelectorAll('*')]
      .filter(element => element.classList.contains('notification-toast'))
      // One that makes room for another is taken out and put in again.
      .filter(element => !window.toasts.some(toast => toast.element === element));
    window.toasts.push(...found.map(element => ({ element, text: '' })));
  }
  for (const toast of window.toasts) {
    const message = toast.element.querySelector('.notification-list-item-message');
    toast.text ||= message?.textContent ?? '';
  }
}).observe(document, { childList: true, subtree: true });
"""

#: How notifications of work that goes on begin.
_WORK = re.compile(
    r"ingle: (?:fixing|documenting|refactoring|explaining|writing |starting |(?:un)?loading "
    r"|Document$|Write tests$|Fix: )"
)


class Window:
    """What a person does and sees in one window."""

    def __init__(self, page: Page, server: CodeServer) -> None:
        self.page = page
        self.server = server

    # --- doing ---------------------------------------------------------------------------

    def load(self, payload: list[tuple[str, str]] | None = None) -> None:
        """Load the workspace's folder; `payload` is VS Code's own, for tests in its host."""
        url = f"{self.server.url}/?folder={quote(str(self.server.workspace))}"
        if payload:
            url += f"&payload={quote(json.dumps(payload))}"
        self.page.goto(url)
        self.page.wait_for_selector(".monaco-workbench .statusbar", timeout=1000 * PATIENCE)
        self.status.wait_for()

    def file(self, name: str, text: str) -> Path:
        """Write a file into the workspace and open it, with the cursor at its end."""
        file = self.server.workspace / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.open(name)
        self.press("Control+End")
        return file

    def show(self, name: str) -> None:
        """Open a file of the workspace, in whatever VS Code shows it."""
        # By the whole path: the list of names knows new files only later.
        self._pick("Control+p", str(self.server.workspace / name), label=Path(name).name)

    def open(self, name: str) -> None:
        """Open a text file of the workspace."""
        self.show(name)
        tab = self.page.locator(f'.tab.active[data-resource-name="{Path(name).name}"]')
        tab.wait_for(timeout=1000 * PATIENCE)
        self.page.locator(".editor-group-container.active .monaco-editor.focused").wait_for()

    def command(self, title: str) -> None:
        """Run a command of the palette by its whole title."""
        self._pick("F1", f">{title}", label=title)

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        self.page.keyboard.type(text)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def choose(self, label: str) -> None:
        """Take the entry of a list that this finds."""
        box = self.page.locator(".quick-input-widget .quick-input-box input")
        found = self.page.locator(".quick-input-list .monaco-list-row.focused", has_text=label)

        def is_found() -> bool:
            self.page.wait_for_timeout(20)
            if not box.is_visible():
                return False
            if box.input_value() != label:
                with suppress(PlaywrightTimeout):
                    box.fill(label, timeout=1000)
                return False
            return found.is_visible()

        # By keys: rows move while a list is drawn.
        wait_until(is_found, timeout=PATIENCE, what=f"{label!r} in a list")
        self.press("Enter")
        self._wait_other(box, label)

    def answer(self, text: str) -> None:
        """Answer the box that asks for a text."""
        self.page.locator(".quick-input-widget .quick-input-box input").fill(text)
        self.press("Enter")

    def act(self, title: str) -> None:
        """Take an action from the editor's menu of them, as at the light bulb."""
        self.press("Control+.")
        row = self.page.locator(".action-widget .monaco-list-row", has_text=title).first
        # The menu takes no click before the mouse has moved.
        row.hover(force=True)
        row.click()
        row.wait_for(state="hidden")

    def confirm(self, button: str) -> None:
        """Answer the dialog."""
        dialog = self.page.locator(".monaco-dialog-box")
        dialog.get_by_role("button", name=button, exact=True).click()
        dialog.wait_for(state="hidden")

    def close_editors(self) -> None:
        """Close all editors, without saving."""
        while self.page.locator(".tabs-container .tab").count() > 0:
            self.command("View: Revert and Close Editor")

    def close_notifications(self) -> None:
        """Close all notifications: one that is said again would not be drawn again."""
        self.command("Notifications: Clear All Notifications")
        self.page.locator(".notification-toast").first.wait_for(state="detached")

    def save(self) -> None:
        """Save the active file, and wait until that has happened."""
        self.press("Control+s")
        self.page.locator(".tab.active.dirty").wait_for(state="detached")

    def settle(self) -> None:
        """Wait for the parts of the editor that VS Code only makes when it is idle.

        Before that, typing asks nobody for ghost text. Asking by command makes that part at once.
        """
        self.file("settle.txt", "x")
        self.command("Trigger Inline Suggestion")
        self.command("View: Close Editor")

    # --- seeing --------------------------------------------------------------------------

    @property
    def ghost(self) -> str:
        """The ghost text as it is drawn; empty if there is none."""
        found: str = self.page.evaluate(
            """() => {
              const editor = document.querySelector('.monaco-editor.focused') ?? document;
              const parts = editor.querySelectorAll('.ghost-text-decoration');
              const inline = [...parts].map(part => part.textContent).join('');
              const lines = [...editor.querySelectorAll('.suggest-preview-text .view-line')]
                .map(line => line.textContent);
              return [inline, ...lines].join('\\n').replaceAll('\\u00a0', ' ').trimEnd();
            }"""
        )
        return found

    def wait_ghost(self, text: str) -> None:
        """Wait until this ghost text is drawn ("": none)."""
        wait_until(lambda: self._same(text), timeout=PATIENCE, what=f"ghost text {text!r}")

    def _same(self, text: str) -> bool:
        # Playwright's own waiting lets its events pass; a plain sleep does not.
        self.page.wait_for_timeout(5)
        return self.ghost == text

    @property
    def lines(self) -> list[str]:
        """The lines of the active editor as they are drawn, ghost text included."""
        found: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll(
                '.editor-group-container.active .view-lines .view-line')]
              .sort((a, b) => parseInt(a.style.top) - parseInt(b.style.top))
              .map(line => line.textContent.replaceAll('\\u00a0', ' '))"""
        )
        return found

    @property
    def told(self) -> list[str]:
        """Every notification since the window was loaded."""
        found: list[str] = self.page.evaluate("window.toasts.map(toast => toast.text)")
        return found

    def listen(self) -> Callable[[], list[str]]:
        """Gives what the user is told from now on, but for work that goes on."""
        before = len(self.told)

        def told() -> list[str]:
            # Playwright's own waiting lets its events pass.
            self.page.wait_for_timeout(20)
            return [text for text in self.told[before:] if text and not _WORK.match(text)]

        return told

    @property
    def status(self) -> Locator:
        """Our item in the status bar."""
        return self.page.locator('.statusbar-item[id="ingle.ingle.ingle.status"]')

    def wait_status(self, text: str) -> None:
        """Wait until the status bar says this."""
        self.status.filter(has_text=text).wait_for(timeout=1000 * PATIENCE)

    def notification(self, text: str) -> Locator:
        """A notification with this text, once it is there."""
        found = self.page.locator(".notification-list-item", has_text=text).first
        found.wait_for(timeout=1000 * PATIENCE)
        return found

    def webview(self, name: str) -> Frame:
        """The page of ours that is called so: "chat" or "document"."""

        def found() -> Frame | None:
            self.page.wait_for_timeout(20)
            for frame in self.page.frames:
                try:
                    if frame.locator(f"body.{name}").count():
                        return frame
                except PlaywrightError:
                    # It went away in between.
                    continue
            return None

        return wait_until(found, timeout=PATIENCE, what=f"the page {name}")

    def screenshot(self, name: str) -> None:
        """Keep a picture, if somebody wants them."""
        if folder := os.environ.get("INGLE_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"vscode-{name}.png"))

    def _pick(self, key: str, text: str, label: str) -> None:
        """Open a list with a key, type into its box, take the entry of exactly this label."""
        box = self.page.locator(".quick-input-widget .quick-input-box input")
        rows = self.page.locator(".quick-input-list .monaco-list-row .label-name")

        def is_taken() -> bool:
            if not box.is_visible():
                self.press(key)
                self.page.wait_for_timeout(50)
                return False
            try:
                if box.input_value() != text:
                    box.fill(text, timeout=1000)
                self.page.wait_for_timeout(20)
                labels = rows.all_text_contents()
                if label not in labels:
                    return False
                rows.nth(labels.index(label)).click(timeout=1000)
            except PlaywrightTimeout:
                # The list was drawn anew, or went away, in between.
                return False
            return True

        wait_until(is_taken, timeout=PATIENCE, what=f"{label!r} in the list for {text!r}")
        self._wait_other(box, text)

    def _wait_other(self, box: Locator, text: str) -> None:
        """Wait until the list is gone, or another is in its place: what was taken may ask more."""
        wait_until(
            lambda: (self.page.wait_for_timeout(10), _value(box))[1] != text,
            timeout=PATIENCE,
            what=f"the list for {text!r} is gone",
        )


def _value(box: Locator) -> str | None:
    """What stands in the box; None if it isn't shown."""
    return box.input_value() if box.is_visible() else None


@contextmanager
def a_window(server: CodeServer) -> Iterator[Window]:
    """A window of a running server; nothing is loaded in it yet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = browser.new_context(
            viewport={"width": 1280, "height": 800},
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(1000 * PATIENCE)
        context.add_init_script(_REMEMBER)
        yield Window(context.new_page(), server)
        browser.close()


class Stage:
    """A daemon with the scripted engine, an editor with our extension, and what they say."""

    def __init__(self, daemon: DaemonUnderTest, window: Window, record: Path) -> None:
        self.daemon = daemon
        self.window = window
        #: See `lsp_proxy`.
        self.record = record

    def say(self, script: str, **scripted: Any) -> None:
        """From now on the engine answers everything with this."""
        self.daemon.configure(scripted={"script": script} | scripted)
        self.daemon.restart()
        self.window.wait_status("scripted")

    def sent(self, method: str) -> list[Recorded]:
        """What the editor sent of a method."""
        return recorded(self.record, method, "editor")

    def received(self, method: str) -> list[Recorded]:
        """What the server sent of a method."""
        return recorded(self.record, method, "server")

    def check(self) -> None:
        """Nothing went wrong behind the scenes."""
        assert self.window.server.problems() == []


@contextmanager
def a_stage(
    script: str = "a + b",
    *,
    load: bool = True,
    start: bool = True,
    path: str | None = None,
    **settings: Any,
) -> Iterator[Stage]:
    """Everything, in a new folder: a daemon (running if `start`), and a window (loaded if `load`).

    `path` is the editor's PATH; by default an `ingle-lsp` that is recorded is on it. `settings`
    are the user's, by their whole names.
    """
    folder = Path(tempfile.mkdtemp(prefix="ingle-v-"))
    daemon = DaemonUnderTest(folder / "d", **SCRIPTED)
    daemon.configure(scripted={"script": script})
    record = folder / "messages.jsonl"
    program = install_proxy(folder / "bin", record)
    if path is None:
        path = f"{program.parent}:{daemon.env['PATH']}"
    try:
        server = CodeServer(folder / "editor", daemon.env, path, **settings)
        if start:
            daemon.start()
        server.start()
        try:
            with a_window(server) as window:
                if load:
                    window.load()
                    window.wait_status("scripted" if start else "the daemon is not running")
                    window.settle()
                yield Stage(daemon, window, record)
        finally:
            server.stop()
    finally:
        daemon.close()
        shutil.rmtree(folder, ignore_errors=True)
