"""The VS Code extension without VS Code: its own tests, its checks, and what it must agree with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ingle.version import __version__
from ingle_lsp.extension import VERSION
from ingle_lsp.settings import TABLE, Settings, updated

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editor-plugins" / "vscode"
MANIFEST: dict[str, Any] = json.loads((PLUGIN / "package.json").read_text())
CONTRIBUTES: dict[str, Any] = MANIFEST["contributes"]
PROPERTIES: dict[str, dict[str, Any]] = CONTRIBUTES["configuration"]["properties"]

#: Settings that the server never hears of.
OWN = {"ingle.serverPath", "ingle.chat.showAnalysis", "ingle.defaultKeys"}

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (PLUGIN / "node_modules").exists(),
    reason="no node or no packages of the extension: tests/editors/install_vscode.sh installs them",
)


def npm(script: str) -> None:
    run = subprocess.run(
        ["npm", "run", "--silent", script], cwd=PLUGIN, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@needs_node
@pytest.mark.editor
@pytest.mark.slow
def test_its_own_tests() -> None:
    npm("test")


@needs_node
@pytest.mark.editor
@pytest.mark.slow
def test_types_lint_and_format() -> None:
    npm("check")


# --- what it must agree with -------------------------------------------------------------------


def test_versions() -> None:
    assert MANIFEST["version"] == __version__
    source = (PLUGIN / "src" / "protocol.ts").read_text()
    assert f"export const VERSION = {VERSION};" in source


def test_the_licence_is_the_projects() -> None:
    assert (PLUGIN / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_settings_are_the_servers() -> None:
    assert set(PROPERTIES) - OWN == {f"ingle.{setting.name}" for setting in TABLE}
    source = (PLUGIN / "src" / "settings.ts").read_text()
    own = re.search(r"const OWN = new Set\(\[(.*?)\]\)", source, re.DOTALL)
    assert own is not None
    assert {f"ingle.{name}" for name in re.findall(r'"([^"]+)"', own[1])} == OWN


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.name)
def test_a_setting_takes_what_the_server_takes(setting: Any) -> None:
    schema = PROPERTIES[f"ingle.{setting.name}"]
    assert schema.get("description") == setting.description
    default = getattr(Settings(), setting.attribute)
    assert schema["default"] == (sorted(default) if isinstance(default, frozenset) else default)

    def is_taken(value: Any) -> bool:
        return updated(Settings(), {"ingle": {setting.name: value}})[1] == []

    good = [schema["default"], *schema.get("enum", [])]
    bad: list[Any] = []
    for limit, beyond in (("minimum", -1), ("maximum", 1)):
        if limit in schema:
            good.append(schema[limit])
            bad.append(schema[limit] + beyond)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "boolean" in types:
        good += [True, False]
    if "array" in types:
        good.append(["~/x"])
        bad.append([1])
    if "string" in types:
        bad.append("neither of them")
    assert all(map(is_taken, good))
    assert not any(map(is_taken, bad))
    assert bad or types == ["boolean"]


def test_the_language_servers_page_has_its_messages() -> None:
    page = (ROOT / "lsp" / "README.md").read_text()
    source = (PLUGIN / "src" / "protocol.ts").read_text()
    names = re.findall(r'"(ingle[/.][A-Za-z/.]+)"', source)
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in page and f'"{name}"' not in page] == []


# --- the manifest ------------------------------------------------------------------------------


def test_commands_are_declared_and_registered() -> None:
    declared = {command["command"] for command in CONTRIBUTES["commands"]}
    registered = set(
        re.findall(r'^ {4}"(ingle\.[\w.]+)":', (PLUGIN / "src" / "extension.ts").read_text(), re.M)
    )
    # The palette has no use for these.
    assert registered - declared == {
        "ingle.edit",
        "ingle.nextCandidate",
        "ingle.openSettings",
        "ingle.previousCandidate",
        "ingle.refuseReadOnly",
        "ingle.showBeside",
    }
    assert declared - registered == set()
    menus = [entry for entries in CONTRIBUTES["menus"].values() for entry in entries]
    assert {entry["command"] for entry in menus if "command" in entry} <= declared


def test_every_key_can_be_switched_off_and_is_documented() -> None:
    page = (PLUGIN / "README.md").read_text()
    for binding in CONTRIBUTES["keybindings"]:
        assert binding["when"].startswith("config.ingle.defaultKeys && ")
        if "ingle.moreCandidates" in binding["when"]:
            # The editor's own key, where it would not ask us.
            assert f"`{binding['key'].title()}`" in page
            continue
        assert binding["mac"] == binding["key"].replace("alt+i", "ctrl+alt+i")
        prefix, letter = binding["key"].split()
        assert prefix == "alt+i"
        assert f"`Alt+I {letter.upper()}`" in page
        assert "terminalFocus" in binding["when"] or "editor" in binding["when"]


def test_every_setting_and_command_is_documented() -> None:
    page = (PLUGIN / "README.md").read_text()
    assert [name for name in PROPERTIES if f"`{name}`" not in page] == []
    titles = [command["title"] for command in CONTRIBUTES["commands"]]
    assert [title for title in titles if f"ingle: {title}" not in page] == []


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((PLUGIN / "package-lock.json").read_text())
    addresses = {package.get("resolved", "") for package in lock["packages"].values()}
    assert addresses == {""}
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_nothing_is_loaded_from_outside() -> None:
    """No address in what ships, but for links that only the user can follow."""
    for file in [*(PLUGIN / "src").rglob("*.ts"), *(PLUGIN / "media").glob("*.css")]:
        addresses = re.findall(r"https?://[^\s\"'`)]+", file.read_text())
        assert addresses == [], file
    page = (PLUGIN / "src" / "webviewHtml.ts").read_text()
    assert "default-src 'none'" in page
    assert "unsafe" not in page
    pages = "".join(file.read_text() for file in (PLUGIN / "src" / "webview").glob("*.ts"))
    assert (
        re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", pages) is None
    )
