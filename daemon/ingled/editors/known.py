"""The editors that `ingle editor` knows: their programs, their files, what goes into them.

One table, `EDITORS`. The configuration itself is in `editor-plugins/`; nothing is written here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import helix_languages, places


@dataclass(frozen=True)
class Block:
    """Lines between two markers. `body` gets the file's text without them, and its path."""

    #: What begins a comment; Vim script has its own, also in Neovim.
    comment_sign: str
    body: Callable[[str, Path], str]
    #: What a line that sets up ingle by hand has in it.
    by_hand: str
    #: Raises `ValueError` for a text that the editor could not read.
    check: Callable[[str], None] | None = None

    def comment(self, path: Path) -> str:
        """What begins a comment in the file `path`."""
        return '"' if path.suffix == ".vim" else self.comment_sign


@dataclass(frozen=True)
class Member:
    """One member of a JSON file, and the file in `editor-plugins/` that has it."""

    path: tuple[str, ...]
    source: str
    comments: bool


@dataclass(frozen=True)
class Extension:
    """A package that the editor's own program installs, and the folders that it lands in."""

    folders: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """Files that the user imports in the editor."""

    how: str


@dataclass(frozen=True)
class Editor:
    """An editor. `file` is None where ingle writes none itself."""

    name: str
    title: str
    programs: tuple[str, ...]
    recipe: Block | Member | Extension | Template
    file: Callable[[], Path] | None = None
    #: What the user has to do besides, a line each.
    notes: tuple[str, ...] = ()
    #: Folders that tell that the editor is there, though no program is on PATH.
    traces: Callable[[], tuple[Path, ...]] = field(default=lambda: ())

    def program(self) -> str | None:
        """Its program on PATH."""
        return places.program(self.programs)

    def is_installed(self) -> bool:
        """Whether it seems to be on this machine."""
        return self.program() is not None or any(folder.exists() for folder in self.traces())


def member_value(editor: Editor, recipe: Member) -> Any:
    """What `recipe` puts into the editor's file, with the command that starts ingle-lsp here."""
    value = json.loads((places.plugin(editor.name) / recipe.source).read_text(encoding="utf-8"))
    for key in recipe.path:
        value = value[key]
    return with_command(value, places.language_server())


def with_command(value: Any, command: str) -> Any:
    """`value` with `command` where the program ingle-lsp is named, by itself or by its path."""
    if isinstance(value, dict):
        return {key: with_command(item, command) for key, item in value.items()}
    if isinstance(value, list):
        return [with_command(item, command) for item in value]
    named = isinstance(value, str) and re.split(r"[/\\]", value)[-1]
    return command if named in ("ingle-lsp", "ingle-lsp.exe") else value


# --- files ------------------------------------------------------------------------------------


def _first(*candidates: Path) -> Path:
    """The first that exists, else the last."""
    return next((path for path in candidates if path.exists()), candidates[-1])


def _nvim() -> Path:
    folder = places.local() if sys.platform == "win32" else places.config_home()
    lua = folder / "nvim" / "init.lua"
    return _first(lua, folder / "nvim" / "init.vim", lua)


def _vim() -> Path:
    home = places.home()
    if sys.platform == "win32":
        return _first(home / "_vimrc", home / "vimfiles" / "vimrc", home / "_vimrc")
    own = home / ".vim" / "vimrc"
    return _first(home / ".vimrc", own, places.config_home() / "vim" / "vimrc", own)


def _emacs() -> Path:
    home = places.roaming() if sys.platform == "win32" else places.home()
    old, new = home / ".emacs.d" / "init.el", places.config_home() / "emacs" / "init.el"
    default = new if new.parent.exists() and not old.parent.exists() else old
    return _first(home / ".emacs.el", home / ".emacs", default)


def _helix() -> Path:
    folder = places.roaming() if sys.platform == "win32" else places.config_home()
    return folder / "helix" / "languages.toml"


def _kakoune() -> Path:
    return places.config_home() / "kak" / "kakrc"


def _sublime() -> Path:
    if sys.platform == "darwin":
        folder = places.support() / "Sublime Text"
    elif sys.platform == "win32":
        folder = places.roaming() / "Sublime Text"
    else:
        folder = places.config_home() / "sublime-text"
    return folder / "Packages" / "User" / "LSP.sublime-settings"


def _zed() -> Path:
    if sys.platform == "win32":
        return places.roaming() / "Zed" / "settings.json"
    # On macOS it ignores XDG_CONFIG_HOME.
    folder = places.home() / ".config" if sys.platform == "darwin" else places.config_home()
    return folder / "zed" / "settings.json"


def _kate() -> Path:
    if sys.platform == "win32":
        folder = places.local()
    elif sys.platform == "darwin":
        folder = places.support()
    else:
        folder = places.config_home()
    return folder / "kate" / "lspclient" / "settings.json"


# --- blocks -----------------------------------------------------------------------------------


def _nvim_body(_text: str, path: Path) -> str:
    command = places.language_server()
    if path.suffix == ".vim":
        lines = [_vim_runtimepath("nvim")]
        if command != "ingle-lsp":
            lines.append(f"lua require('ingle').setup({{ cmd = {{ {_quoted(command)} }} }})")
        return "\n".join(lines)
    lines = [f"vim.opt.runtimepath:append({_quoted(_comma(places.plugin('nvim')))})"]
    if command != "ingle-lsp":
        lines += [
            "do",
            "  local found, ingle = pcall(require, 'ingle')",
            f"  if found then ingle.setup({{ cmd = {{ {_quoted(command)} }} }}) end",
            "end",
        ]
    return "\n".join(lines)


def _vim_body(_text: str, _path: Path) -> str:
    command = places.language_server()
    lines = [_vim_runtimepath("vim")]
    if command != "ingle-lsp":
        lines += [
            "let g:ingle = get(g:, 'ingle', {})",
            f"let g:ingle.cmd = [{_vim_text(command)}]",
        ]
    return "\n".join(lines)


def _vim_runtimepath(name: str) -> str:
    return f"let &runtimepath .= ',' . {_vim_text(_comma(places.plugin(name)))}"


def _emacs_body(_text: str, _path: Path) -> str:
    command = places.language_server()
    lines = [f"(add-to-list 'load-path {_quoted(places.plugin('emacs').as_posix())})"]
    lines.append("(when (require 'ingle nil t)")
    if command != "ingle-lsp":
        lines.append(f"  (setq ingle-lsp-command (list {_quoted(command)}))")
    lines.append("  (global-ingle-mode 1))")
    return "\n".join(lines)


def _kakoune_body(_text: str, _path: Path) -> str:
    script = (places.plugin("kakoune") / "ingle.kak").read_text(encoding="utf-8")
    return script.replace('"ingle-lsp"', _quoted(places.language_server()))


def _comma(folder: Path) -> str:
    """A folder in 'runtimepath', where a comma separates folders."""
    return folder.as_posix().replace(",", "\\,")


def _quoted(text: str) -> str:
    """In double quotes with backslashes: the same in Lua, Emacs Lisp and TOML."""
    return json.dumps(text, ensure_ascii=False)


def _vim_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# --- the table --------------------------------------------------------------------------------

_GHOSTLESS = "suggestions come as entries of the completion menu; chat is in `ingle ask --thread`"

EDITORS = {
    editor.name: editor
    for editor in (
        Editor(
            "vscode",
            "VS Code",
            ("code", "codium", "code-server"),
            Extension((".vscode", ".vscode-oss", ".local/share/code-server")),
        ),
        Editor("codium", "VSCodium", ("codium",), Extension((".vscode-oss",))),
        Editor(
            "code-server", "code-server", ("code-server",), Extension((".local/share/code-server",))
        ),
        Editor(
            "nvim",
            "Neovim",
            ("nvim",),
            Block("--", _nvim_body, r"editor-plugins/nvim|require\W+ingle\b|['\"]ingle-lsp['\"]"),
            _nvim,
            ("`:checkhealth ingle` says what is missing",),
        ),
        Editor(
            "vim",
            "Vim",
            ("vim", "gvim"),
            Block('"', _vim_body, r"editor-plugins/vim|['\"]ingle-lsp['\"]"),
            _vim,
            ("`:Ingle health` says what is missing",),
        ),
        Editor(
            "emacs",
            "Emacs",
            ("emacs",),
            Block(";;", _emacs_body, r"global-ingle-mode|editor-plugins/emacs|\"ingle-lsp\""),
            _emacs,
            ("`M-x ingle-doctor` says what is missing",),
        ),
        Editor(
            "helix",
            "Helix",
            ("hx", "helix"),
            Block("#", helix_languages.body, r"ingle-lsp", helix_languages.check),
            _helix,
            (_GHOSTLESS,),
        ),
        Editor(
            "kakoune",
            "Kakoune",
            ("kak",),
            Block("#", _kakoune_body, r"ingle-lsp"),
            _kakoune,
            ("needs kakoune-lsp 18 or newer, loaded above this block", _GHOSTLESS),
        ),
        Editor(
            "sublime",
            "Sublime Text",
            ("subl", "sublime_text"),
            Member(("clients", "ingle"), "LSP.sublime-settings", True),
            _sublime,
            ("needs the package LSP", _GHOSTLESS),
            traces=lambda: (_sublime().parents[2],),
        ),
        Editor(
            "zed",
            "Zed",
            ("zed", "zeditor", "zed-editor"),
            Member(("lsp", "ingle"), "settings.json", True),
            _zed,
            ("then, in Zed: `zed: install dev extension`, and choose the folder {plugin}",),
            traces=lambda: (_zed().parent,),
        ),
        Editor(
            "kate",
            "Kate",
            ("kate", "kwrite"),
            Member(("servers", "ingle"), "settings.json", False),
            _kate,
            ("where Kate runs one server a file, ingle takes the other's place: see the page",),
            traces=lambda: (_kate().parents[1],),
        ),
        Editor(
            "jetbrains",
            "JetBrains IDEs (LSP4IJ)",
            ("idea", "pycharm", "goland", "clion", "webstorm", "rustrover"),
            Template(
                "in the IDE, with the plugin LSP4IJ: Settings, Languages & Frameworks, Language "
                "Servers, +, Template, Import from custom template, and choose the folder {plugin}"
            ),
        ),
    )
}
ALIASES = {"neovim": "nvim", "code": "vscode", "hx": "helix", "kak": "kakoune", "subl": "sublime"}
