"""Start-up cost: what the commands people wait for don't import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Each costs tens of milliseconds, or belongs to another process.
NEVER = {
    "asyncio",
    "huggingface_hub",
    "ingled.models",
    "ingled.settings",
    "jinja2",
    "openai_harmony",
    "platformdirs",
    "pygls",
    "rich",
    "tomllib",
    "torch",
    "watchfiles",
    "xllamacpp",
}

SCRIPT = """
import sys
from ingled.cli.main import run
code = run(sys.argv[1:])
sys.stdout.flush()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def loaded_modules(home: Path, *arguments: str) -> tuple[int, set[str]]:
    """Exit code, and the modules that a command has loaded at its end."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={"INGLE_HOME": str(home), "PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.returncode, set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [("ask", "hello"), ("ask", "--thread", "a", "hello"), ("status",), ("status", "--json")],
)
def test_commands_people_wait_for_import_little(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    # Without a daemon the client is imported, too, and then there is nothing to talk to.
    code, loaded = loaded_modules(tmp_path, *arguments)
    assert code == 3
    assert "ingle.blocking_client" in loaded
    assert loaded & NEVER == set()
    assert ("ingle.threads" in loaded) == ("--thread" in arguments)


def test_threads_need_no_daemon_and_import_little(tmp_path: Path) -> None:
    code, loaded = loaded_modules(tmp_path, "threads")
    assert code == 0
    assert loaded & NEVER == set()
    assert "zmq" not in loaded


def test_help_imports_no_command(tmp_path: Path) -> None:
    code, loaded = loaded_modules(tmp_path, "--help")
    assert code == 0
    assert {name for name in loaded if name.startswith("ingled.")} == {
        "ingled.cli",
        "ingled.cli.exit_codes",
        "ingled.cli.main",
    }
    assert "zmq" not in loaded


def test_editors_are_set_up_without_a_daemon_and_imports_of_it(tmp_path: Path) -> None:
    code, loaded = loaded_modules(tmp_path, "editor", "jetbrains")
    assert code == 0
    assert loaded & (NEVER - {"tomllib"}) == set()
    assert "zmq" not in loaded
