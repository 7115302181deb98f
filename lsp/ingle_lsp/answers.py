"""From a model's answer to code that fits its place in a document. Pure.

Owns what makes an answer unusable, and the indentation, final line end and line ends of what is
used. Where it goes is somebody else's affair.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from ingle.results import Answer

from .blocks import code_blocks

#: A comment in place of code that was there: using it would delete that code.
_LEFT_OUT = re.compile(
    r"\s*(?:#|//|/\*|--|<!--|;|%|\*|\"\"\")\s*\[?\(?(?:"
    r"(?:\.\.\.|…).*\b(?:existing|rest|remaining|unchanged|same|previous|other|omitted|code|here)\b"
    r"|(?:the\s+)?(?:existing|rest|remaining|previous|other)\b.*(?:\.\.\.|…|\bunchanged\b|"
    r"\b(?:code|lines|methods|functions|implementation)\s+(?:here|as before|omitted|stays?|"
    r"remains?)\b)"
    r"|rest\s+of\s+(?:the\s+)?(?:code|file|class|function|method|implementation)\b"
    r")",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+|(?:\n[ \t]*)+\Z")


class Refused(Exception):
    """Why something can't be done or used: one line for the user, and no defect."""


def code_of(answer: Answer, before: str = "") -> str:
    """The code of an answer that should be one block: no blank lines at its ends, "\\n" between.

    `before` is the code that it replaces. Raises `Refused` for anything that is not whole.
    """
    if answer.finish == "length":
        raise Refused("the answer did not fit into the model's context: select less")
    if answer.finish not in ("stop", "complete"):
        raise Refused("the answer was cut off: try again")
    blocks = code_blocks(answer.text)
    if not blocks:
        raise Refused("the model answered without code: try again, or say more exactly what to do")
    if not blocks[-1].closed:
        raise Refused("the answer ends in the middle of its code: try again")
    if len(blocks) > 1:
        raise Refused(f"the answer has {len(blocks)} pieces of code instead of one: try again")
    code = _BLANK_LINES.sub("", "\n" + blocks[0].text)
    if leaves_out(code, before):
        raise Refused("the answer leaves out code that should stay: select less, or try again")
    return code


def leaves_out(code: str, before: str) -> bool:
    """Whether a comment in `code` stands for code that should stay; one of `before` does not."""
    known = {line.strip() for line in before.splitlines()}
    return any(_LEFT_OUT.match(line) and line.strip() not in known for line in code.split("\n"))


def fitted(code: str, old: str, surroundings: Sequence[str], line_end: str) -> str:
    """`code` as it belongs in place of `old`, which begins with a line that is not blank.

    Its first line is indented as that of `old` is, the others go with it, by tabs where
    `surroundings`, the lines of the document, use tabs. No line end follows the last line.
    """
    lines = code.split("\n")
    lines = _with_blanks_of(lines, indentation(surroundings) if _is_indented(surroundings) else "")
    lines = _moved(lines, _margin(old))
    return line_end.join(lines)


def indentation(lines: Sequence[str]) -> str:
    """One step of indentation of a text: a tab, or so many spaces; four if nothing says more."""
    margins = [_margin(line) for line in lines if line.strip()]
    steps = Counter(
        margin[len(before) :]
        for before, margin in pairwise(margins)
        if margin != before and margin.startswith(before)
    )
    likely = [step for step in steps if step == "\t" or set(step) == {" "}]
    return max(likely, key=lambda step: (steps[step], -len(step)), default="    ")


def _is_indented(lines: Sequence[str]) -> bool:
    return any(line[:1] in " \t" and line.strip() for line in lines)


def _with_blanks_of(lines: list[str], step: str) -> list[str]:
    """Tabs for spaces, or spaces for tabs, at the beginning of lines, where `step` is the other."""
    if not step:
        return lines
    own = indentation(lines)
    if ("\t" in own) == ("\t" in step):
        return lines
    changed = []
    for line in lines:
        margin = _margin(line)
        if step == "\t":
            width = len(margin.expandtabs(len(own)))
            margin = "\t" * (width // len(own)) + " " * (width % len(own))
        else:
            margin = margin.replace("\t", step)
        changed.append(margin + line.lstrip(" \t"))
    return changed


def _moved(lines: list[str], margin: str) -> list[str]:
    """The lines, with the first one indented by `margin`."""
    own = _margin(lines[0])
    if own == margin:
        return lines
    if margin.startswith(own):
        more = margin[len(own) :]
        return [more + line if line.strip() else line for line in lines]
    moved = []
    for line in lines:
        shared = 0
        while shared < len(own) and line[shared : shared + 1] == own[shared]:
            shared += 1
        # What is indented by less than the first line stays at its own distance where it can.
        kept = margin if shared == len(own) else margin[: max(0, len(margin) - len(own) + shared)]
        moved.append(kept + line[shared:] if line.strip() else line)
    return moved


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]
