"""Git, run for what it prints. Blocks; for threads.

Owns how it is run: no program of a repository's configuration, no pager, bounded output and time.
Which questions it is asked is somebody else's affair.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from pathlib import Path

#: Seconds that one run may take.
TIMEOUT = 10.0

#: A repository's own configuration must not run a program here, nor colour anything.
_OPTIONS = (
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=false",
    "-c",
    "color.ui=never",
)


class GitFailed(Exception):
    """One line for the user: git is missing, or what it says itself."""


def run_git(folder: Path, *arguments: str, limit: int, timeout: float = TIMEOUT) -> bytes:
    """The first `limit` bytes that git prints in a folder. Raises `GitFailed`."""
    # An editor that git itself has started has GIT_DIR and others set, for another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Complaints go to a file: nobody would read a pipe while git prints.
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                ["git", *_OPTIONS, *arguments],
                cwd=folder,
                env=environment | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        except FileNotFoundError as error:
            missing = "git is not installed" if folder.is_dir() else "there is no such folder"
            raise GitFailed(missing) from error
        except OSError as error:
            raise GitFailed(f"git could not be run: {error.strerror}") from error
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout, end)
        timer.daemon = True
        timer.start()
        with process:
            assert process.stdout is not None
            printed = process.stdout.read(limit + 1)
            if len(printed) > limit:
                process.kill()
            process.wait()
        timer.cancel()
        if late.is_set():
            raise GitFailed(f"git took longer than {timeout:g} seconds")
        if process.returncode and len(printed) <= limit:
            complaints.seek(0)
            raise GitFailed(_said(complaints.read(4096)))
    return printed[:limit]


def _said(complaint: bytes) -> str:
    lines = complaint.decode(errors="replace").strip().splitlines()
    first = lines[0].removeprefix("fatal: ").removeprefix("error: ") if lines else "no reason given"
    return f"git failed: {first[:200]}"
