"""VS Code: from a key to ghost text in the window, and what activating the extension takes.

Both are measured by VS Code and its page: the way of the keys into the browser is not counted.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.code_server import CodeServer
from support.daemons import DaemonUnderTest
from support.vscode_window import Window, a_window
from support.waiting import wait_until

from .instant import GHOST, LETTERS, LINE, SETTINGS, instant_daemon

#: Milliseconds for which VS Code itself waits after a key before it asks for ghost text: its
#: `InlineCompletionsDebounce` is `{min: 50, max: 50}` in VS Code 1.100.
ITS_OWN_DEBOUNCE = 50.0

#: Notes when a key goes down, and when ghost text is drawn that was not there in between.
_WATCH = """
window.ghosts = { pressed: 0, isGone: false, samples: [] };
addEventListener('keydown', () => {
  Object.assign(window.ghosts, { pressed: performance.now(), isGone: false });
}, true);
new MutationObserver(() => {
  const { ghosts } = window;
  if (ghosts.pressed === 0) return;
  const isShown = document.querySelector('.monaco-editor.focused .ghost-text-decoration') !== null;
  if (!isShown) ghosts.isGone = true;
  if (!isShown || !ghosts.isGone) return;
  ghosts.samples.push(performance.now() - ghosts.pressed);
  ghosts.pressed = 0;
}).observe(document.querySelector('.editor-group-container'),
           { childList: true, subtree: true, characterData: true });
"""


def key_to_ghost(keys: int = 100) -> list[float]:
    """Milliseconds from each key to the ghost text that it brings, less VS Code's own debounce."""
    with instant_daemon() as daemon, _editor(daemon) as server, a_window(server) as window:
        window.load()
        window.wait_status("scripted")
        window.settle()
        window.file("typed.py", "x")
        window.page.evaluate(_WATCH)
        return _typed(window, keys)


def _typed(window: Window, keys: int) -> list[float]:
    samples: list[float] = []
    line = "x"
    for number in range(keys):
        if len(line) > LINE:
            window.press("Escape", "Enter")
            window.wait_ghost("")
            line = ""
        letter = LETTERS[number % len(LETTERS)]
        line += letter
        window.page.evaluate("window.ghosts.samples = []")
        window.type(letter)
        sample = wait_until(lambda: _sample(window), what=f"ghost text after {line!r}")
        samples.append((sample or 0.0) - ITS_OWN_DEBOUNCE)
        window.wait_ghost(GHOST)
    return samples


def _sample(window: Window) -> float | None:
    window.page.wait_for_timeout(5)
    found: float | None = window.page.evaluate("window.ghosts.samples[0] ?? null")
    return found


def start_up(starts: int = 5) -> list[float]:
    """Milliseconds of the extension's activation, as “Show Running Extensions” has them.

    That is loading its code and running `activate`; VS Code does it once a window is up.
    """
    samples = []
    with instant_daemon() as daemon, _editor(daemon) as server:
        for _ in range(starts):
            with a_window(server) as window:
                window.load()
                window.wait_status("scripted")
                window.command("Developer: Show Running Extensions")
                row = window.page.locator(".runtime-extensions-editor .monaco-list-row")
                time = row.filter(has_text="ingle").locator(".activation-time")
                time.filter(has_text="ms").first.wait_for()
                found = re.search(r"(\d+)ms", time.first.text_content() or "")
                assert found is not None
                samples.append(float(found[1]))
    return samples


@contextmanager
def _editor(daemon: DaemonUnderTest) -> Iterator[CodeServer]:
    """A running editor, without a proxy between it and the language server."""
    folder = daemon.home / "e"
    program = folder / "bin" / "ingle-lsp"
    program.parent.mkdir(parents=True)
    command = shlex.join([sys.executable, "-m", "ingle_lsp.server"])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    ours = {f"ingle.{name}": value for name, value in SETTINGS.items()}
    path = f"{program.parent}:{daemon.env['PATH']}"
    server = CodeServer(folder / "editor", daemon.env, path, **ours)
    server.start()
    try:
        yield server
    finally:
        server.stop()
