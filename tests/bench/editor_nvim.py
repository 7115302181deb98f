"""Neovim: from a key to ghost text on the screen, and what the plugin adds to Neovim's start."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.nvim import PLUGIN, Neovim, installed
from support.waiting import wait_until

from .instant import GHOST, LETTERS, LINE, SETTINGS, instant_daemon


def newest() -> str:
    """The newest Neovim that is installed."""
    return list(installed().values())[-1]


def key_to_ghost(keys: int = 100) -> list[float]:
    """Milliseconds from each key to the flush of the screen that has its ghost text."""
    with instant_daemon() as daemon:
        home = daemon.home / "e"
        home.mkdir()
        (home / "typed.py").write_text("# A file of names.\n")
        # Without the recording proxy between.
        config = (
            f"require('ingle').setup {{ cmd = {{ [[{sys.executable}]], '-m', 'ingle_lsp.server' }},"
            f" settings = vim.fn.json_decode('{json.dumps(SETTINGS)}') }}"
        )
        with Neovim(newest(), home, "typed.py", env=daemon.env, config=config) as neovim:
            return _typed(neovim, keys)


def _typed(neovim: Neovim, keys: int) -> list[float]:
    ready = "return require('ingle').statusline() == 'scripted'"
    wait_until(lambda: neovim.lua(ready), what="a language server that is ready")
    neovim.type("ox")
    neovim.wait_ghost(GHOST)
    samples = []
    line = "x"
    for number in range(keys):
        if len(line) > LINE:
            neovim.type("<Esc>S")
            line = ""
        letter = LETTERS[number % len(LETTERS)]
        line += letter
        expected = line + GHOST
        with neovim.drawn(lambda screen, text=expected: text in screen.lines()) as drawn:
            pressed = time.monotonic()
            neovim.type(letter)
        samples.append(1000 * (drawn[0] - pressed))
    return samples


def start_up(starts: int = 10) -> list[float]:
    """Milliseconds that the plugin takes of the start with a Python file, by `--startuptime`."""
    samples = []
    with tempfile.TemporaryDirectory(prefix="ingle-b-") as folder:
        log, file = Path(folder) / "log", Path(folder) / "typed.py"
        file.write_text("x = 1\n")
        for _ in range(starts):
            log.unlink(missing_ok=True)
            subprocess.run(
                [
                    newest(),
                    *("--headless", "--clean", "--startuptime", str(log)),
                    *("--cmd", f"set runtimepath^={PLUGIN}"),
                    *("-c", "qall!", str(file)),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
            samples.append(sum(map(_own, log.read_text().splitlines())))
    return samples


def _own(line: str) -> float:
    """The milliseconds of a line itself, if it is about the plugin; the third column has them."""
    if str(PLUGIN) not in line and "require('ingle" not in line:
        return 0.0
    times, _, _what = line.partition(": ")
    return float(times.split()[-1])
