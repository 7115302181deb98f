"""Start a daemon that outlives its starter: for `ingle up` and for editors that may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from . import paths

#: What the daemon prints before its own log is open: import errors, a wrong setting.
START_LOG = "ingled-start.log"


def start_log() -> Path:
    """File that holds the last start's standard error."""
    return paths.log_dir() / START_LOG


def start_daemon() -> subprocess.Popen[bytes]:
    """Spawn `python -m ingled`, detached from this process, its folder and its terminal.

    Returns at once; the daemon is ready when `find_endpoint` finds it.
    """
    paths.log_dir().mkdir(parents=True, exist_ok=True)
    with start_log().open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ingled"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path.home() if Path.home().is_dir() else None,
            start_new_session=True,
        )
