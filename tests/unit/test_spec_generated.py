"""The tables of SPEC.md are those that the code makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROTOCOL = Path(__file__).parents[2] / "protocol"
SCRIPT = PROTOCOL / "generate_spec.py"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script beside a SPEC.md that may be spoiled."""
    for name in ("generate_spec.py", "SPEC.md"):
        (tmp_path / name).write_bytes((PROTOCOL / name).read_bytes())
    return tmp_path


def test_spec_is_up_to_date() -> None:
    checked = run(SCRIPT, "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_check_names_the_table_that_differs_and_writing_mends_it(copy: Path) -> None:
    spec = copy / "SPEC.md"
    good = spec.read_text(encoding="utf-8")
    spoiled = good.replace("| `busy` | queue full", "| `busy` | queue empty")
    assert spoiled != good
    spec.write_text(spoiled, encoding="utf-8")

    checked = run(copy / "generate_spec.py", "--check")
    assert checked.returncode == 1
    assert checked.stderr.startswith("SPEC.md: errors differ")
    assert spec.read_text(encoding="utf-8") == spoiled

    assert run(copy / "generate_spec.py").returncode == 0
    assert spec.read_text(encoding="utf-8") == good


def test_a_missing_table_is_an_error(copy: Path) -> None:
    spec = copy / "SPEC.md"
    text = spec.read_text(encoding="utf-8")
    spec.write_text(text.replace("<!-- generated: errors -->", ""), encoding="utf-8")
    checked = run(copy / "generate_spec.py", "--check")
    assert checked.returncode != 0
    assert "errors" in checked.stderr


def test_a_wrong_argument_is_a_usage_error(copy: Path) -> None:
    assert run(copy / "generate_spec.py", "--chekc").returncode == 2
