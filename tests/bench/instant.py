"""What the editors are measured with: an engine that costs nothing, and what is typed.

So all that is measured is ours and the editor's: the plugin, the language server, the daemon, and
the drawing. Typing needs no pause here (`debounceMs` 0), because that pause is the user's choice.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from support.daemons import DaemonUnderTest, saying

#: The ghost text that every key brings.
GHOST = "a + b"
#: What is typed: never the letter that the ghost text begins with.
LETTERS = "bcdefghijklm"
#: Letters to a line, so that no line wraps.
LINE = 40
#: The language server's settings.
SETTINGS = {"debounceMs": 0, "minConfidence": 0}


def instant_daemon() -> AbstractContextManager[DaemonUnderTest]:
    """A running daemon whose engine says `GHOST` at once."""
    return saying(GHOST, tokens_per_second=1e5, prefill_tokens_per_second=1e7)
