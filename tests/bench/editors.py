"""What the plugins cost in real editors: from a key to its ghost text, and at the start.

An editor that is not installed is left out, and it is said so: `make editors` installs them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from support import code_server, nvim, vim

from . import editor_emacs, editor_nvim, editor_vim, editor_vscode
from .figures import Figure, Result
from .stage import Stage


@dataclass(frozen=True, kw_only=True)
class Editor:
    """An editor that is measured, and the targets in milliseconds; Emacs has none."""

    name: str
    #: What its figures' names begin with.
    figure: str
    is_installed: Callable[[], bool]
    key_to_ghost: Callable[[int], list[float]]
    start_up: Callable[[int], list[float]]
    ghost_at_most: float | None = None
    start_at_most: float | None = None


EDITORS = (
    Editor(
        name="Neovim",
        figure="editors.neovim",
        is_installed=lambda: bool(nvim.installed()),
        key_to_ghost=editor_nvim.key_to_ghost,
        start_up=editor_nvim.start_up,
        ghost_at_most=30.0,
        start_at_most=5.0,
    ),
    Editor(
        name="Vim",
        figure="editors.vim",
        is_installed=lambda: vim.program() is not None,
        key_to_ghost=editor_vim.key_to_ghost,
        start_up=editor_vim.start_up,
        ghost_at_most=30.0,
    ),
    Editor(
        name="Emacs",
        figure="editors.emacs",
        is_installed=lambda: shutil.which("emacs") is not None,
        key_to_ghost=editor_emacs.key_to_ghost,
        start_up=editor_emacs.start_up,
    ),
    Editor(
        name="VS Code",
        figure="editors.vscode",
        is_installed=lambda: code_server.missing() is None,
        key_to_ghost=editor_vscode.key_to_ghost,
        start_up=editor_vscode.start_up,
        ghost_at_most=60.0,
        start_at_most=50.0,
    ),
)


def measure(stage: Stage) -> list[Result]:
    """One editor after the other, each with a daemon of its own."""
    found: list[Result] = []
    for editor in EDITORS:
        if not editor.is_installed():
            print(f"{editor.name} is not installed: left out", file=sys.stderr)
            continue
        found += [
            Figure(
                name=f"{editor.figure}.key_to_ghost",
                what=f"{editor.name}: key to ghost text on the screen, without engine and pauses",
                unit="ms",
                samples=editor.key_to_ghost(stage.sizes.editor_keys),
                at_most=editor.ghost_at_most,
            ),
            Figure(
                name=f"{editor.figure}.start",
                what=f"{editor.name}: what the plugin adds to the start",
                unit="ms",
                samples=editor.start_up(stage.sizes.editor_starts),
                at_most=editor.start_at_most,
            ),
        ]
    return found
