"""`ingle editor` as a user runs it, and the real editors that then have ingle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingled.editors import places

INGLE = str(Path(sys.executable).with_name("ingle"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the places of Linux and macOS"),
]


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    """A user with an empty home."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "dumb", "LANG": "C.UTF-8"}


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_an_editor_is_set_up_shown_and_taken_away(home: Path, env: dict[str, str]) -> None:
    file = home / ".config/zed/settings.json"
    file.parent.mkdir(parents=True)
    own = b'// mine\r\n{\r\n  "theme": "One", // it\r\n}\r\n'
    file.write_bytes(own)
    shown = run(env, INGLE, "editor", "zed", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert '+  "lsp": { "ingle": {' in shown.stdout
    assert file.read_bytes() == own
    assert run(env, INGLE, "editor", "zed").returncode == 0
    rows = run(env, INGLE, "editor", "--json").stdout.splitlines()
    states = {row["name"]: row["configured"] for row in map(json.loads, rows)}
    assert states["zed"] == "yes"
    assert states["helix"] == "no"
    assert run(env, INGLE, "editor", "zed", "--remove").returncode == 0
    assert file.read_bytes() == own


def test_a_mistyped_editor_is_guessed(env: dict[str, str]) -> None:
    outcome = run(env, INGLE, "editor", "neovm")
    assert outcome.returncode == 2
    assert "did you mean 'neovim'?" in outcome.stderr


@pytest.mark.editor
@pytest.mark.parametrize("own", [None, "init.lua", "init.vim"])
def test_neovim_has_the_plugin_then(home: Path, env: dict[str, str], own: str | None) -> None:
    nvim = needs("nvim")
    if own:
        (home / ".config/nvim").mkdir(parents=True)
        (home / ".config/nvim" / own).write_text("")
    asked = (nvim, "--headless", "-c", "echo exists(':Ingle')", "-c", "qa!")
    assert run(env, *asked).stderr.strip() == "0"
    assert run(env, INGLE, "editor", "nvim").returncode == 0
    assert run(env, *asked).stderr.strip() == "2"
    command = "lua io.stderr:write(require('ingle.config').options.cmd[1])"
    with_config = run(env, nvim, "--headless", "-c", command, "-c", "qa!")
    assert with_config.stderr.strip() == _server(env)
    assert run(env, INGLE, "editor", "nvim", "--remove").returncode == 0
    assert run(env, *asked).stderr.strip() == "0"


@pytest.mark.editor
def test_vim_has_the_plugin_then(home: Path, env: dict[str, str]) -> None:
    vim = needs("vim")
    result = home / "result"
    script = f"call writefile([exists(':Ingle')], '{result}')"
    for expected in ("0", "2", "0"):
        run(env, vim, "-N", "--not-a-term", "-T", "dumb", "-c", script, "-c", "qa!")
        assert result.read_text().strip() == expected
        option = () if expected == "0" else ("--remove",)
        assert run(env, INGLE, "editor", "vim", *option).returncode == 0


@pytest.mark.editor
def test_emacs_has_the_mode_then(home: Path, env: dict[str, str]) -> None:
    emacs = needs("emacs")
    assert run(env, INGLE, "editor", "emacs").returncode == 0
    file = home / ".emacs.d/init.el"
    form = '(princ (format "%s %s" (bound-and-true-p global-ingle-mode) ingle-lsp-command))'
    told = run(env, emacs, "--batch", "-l", str(file), "--eval", form)
    assert told.returncode == 0, told.stderr
    assert told.stdout == f"t ({_server(env)})"


def _server(env: dict[str, str]) -> str:
    """What the command writes for ingle-lsp: its name where PATH has it outside of the tests'."""
    printed = run(env, INGLE, "editor", "kakoune", "--print").stdout
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("command = ")]
    return str(json.loads(line.partition("=")[2]))


def test_the_plugins_are_those_of_the_checkout() -> None:
    assert places.plugin("nvim") == Path(__file__).parents[2] / "editor-plugins" / "nvim"
