"""Emacs: from a key to ghost text on the screen, and what loading the package costs."""

from __future__ import annotations

import re
import sys
import tempfile
import time

from support.emacs import PLUGIN, Emacs, batch
from support.waiting import wait_until

from .instant import GHOST, LETTERS, LINE, instant_daemon


def key_to_ghost(keys: int = 100) -> list[float]:
    """Milliseconds from each key to the ghost text that it brings, drawn in the terminal."""
    with instant_daemon() as daemon:
        home = daemon.home / "e"
        home.mkdir()
        file = home / "typed.py"
        file.write_text("# A file of names.\n")
        # Without the recording proxy between.
        command = f'(setq ingle-lsp-command \'("{sys.executable}" "-m" "ingle_lsp.server"))'
        with Emacs(home, str(file), env=daemon.env, config=command) as emacs:
            emacs.eval("(progn (goto-char (point-max)) t)")
            return _typed(emacs, keys)


def _typed(emacs: Emacs, keys: int) -> list[float]:
    drawn: list[float] = []
    emacs.terminal.watch_output(drawn.append)
    emacs.type("x")
    emacs.wait_ghost(GHOST)
    samples = []
    row, line = 1, "x"
    for number in range(keys):
        if len(line) > LINE:
            emacs.press("Enter")
            row, line = row + 1 if row < 15 else 15, ""
            wait_until(lambda: emacs.eval("(bolp)") is True, what="a new line")
            if row == 15:
                emacs.eval("(progn (recenter 15) t)")
        letter = LETTERS[number % len(LETTERS)]
        line += letter
        expected = line + GHOST
        pressed = time.monotonic()
        emacs.type(letter)
        samples.append(1000 * (_shown(emacs, expected, drawn) - pressed))
    emacs.terminal.watch_output(None)
    return samples


def _shown(emacs: Emacs, expected: str, drawn: list[float]) -> float:
    """When the line with its ghost text was drawn: the last output before it was seen."""

    def seen() -> float | None:
        before = drawn[-1] if drawn else 0.0
        return before if expected in emacs.terminal.lines() else None

    return float(wait_until(seen, what=f"{expected!r} drawn") or 0.0)


def start_up(starts: int = 10) -> list[float]:
    """Milliseconds of processor time to load the byte-compiled package and turn it on.

    Not of the clock: Emacs waits for nothing here, and other programs are not its affair.
    """
    with tempfile.TemporaryDirectory(prefix="ingle-b-") as folder:
        destination = (
            "(setq byte-compile-dest-file-function (lambda (file) (expand-file-name"
            f' (concat (file-name-nondirectory file) "c") "{folder}")))'
        )
        files = [str(file) for file in sorted(PLUGIN.glob("*.el")) if "eglot" not in file.name]
        batch("--eval", destination, "-f", "batch-byte-compile", *files)
        form = (
            "(progn (setq native-comp-deferred-compilation nil native-comp-jit-compilation nil)"
            ' (require \'python) (switch-to-buffer "a.py") (python-mode)'
            f' (push "{folder}" load-path)'
            " (let ((start (get-internal-run-time))) (require 'ingle) (ingle-mode 1)"
            '  (message "took %f" (* 1000 (float-time'
            "   (time-subtract (get-internal-run-time) start))))))"
        )
        samples = []
        for _ in range(starts):
            said = re.search(r"took ([\d.]+)", batch("--eval", form).stderr)
            assert said is not None
            samples.append(float(said[1]))
        return samples
