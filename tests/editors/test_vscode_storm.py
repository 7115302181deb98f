"""Two thousand random edits in a real VS Code with suggestions on: the text is what was typed.

The edits are made inside of the editor, by its own commands: `test/host/storm.ts` of the extension,
which compares the document after each with what a model of a few lines expects. What is drawn
afterwards, and what the language server has, is looked at from here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from support.code_server import PLUGIN, missing
from support.lsp_mirror import mirrored
from support.lsp_proxy import recorded
from support.vscode_window import a_stage
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

EDITS = 2000
SCRIPT = "a + b"
#: What the editor would add to what is typed, or take away with it, by itself.
PLAIN: dict[str, Any] = {
    "editor.autoIndent": "none",
    "editor.autoSurround": "never",
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.suggestOnTriggerCharacters": False,
    "editor.trimAutoWhitespace": False,
    "editor.useTabStops": False,
    "ingle.minConfidence": 0,
}


def test_two_thousand_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["node", "esbuild.mjs", "--tests"], cwd=PLUGIN, check=True, capture_output=True)
    plan, result = tmp_path / "plan.json", tmp_path / "result.json"
    # The editor's extension host reads it.
    monkeypatch.setenv("INGLE_STORM", str(plan))
    with a_stage(SCRIPT, load=False, **PLAIN) as stage:
        window = stage.window
        file = window.server.workspace / "storm.py"
        file.write_text("def f():\n    pass\n")
        plan.write_text(
            json.dumps(
                {
                    "file": str(file),
                    "result": str(result),
                    "seed": 1,
                    "edits": EDITS,
                    "script": SCRIPT,
                }
            )
        )
        remote = f"vscode-remote://{urlsplit(window.server.url).netloc}"
        window.load(
            [
                ("extensionDevelopmentPath", f"{remote}{window.server.extension}"),
                ("extensionTestsPath", f"{remote}{PLUGIN / 'out' / 'host' / 'storm.js'}"),
            ]
        )
        window.page.locator(".monaco-editor.focused").wait_for()
        wait_until(
            lambda: (window.page.wait_for_timeout(100), result.exists())[1],
            timeout=300,
            what="the end of the storm",
        )
        found = json.loads(result.read_text())
        assert "problem" not in found, difference(found)
        assert found["accepted"] > 20
        # One suggestion is drawn, where the cursor is, and nothing of an older one.
        window.wait_ghost(SCRIPT)
        assert window.lines[-1] == f"x = {SCRIPT}"
        window.press("Escape")
        window.wait_ghost("")
        window.save()
        assert file.read_text() == found["text"]
        wait_until(
            lambda: mirrored(recorded(stage.record), "utf-16")[file.as_uri()] == found["text"],
            what="the same text in the language server",
        )
        assert window.told == []
        stage.check()
        result.unlink()


def difference(found: dict[str, Any]) -> str:
    """What went wrong, and what was done right before."""
    if "expected" not in found:
        return str(found["problem"])
    expected, real = found["expected"], found["found"]
    at = next((at for at, one in enumerate(expected) if real[at : at + 1] != one), len(expected))
    near = slice(max(0, at - 20), at + 20)
    return f"{found['problem']}: {expected[near]!r} was {real[near]!r} after {found['done']}"
