"""The indentation that an editor gives a new line. Pure."""

from __future__ import annotations

from collections import Counter

#: What a line ends with that opens a deeper one.
_OPENERS = (":", "{", "(", "[")
#: Lines that are looked at for how deep a level is.
_LINES = 200
_DEFAULT = "    "


def of_line(line: str) -> str:
    """The whitespace that a line begins with."""
    return line[: len(line) - len(line.lstrip())]


def after_break(before: str) -> str:
    """What a line break at the end of `before` is followed by: as deep, or a level deeper."""
    line = before.rpartition("\n")[2]
    deeper = level(before) if line.rstrip().endswith(_OPENERS) else ""
    return of_line(line) + deeper


def level(text: str) -> str:
    """One level of indentation, as the last lines of a text have it; four spaces if none has."""
    found: Counter[str] = Counter()
    above = ""
    for line in text.split("\n")[-_LINES:]:
        if not line.strip():
            continue
        indentation = of_line(line)
        if len(indentation) > len(above) and indentation.startswith(above):
            found[indentation[len(above) :]] += 1
        above = indentation
    return found.most_common(1)[0][0] if found else _DEFAULT
