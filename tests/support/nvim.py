"""A real Neovim in tests: `nvim --embed` with a UI attached, real keys, and the screen as drawn.

Owns the MessagePack-RPC session with the process and the grid that its UI events draw. A thread
reads, so that the screen is complete and every flush has its time, whatever the test does; pynvim
gives no way to take the events that have come without waiting for the next.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgpack
import psutil

from support.lsp_proxy import Recorded, install_proxy, recorded
from support.terminal_picture import Cell, Colour, save_picture
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editor-plugins" / "nvim"
#: Seconds that Neovim gets to answer.
PATIENCE = 20.0

_REQUEST, _RESPONSE, _NOTIFICATION = 0, 1, 2


def installed() -> dict[str, str]:
    """Neovims that tests can use: name like `nvim-0.11` → program."""
    programs = [str(file) for file in sorted(ROOT.glob(".editors/nvim-*/bin/nvim"))]
    if found := shutil.which("nvim"):
        programs.insert(0, found)
    names = {}
    for program in programs:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        version = re.match(r"NVIM v(\d+\.\d+)", said.stdout)
        assert version is not None, said.stdout
        names[f"nvim-{version[1]}"] = program
    return names


def versions() -> list[Any]:
    """Parameters of a fixture: each Neovim, or a skip that says how to install what is missing."""
    import pytest

    found = installed()
    parameters = [pytest.param(program, id=name) for name, program in found.items()]
    if not any(program.startswith(str(ROOT)) for program in found.values()):
        skip = pytest.mark.skip("no Neovim 0.11: tests/editors/install_nvim.sh installs it")
        parameters.append(pytest.param("", id="nvim-0.11", marks=skip))
    if all(program.startswith(str(ROOT)) for program in found.values()):
        skip = pytest.mark.skip("no nvim on PATH: tests/editors/install_nvim.sh installs it")
        parameters.append(pytest.param("", id="nvim", marks=skip))
    return parameters


class NvimError(Exception):
    """Neovim's answer to a request was an error."""


@dataclass
class _Answer:
    event: threading.Event
    error: Any = None
    result: Any = None


class Screen:
    """The grid as `ext_linegrid` events draw it: cells with numbers of highlights."""

    def __init__(self) -> None:
        self._cells: list[list[tuple[str, int]]] = []
        self._highlights: dict[int, dict[str, Any]] = {0: {}}
        self._defaults: tuple[int, int] = (0, 0)
        self.cursor = (0, 0)
        self.mode = "normal"

    def handle(self, name: str, arguments: list[Any]) -> None:
        """One event; those that draw nothing are ignored."""
        if handler := getattr(self, f"_on_{name}", None):
            handler(*arguments)

    def _on_grid_resize(self, _grid: int, width: int, height: int) -> None:
        old = self._cells
        self._cells = [[(" ", 0)] * width for _ in range(height)]
        for row, line in enumerate(old[:height]):
            self._cells[row][: len(line[:width])] = line[:width]

    def _on_grid_clear(self, _grid: int) -> None:
        self._cells = [[(" ", 0)] * len(line) for line in self._cells]

    def _on_grid_cursor_goto(self, _grid: int, row: int, column: int) -> None:
        self.cursor = (row, column)

    def _on_grid_line(
        self, _grid: int, row: int, column: int, cells: list[Any], *_wrap: Any
    ) -> None:
        highlight = 0
        for text, *more in cells:
            highlight = more[0] if more else highlight
            for _ in range(more[1] if len(more) > 1 else 1):
                self._cells[row][column] = (text, highlight)
                column += 1

    def _on_grid_scroll(
        self, _grid: int, top: int, bottom: int, left: int, right: int, rows: int, _columns: int
    ) -> None:
        moved = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in moved:
            self._cells[row][left:right] = self._cells[row + rows][left:right]

    def _on_hl_attr_define(
        self, number: int, rgb: dict[str, Any], _cterm: dict[str, Any], _info: list[Any]
    ) -> None:
        self._highlights[number] = rgb

    def _on_default_colors_set(self, foreground: int, background: int, *_more: Any) -> None:
        self._defaults = (foreground, background)

    def _on_mode_change(self, name: str, _index: int) -> None:
        self.mode = name

    def lines(self) -> list[str]:
        """The rows' texts, without spaces at the end."""
        return ["".join(text for text, _ in line).rstrip() for line in self._cells]

    def marked(self, foreground: int) -> list[str]:
        """What each row has in a colour; rows without any are left out."""
        found = []
        for line in self._cells:
            numbers = self._highlights
            text = "".join(
                character
                for character, number in line
                if numbers.get(number, {}).get("foreground") == foreground
            )
            if text.strip():
                found.append(text.rstrip())
        return found

    def cells(self) -> list[list[Cell]]:
        """The grid for a picture."""
        return [[self._cell(*cell) for cell in line] for line in self._cells]

    def _cell(self, text: str, number: int) -> Cell:
        look = self._highlights.get(number, {})
        foreground, background = look.get("foreground"), look.get("background")
        return Cell(
            text=text,
            foreground=_colour(foreground),
            background=_colour(background),
            bold=look.get("bold", False),
            italic=look.get("italic", False),
            underline=look.get("underline", False),
            reverse=look.get("reverse", False),
        )

    @property
    def colours(self) -> tuple[Colour, Colour]:
        """The default foreground and background."""
        foreground, background = self._defaults
        return _colour(foreground) or (0, 0, 0), _colour(background) or (255, 255, 255)


def _colour(number: int | None) -> Colour | None:
    if number is None or number < 0:
        return None
    return number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF


class Neovim:
    """A running Neovim. Its screen is `lines()`; keys are typed with `type()`."""

    #: The colour of ghost text in tests, which nothing else has.
    GHOST = 0x7F8C98

    def __init__(
        self,
        program: str,
        home: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        config: str = "",
        plugin: bool = True,
        size: tuple[int, int] = (80, 24),
    ) -> None:
        """Start it with `arguments` (files, say); `config` is its init.lua.

        `ingle-lsp` is on its PATH, behind a proxy that records the messages.
        """
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.record = home / "messages.jsonl"
        self.bin = home / "bin"
        install_proxy(self.bin, self.record)
        init = home / "init.lua"
        lines = [f"vim.opt.runtimepath:prepend([[{PLUGIN}]])"] if plugin else []
        init.write_text("\n".join([*lines, _SETUP, config]))
        command = [program, "--embed", "--clean", "-n", "-u", str(init), *arguments]
        self.process = subprocess.Popen(
            command,
            env=self._environment(env or dict(os.environ)),
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._lock = threading.Lock()
        self._answers: dict[int, _Answer] = {}
        self._number = 0
        self._waiters: list[tuple[Callable[[], bool], list[float], threading.Event]] = []
        self.screen = Screen()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.request("nvim_ui_attach", *size, {"ext_linegrid": True, "rgb": True})
        wait_until(lambda: self.lua("return vim.v.vim_did_enter") == 1, what="a started Neovim")

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        folders = {
            name: str(self.home / name.lower())
            for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
        }
        path = f"{self.bin}{os.pathsep}{env['PATH']}"
        return env | folders | {"PATH": path, "NVIM_LOG_FILE": str(self.home / "nvim.log")}

    # --- the session -------------------------------------------------------------------------

    def request(self, method: str, *arguments: Any, timeout: float = PATIENCE) -> Any:
        """Call a function of Neovim's API. Raises `NvimError`."""
        answer = _Answer(threading.Event())
        with self._lock:
            self._number += 1
            self._answers[self._number] = answer
            self._send([_REQUEST, self._number, method, list(arguments)])
        if not answer.event.wait(timeout):
            raise AssertionError(f"Neovim did not answer {method}; on its screen: {self.lines()}")
        if answer.error is not None:
            raise NvimError(answer.error)
        return answer.result

    def _send(self, message: list[Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgpack.packb(message))
        self.process.stdin.flush()

    def _read(self) -> None:
        unpacker = msgpack.Unpacker(
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            ext_hook=lambda _code, data: msgpack.unpackb(data),
        )
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 65536):
            unpacker.feed(data)
            for message in unpacker:
                self._take(message)
        with self._lock:
            for answer in self._answers.values():
                answer.error = answer.error or "Neovim has ended"
                answer.event.set()

    def _take(self, message: list[Any]) -> None:
        if message[0] == _RESPONSE:
            with self._lock:
                answer = self._answers.pop(message[1])
            answer.error, answer.result = message[2], message[3]
            answer.event.set()
        elif message[0] == _NOTIFICATION and message[1] == "redraw":
            with self._lock:
                for name, *calls in message[2]:
                    for arguments in calls:
                        self.screen.handle(name, arguments)
                    if name == "flush":
                        self._flushed()

    def _flushed(self) -> None:
        now = time.monotonic()
        for waiter in list(self._waiters):
            condition, times, event = waiter
            if condition():
                times.append(now)
                self._waiters.remove(waiter)
                event.set()

    @contextmanager
    def drawn(self, condition: Callable[[Screen], bool]) -> Iterator[list[float]]:
        """Wait at the end of the block until the screen is so; the list gets the time of it."""
        times: list[float] = []
        event = threading.Event()
        with self._lock:
            self._waiters.append((lambda: condition(self.screen), times, event))
        yield times
        if not event.wait(PATIENCE):
            raise AssertionError(f"waited in vain; on the screen: {self.lines()}")

    # --- what a person does ------------------------------------------------------------------

    def type(self, keys: str) -> None:
        """Press keys, in Vim's notation; `<lt>` is the character <."""
        typed = keys.encode()
        while typed:
            taken = self.request("nvim_input", typed.decode())
            typed = typed[taken:]

    def command(self, text: str) -> None:
        """An Ex command, without the command line."""
        self.request("nvim_command", text)

    def edit(self, name: str, text: str) -> None:
        """Leave all files and open a new one, as it is after a start."""
        (self.home / name).write_text(text)
        self.type("<C-\\><C-n>")
        self.settle()
        self.command("silent! only! | silent! %bwipeout!")
        self.command(f"cd {self.home} | edit {name} | messages clear")
        uri = (self.home / name).as_uri()
        self.wait_for(
            lambda: any(
                item.message["params"]["textDocument"]["uri"] == uri
                for item in self.sent("textDocument/didOpen")
            ),
            "an attached buffer",
        )

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run Lua in Neovim; arguments are `...` there."""
        return self.request("nvim_exec_lua", code, list(arguments))

    # --- what a person sees ------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The screen."""
        with self._lock:
            return self.screen.lines()

    def ghost(self) -> list[str]:
        """The ghost text on the screen, row by row."""
        with self._lock:
            return self.screen.marked(self.GHOST)

    def text(self, buffer: int = 0) -> list[str]:
        """The lines of a buffer."""
        return list(self.request("nvim_buf_get_lines", buffer, 0, -1, True))

    @property
    def is_0_7(self) -> bool:
        """Whether it is a Neovim 0.7, some of whose messages are others."""
        return self.lua("return vim.fn.has('nvim-0.8')") == 0

    @property
    def cursor(self) -> tuple[int, int]:
        """Row from 0 and byte column, in the current window."""
        row, column = self.request("nvim_win_get_cursor", 0)
        return row - 1, column

    @property
    def mode(self) -> str:
        """Like `n` or `i`. Also answers where Neovim waits for a key."""
        return str(self.request("nvim_get_mode")["mode"])

    def messages(self) -> list[str]:
        """What `:messages` shows."""
        said = self.request("nvim_exec", "messages", True)
        return [line for line in said.split("\n") if line]

    def errors(self) -> list[str]:
        """Messages of `:messages` that are errors, or traces of the stack of one."""
        return [
            line for line in self.messages() if re.search(r"\bE\d+:|Error|stack traceback", line)
        ]

    def marks(self) -> list[Any]:
        """Extmarks of ghost text, in all buffers."""
        return list(
            self.lua(
                """
                local found = {}
                local spaces = vim.api.nvim_get_namespaces()
                for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
                  for _, name in ipairs({ 'ingle.ghost', 'ingle.anchor' }) do
                    if spaces[name] then
                      vim.list_extend(found, vim.api.nvim_buf_get_extmarks(
                        buffer, spaces[name], 0, -1, { details = true }))
                    end
                  end
                end
                return found
                """
            )
        )

    def wait_ghost(self, *rows: str) -> None:
        """Wait until exactly these rows of ghost text are on the screen."""
        self.wait_for(lambda: self.ghost() == list(rows), f"ghost text {rows}")

    def wait_line(self, text: str) -> None:
        """Wait until a row of the screen has a text."""
        self.wait_for(lambda: any(text in line for line in self.lines()), f"{text!r} on the screen")

    def wait_text(self, *lines: str) -> None:
        """Wait until the current buffer is so."""
        self.wait_for(lambda: self.text() == list(lines), f"the text {lines}")

    def wait_attached(self) -> None:
        """Wait until the language server is ready and knows a buffer."""
        self.wait_for(lambda: self.sent("textDocument/didOpen"), "an attached buffer")

    def wait_message(self, text: str) -> None:
        """Wait until a message was shown."""
        self.wait_for(
            lambda: any(text in line for line in self.messages()), f"the message {text!r}"
        )

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        try:
            wait_until(condition, what=what)
        except AssertionError as error:
            screen = "\n".join(line for line in self.lines() if line != "~")
            said = "\n".join(self.messages())
            raise AssertionError(f"{error}\nscreen:\n{screen}\nmessages:\n{said}") from None

    def settle(self) -> None:
        """Wait until all keys so far are done and drawn."""
        self.wait_for(lambda: not self.request("nvim_get_mode")["blocking"], "Neovim takes keys")
        self.lua("return 1")

    # --- what went to the server -------------------------------------------------------------

    def sent(self, method: str) -> list[Recorded]:
        """Messages of a method that reached the server."""
        return recorded(self.record, method, "editor")

    def received(self, method: str) -> list[Recorded]:
        """Messages of a method that the server sent."""
        return recorded(self.record, method, "server")

    def stop_server(self) -> None:
        """End the language server of this Neovim with a signal, as a crash would."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if "ingle_lsp.server" in child.cmdline():
                child.kill()

    # --- the end -----------------------------------------------------------------------------

    def picture(self, name: str) -> None:
        """Keep a picture of the screen, if pictures are wanted."""
        with self._lock:
            rows, cursor = self.screen.cells(), self.screen.cursor
            foreground, background = self.screen.colours
            bar = self.screen.mode == "insert"
        save_picture(
            name, rows, cursor=cursor, bar=bar, foreground=foreground, background=background
        )

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            with suppress(AssertionError, NvimError, BrokenPipeError):
                self.request("nvim_command", "qall!", timeout=5)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextmanager
def starter(program: str, home: Path, env: dict[str, str]) -> Iterator[Callable[..., Neovim]]:
    """Gives a function that starts Neovims, each with files and a home of its own: it takes the
    files' names and texts, and the options of `Neovim`. All are closed at the end."""
    started: list[Neovim] = []

    def start(files: dict[str, str] | None = None, *arguments: str, **options: Any) -> Neovim:
        folder = home / f"n{len(started)}"
        folder.mkdir()
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        options = {"env": env} | options
        neovim = Neovim(program, folder, *arguments, *(files or {}), **options)
        started.append(neovim)
        return neovim

    try:
        yield start
    finally:
        for neovim in started:
            neovim.close()


#: What tests look for on the screen has a colour of its own; the rest is as users have it.
_SETUP = f"""
vim.o.termguicolors = true
vim.o.swapfile = false
vim.o.autoindent = false
vim.g.python_recommended_style = 0
vim.cmd('filetype indent off')
vim.api.nvim_set_hl(0, 'IngleGhost', {{ fg = {Neovim.GHOST}, italic = true }})
"""
