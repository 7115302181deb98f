"""`ingle editor`, as users have it: files of theirs, links, other encodings, mistakes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ingle.errors import SettingsError
from ingled.editors import places, setup
from ingled.editors.known import EDITORS, Extension, Template
from support.cli import Shell

FILES = {
    "nvim": ".config/nvim/init.lua",
    "vim": ".vim/vimrc",
    "emacs": ".emacs.d/init.el",
    "helix": ".config/helix/languages.toml",
    "kakoune": ".config/kak/kakrc",
    "sublime": ".config/sublime-text/Packages/User/LSP.sublime-settings",
    "zed": ".config/zed/settings.json",
    "kate": ".config/kate/lspclient/settings.json",
}
#: What somebody may have in each, with no end of line at the end.
OWN = {
    "nvim": "vim.opt.number = true\n-- ingle-lsp, one day",
    "vim": 'set number\n" about "ingle-lsp"',
    "emacs": "(setq inhibit-startup-screen t)\n;; mine",
    "helix": '[[language]]\nname = "rust"\nauto-format = false',
    "kakoune": "eval %sh{kak-lsp}\nlsp-enable",
    "sublime": '// mine\n{\n\t"clients": {\n\t\t"a": {}, // it\n\t},\n}',
    "zed": '{\n    "theme": "One", /* */\n    "lsp": {}\n}',
    "kate": '{"servers": {"a": {"command": ["b"]}},\n "global": {}\n}',
}
BY_HAND = {
    "nvim": "vim.lsp.config('ingle', {\n  cmd = { 'ingle-lsp' },\n})\n",
    "vim": "set rtp+=~/ingle/editor-plugins/vim\n",
    "emacs": "(require 'ingle)\n(global-ingle-mode 1)\n",
    "helix": '[language-server.mine]\ncommand = "ingle-lsp"\n',
    "kakoune": 'hook global BufSetOption filetype=c %{\n command = "ingle-lsp"\n}\n',
    "sublime": '{"clients":\n {"ingle": {"enabled": false, "command": ["ingle-lsp"]}}}\n',
    "zed": '{"lsp":\n {"ingle": {"binary": {"path": "ingle-lsp"}}}}\n',
    "kate": '{"servers":\n {"ingle": {"command": ["ingle-lsp"]}}}\n',
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the places of Linux and macOS")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home on Linux, with nothing in it, and no editor on PATH."""
    home = tmp_path / "home"
    programs = tmp_path / "bin"
    for folder in (home, programs):
        folder.mkdir()
    for name in ("XDG_CONFIG_HOME", "INGLE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(sys, "platform", "linux")
    program(programs, "ingle-lsp", "exit 0")
    return home


@pytest.fixture
def shell(user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_editor_with_a_file_is_tested_here() -> None:
    with_file = {name for name, editor in EDITORS.items() if editor.file}
    assert FILES.keys() == OWN.keys() == BY_HAND.keys() == with_file


@pytest.mark.parametrize("name", FILES)
def test_where_there_is_no_file_one_is_made_and_taken_away(
    shell: Shell, user: Path, name: str
) -> None:
    outcome = shell("editor", name)
    assert outcome.code == 0, outcome.err
    assert list(tree(user)) == [FILES[name]]
    assert "was not found on this machine" in outcome.err
    made = tree(user)
    again = shell("editor", name)
    assert "is up to date" in again.out
    assert tree(user) == made
    assert "is deleted" in shell("editor", name, "--remove").out
    assert tree(user) == {}


@pytest.mark.parametrize("crlf", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_users_file_keeps_what_it_has(shell: Shell, user: Path, name: str, crlf: bool) -> None:
    file = user / FILES[name]
    file.parent.mkdir(parents=True)
    own = OWN[name].replace("\n", "\r\n" if crlf else "\n").encode()
    file.write_bytes(own)
    file.chmod(0o640)
    outcome = shell("editor", name)
    assert outcome.code == 0, outcome.err
    written = file.read_bytes()
    assert written != own
    assert b"\r\r" not in written
    assert (b"\n" in written.replace(b"\r\n", b"")) != crlf
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    backup = file.with_name(f"{file.name}.ingle-backup")
    assert backup.read_bytes() == own
    assert backup.name in outcome.out
    assert "is up to date" in shell("editor", name).out
    assert file.read_bytes() == written
    assert shell("editor", name, "--remove").code == 0
    assert tree(user) == {FILES[name]: own}
    assert "has nothing of ingle" in shell("editor", name, "--remove").out


@pytest.mark.parametrize("name", FILES)
def test_a_dry_run_shows_a_diff_that_patch_understands(
    shell: Shell, user: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = user / FILES[name]
    file.parent.mkdir(parents=True)
    file.write_text(OWN[name])
    outcome = shell("editor", name, "--dry-run")
    assert outcome.code == 0
    assert file.read_text() == OWN[name]
    copy = file.with_name("copy")
    copy.write_text(OWN[name])
    done = subprocess.run(
        ["/usr/bin/env", "PATH=/usr/bin:/bin", "git", "apply", "-p0", "--unidiff-zero", "-"],
        input=outcome.out.replace(str(file), "copy"),
        cwd=file.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shell("editor", name)
    assert copy.read_bytes() == file.read_bytes()
    removal = shell("editor", name, "--remove", "--dry-run")
    assert removal.out.startswith(f"--- {file}")
    assert copy.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_what_is_configured_by_hand_is_left_alone(shell: Shell, user: Path, name: str) -> None:
    file = user / FILES[name]
    file.parent.mkdir(parents=True)
    file.write_text(BY_HAND[name])
    for arguments in ((), ("--dry-run",), ("--remove",)):
        outcome = shell("editor", name, *arguments)
        assert outcome.code == 0
        assert "configured by hand" in outcome.out
        assert f"{file}:2: " in outcome.out or f"{file}:1: " in outcome.out
    assert tree(user) == {FILES[name]: BY_HAND[name].encode()}
    rows = [json.loads(line) for line in shell("editor", "--json").out.splitlines()]
    assert {row["name"]: row["configured"] for row in rows}[name] == "by hand"


@pytest.mark.parametrize("name", FILES)
def test_links_are_followed_and_stay_links(shell: Shell, user: Path, name: str) -> None:
    dotfiles = user / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "mine").write_text(OWN[name])
    link = user / FILES[name]
    link.parent.mkdir(parents=True)
    link.symlink_to(dotfiles / "mine")
    assert shell("editor", name).code == 0
    assert link.is_symlink()
    assert (dotfiles / "mine").read_text() != OWN[name]
    assert (dotfiles / "mine.ingle-backup").read_text() == OWN[name]
    assert shell("editor", name, "--remove").code == 0
    assert link.is_symlink()
    assert [path.name for path in dotfiles.iterdir()] == ["mine"]
    assert (dotfiles / "mine").read_text() == OWN[name]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfea\x00", "1: is not UTF-8"),
        (b"ok = 1\n# caf\xe9\n", "2: is not UTF-8"),
        (b"a\n\x00b\n", "2: is not a text"),
    ],
)
def test_other_encodings_are_refused(
    shell: Shell, user: Path, name: str, content: bytes, says: str
) -> None:
    file = user / FILES[name]
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    for option in ((), ("--remove",)):
        outcome = shell("editor", name, *option)
        assert outcome.code == 1
        assert f"{file}:{says}" in outcome.err
    assert tree(user) == {FILES[name]: content}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("helix", "a = 1\nb =\n", "line 2"),
        ("helix", "language-server = {}\n", "don't go with"),
        ("helix", "language = 5\n", "no list of tables"),
        ("zed", '{\n  "a": 1,\n  "b" 2\n}', ":3: a colon is missing"),
        ("zed", "{\n", ":1: a key"),
        ("zed", '{"lsp":\n5}', ":2: lsp is not an object"),
        ("zed", "[]", ":1: the whole is not an object"),
        ("zed", "{}\n{}", ":2: something stands behind the end"),
        ("zed", "{" + '"a":[' + "[" * 5000, ":1: it is nested too deeply"),
        ("kate", '{\n// mine\n"servers": {}}', ":2: a key"),
        ("kate", '{"servers": {},\n}', ":1: a comma stands behind the last item"),
        ("sublime", '{"clients": "x\n', ":1: a text in quotes has no end"),
        ("sublime", "{/* \n", ":1: a comment has no end"),
        ("nvim", "a = 1\n-- >>> ingle >>>\n", ":2: its lines"),
        ("nvim", "-- <<< ingle <<<\n-- >>> ingle >>>\n", "are not one pair"),
    ],
)
def test_what_cant_be_understood_is_refused_with_its_line(
    shell: Shell, user: Path, name: str, content: str, says: str
) -> None:
    file = user / FILES[name]
    file.parent.mkdir(parents=True)
    file.write_text(content)
    outcome = shell("editor", name)
    assert outcome.code == 1
    assert outcome.err.startswith(f"ingle: {file}")
    assert says in outcome.err
    assert outcome.err.count("\n") == 1
    assert tree(user) == {FILES[name]: content.encode()}
    listing = shell("editor")
    assert listing.code == 0
    assert says in listing.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everything")
def test_what_cant_be_read_or_written_is_said(shell: Shell, user: Path) -> None:
    file = user / ".config/nvim/init.lua"
    file.parent.mkdir(parents=True)
    file.write_text("a = 1\n")
    file.chmod(0o000)
    assert "can't be read" in shell("editor", "nvim").err
    file.chmod(0o444)
    outcome = shell("editor", "nvim")
    assert outcome.code == 1
    assert "can't be written" in outcome.err
    assert tree(user) == {FILES["nvim"]: b"a = 1\n"}


def test_a_read_only_file_is_left_alone(
    shell: Shell, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everything, so the system's answer is pretended.
    file = user / FILES["nvim"]
    file.parent.mkdir(parents=True)
    file.write_text("a = 1\n")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    for option in ((), ("--remove",)):
        outcome = shell("editor", "nvim", *option)
        assert outcome.code == (0 if option else 1)
        assert tree(user) == {FILES["nvim"]: b"a = 1\n"}
    assert "it is read-only" in shell("editor", "nvim").err


def test_a_folder_or_a_disk_in_the_way_is_said(
    shell: Shell, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user / ".config/nvim/init.lua").mkdir(parents=True)
    outcome = shell("editor", "nvim")
    assert outcome.code == 1
    assert "can't be read" in outcome.err
    (user / ".config/helix").write_text("a file")
    outcome = shell("editor", "helix")
    assert outcome.code == 1
    assert str(user / ".config/helix") in outcome.err

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    (user / ".config/kak").mkdir()
    (user / ".config/kak/kakrc").write_text("a")
    before = tree(user)
    monkeypatch.setattr(os, "fsync", full)
    outcome = shell("editor", "kakoune")
    assert outcome.code == 1
    assert "No space left" in outcome.err
    assert tree(user) == before


def test_a_file_that_somebody_else_has_just_changed_is_not_replaced(user: Path) -> None:
    file = user / FILES["nvim"]
    file.parent.mkdir(parents=True)
    file.write_text("a = 1\n")
    plan = setup.installing(EDITORS["nvim"])
    file.write_text("a = 2\n")
    with pytest.raises(SettingsError, match="just been changed"):
        plan.apply()
    assert tree(user) == {FILES["nvim"]: b"a = 2\n"}


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("viim", "did you mean 'vim'"),
        ("helxi", "did you mean 'helix'"),
        ("ed", "there is no editor 'ed'"),
        ("", "known are vscode"),
    ],
)
def test_an_unknown_name_is_guessed(shell: Shell, name: str, says: str) -> None:
    outcome = shell("editor", name)
    assert outcome.code == 2
    assert says in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--remove",),
        ("--dry-run",),
        ("vim", "--print", "--remove"),
        ("vim", "--vsix", __file__),
        ("vscode", "--vsix", "missing.vsix"),
    ],
)
def test_options_that_make_no_sense_are_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    outcome = shell("editor", *arguments)
    assert outcome.code == 2


def test_other_names_of_editors_are_known(shell: Shell, user: Path) -> None:
    assert str(user / FILES["nvim"]) in shell("editor", "NeoVim").out
    assert str(user / FILES["helix"]) in shell("editor", "hx").out


# --- places -----------------------------------------------------------------------------------


def test_xdg_config_home_is_heeded_if_it_is_absolute(
    shell: Shell, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    shell("editor", "helix")
    assert (tmp_path / "xdg/helix/languages.toml").exists()
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    shell("editor", "helix")
    assert list(tree(user)) == [FILES["helix"]]


@pytest.mark.parametrize(
    ("there", "name", "chosen"),
    [
        (".config/nvim/init.vim", "nvim", ".config/nvim/init.vim"),
        (".vimrc", "vim", ".vimrc"),
        (".config/vim/vimrc", "vim", ".config/vim/vimrc"),
        (".emacs", "emacs", ".emacs"),
        (".config/emacs/early-init.el", "emacs", ".config/emacs/init.el"),
    ],
)
def test_the_file_that_the_editor_reads_is_chosen(
    shell: Shell, user: Path, there: str, name: str, chosen: str
) -> None:
    file = user / there
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n")
    shell("editor", name)
    assert str(places.plugin(name)) in (user / chosen).read_text()
    shell("editor", name, "--remove")
    assert tree(user) == {there: b"\n"}


@pytest.mark.parametrize(
    ("system", "name", "place"),
    [
        ("darwin", "sublime", "Library/Application Support/Sublime Text/Packages/User"),
        ("darwin", "zed", ".config/zed"),
        ("darwin", "kate", "Library/Application Support/kate/lspclient"),
        ("darwin", "helix", ".config/helix"),
        ("win32", "helix", "AppData/Roaming/helix"),
        ("win32", "nvim", "AppData/Local/nvim"),
        ("win32", "zed", "AppData/Roaming/Zed"),
        ("win32", "sublime", "AppData/Roaming/Sublime Text/Packages/User"),
        ("win32", "vim", ""),
    ],
)
def test_other_systems_have_other_places(
    user: Path, monkeypatch: pytest.MonkeyPatch, system: str, name: str, place: str
) -> None:
    for variable in ("APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", system)
    file = EDITORS[name].file
    assert file is not None
    assert file().parent == user / place


# --- what is written --------------------------------------------------------------------------


def test_a_server_that_is_not_on_path_is_written_with_its_path(
    shell: Shell, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FILES:
        shell("editor", name)
    (tmp_path / "bin/ingle-lsp").unlink()
    path = str(Path(sys.executable).with_name("ingle-lsp"))
    for name in FILES:
        outcome = shell("editor", name)
        assert "sets ingle up" in outcome.out, name
        assert path in (user / FILES[name]).read_text()
    rows = [json.loads(line) for line in shell("editor", "--json").out.splitlines()]
    assert {row["configured"] for row in rows if row["name"] in FILES} == {"yes"}
    for name in FILES:
        shell("editor", name, "--remove")
    assert not [file for file in tree(user) if not file.endswith(".ingle-backup")]


def test_helixs_languages_that_the_user_chose_are_left_to_the_user(
    shell: Shell, user: Path
) -> None:
    file = user / FILES["helix"]
    file.parent.mkdir(parents=True)
    file.write_text('[[language]]\nname = "python"\nlanguage-servers = ["mine"]\n')
    shell("editor", "helix")
    languages = tomllib.loads(file.read_text())["language"]
    servers = [entry["language-servers"] for entry in languages if entry["name"] == "python"]
    assert servers == [["mine"]]
    assert "rust" in {entry["name"] for entry in languages}


def test_a_byte_order_mark_stays(shell: Shell, user: Path) -> None:
    file = user / FILES["zed"]
    file.parent.mkdir(parents=True)
    own = b'\xef\xbb\xbf{"a": 1}'
    file.write_bytes(own)
    shell("editor", "zed")
    assert file.read_bytes().startswith(b'\xef\xbb\xbf{"a": 1, "lsp"')
    shell("editor", "zed", "--remove")
    assert file.read_bytes() == own


@pytest.mark.parametrize("name", FILES)
def test_print_changes_nothing(shell: Shell, user: Path, name: str) -> None:
    outcome = shell("editor", name, "--print")
    assert outcome.code == 0
    assert tree(user) == {}
    if name in ("nvim", "vim", "emacs"):
        assert str(places.plugin(name)) in outcome.out
    else:
        assert "ingle-lsp" in outcome.out


# --- the list, and editors without a file -----------------------------------------------------


def test_the_list_says_what_is_installed_and_configured(
    shell: Shell, user: Path, tmp_path: Path
) -> None:
    program(tmp_path / "bin", "hx", "exit 0")
    (user / ".config/zed").mkdir(parents=True)
    (user / ".vscode/extensions/ingle.ingle-0.1.0").mkdir(parents=True)
    shell("editor", "helix")
    rows = {row["name"]: row for row in map(json.loads, shell("editor", "--json").out.splitlines())}
    assert list(rows) == list(EDITORS)
    installed = {name for name, row in rows.items() if row["installed"]}
    assert {"helix", "zed"} <= installed
    assert not installed & {"nvim", "vim", "emacs", "kakoune", "vscode"}
    assert {name for name, row in rows.items() if row["configured"] == "yes"} == {
        "helix",
        "vscode",
    }
    lines = shell("editor").out.splitlines()
    assert lines[0].split() == ["NAME", "EDITOR", "INSTALLED", "INGLE", "FILE"]
    assert len(lines) == len(EDITORS) + 1


def test_vs_codes_extension_is_installed_by_its_own_program(
    shell: Shell, user: Path, tmp_path: Path
) -> None:
    package = tmp_path / "ingle.vsix"
    package.write_bytes(b"")
    log = tmp_path / "log"
    outcome = shell("editor", "vscode", "--vsix", str(package))
    assert f"--install-extension {package}" in outcome.out
    assert "was not found on PATH" in outcome.err
    program(tmp_path / "bin", "codium", f'echo "$@" >> {log}')
    outcome = shell("editor", "vscode", "--vsix", str(package), "--dry-run")
    assert not log.exists()
    assert "codium --install-extension" in outcome.out
    assert "has got" in shell("editor", "vscode", "--vsix", str(package)).out
    assert "has nothing of ingle" in shell("editor", "vscode", "--remove").out
    (user / ".vscode-oss/extensions/ingle.ingle-0.1.0").mkdir(parents=True)
    assert "has lost" in shell("editor", "vscode", "--remove").out
    assert log.read_text() == f"--install-extension {package}\n--uninstall-extension ingle.ingle\n"


def test_an_editor_that_refuses_the_extension_is_quoted(shell: Shell, tmp_path: Path) -> None:
    package = tmp_path / "ingle.vsix"
    package.write_bytes(b"")
    program(tmp_path / "bin", "code", "echo too old >&2; exit 1")
    outcome = shell("editor", "vscode", "--vsix", str(package))
    assert outcome.code == 1
    assert "failed: too old" in outcome.err


def test_without_a_package_it_is_said_how_to_get_one(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingled.cli.editor._built_package", lambda: None)
    program(tmp_path / "bin", "code", "exit 1")
    outcome = shell("editor", "vscode")
    assert outcome.code == 0
    assert "--vsix" in outcome.err
    assert "npm run package" in outcome.err


def test_jetbrains_template_is_printed_with_the_way_to_import_it(shell: Shell, user: Path) -> None:
    outcome = shell("editor", "jetbrains")
    assert str(places.plugin("jetbrains")) in outcome.out
    assert "Import from custom template" in outcome.out
    assert json.loads(shell("editor", "jetbrains", "--print").out)["id"] == "ingle"
    assert json.loads(shell("editor", "jetbrains", "--json").out)["name"] == "jetbrains"
    assert "has written nothing" in shell("editor", "jetbrains", "--remove").out
    assert tree(user) == {}


def test_every_way_of_setting_up_is_known() -> None:
    without_file = {name for name, editor in EDITORS.items() if not editor.file}
    assert all(isinstance(EDITORS[name].recipe, Extension | Template) for name in without_file)
