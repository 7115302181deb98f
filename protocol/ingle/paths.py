"""Where ingle keeps its files, by the platform's own conventions (platformdirs).

`INGLE_HOME`, when set, puts all of them under one folder: for tests, demos and portable set-ups.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

#: `sockaddr_un.sun_path` has 108 bytes on Linux and 104 on macOS, with the final NUL.
MAX_IPC_PATH = 103
SOCKET_NAME = "ingled.sock"
#: The longest name of a socket in the runtime folder: a worker's.
LONGEST_SOCKET_NAME = "worker-999999.sock"


def _home() -> Path | None:
    home = os.environ.get("INGLE_HOME")
    return Path(home).expanduser().absolute() if home else None


def config_dir() -> Path:
    """Folder of `config.toml`."""
    return _under("config") or _platform("user_config_path")


def data_dir() -> Path:
    """Folder of the model store."""
    return _under("data") or _platform("user_data_path")


def cache_dir() -> Path:
    """Folder of derived files that may be deleted at any time."""
    return _under("cache") or _platform("user_cache_path")


def log_dir() -> Path:
    """Folder of the daemon's log."""
    return _under("log") or _platform("user_log_path")


def runtime_dir() -> Path:
    """Folder of sockets, lock and connection file; the user's alone (0700).

    A home too deep for a socket's path gets a folder of its own under the temporary folder.
    """
    folder = _under("run")
    if folder is None:
        xdg = os.environ.get("XDG_RUNTIME_DIR")
        folder = Path(xdg) / "ingle" if xdg else None
    if folder is None or len(os.fsencode(folder / LONGEST_SOCKET_NAME)) > MAX_IPC_PATH:
        mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12] if folder else "default"
        folder = _temporary() / f"ingle-{_user()}" / mark
    return folder


def private_dir(folder: Path) -> Path:
    """Create `folder` with mode 0700; refuses one that belongs to somebody else."""
    from .errors import LocalError

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform != "win32":
        for owned in (
            (folder, folder.parent) if folder.parent.name.startswith("ingle-") else (folder,)
        ):
            facts = owned.lstat()
            if facts.st_uid != os.getuid() or owned.is_symlink():
                raise LocalError(f"{owned} belongs to another user: remove it or set INGLE_HOME")
            if facts.st_mode & 0o077:
                owned.chmod(0o700)
    return folder


def _under(name: str) -> Path | None:
    home = _home()
    return home / name if home else None


def _platform(name: str) -> Path:
    import platformdirs

    # Windows would add the author's name as a second folder.
    return Path(getattr(platformdirs.PlatformDirs("ingle", appauthor=False), name))


def _temporary() -> Path:
    import tempfile

    return Path(tempfile.gettempdir())


def _user() -> str:
    return str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "user")
