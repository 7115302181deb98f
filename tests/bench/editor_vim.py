"""Vim: from a key to ghost text on the screen, and what the plugin adds to Vim's start.

The engine is the scripted one at a pace that costs nothing, so all that is measured is ours and
Vim's: the plugin, the language server, the daemon, and the drawing. Typing needs no pause here
(`debounceMs` 0), because that pause is the user's choice.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.daemons import SCRIPTED, DaemonUnderTest
from support.vim import PLUGIN, Vim, program
from support.waiting import wait_until

GHOST = "a + b"
#: Letters to a line, so that no line wraps.
LINE = 40


def key_to_ghost(keys: int = 100) -> list[float]:
    """Milliseconds from each key to the ghost text that it brings, drawn in the terminal."""
    with tempfile.TemporaryDirectory(prefix="ingle-b-") as folder:
        daemon = DaemonUnderTest(Path(folder) / "d", **SCRIPTED)
        daemon.configure(
            scripted={
                "script": GHOST,
                "tokens_per_second": 1e5,
                "prefill_tokens_per_second": 1e7,
            }
        )
        daemon.start()
        home = Path(folder) / "v"
        home.mkdir()
        (home / "typed.py").write_text("# A file of names.\n")
        # Without the recording proxy between.
        settings = "{'debounceMs': 0, 'minConfidence': 0}"
        command = f"['{sys.executable}', '-m', 'ingle_lsp.server']"
        config = f"let g:ingle = {{'cmd': {command}, 'settings': {settings}}}"
        try:
            with Vim(home, "typed.py", env=daemon.env, config=config) as vim:
                wait_until(lambda: vim.expr("ingle#documents#IsAttached(1)"), what="a document")
                return _typed(vim, keys)
        finally:
            daemon.close()


def _typed(vim: Vim, keys: int) -> list[float]:
    drawn: list[float] = []
    vim.terminal.watch_output(drawn.append)
    vim.type("ox")
    vim.wait_ghost(GHOST)
    samples = []
    line = "x"
    for number in range(keys):
        if len(line) > LINE:
            vim.type("<Esc>S")
            line = ""
        # Never the letter that the ghost text begins with.
        letter = "bcdefghijklm"[number % 12]
        line += letter
        pressed = time.monotonic()
        vim.type(letter)
        samples.append(1000 * (_shown(vim, line + GHOST, drawn) - pressed))
    vim.terminal.watch_output(None)
    return samples


def _shown(vim: Vim, expected: str, drawn: list[float]) -> float:
    """When the line with its ghost text was drawn: the last output when it was seen."""

    def seen() -> float | None:
        is_there = expected in vim.lines()
        # tmux tells of output before it answers what the screen is.
        return drawn[-1] if is_there else None

    return float(wait_until(seen, what=f"{expected!r} drawn") or 0.0)


def start_up(starts: int = 10) -> list[float]:
    """Milliseconds that the plugin takes of Vim's start, as `--startuptime` has them."""
    found = program()
    assert found is not None
    samples = []
    with tempfile.TemporaryDirectory(prefix="ingle-b-") as folder:
        log = Path(folder) / "log"
        for _ in range(starts):
            log.unlink(missing_ok=True)
            subprocess.run(
                [
                    found,
                    *("-u", "NONE", "-i", "NONE", "-N", "--not-a-term"),
                    *("--startuptime", str(log)),
                    *("--cmd", f"set runtimepath^={PLUGIN} loadplugins"),
                    *("-c", "qall!"),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
            lines = log.read_text().splitlines()
            samples.append(sum(float(line.split()[1]) for line in lines if str(PLUGIN) in line))
    return samples
