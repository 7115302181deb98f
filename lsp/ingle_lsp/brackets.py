"""Brackets in text that need not be a whole program: which are open, which close nothing. Pure.

String literals that end on their own line are skipped. There is no parser for each language, so
this is an estimate; it errs towards leaving a closing bracket out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CLOSER_OF = {"(": ")", "[": "]", "{": "}"}

# A single quote after `<`, `&` or a word is a Rust lifetime or an apostrophe, not a string.
_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"'
    r"|(?<![<&\w])'(?:\\.|[^'\\\n])*'"
    r"|`(?:\\.|[^`\\\n])*`"
    r"|[()\[\]{}]"
)


def tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of every bracket and string literal."""
    for match in _TOKEN.finditer(text):
        yield match.start(), match.end(), match.group()


def unclosed(text: str) -> list[str]:
    """The closing brackets that `text` still needs, the innermost last."""
    needed: list[str] = []
    for _, _, token in tokens(text):
        if token in CLOSER_OF:
            needed.append(CLOSER_OF[token])
        elif needed and token == needed[-1]:
            needed.pop()
    return needed


def unopened(text: str) -> list[str]:
    """The closing brackets in `text` that close something before it, in their order."""
    found: list[str] = []
    needed: list[str] = []
    for _, _, token in tokens(text):
        if token in CLOSER_OF:
            needed.append(CLOSER_OF[token])
        elif needed and token == needed[-1]:
            needed.pop()
        elif len(token) == 1 and not needed:
            found.append(token)
    return found


def unwanted_closer(line: str, text: str, above: str, rest: str, below: str) -> int | None:
    """Index in `text` of the first closing bracket that should not be inserted.

    The cursor stands between `line` and `rest`; `above` and `below` are the lines around. A bracket
    is unwanted when it closes nothing, or something that `rest` or `below` closes already.
    """
    outer: list[str] | None = None
    here: list[str] = []
    own: list[str] = []
    closed_by_line: list[str] = []
    closed_by_rest = len(unopened(rest))
    # As one text: a string may begin before the cursor.
    for start, _, token in tokens(line + text):
        at = start - len(line)
        needed = here if at < 0 else own
        if token in CLOSER_OF:
            needed.append(CLOSER_OF[token])
        elif len(token) > 1:
            continue
        elif at < 0:
            if not here:
                closed_by_line.append(token)
            elif here[-1] == token:
                here.pop()
        elif own:
            if own.pop() != token:
                return at
        elif here:
            if here[-1] != token or len(here) <= closed_by_rest:
                return at
            if len(here) == 1 and not rest.strip() and _closes(below, token, line):
                return at
            here.pop()
        else:
            if outer is None:
                # Seldom needed, and the longest text of all.
                outer = unclosed(above)
                for closer in closed_by_line:
                    if outer and outer[-1] == closer:
                        outer.pop()
            closed_below = len(unopened(rest + below)) - closed_by_rest
            if not outer or outer[-1] != token or len(outer) <= closed_below:
                return at
            outer.pop()
    return None


def _closes(below: str, closer: str, line: str) -> bool:
    """Whether the next line that has text closes the bracket that `line` opens."""
    following = next((each for each in below.split("\n") if each.strip()), "")
    return following.lstrip().startswith(closer) and _margin(following) >= _margin(line)


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def is_inside_string(text: str, at: int, start: int) -> bool:
    """Whether `at` is inside a string literal that begins at `start` or after it."""
    return any(start <= begin < at < end for begin, end, token in tokens(text) if len(token) > 1)
