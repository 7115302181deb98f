"""A terminal in tests: a program in tmux, its keys and its screen.

Owns a tmux server of its own, driven in control mode over one connection, so that a key costs no
process. What the program is, and what its keys mean, is the caller's affair.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from support.terminal_picture import Cell, cells_from_ansi

#: Seconds that tmux gets to answer.
PATIENCE = 60.0

_CONFIG = """
set -g status off
set -sg escape-time 0
set -g default-terminal tmux-256color
set -g history-limit 0
"""


class Terminal:
    """A program in a terminal of `size` columns and rows."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str],
        cwd: Path,
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self.columns, self.rows = size
        # Short, because a socket lives in it.
        self._folder = Path(tempfile.mkdtemp(prefix="ingle-tm-"))
        config = self._folder / "tmux.conf"
        config.write_text(_CONFIG)
        server = ["tmux", "-S", str(self._folder / "s"), "-f", str(config)]
        session = ["new-session", "-s", "t", "-x", str(self.columns), "-y", str(self.rows)]
        self.process = subprocess.Popen(
            [*server, "-C", *session, *command],
            env={name: value for name, value in env.items() if name not in ("TMUX", "TMUX_PANE")},
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._lock = threading.Lock()
        self._answers: queue.Queue[tuple[bool, list[str]]] = queue.Queue()
        self._on_output: Callable[[float], None] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        # What `new-session` itself answers.
        self._answer("new-session")
        self.run(f"refresh-client -C {self.columns}x{self.rows}")

    # --- the connection ----------------------------------------------------------------------

    def _read(self) -> None:
        assert self.process.stdout is not None
        block: list[str] | None = None
        for raw in self.process.stdout:
            line = raw.removesuffix(b"\n").decode(errors="replace")
            if line.startswith("%begin ") and block is None:
                block = []
            elif line.startswith(("%end ", "%error ")) and block is not None:
                self._answers.put((line.startswith("%end "), block))
                block = None
            elif block is not None:
                block.append(line)
            elif line.startswith("%output ") and self._on_output is not None:
                self._on_output(time.monotonic())

    def run(self, command: str) -> list[str]:
        """Run a command of tmux; returns the lines that it prints."""
        with self._lock:
            assert self.process.stdin is not None
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
            return self._answer(command)

    def _answer(self, command: str) -> list[str]:
        try:
            is_fine, lines = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"tmux did not answer: {command}") from None
        if not is_fine:
            raise AssertionError(f"tmux: {command}: {' '.join(lines)}")
        return lines

    def watch_output(self, callback: Callable[[float], None] | None) -> None:
        """Call a function, on another thread, with the time of all that the program draws."""
        self._on_output = callback

    # --- what a person does and sees ---------------------------------------------------------

    def keys(self, *names: str) -> None:
        """Press keys, by tmux' names for them: `Enter`, `C-x`, `Up`."""
        self.run(f"send-keys -t t {' '.join(map(_quoted, names))}")

    def text(self, text: str) -> None:
        """Press the keys of a text. Newlines are keys: not in here."""
        self.run(f"send-keys -t t -l -- {_quoted(text)}")

    def lines(self) -> list[str]:
        """The screen, row by row, without spaces at the end."""
        return [line.rstrip() for line in self.run("capture-pane -t t -p")]

    def cells(self) -> list[list[Cell]]:
        """The screen with its colours."""
        text = "\n".join(self.run("capture-pane -t t -p -e"))
        return cells_from_ansi(text, self.columns)

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor, from 0."""
        (line,) = self.run("display-message -t t -p '#{cursor_y} #{cursor_x}'")
        row, column = line.split()
        return int(row), int(column)

    def close(self) -> None:
        """End it, whatever it does."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, AssertionError):
            self.process.stdin.write(b"kill-server\n")
            self.process.stdin.flush()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _quoted(text: str) -> str:
    """A word of tmux' command language."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def is_installed() -> bool:
    """Whether there is a tmux."""
    return shutil.which("tmux", path=os.environ.get("PATH")) is not None
