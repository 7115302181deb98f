"""The function, class or paragraph around a line, by indentation and first words. Pure.

There is no parser for each language, so this is an estimate. It needs code that is indented as
people indent it, takes the innermost function or class, and falls back to the lines without a
blank one between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Lines above a line, and below it, that are looked at.
REACH = 2000
#: Longer lines are not looked at: nobody has written them.
LONGEST_LINE = 500
#: Lines over which the parameters of a function may stretch.
LONGEST_HEAD = 12

#: Languages without functions.
PROSE = frozenset({"markdown", "plaintext", "text", "restructuredtext", "latex", "tex", "csv"})
_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|unsafe|"
    r"extern|local|override|virtual|inline|const|sealed|open|data|declare|partial|suspend|"
    r"pub(?:\([\w\s:]+\))?)\s+)*"
)
#: `def name`, `impl<T> name`, `func (receiver) name`, `function (…)`.
_DEFINES = re.compile(
    rf"\s*{_MODIFIERS}(?:"
    r"(?:def|class|func|fun|fn|sub|proc|procedure|interface|struct|enum|union|trait|module|mod|"
    r"namespace|object|record|protocol|extension|defmodule|defp|macro|macro_rules!)"
    r"(?:\s+\([^()]*\))?\s+(?P<name>[\w.:~$'-]+)"
    r"|impl\b(?:<[^>]*>)?\s*(?P<type>[\w:]+)"
    r"|(?:function|class)\b\*?\s*(?P<maybe>[\w.:$]*)\s*[({<]"
    r"|(?:test|describe|it|suite|context)(?:\.\w+)?\s*\(\s*[\"'`](?P<test>[^\"'`]*)"
    r")"
)
#: `name = function (…)`, `const name = (…) => …`.
_ASSIGNS = re.compile(
    r"\s*(?:export\s+)?(?:local\s+|const\s+|let\s+|var\s+)?(?P<name>[\w.:$]+)\s*[:=]\s*"
    r"(?:async\s+)?(?:function\b|fn\b|func\b|\([^()]*\)\s*(?::[^=]+)?=>|\w+\s*=>)"
)
#: `int name(…) {` and `name(…) {`: functions of C, methods of Java and JavaScript.
_BRACED = re.compile(
    r"\s*(?:[\w<>\[\],:*&~?@]+\s+)*[*&]*(?P<name>[\w:~$]+)\s*(?P<rest>\([^;{}]*\)[^;{}()=]*)\{"
)
_CONTROL = re.compile(
    r"\s*(?:\}\s*)?(?:if|elif|else|elsif|for|foreach|while|switch|match|catch|return|do|try|except|"
    r"with|using|lock|synchronized|when|until|unless|assert|await|yield|throw|raise|new|repeat|"
    r"loop|case|default|import|from)\b"
)
#: Decorators, attributes and comments: what stands above a head belongs to it.
_ABOVE = re.compile(r"\s*(?:@|#|//|/\*|\*|--|template\b)")
_DIRECTIVE = re.compile(r"\s*#\s*(?:include|define|undef|if|ifdef|ifndef|elif|else|endif|pragma)\b")
#: Lines that go on with what a line of the same indentation has begun, and those that end it.
_GOES_ON = re.compile(
    r"\s*(?:[)\]}{]|(?:end|then|do|else|begin|where)\b|(?:public|private|protected)\s*:)"
)
_ENDS = re.compile(r"\s*(?:[}\])]|end\b)")
_OPEN_ENDED = (":", "{", "(", "[", ",", "=>")
_QUOTES = re.compile(r'"""|\'\'\'')


@dataclass(frozen=True)
class Part:
    """Lines `first` to `last`, both included, and the name of what they define, if it has one."""

    first: int
    last: int
    name: str = ""


def enclosing(lines: Sequence[str], at: int, language: str = "") -> Part | None:
    """What stands around line `at`; None where there are only blank lines."""
    here = _with_text(lines, at)
    if here is None:
        return None
    if language not in PROSE:
        quoted = _quoted(lines[: here + REACH]) if language == "python" else frozenset()
        head = _head_above(lines, here, quoted)
        if head is not None:
            first, last = _with_what_is_above(lines, head), _last_line(lines, head, quoted)
            if first <= here <= last:
                return Part(first, last, defined(lines, head) or "")
    return paragraph(lines, here)


def paragraph(lines: Sequence[str], at: int) -> Part:
    """The lines around one that have no blank line between them."""
    first = last = at
    while first > max(0, at - REACH) and lines[first - 1].strip():
        first -= 1
    while last + 1 < min(len(lines), at + REACH) and lines[last + 1].strip():
        last += 1
    return Part(first, last)


def definitions(lines: Sequence[str], first: int, last: int) -> frozenset[str]:
    """The names that lines `first` to `last`, both included, define at any level."""
    names = (defined(lines, number) for number in range(first, last + 1))
    return frozenset(name for name in names if name)


def around(lines: Sequence[str], first: int) -> frozenset[str]:
    """The names of the classes and functions that line `first` is inside of."""
    names = set()
    limit = _margin(lines[first])
    for number in range(first - 1, max(-1, first - REACH), -1):
        line = lines[number]
        if limit and line.strip() and _margin(line) < limit and not _ABOVE.match(line):
            names.add(defined(lines, number) or "")
            limit = _limit(line)
    return frozenset(names - {""})


def defined(lines: Sequence[str], number: int) -> str | None:
    """The name that a line begins to define, maybe an empty one; None if it begins nothing."""
    line = lines[number]
    if len(line) > LONGEST_LINE or _CONTROL.match(line):
        return None
    found = _DEFINES.match(line) or _ASSIGNS.match(line)
    if found is not None:
        return next((name for name in found.groupdict().values() if name), "").strip("':")
    if "(" not in line:
        return None
    head = "".join(lines[number : number + LONGEST_HEAD])[: 4 * LONGEST_LINE]
    found = _BRACED.match(head)
    if found is None or found["rest"].count("(") != found["rest"].count(")"):
        return None
    return found["name"]


def _with_text(lines: Sequence[str], at: int) -> int | None:
    """The nearest line that is not blank, below rather than above."""
    for candidates in (range(at, len(lines)), range(min(at, len(lines)) - 1, -1, -1)):
        for number in candidates:
            if lines[number].strip():
                return number
    return None


def _head_above(lines: Sequence[str], here: int, quoted: frozenset[int]) -> int | None:
    """The innermost head that line `here` belongs to."""
    here = _below_what_is_above(lines, here)
    if defined(lines, here) is not None:
        return here
    limit = _limit(lines[here]) if here not in quoted else LONGEST_LINE
    for number in range(here - 1, max(-1, here - REACH), -1):
        if limit == 0:
            break
        line = lines[number]
        if number in quoted or not line.strip() or _margin(line) >= limit or _ABOVE.match(line):
            continue
        if defined(lines, number) is not None:
            return number
        limit = _limit(line)
    return None


def _limit(line: str) -> int:
    """The head of a line is indented by less. A bracket by itself may be indented like its head."""
    return _margin(line) + (1 if _GOES_ON.match(line) else 0)


def _last_line(lines: Sequence[str], head: int, quoted: frozenset[int]) -> int:
    """The last line of what `head` begins."""
    margin = _margin(lines[head])
    last = head
    for number in range(head + 1, len(lines)):
        line = lines[number]
        if not line.strip():
            continue
        if number in quoted or _margin(line) > margin:
            last = number
        elif _GOES_ON.match(line):
            last = number
            if _ENDS.match(line) and not line.rstrip().endswith(_OPEN_ENDED):
                break
        elif not _ABOVE.match(line):
            break
    return last


def _quoted(lines: Sequence[str]) -> frozenset[int]:
    """The lines that begin inside of a text between three quotes: their margin means nothing."""
    found = []
    closing = ""
    for number, line in enumerate(lines):
        if closing:
            found.append(number)
        if '"""' in line or "'''" in line:
            for mark in _QUOTES.findall(line):
                if not closing:
                    closing = mark
                elif mark == closing:
                    closing = ""
    return frozenset(found)


def _with_what_is_above(lines: Sequence[str], head: int) -> int:
    first = head
    while first > 0 and _ABOVE.match(lines[first - 1]) and not _DIRECTIVE.match(lines[first - 1]):
        # The lines of a block comment are indented by one more.
        if _margin(lines[first - 1]) - _margin(lines[head]) not in (0, 1):
            break
        first -= 1
    return first


def _below_what_is_above(lines: Sequence[str], here: int) -> int:
    """From a decorator or comment down to the head below it, if there is one."""
    number = here
    while number + 1 < len(lines) and _ABOVE.match(lines[number]):
        number += 1
    return number if defined(lines, number) is not None else here


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
