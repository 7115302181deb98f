"""A real Emacs in tests: in batch mode for ERT, or in a terminal with its screen.

Owns how Emacs is started with the plugin and with `ingle-lsp` behind a recording proxy. In a
terminal real keys are typed; what can't be seen there is asked over Emacs's own server. The
environment variable INGLE_EMACS names another Emacs than the one on PATH.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from support import tmux
from support.lsp_proxy import Recorded, install_proxy, recorded
from support.terminal_picture import save_picture
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editor-plugins" / "emacs"
TESTS = ROOT / "tests" / "editors" / "emacs"
EMACS = os.environ.get("INGLE_EMACS") or shutil.which("emacs")
#: Where Debian's packages of Emacs Lisp are, compiled.
_DEBIAN = Path("/usr/share/emacs/site-lisp/elpa")
#: The colour of ghost text in tests, which nothing else has.
GHOST = (0x7F, 0x8C, 0x98)


def _version() -> int:
    if not EMACS:
        return 0
    said = subprocess.run([EMACS, "--version"], capture_output=True, text=True, check=True)
    found = re.match(r"GNU Emacs (\d+)", said.stdout)
    return int(found[1]) if found else 0


VERSION = _version()

needs_emacs = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(
        VERSION < 28, reason="no Emacs 28: tests/editors/install_emacs.sh installs it"
    ),
]
needs_tmux = pytest.mark.skipif(
    not tmux.is_installed() or not shutil.which("emacsclient"),
    reason="no tmux or no emacsclient: tests/editors/install_emacs.sh installs them",
)


def load_path() -> list[Path]:
    """Folders for `-L`: the plugin, the tests, and Eglot with what it needs, where not built in."""
    folders = [PLUGIN, TESTS]
    if VERSION < 29:
        for name in ("eglot", "project", "xref", "seq", "eldoc", "flymake", "jsonrpc"):
            folders += sorted(_DEBIAN.glob(f"{name}-[0-9]*"))[-1:]
    return folders


def has_eglot() -> bool:
    """Whether this Emacs has Eglot."""
    return VERSION >= 29 or any(folder.name.startswith("eglot-") for folder in load_path())


def command(*arguments: str) -> list[str]:
    """How Emacs is started, without the user's configuration."""
    assert EMACS
    places = [word for folder in load_path() for word in ("-L", str(folder))]
    return [EMACS, "-Q", *places, *arguments]


def batch(
    *arguments: str,
    env: dict[str, str] | None = None,
    timeout: float = 100,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run Emacs without a screen; stdout and stderr are text."""
    return subprocess.run(
        command("--batch", *arguments),
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def environment(home: Path, env: dict[str, str], **more: str) -> dict[str, str]:
    """`env` with a home of its own and `ingle-lsp` on PATH, behind a proxy that records."""
    home.mkdir(parents=True, exist_ok=True)
    record = home / "record.jsonl"
    install_proxy(home / "bin", record)
    path = os.pathsep.join([str(home / "bin"), env.get("PATH", "")])
    return env | {"HOME": str(home), "PATH": path, "INGLE_TEST_RECORD": str(record)} | more


def ert_tests(file: Path) -> list[str]:
    """Names of the tests in a file."""
    return re.findall(r"^\(ert-deftest (\S+)", file.read_text(), re.M)


def run_ert(file: Path, *, env: dict[str, str], timeout: float = 100) -> dict[str, str]:
    """Run a file's tests in one Emacs → what ERT says of each: "" where it passed."""
    try:
        done = batch(
            *("-l", "ert", "-l", str(file), "-f", "ert-run-tests-batch-and-exit"),
            env=env,
            timeout=timeout,
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        parts = (late.stdout or b"", late.stderr or b"")
        output = "".join(part.decode(errors="replace") for part in parts)
    outcomes = {}
    before = 0
    for result in re.finditer(r"^ +(passed|FAILED|skipped) +\d+/\d+ +(\S+)", output, re.M):
        # What came since the result before this one is about this test.
        outcomes[result[2]] = "" if result[1] == "passed" else output[before : result.end()]
        before = result.end()
    for name in ert_tests(file):
        outcomes.setdefault(name, f"it did not run to its end:\n{output[before:]}")
    return outcomes


class Emacs:
    """An Emacs in a terminal. Keys are typed with `type` and `press`."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        env: dict[str, str],
        config: str = "",
        size: tuple[int, int] = (80, 24),
    ) -> None:
        """Start it with `arguments` (files, say); `config` is Lisp, after the plugin is on."""
        self.home = home
        self.record = home / "record.jsonl"
        self._socket = home / "server"
        terminal = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor"}
        environ = environment(home, env, **terminal)
        # Emacs's server wants a folder that nobody else can look into.
        home.chmod(0o700)
        start = home / "init.el"
        start.write_text(
            ";;; -*- lexical-binding: t -*-\n"
            f"(setq server-name {json.dumps(str(self._socket))})\n"
            "(setq inhibit-startup-screen t ring-bell-function #'ignore make-backup-files nil\n"
            "      auto-save-default nil create-lockfiles nil\n"
            "      python-indent-guess-indent-offset nil native-comp-jit-compilation nil)\n"
            "(require 'json)\n(require 'server)\n(server-start)\n(require 'ingle)\n"
            "(menu-bar-mode -1)\n(blink-cursor-mode -1)\n"
            "(setq ingle-debounce-ms 0 ingle-deadline-ms 20000)\n"
            "(require 'ingle-ghost)\n"
            "(set-face-attribute 'ingle-ghost nil :foreground \"#7f8c98\" :slant 'normal)\n"
            f"{config}\n(global-ingle-mode 1)\n"
        )
        self.terminal = tmux.Terminal(
            command("-nw", "-l", str(start), *arguments), env=environ, cwd=home, size=size
        )
        try:
            wait_until(self._answers, what="Emacs's server")
        except BaseException:
            self.terminal.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End Emacs."""
        self.terminal.close()

    def type(self, text: str) -> None:
        """Type characters."""
        self.terminal.text(text)

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self.terminal.keys(*keys)

    def screen(self) -> str:
        """All that is drawn."""
        return "\n".join(self.terminal.lines())

    def wait_screen(self, text: str, timeout: float = 20.0) -> None:
        """Wait until the screen shows a text."""
        try:
            wait_until(lambda: text in self.screen(), timeout=timeout, what=f"{text!r} drawn")
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen is\n{self.screen()}") from None

    def command(self, name: str) -> None:
        """M-x."""
        self.press("M-x")
        self.wait_screen("M-x")
        self.type(name)
        self.press("Enter")

    def _answers(self) -> bool:
        try:
            return bool(self.eval("t"))
        except AssertionError:
            return False

    def eval(self, form: str) -> Any:
        """The value of a Lisp form in the buffer that the user sees, as JSON has it."""
        lisp = (
            "(with-current-buffer (window-buffer (selected-window))"
            f" (let ((json-null :null)) (json-encode (progn {form}))))"
        )
        done = subprocess.run(
            ["emacsclient", f"--socket-name={self._socket}", "--eval", lisp],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, f"{form}: {done.stdout}{done.stderr}"
        # A printed Lisp string: its escapes are " and \ alone.
        printed = done.stdout.strip()
        return json.loads(re.sub(r'\\(["\\])', r"\1", printed[1:-1]))

    def text(self) -> str:
        """The buffer's text."""
        return str(self.eval("(buffer-substring-no-properties (point-min) (point-max))"))

    def messages(self) -> str:
        """All that was said in the echo area."""
        found = self.eval('(with-current-buffer "*Messages*" (buffer-string))')
        return str(found)

    def ghost(self) -> str:
        """What the screen shows in the colour of ghost text, rows joined by newlines."""
        rows = (
            "".join(cell.text for cell in row if cell.foreground == GHOST)
            for row in self.terminal.cells()
        )
        return "\n".join(row.rstrip() for row in rows if row.strip())

    def wait_ghost(self, text: str, timeout: float = 20.0) -> None:
        """Wait until exactly this is shown as ghost text; "" is none."""
        try:
            wait_until(lambda: self.ghost() == text, timeout=timeout, what=f"ghost text {text!r}")
        except AssertionError as error:
            raise AssertionError(
                f"{error}; ghost text is {self.ghost()!r} on\n{self.screen()}\n{self.messages()}"
            ) from None

    def sent(self, method: str) -> list[Recorded]:
        """What the plugin has sent so far, of a method."""
        return recorded(self.record, method, "editor")

    def picture(self, name: str) -> None:
        """Keep the screen as a picture, if somebody wants it."""
        save_picture(name, self.terminal.cells(), cursor=self.terminal.cursor)
