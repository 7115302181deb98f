"""Fenced code blocks of Markdown: found in an answer, and made for a prompt. Pure.

The rules are CommonMark's (https://spec.commonmark.org/0.31.2/#fenced-code-blocks), with what
models do besides: fences indented as deep as their list item, and Markdown that has fences inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingle.conversation import fence_around

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)")
#: A file's name, not a language's: it has an ending or a folder.
_FILE = re.compile(r"[^\s:]*(?:[^\s:/\\.]\.\w+|[/\\][^\s:/\\]+)")
_ATTRIBUTE = re.compile(
    r"\b(?:title|filename|file|path|name)=(?:[\"'](?P<quoted>[^\"'\n]+)[\"']|(?P<plain>[^\s\"'}]+))"
)
#: A closing fence may be indented by so much more than its opening one.
_SLACK = 3
_MARKDOWN = frozenset({"markdown", "md", "mdx"})


@dataclass(frozen=True)
class Block:
    """One block. `text` has "\\n" as line end, after its last line too, and is empty for none."""

    index: int
    #: First word after the fence, in lower case; empty without one. Of a file's name: its ending.
    language: str
    text: str
    #: False when the answer ended before the block did.
    closed: bool
    #: The file that the fence names, as the model writes it; empty without one.
    path: str = ""


def code_blocks(markdown: str) -> list[Block]:
    """The fenced blocks of an answer, in their order."""
    found: list[Block] = []
    opening: re.Match[str] | None = None
    nested = 0
    lines: list[str] = []

    def take(closed: bool) -> None:
        assert opening is not None
        margin = len(opening["indent"])
        text = "".join(_without_margin(line, margin) + "\n" for line in lines)
        language, path = _info(opening["info"])
        found.append(Block(len(found), language, text, closed, path))

    for line in markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        fence = _FENCE.fullmatch(line)
        if fence is not None and fence["mark"][0] == "`" and "`" in fence["info"]:
            # Code in a line of text.
            fence = None
        if opening is None:
            if fence is not None:
                opening, lines, nested = fence, [], 0
            continue
        if fence is not None and _is_inner(fence, opening):
            nested += 1
        elif fence is not None and _closes(fence, opening):
            if not nested:
                take(closed=True)
                opening = None
                continue
            nested -= 1
        lines.append(line)
    if opening is not None:
        if lines and not lines[-1]:
            lines.pop()
        take(closed=False)
    return found


def fenced(text: str, language: str = "") -> str:
    """`text` as a block, with a fence that is longer than any in it."""
    fence = fence_around(text)
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{fence}{language}\n{text}{end}{fence}"


def _language(info: str) -> str:
    return _info(info)[0]


def _info(info: str) -> tuple[str, str]:
    """Language and file of `python`, `python:a.py`, `a.py`, `12:20:a.py`, `python title="a.py"`."""
    words = info.strip().split(maxsplit=1)
    if not words:
        return "", ""
    first = words[0].strip("{}")
    head, _, path = first.rpartition(":")
    if _FILE.fullmatch(path) and (head or not first.startswith(".")):
        language = "" if head.replace(":", "").isdigit() else head
    elif attribute := _ATTRIBUTE.search(info):
        language, path = first, attribute["quoted"] or attribute["plain"]
    else:
        language, path = first, ""
    ending = path.rpartition(".")[2] if "." in path else ""
    return (language or ending).strip(".:").lower(), path


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return (
        fence["mark"][0] == opening["mark"][0]
        and len(fence["mark"]) >= len(opening["mark"])
        and len(fence["indent"]) <= len(opening["indent"]) + _SLACK
        and not fence["info"].strip()
    )


def _is_inner(fence: re.Match[str], opening: re.Match[str]) -> bool:
    """Whether a fence begins a block inside of a Markdown block of the same kind of fence."""
    return (
        _language(opening["info"]) in _MARKDOWN
        and fence["mark"] == opening["mark"]
        and bool(fence["info"].strip())
    )


def _without_margin(line: str, margin: int) -> str:
    blank = len(line) - len(line.lstrip(" \t"))
    return line[min(margin, blank) :]
