"""A real Vim in tests: in a terminal, with real keys, and the screen as it is drawn.

What a person can't see is asked over a JSON channel that Vim opens to the test (`:help
channel-use`): it answers in every mode, without a key.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from support import tmux
from support.fake_language_server import Play
from support.lsp_proxy import Recorded, install_proxy, recorded
from support.terminal_picture import indexed_colour, save_picture
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editor-plugins" / "vim"
#: Seconds that Vim gets to answer.
PATIENCE = 30.0
#: Programs that may be a Vim with all that the plugin needs, the first is taken.
_PROGRAMS = ("vim.nox", "vim")
_NEEDED = "has('patch-9.0.1378') && has('job') && has('textprop') && has('vim9script')"

#: The colour of ghost text in tests, which nothing else has.
GHOST = 243

_SETUP = """
set nocompatible noswapfile nobackup viminfo= ttimeout ttimeoutlen=5 encoding=utf-8
set backspace=indent,eol,start shortmess+=I laststatus=2 hidden noruler noshowcmd
filetype plugin on
syntax on
augroup tests
  autocmd FileType * setlocal formatoptions= noexpandtab softtabstop=0 shiftwidth=8
augroup END
highlight IngleGhost ctermfg={ghost}
let g:settled = 0
map <F12> <Cmd>let g:settled += 1<CR>
map! <F12> <Cmd>let g:settled += 1<CR>
tnoremap <F12> <Cmd>let g:settled += 1<CR>
set runtimepath^={plugin}
let g:test_channel = ch_open('unix:{socket}', {{'mode': 'json'}})
"""

_KEY = re.compile(r"<([A-Za-z0-9\-\\\]\[/]+|lt)>")
_NAMES = {
    "esc": "Escape",
    "cr": "Enter",
    "bs": "BSpace",
    "tab": "Tab",
    "space": "Space",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "home": "Home",
    "end": "End",
    "del": "DC",
    "pageup": "PPage",
    "pagedown": "NPage",
}


def program() -> str | None:
    """A Vim that has what the plugin needs; None if none is installed."""
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found is None:
            continue
        asked = f"if {_NEEDED} | quit | else | cquit | endif"
        done = subprocess.run(
            [found, "-u", "NONE", "-i", "NONE", "-N", "-es", "-c", asked],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
        )
        if done.returncode == 0:
            return found
    return None


def reason_to_skip() -> str:
    """Why tests in Vim can't run here; empty if they can."""
    if program() is None:
        return "no Vim 9.0.1378 with +job: tests/editors/install_vim.sh installs it"
    if not tmux.is_installed():
        return "no tmux: tests/editors/install_vim.sh installs it"
    return ""


def keys_of(typed: str) -> Iterator[tuple[bool, str]]:
    """Keys in Vim's notation → (is a text, the text or tmux' name of a key)."""
    at = 0
    for found in _KEY.finditer(typed):
        if found.start() > at:
            yield True, typed[at : found.start()]
        at = found.end()
        name = found[1]
        if name == "lt":
            yield True, "<"
            continue
        *modifiers, key = re.split(r"(?<=[CSM])-", name)
        base = _NAMES.get(key.lower(), key)
        yield False, "".join(f"{modifier}-" for modifier in modifiers) + base
    if at < len(typed):
        yield True, typed[at:]


class Vim:
    """A running Vim. Its screen is `lines()`; keys are typed with `type()`."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        config: str = "",
        size: tuple[int, int] = (80, 24),
    ) -> None:
        """Start it with `arguments` (files, say); `config` is its vimrc.

        `ingle-lsp` is on its PATH, behind a proxy that records the messages.
        """
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.record = home / "messages.jsonl"
        self.bin = home / "bin"
        install_proxy(self.bin, self.record)
        # Short, because a socket lives in it.
        self._folder = Path(tempfile.mkdtemp(prefix="ingle-v-"))
        vimrc = home / "vimrc"
        channel = self._folder / "s"
        setup = _SETUP.format(ghost=GHOST, plugin=PLUGIN, socket=channel)
        vimrc.write_text(f"{setup}\n{config}\n")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(str(channel))
            server.listen(1)
            server.settimeout(PATIENCE)
            found = program()
            assert found is not None
            self.terminal = tmux.Terminal(
                [found, "-u", str(vimrc), "-i", "NONE", *arguments],
                env=self._environment(env or dict(os.environ)),
                cwd=home,
                size=size,
            )
            self._channel, _ = server.accept()
        self._channel.settimeout(PATIENCE)
        self._rest = ""
        self._number = 0
        self._keys_settled = 0
        self.wait_for(lambda: self.expr("v:vim_did_enter") == 1, "a started Vim")

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{env['PATH']}"
        return env | {"PATH": path, "HOME": str(self.home), "LC_ALL": "C.UTF-8"}

    # --- the channel -------------------------------------------------------------------------

    def expr(self, expression: str) -> Any:
        """The value of an expression, in legacy script."""
        self._number -= 1
        message = ["expr", expression, self._number]
        self._channel.sendall(json.dumps(message).encode() + b"\n")
        decoder = json.JSONDecoder()
        while True:
            try:
                answer, end = decoder.raw_decode(self._rest)
            except ValueError:
                try:
                    received = self._channel.recv(65536)
                except TimeoutError:
                    raise AssertionError(
                        f"Vim did not answer {expression}; on its screen:\n"
                        + "\n".join(self.lines())
                    ) from None
                if not received:
                    raise AssertionError("Vim has ended") from None
                self._rest += received.decode()
                continue
            self._rest = self._rest[end:].lstrip()
            if answer[0] == self._number:
                if answer[1] == "ERROR":
                    raise AssertionError(f"Vim can't evaluate {expression}")
                return answer[1]

    def call(self, function: str) -> None:
        """Call a function that returns nothing, like `ingle#client#Restart()`."""
        self.command(f"call {function}")

    def command(self, text: str) -> str:
        """An Ex command, without the command line; returns what it says."""
        return str(self.expr(f"execute({json.dumps(text, ensure_ascii=False)})"))

    # --- what a person does ------------------------------------------------------------------

    def type(self, keys: str) -> None:
        """Press keys, in Vim's notation; `<lt>` is the character <."""
        for is_text, part in keys_of(keys):
            if is_text:
                self.terminal.text(part)
            else:
                self.terminal.keys(part)
            if part in ("Escape", "C-c"):
                # What follows at once could make another key of it, or be thrown away.
                self.settle()

    def edit(self, name: str, text: str) -> None:
        """Leave all files and open a new one, as it is after a start."""
        (self.home / name).write_text(text)
        self.type("<C-\\><C-n>")
        self.settle()
        self.command("silent! only! | silent! %bwipeout!")
        self.command(f"execute 'edit' fnameescape('{self.home / name}') | messages clear")
        uri = (self.home / name).as_uri()
        self.wait_for(
            lambda: any(
                item.message["params"]["textDocument"]["uri"] == uri
                for item in self.sent("textDocument/didOpen")
            ),
            "an attached buffer",
        )

    def settle(self) -> None:
        """Wait until all keys so far are done and drawn."""
        self._keys_settled = self.expr("g:settled")
        self.terminal.keys("F12")
        self.wait_for(lambda: self.expr("g:settled") > self._keys_settled, "Vim takes keys")
        self.command("redraw")

    # --- what a person sees ------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The screen."""
        return self.terminal.lines()

    def ghost(self) -> list[str]:
        """The ghost text on the screen, row by row."""
        colour = indexed_colour(GHOST)
        found = []
        for row in self.terminal.cells():
            # The gap before a hint has no colour.
            text = "".join(
                cell.text for cell in row if cell.foreground == colour or not cell.text.strip()
            )
            if any(cell.foreground == colour and cell.text.strip() for cell in row):
                indent = next(at for at, cell in enumerate(row) if cell.foreground == colour)
                before = sum(1 for cell in row[:indent] if not cell.text.strip())
                found.append(text[before:].rstrip())
        return found

    def text(self, buffer: str = "bufnr()") -> list[str]:
        """The lines of a buffer."""
        return list(self.expr(f"getbufline({buffer}, 1, '$')"))

    @property
    def cursor(self) -> tuple[int, int]:
        """Row from 0 and byte column, in the current window."""
        row, column = self.expr("[line('.') - 1, col('.') - 1]")
        return row, column

    @property
    def mode(self) -> str:
        """Like `n` or `i`."""
        return str(self.expr("mode(1)"))

    def told(self) -> list[str]:
        """The plugin's messages."""
        return [line.split(" ", 1)[1] for line in self.expr("ingle#notify#Recent()")]

    def errors(self) -> list[str]:
        """Errors of Vim, and mistakes of the plugin."""
        said = self.command("messages").split("\n")
        return [line for line in said if re.search(r"\bE\d+:|Error detected", line)] + [
            line for line in self.told() if "this is a bug" in line
        ]

    def properties(self) -> list[Any]:
        """Text properties of ghost text, in all buffers."""
        return list(self.expr(_PROPERTIES))

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

    def wait_told(self, text: str) -> None:
        """Wait until the plugin has said something."""
        self.wait_for(lambda: any(text in line for line in self.told()), f"the message {text!r}")

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until a condition holds; the screen is in the error if it never does."""
        try:
            wait_until(condition, what=what, timeout=PATIENCE)
        except AssertionError as error:
            screen = "\n".join(self.lines())
            raise AssertionError(f"{error}\nscreen:\n{screen}") from None

    # --- what went to the server -------------------------------------------------------------

    def sent(self, method: str | None = None) -> list[Recorded]:
        """Messages, of a method if one is given, that reached the server."""
        return recorded(self.record, method, "editor")

    def received(self, method: str) -> list[Recorded]:
        """Messages of a method that the server sent."""
        return recorded(self.record, method, "server")

    # --- the end -----------------------------------------------------------------------------

    def picture(self, name: str) -> None:
        """Keep a picture of the screen, if pictures are wanted."""
        is_inserting = self.mode.startswith("i")
        save_picture(name, self.terminal.cells(), cursor=self.terminal.cursor, bar=is_inserting)

    def close(self) -> None:
        """End it, whatever it does."""
        with suppress(OSError):
            self._channel.sendall(b'["ex", "qall!"]\n')
            self._channel.settimeout(5)
            while self._channel.recv(65536):
                pass
        self._channel.close()
        self.terminal.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


_PROPERTIES = """flatten(map(range(1, bufnr('$')), {_, buffer -> !bufloaded(buffer) ? [] :
\\ prop_list(1, {'bufnr': buffer, 'end_lnum': -1, 'types': filter(['ingle_ghost', 'ingle_hint'],
\\ {_, name -> !empty(prop_type_get(name))})})}), 1)""".replace("\n\\", "")


def fake_server(home: Path, **play: Any) -> str:
    """Lines of a vimrc that have Vim start a language server that plays a part."""
    command = Play(home, home / "messages.jsonl", **play).command
    words = ", ".join(f"'{word}'" for word in command)
    return f"let g:ingle = extend(get(g:, 'ingle', {{}}), {{'cmd': [{words}]}})"


@contextmanager
def starter(home: Path, env: dict[str, str]) -> Iterator[Callable[..., Vim]]:
    """A function that starts Vims with files to edit; all are closed in the end.

    `play` is what the language server says, in the place of the real one (`Play`).
    """
    started: list[Vim] = []

    def start(
        files: dict[str, str] | None = None,
        *,
        env: dict[str, str] = env,
        config: str = "",
        size: tuple[int, int] = (80, 24),
        play: dict[str, Any] | None = None,
    ) -> Vim:
        folder = home / f"vim{len(started)}"
        folder.mkdir(parents=True)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        if play is not None:
            config = f"{config}\n{fake_server(folder, **play)}"
        vim = Vim(folder, *(files or {}), env=env, config=config, size=size)
        started.append(vim)
        return vim

    yield start
    for vim in started:
        vim.close()
