"""The README's tour is what really happens: each command is run, each line compared.

Numbers differ from machine to machine and so does what a model says; the rest must be the same.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def tour() -> list[tuple[str, str]]:
    """Commands and their printed output."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## A 30-second tour") :]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block
    found: list[tuple[str, str]] = []
    for line in block.group(1).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            command, output = found[-1]
            found[-1] = (command, output + line + "\n")
    return found


def shape(text: str) -> str:
    """A text without its numbers and without runs of spaces."""
    return re.sub(r"[ \t]+", " ", re.sub(r"\d+([.,]\d+)?", "#", text)).strip()


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"INGLE_HOME": str(home), "PATH": path}


def test_the_tour(home: Path) -> None:
    steps = tour()
    assert len(steps) >= 7
    try:
        for command, printed in steps:
            result = subprocess.run(
                ["bash", "-c", command],
                cwd=ROOT,
                env=environment(home),
                capture_output=True,
                text=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
            )
            assert result.returncode == 0, f"{command}: {result.stderr}"
            if "ingle ask" in command:
                assert result.stdout.strip(), command
            else:
                assert shape(result.stdout) == shape(printed), command
    finally:
        subprocess.run(["ingle", "down"], env=environment(home), capture_output=True)


def test_the_script(home: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block
    run = {"env": environment(home), "capture_output": True, "text": True, "timeout": 120}
    for command in (["ingle", "pull", "smollm2-135m"], ["ingle", "up"]):
        assert subprocess.run(command, **run).returncode == 0  # type: ignore[call-overload]
    try:
        result = subprocess.run([sys.executable, "-c", block.group(1)], **run)  # type: ignore[call-overload]
        assert result.returncode == 0, result.stderr
        assert result.stdout.rstrip().endswith("a + b")
    finally:
        subprocess.run(["ingle", "down"], **run)  # type: ignore[call-overload]


def test_every_linked_file_is_there() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "daemon/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"
