"""Vim: from a key to ghost text on the screen, and what the plugin adds to Vim's start."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.vim import PLUGIN, Vim, program
from support.waiting import wait_until

from .instant import GHOST, LETTERS, LINE, SETTINGS, instant_daemon


def key_to_ghost(keys: int = 100) -> list[float]:
    """Milliseconds from each key to the ghost text that it brings, drawn in the terminal."""
    with instant_daemon() as daemon:
        home = daemon.home / "e"
        home.mkdir()
        (home / "typed.py").write_text("# A file of names.\n")
        # Without the recording proxy between.
        command = json.dumps([sys.executable, "-m", "ingle_lsp.server"])
        config = f"let g:ingle = {{'cmd': {command}, 'settings': {json.dumps(SETTINGS)}}}"
        with Vim(home, "typed.py", env=daemon.env, config=config) as vim:
            wait_until(lambda: vim.expr("ingle#documents#IsAttached(1)"), what="a document")
            return _typed(vim, keys)


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
        letter = LETTERS[number % len(LETTERS)]
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
