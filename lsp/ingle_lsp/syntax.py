"""Whether a cursor is in a comment or in a string, by Pygments' lexers. Pure.

Pygments is imported at the first question only: who wants suggestions everywhere never pays for it.
Only the text near the cursor is looked at, from a line that probably begins something. So a string
or comment that began farther up may be missed, and a wrong answer is possible; a language without
a lexer is all code.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

Kind = Literal["code", "comment", "string"]

#: Characters before the cursor that are looked at: at least, and at most.
LEAST = 4_000
MOST = 8_000
#: Characters after it: enough for what closes on the same line.
AFTER = 500

#: Names of languages where the editor's differ from Pygments'. Most are the same.
_LEXERS = {
    "csharp": "csharp",
    "cuda-cpp": "cuda",
    "javascriptreact": "javascript",
    "jsonc": "json",
    "objective-cpp": "objective-c++",
    "plaintext": "",
    "shellscript": "bash",
    "sh": "bash",
    "text": "",
    "typescriptreact": "typescript",
    "vue": "html",
    "svelte": "html",
}
#: What stands for the cursor: a name, in all languages, whatever is next to it.
_CURSOR = "zqx0"
#: Openers and closers of what may go on over lines: a lexer sees them as a whole or not at all, so
#: what is open at the cursor is closed for it.
_PAIRS = (
    ("/*", "*/"),
    ("<!--", "-->"),
    ("--[[", "]]"),
    ("[[", "]]"),
    ("`", "`"),
    ("'", "'"),
    ('"', '"'),
)
#: Lines that begin something at the left margin.
_BEGINNING = re.compile(
    r"^(?:async|class|const|def|enum|export|fn|func|function|impl|import|interface|let|local|mod"
    r"|module|namespace|package|pub|public|static|struct|trait|type|typedef|use|var|void)\b",
    re.MULTILINE,
)


def kind_at(before: str, after: str, language: str) -> Kind:
    """What the cursor between two texts is in. `language` is the editor's identifier of it."""
    lexer = _lexer(language)
    if lexer is None:
        return "code"
    before, after = _near(before), after[:AFTER]
    found = _kind(lexer, before, after)
    if found != "code":
        return found
    # What is open at the cursor and closed nowhere is no token of many lexers.
    line_start = before.rfind("\n") + 1
    for opener, closer in _PAIRS:
        # Quotes that go on over lines do so in few languages; there their lexers know it.
        start = line_start if opener in "'\"" else 0
        if _is_open(before[start:], opener, closer):
            found = _kind(lexer, before[start:] if opener in "'\"" else before, closer)
            if found != "code":
                return found
    return "code"


def _near(before: str) -> str:
    """The end of `before`, from a line that probably begins something."""
    if len(before) <= MOST:
        return before
    window = before[-MOST:]
    beginnings = list(_BEGINNING.finditer(window, 0, MOST - LEAST))
    if beginnings:
        return window[beginnings[-1].start() :]
    return window[window.find("\n") + 1 :]


def _is_open(text: str, opener: str, closer: str) -> bool:
    if opener == closer:
        return text.count(opener) % 2 == 1
    return text.rfind(opener) > text.rfind(closer)


def _kind(lexer: Any, before: str, after: str) -> Kind:
    """What the lexer takes the cursor's place for."""
    from pygments.token import Comment, String  # type: ignore[import-untyped]

    at, found, token = len(before), None, ""
    # Many lexers see a comment only with its line's end.
    for start, kind, text in lexer.get_tokens_unprocessed(f"{before}{_CURSOR}{after}\n"):
        if start + len(text) > at:
            found, token = kind, text.lstrip()
            break
    if found is None or any(found in kind for kind in _code_kinds()):
        return "code"
    # Documentation is a string in Python; Rust's `///` is called one, too.
    if found in Comment or (found in String.Doc and token.startswith(("/", "*", "#"))):
        return "comment"
    return "string" if found in String else "code"


@lru_cache(maxsize=1)
def _code_kinds() -> tuple[Any, ...]:
    """What Pygments calls comments and strings, and no person does."""
    from pygments.token import Comment, String

    return Comment.Preproc, Comment.PreprocFile, String.Symbol, String.Regex


@lru_cache(maxsize=32)
def _lexer(language: str) -> Any:
    """The lexer of a language; None if there is none."""
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        return get_lexer_by_name(_LEXERS.get(language, language))
    except ClassNotFound:
        return None
