"""VS Code in tests: code-server with our packed extension, in a home of its own.

Owns the server's process and its files; `vscode_window` is what a person sees of it.
`tests/editors/install_vscode.sh` installs what is needed; `missing` says what is not there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingle.version import __version__
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editor-plugins" / "vscode"
PACKED = PLUGIN / "ingle.vsix"
ENTRY = ROOT / ".editors" / "vscode" / "node_modules" / "code-server" / "out" / "node" / "entry.js"
#: Longest wait for anything in the window, in seconds.
PATIENCE = 30.0

#: What would come between a test and what it looks at.
QUIET: dict[str, Any] = {
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.welcomePage.walkthroughs.openOnInstall": False,
    "window.dialogStyle": "custom",
    "window.commandCenter": False,
    "telemetry.telemetryLevel": "off",
    "extensions.autoCheckUpdates": False,
    "extensions.autoUpdate": False,
    "extensions.ignoreRecommendations": True,
    "git.openRepositoryInParentFolders": "never",
    "editor.minimap.enabled": False,
    "editor.wordBasedSuggestions": "off",
    "editor.autoClosingBrackets": "never",
    "editor.autoClosingQuotes": "never",
    "editor.renderWhitespace": "none",
    "editor.cursorBlinking": "solid",
    "files.hotExit": "off",
    "files.autoSave": "off",
    # Everything at once, as far as a test can help it.
    "ingle.debounceMs": 0,
    "ingle.deadlineMs": 20_000,
}

#: Settings of a machine, which VS Code keeps apart from the user's.
_OF_THE_MACHINE = ("ingle.serverPath", "workbench.welcomePage.walkthroughs.openOnInstall")

_LISTENS = re.compile(r"HTTP server listening on (http://\S+?)/?$")


def missing() -> str | None:
    """Why VS Code can't be tested here; None if it can."""
    if shutil.which("node") is None:
        return "node is not installed: tests/editors/install_vscode.sh installs it"
    if chromium() is None:
        return "chromium is not installed: tests/editors/install_vscode.sh installs it"
    if not ENTRY.exists() or not (PLUGIN / "node_modules").exists():
        return "code-server is not installed: tests/editors/install_vscode.sh installs it"
    return None


def chromium() -> str | None:
    """The browser."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def packed_extension() -> Path:
    """The .vsix of the sources as they are now; packed again if they are newer than it."""
    sources = [PLUGIN / name for name in ("package.json", "README.md", "esbuild.mjs")]
    for folder in ("src", "media", "walkthrough"):
        sources += [file for file in (PLUGIN / folder).rglob("*") if file.is_file()]
    newest = max(file.stat().st_mtime for file in sources if file.exists())
    if not PACKED.exists() or PACKED.stat().st_mtime < newest:
        subprocess.run(
            ["npm", "run", "--silent", "package"], cwd=PLUGIN, check=True, capture_output=True
        )
    return PACKED


class CodeServer:
    """A running code-server with a home of its own; `folder` is new."""

    def __init__(self, folder: Path, env: Mapping[str, str], path: str, **settings: Any) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        self.workspace.mkdir(parents=True)
        self._write_settings(QUIET | settings)
        #: Our extension, unpacked.
        self.extension = folder / "extensions" / f"ingle.ingle-{__version__}"
        with zipfile.ZipFile(packed_extension()) as archive:
            for name in archive.namelist():
                if name.startswith("extension/"):
                    archive.extract(name, folder / "unpacked")
        self.extension.parent.mkdir()
        (folder / "unpacked" / "extension").rename(self.extension)
        # Nothing of the user's, who runs the tests, is read or written.
        kept = {
            name: value for name, value in env.items() if not name.startswith(("XDG_", "VSCODE_"))
        }
        # As if started from a shell: else it starts one to learn the environment, PATH included.
        own = {"HOME": str(folder / "home"), "PATH": path, "VSCODE_CLI": "1"}
        self._env = kept | own
        (folder / "home").mkdir()
        self._log = folder / "code-server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def configure_folder(self, **settings: Any) -> None:
        """Give the open folder settings of its own, which it follows at once; no others stay."""
        file = self.workspace / ".vscode" / "settings.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(settings, indent=2))

    def configure_machine(self, **settings: Any) -> None:
        """Give the machine other settings, which are followed at once; no others stay."""
        self._machine.write_text(json.dumps(settings, indent=2))

    @property
    def _machine(self) -> Path:
        return self.folder / "data" / "Machine" / "settings.json"

    def _write_settings(self, settings: dict[str, Any]) -> None:
        machine = {name: settings.pop(name) for name in _OF_THE_MACHINE if name in settings}
        for folder, values in (("User", settings), ("Machine", machine)):
            file = self.folder / "data" / folder / "settings.json"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(values, indent=2))

    def start(self) -> None:
        """Start it; wait until it listens."""
        arguments = {
            "--auth": "none",
            "--bind-addr": "127.0.0.1:0",
            "--config": str(self.folder / "config.yaml"),
            "--user-data-dir": str(self.folder / "data"),
            "--extensions-dir": str(self.folder / "extensions"),
        }
        switches = ["--disable-workspace-trust", "--disable-telemetry", "--disable-update-check"]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    shutil.which("node") or "node",
                    str(ENTRY),
                    *switches,
                    *(part for pair in arguments.items() for part in pair),
                ],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.url = wait_until(self._listens, what="code-server listens")

    def stop(self) -> None:
        """Stop it with all that it started."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def problems(self) -> list[str]:
        """What the extension host's log has of errors in our extension."""
        found = []
        for log in (self.folder / "data" / "logs").rglob("*exthost*.log"):
            lines = log.read_text(errors="replace").splitlines()
            found += [
                line for line in lines if "[error]" in line and "ingle" in line.partition("]")[2]
            ]
        return found

    def _listens(self) -> str | None:
        assert self._process is not None
        text = self._log.read_text()
        if self._process.poll() is not None:
            raise AssertionError(f"code-server has ended: {text[-2000:]}")
        for line in text.splitlines():
            if match := _LISTENS.search(line):
                return match[1]
        return None
