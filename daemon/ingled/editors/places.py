"""Where things are on this machine: editors' configuration, their programs, ingle-lsp, the plugins.

Only asks the environment and the disk; writes nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ingle.errors import SettingsError


def home() -> Path:
    """The user's home folder."""
    return Path.home()


def config_home() -> Path:
    """`XDG_CONFIG_HOME` if it is absolute, else `~/.config`: what programs for a terminal use."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(folder) if Path(folder).is_absolute() else home() / ".config"


def roaming() -> Path:
    """Windows' folder for settings."""
    folder = os.environ.get("APPDATA")
    return Path(folder) if folder else home() / "AppData" / "Roaming"


def local() -> Path:
    """Windows' folder for data that stays on the machine."""
    folder = os.environ.get("LOCALAPPDATA")
    return Path(folder) if folder else home() / "AppData" / "Local"


def support() -> Path:
    """macOS's folder for settings of programs with windows."""
    return home() / "Library" / "Application Support"


def program(names: tuple[str, ...]) -> str | None:
    """The first of these programs on PATH, as a path."""
    return next((found for name in names if (found := shutil.which(name))), None)


def language_server() -> str:
    """How an editor starts ingle-lsp: by its name, or by its path where it would not find it.

    One in an activated virtual environment is on this shell's PATH, not on the editor's.
    """
    name = "ingle-lsp"
    found = shutil.which(name)
    own = Path(sys.executable).with_name("ingle-lsp.exe" if sys.platform == "win32" else name)
    in_environment = sys.prefix != sys.base_prefix and found and Path(found) == own
    if found and not in_environment:
        return name
    return str(own) if own.exists() else name


def plugin(name: str) -> Path:
    """The folder of an editor's plugin or files: in the wheel, or in a checkout.

    Raises `SettingsError` if this installation lacks it.
    """
    here = Path(__file__).parent
    for folder in (here / "plugins" / name, here.parents[2] / "editor-plugins" / name):
        if folder.is_dir():
            return folder
    raise SettingsError(f"this installation lacks its files for {name}: install ingle again")
