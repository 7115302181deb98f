"""JSON as editors have it, with the places of everything in it. Pure.

With `comments`, comments and a comma behind the last item are allowed, as VS Code, Zed and Sublime
Text do; without, it is RFC 8259. Nothing is changed here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

#: Deeper files are refused: nobody's settings are.
_DEEPEST = 100
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class NotJson(ValueError):
    """The text can't be read; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Node:
    """A value, from its first character to behind its last one."""

    start: int
    end: int = 0
    value: Any = None
    is_object: bool = False
    members: list[Member] = field(default_factory=list)
    #: In an object: behind the last thing in it that is no white space.
    content_end: int = 0

    def member(self, key: str) -> Node | None:
        """The value of a key; of the last one if there are several, as readers take it."""
        found = [member.value for member in self.members if member.key == key]
        return found[-1] if found else None


@dataclass
class Member:
    """A key, its value, the comma behind it; `gap_start` is behind the thing before the key."""

    key: str
    key_start: int
    gap_start: int
    value: Node
    comma: int | None = None


def parse(text: str, *, comments: bool) -> Node | None:
    """The value that `text` is; None if there is nothing but white space (and comments) in it.

    Raises `NotJson`.
    """
    reader = _Reader(text, comments)
    place = 1 if text.startswith("\ufeff") else 0
    _, place = reader.skip(place)
    if place == len(text):
        return None
    node = reader.value(place, 0)
    _, place = reader.skip(node.end)
    if place != len(text):
        raise reader.error("something stands behind the end", place)
    return node


class _Reader:
    def __init__(self, text: str, comments: bool) -> None:
        self.text = text
        self.comments = comments

    def error(self, message: str, place: int) -> NotJson:
        return NotJson(message, self.text.count("\n", 0, place) + 1)

    def skip(self, place: int) -> tuple[int, int]:
        """Past white space and comments: behind the last comment or `place`; the next thing."""
        content = place
        while place < len(self.text):
            if self.text[place] in " \t\r\n":
                place += 1
            elif self.comments and self.text.startswith("//", place):
                end = self.text.find("\n", place)
                end = len(self.text) if end < 0 else end
                content = place = end - (self.text[end - 1] == "\r")
            elif self.comments and self.text.startswith("/*", place):
                end = self.text.find("*/", place + 2)
                if end < 0:
                    raise self.error("a comment has no end", place)
                content = place = end + 2
            else:
                break
        return content, place

    def value(self, place: int, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.error("it is nested too deeply", place)
        first = self.text[place : place + 1]
        if first == "{":
            return self.object(place, depth)
        if first == "[":
            return self.array(place, depth)
        if first == '"':
            value, end = self.string(place)
            return Node(place, end, value)
        match = _SCALAR.match(self.text, place)
        if not match:
            raise self.error("a value is missing or wrong", min(place, len(self.text) - 1))
        return Node(place, match.end(), json.loads(match.group()))

    def string(self, place: int) -> tuple[str, int]:
        match = _STRING.match(self.text, place)
        if not match:
            raise self.error("a text in quotes has no end", place)
        try:
            return str(json.loads(match.group(), strict=not self.comments)), match.end()
        except json.JSONDecodeError:
            raise self.error("a text in quotes is wrong", place) from None

    def array(self, place: int, depth: int) -> Node:
        node = Node(place, value=[])
        _, place = self.skip(place + 1)
        while self.text[place : place + 1] != "]":
            item = self.value(place, depth + 1)
            node.value.append(item.value)
            _, place = self.skip(item.end)
            place = self._comma(place, "]")
        node.end = place + 1
        return node

    def object(self, place: int, depth: int) -> Node:
        node = Node(place, value={}, is_object=True)
        gap, place = self.skip(place + 1)
        while self.text[place : place + 1] != "}":
            if self.text[place : place + 1] != '"':
                raise self.error('a key in "quotes" is missing', min(place, len(self.text) - 1))
            key, end = self.string(place)
            _, colon = self.skip(end)
            if self.text[colon : colon + 1] != ":":
                raise self.error(f"a colon is missing behind the key {key!r}", end - 1)
            _, start = self.skip(colon + 1)
            member = Member(key, place, gap, self.value(start, depth + 1))
            node.members.append(member)
            node.value[key] = member.value.value
            gap, place = self.skip(member.value.end)
            if self.text[place : place + 1] == ",":
                member.comma = place
                gap, place = self._after_comma(place, "}")
            elif self.text[place : place + 1] != "}":
                raise self.error("a comma or a bracket is missing", min(place, len(self.text) - 1))
        node.content_end = gap
        node.end = place + 1
        return node

    def _comma(self, place: int, closing: str) -> int:
        if self.text[place : place + 1] == ",":
            return self._after_comma(place, closing)[1]
        if self.text[place : place + 1] != closing:
            raise self.error("a comma or a bracket is missing", min(place, len(self.text) - 1))
        return place

    def _after_comma(self, place: int, closing: str) -> tuple[int, int]:
        gap, next_place = self.skip(place + 1)
        if not self.comments and self.text[next_place : next_place + 1] == closing:
            raise self.error("a comma stands behind the last item", place)
        return gap, next_place
