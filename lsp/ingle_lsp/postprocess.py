"""From what a model wrote to what is worth showing. Pure text work.

A completion is cut, never changed: to one line or one block, before a bracket that is not needed,
before what already stands around the cursor. What is left may be nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingle.repetition import is_telling, repeated_lines, stutter

from . import brackets
from .settings import Multiline

_BLOCK_OPENERS = (":", "{", "(", "[", "=>", "->", " do", " then", " of", " where")
#: Those after which people go on in the same line, more often than not.
_IN_LINE_OPENERS = ("(", "[", "->")
#: Lines at the block's own level that go on with it.
_CONTINUES = re.compile(
    r"[)\]}]|(?:else|elif|elsif|elseif|except|finally|catch|rescue|ensure|end|fi|done|esac)\b"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Cursor:
    """The text around the cursor, as far as it is looked at."""

    prefix: str
    suffix: str

    @property
    def line(self) -> str:
        """The cursor's line, up to it."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def above(self) -> str:
        """The lines before, with their line ends."""
        return self.prefix[: self.prefix.rfind("\n") + 1]

    @property
    def rest(self) -> str:
        """The cursor's line, after it."""
        return self.suffix.partition("\n")[0].rstrip()

    @property
    def below(self) -> str:
        """The lines after, from the line end on."""
        return self.suffix[len(self.suffix.partition("\n")[0]) :]


def wants_block(cursor: Cursor, multiline: Multiline, *, invoked: bool) -> bool:
    """Whether to ask for several lines. `invoked`: the user asked for a completion by a key."""
    if multiline == "never" or cursor.rest:
        return False
    if multiline == "always" or invoked:
        return True
    line = cursor.line.rstrip()
    if not line:
        return cursor.above.rstrip().rpartition("\n")[2].endswith(_BLOCK_OPENERS)
    if line.endswith(_IN_LINE_OPENERS):
        return False
    # Inside of brackets a colon is a slice's, a key's or a parameter's.
    is_inner = line.endswith(":") and brackets.unclosed(line)
    return line.endswith(_BLOCK_OPENERS) and not is_inner


def polished(text: str, cursor: Cursor, *, block: bool, unfinished: bool = False) -> str:
    """The part of a completion that is worth inserting; "" for nothing.

    `block`: several lines are wanted. `unfinished`: the model was stopped in mid-sentence, so the
    last of several lines is not whole.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    control = _CONTROL.search(text)
    if control:
        text = text[: control.start()]
    if cursor.line[-1:] in (" ", "\t") and cursor.line.strip():
        text = text.lstrip(" \t")
    lines = text.split("\n")
    if cursor.rest or not block:
        lines = lines[:1]
    elif unfinished and len(lines) > 1:
        lines = lines[:-1]
    lines = _without_loop(_block(lines, cursor.line), cursor.line)
    text = _without_closers("\n".join(lines), cursor)
    text = _without_rest(text, cursor) if cursor.rest else _without_below(text, cursor)
    if not text.strip() or _is_echo(text, cursor):
        return ""
    return text.rstrip()


def _block(lines: list[str], before: str) -> list[str]:
    """The lines that belong to the first one's block, by their indentation."""
    first = before + lines[0]
    level = _indentation(first)
    has_body = first.rstrip().endswith(_BLOCK_OPENERS)
    kept = [lines[0]]
    for line in lines[1:]:
        if line.strip():
            width = _indentation(line)
            if width < level:
                break
            if width == level:
                if has_body and not _CONTINUES.match(line.lstrip()):
                    break
                if not has_body and not kept[-1].strip() and any(map(str.strip, kept)):
                    break
            else:
                has_body = True
        kept.append(line)
    return kept


def _without_loop(lines: list[str], before: str) -> list[str]:
    """Cut where the model goes round in circles."""
    indentation = "" if before.strip() else before
    lines = lines[: repeated_lines([indentation + lines[0], *lines[1:]])]
    lines[-1] = lines[-1][: stutter(lines[-1])]
    return lines


def _without_closers(text: str, cursor: Cursor) -> str:
    at = brackets.unwanted_closer(cursor.line, text, cursor.above, cursor.rest, cursor.below)
    return text if at is None else text[:at]


def _without_rest(text: str, cursor: Cursor) -> str:
    """Drop an end that is the beginning of the rest of the line."""
    text = text.rstrip()
    in_word = _is_word(cursor.line[-1:]) and _is_word(cursor.rest[:1])
    rest = cursor.rest.lstrip()
    for length in range(min(len(text), len(rest)), 0, -1):
        if not text.endswith(rest[:length]):
            continue
        kept = text[: len(text) - length]
        # `da|ta` repeats an `a` by chance, unless the cursor itself stands inside a word.
        if kept and not in_word and _is_word(kept[-1]) and _is_word(rest[0]):
            continue
        # A closing bracket that is still there is needed: `_without_closers` has seen to that.
        if brackets.unopened(text[len(kept) :]):
            continue
        start = len(cursor.line)
        if not brackets.is_inside_string(cursor.line + text, start + len(kept), start):
            return kept
    return text


def _without_below(text: str, cursor: Cursor) -> str:
    """Drop lines at the end that stand below the cursor already."""
    following = _written(cursor.below.split("\n"))
    lines = text.split("\n")
    if not following:
        return text
    for number in range(1, len(lines)):
        if not lines[number].strip():
            continue
        if is_telling(lines[number]) and lines[number].rstrip() == following[0]:
            return "\n".join(lines[:number])
        kept = "\n".join(lines[:number])
        ending = _written(lines[number:])
        if ending == following[: len(ending)] and not brackets.unopened(text[len(kept) :]):
            return kept
    return text


def _is_echo(text: str, cursor: Cursor) -> bool:
    """Whether the completion says only what the lines before or after the cursor say."""
    lines = [line.strip() for line in _written((cursor.line + text).split("\n"))]
    if not any(map(is_telling, lines)):
        return False
    size = len(lines)
    previous = _written(cursor.above.split("\n"))[-size:]
    following = _written(cursor.below.split("\n"))[:size]
    return lines in ([line.strip() for line in previous], [line.strip() for line in following])


def _written(lines: Sequence[str]) -> list[str]:
    """The lines that have any text."""
    return [line.rstrip() for line in lines if line.strip()]


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _indentation(line: str) -> int:
    spaces = line.expandtabs(4)
    return len(spaces) - len(spaces.lstrip(" "))
