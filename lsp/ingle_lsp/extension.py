"""The handshake of what LSP lacks: `experimental.ingle` in both sides' capabilities. Pure.

`lsp/README.md` specifies it. Whatever is missing or makes no sense means the least: an editor
without our section gets nothing but LSP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingle.endpoint import NOT_RUNNING
from ingle.version import __version__

#: Version of "What plugins need beyond LSP" that this server speaks, and the oldest it can serve.
VERSION = 1
OLDEST_VERSION = 1
#: Characters of a plugin's text that are shown.
MAX_HINT = 100


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What the editor's side announced."""

    #: Version that a plugin was written for; None without a plugin.
    version: int | None = None
    status: bool = False
    show_markdown: bool = False
    candidates: bool = False
    #: How the user starts the daemon, in the plugin's words; empty for the command line.
    start_hint: str = ""

    @property
    def not_running(self) -> str:
        """The sentence that says that the daemon is down, and what to do."""
        what = NOT_RUNNING.partition(":")[0]
        return f"{what}: start it with {self.start_hint}" if self.start_hint else NOT_RUNNING


def announced(experimental: Any) -> Extension:
    """`capabilities.experimental` of `initialize` → what it says."""
    given = experimental.get("ingle") if isinstance(experimental, Mapping) else None
    if not isinstance(given, Mapping):
        return Extension()
    version, hint = given.get("version"), given.get("startHint")
    is_number = isinstance(version, int) and not isinstance(version, bool)
    return Extension(
        version=version if is_number else OLDEST_VERSION,
        status=given.get("status") is True,
        show_markdown=given.get("showMarkdown") is True,
        candidates=given.get("candidates") is True,
        start_hint=" ".join(hint.split())[:MAX_HINT] if isinstance(hint, str) else "",
    )


def answer() -> dict[str, Any]:
    """The server's side of it."""
    return {"ingle": {"version": VERSION}}


def too_old(extension: Extension, plugin: str) -> str | None:
    """What to tell the user of a plugin that this server can't serve; None for all others."""
    if extension.version is None or extension.version >= OLDEST_VERSION:
        return None
    return (
        f"{plugin or 'the plugin'} speaks version {extension.version} of ingle's messages, "
        f"ingle-lsp {__version__} version {OLDEST_VERSION}: update the plugin"
    )
