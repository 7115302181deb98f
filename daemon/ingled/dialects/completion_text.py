"""What of a model's continuation becomes a completion: the line, or the block, at the cursor.

Owns where a completion ends (newline, dedent, markers, long lines, circles) and what is dropped
from its front (text the user already typed). Knows no tokens and no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingle.repetition import repeated_lines, stutter

from .text_cut import TextCut

#: A block is cut after so many lines; nobody reads more ghost text at once.
MAX_LINES = 24
#: A completion of one line ends at the first word that reaches this column, if it is as long as
#: that: hardly anybody writes longer lines of code, and in prose nobody reads further ahead.
MAX_COLUMN = 120
MIN_LENGTH = 40

_TAB = 4
_LINE_PARTS = re.compile(r"\n[ \t]*|[^\n]+")
_FIRST_WORD = re.compile(r"\w*")
_CLOSING = tuple(")]}")
_OPENING = tuple("([{:")
#: First words of a line at the block's own indentation that close the block …
_CLOSING_WORDS = frozenset({"end", "fi", "done", "esac"})
#: … or go on with it.
_CONTINUING_WORDS = frozenset({"else", "elif", "except", "finally", "catch", "rescue", "elseif"})


class CompletionText:
    """A filter over the generated text; how the text is split makes no difference."""

    def __init__(
        self,
        *,
        line: str,
        multiline: bool,
        typed: str = "",
        markers: Sequence[str] = (),
        any_length: bool = False,
    ) -> None:
        """`line`: the cursor's line up to the cursor. `typed`: what the model repeats of it first.

        `markers`: texts that end the completion wherever they come. `any_length`: a line may be as
        long as it likes.
        """
        self._cut = TextCut(markers)
        self._typed = typed
        self._block = _Block(line) if multiline else None
        #: The whole lines that are looked at for circles: the first has its indentation.
        self._written = "" if line.strip() else line
        #: Characters that may come before a space ends the line; None for any number.
        self._room = None if multiline or any_length else max(MIN_LENGTH, MAX_COLUMN - _width(line))
        self._over = False
        #: Whether it was ended because it was long enough.
        self.cut = False

    @property
    def to_repeat(self) -> int:
        """Characters of `typed` that the model has not repeated yet."""
        return len(self._typed)

    @property
    def complete(self) -> bool:
        """True when no further text can belong to the completion."""
        return self._over

    def feed(self, text: str) -> str:
        """More generated text → text to insert."""
        if self._over:
            return ""
        shown = self._pass(self._cut.feed(text))
        if self._cut.met and not self._over:
            shown += self._end()
        return shown

    def finish(self) -> str:
        """The generation is over: the text to insert that was held back."""
        if self._over:
            return ""
        return self._pass(self._cut.finish()) + self._end()

    def _end(self) -> str:
        held = self._block.finish() if self._block and not self._over else ""
        self._over = True
        return held

    def _pass(self, text: str) -> str:
        text = self._without_typed(text)
        if self._over or not text:
            return ""
        if self._block:
            # Lines end with "\n" here; the adapter knows the document's own line ends.
            shown = self._block.feed(text.replace("\r", ""))
            self._over = self._block.over
        else:
            shown = re.split(r"[\r\n]", text, maxsplit=1)[0]
            self._over = len(shown) < len(text)
        return self._until_it_is_enough(shown)

    def _until_it_is_enough(self, shown: str) -> str:
        for at, character in enumerate(shown, 1):
            if self._room is not None:
                if character == " " and self._room <= 0:
                    self._over = self.cut = True
                    return shown[: at - 1]
                self._room -= 1
            self._written += character
            if character == "\n":
                repeats = repeated_lines(self._written.split("\n")[:-1])
            else:
                repeats = stutter(self._written)
            if repeats is not None:
                self._over = True
                return shown[:at]
        return shown

    def _without_typed(self, text: str) -> str:
        common = min(len(self._typed), len(text))
        if self._typed[:common] != text[:common]:
            # Not what stands before the cursor: inserting it would be wrong.
            self._over = True
            return ""
        self._typed = self._typed[common:]
        return text[common:]


class _Block:
    """Ends a completion of several lines where the block at the cursor ends."""

    def __init__(self, line: str) -> None:
        indent = line[: len(line) - len(line.lstrip())]
        #: Whitespace of the cursor's line, while that line has nothing else.
        self._open_indent: str | None = indent if indent == line else None
        self._base = _width(indent)
        self._pending = ""
        self._lines = 1
        self._deeper = False
        #: Text so far of a line that closes the block, unless it opens another.
        self._closing_line: str | None = None
        self.over = False

    def feed(self, text: str) -> str:
        shown = ""
        parts = _LINE_PARTS.findall(self._pending + text)
        self._pending = ""
        for number, part in enumerate(parts):
            final = number == len(parts) - 1
            if part.startswith("\n"):
                if self._closing_line and not self._closing_line.rstrip().endswith(_OPENING):
                    self.over = True
                    return shown
                self._closing_line = None
                self._pending += part
            elif not self._pending:
                self._see_first_line(part)
                shown += part
                if self._closing_line:
                    self._closing_line += part
            elif final and _FIRST_WORD.fullmatch(part):
                # The first word may still grow, and it decides.
                self._pending += part
            elif self._belongs(part):
                shown += self._pending + part
                self._pending = ""
            else:
                self.over = True
                return shown
        return shown

    def finish(self) -> str:
        """A last line whose first word was still open."""
        part = self._pending.lstrip()
        self._pending = self._pending[: len(self._pending) - len(part)]
        return self._pending + part if part and self._belongs(part) else ""

    def _see_first_line(self, part: str) -> None:
        if self._open_indent is None:
            return
        self._open_indent += part[: len(part) - len(part.lstrip())]
        self._base = _width(self._open_indent)
        if part.strip():
            self._open_indent = None

    def _belongs(self, part: str) -> bool:
        """Whether a new line, with `_pending` before it, is part of the block."""
        breaks = self._pending.count("\n")
        indent = _width(self._pending.rpartition("\n")[2])
        self._lines += breaks
        if indent < self._base or self._lines > MAX_LINES:
            return False
        begun, self._open_indent = self._open_indent is None, None
        if indent > self._base:
            self._deeper = True
            return True
        if not self._deeper:
            # A run of lines at one level ends at a blank line, unless it has not begun yet.
            return breaks == 1 or not begun
        first = _FIRST_WORD.findall(part)[0]
        if part.startswith(_CLOSING) or first in _CLOSING_WORDS:
            self._closing_line = part
            return True
        return first in _CONTINUING_WORDS


def _width(indent: str) -> int:
    return len(indent.expandtabs(_TAB))
