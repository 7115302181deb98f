"""`make demo` as a newcomer runs it: a clean folder, nothing but Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


def checkout(folder: Path) -> Path:
    """The files that git knows or would add, nothing that was built here."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def make(folder: Path, target: str) -> tuple[str, float]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("INGLE_", "VIRTUAL_ENV", "PYTHON"))
    }
    started = time.monotonic()
    result = subprocess.run(
        ["make", target],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr, time.monotonic() - started


def test_make_demo_on_a_fresh_machine_and_again(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "ingle with a space")
    output, _ = make(folder, "demo")
    steps = ["pulling", "starting the daemon", "is resident", "ingle status", "ingle ask", "done:"]
    places = [output.index(step) for step in steps]
    assert places == sorted(places)
    assert "return fibonacci(n - 1) + \033[2mfibonacci(n - 2)" in output
    assert "The sky is blue" in output
    assert "Traceback" not in output
    again, seconds = make(folder, "demo")
    assert "installing" not in again
    assert "downloading" not in again
    assert seconds < 60, "the second run reuses everything"
