"""One member of a JSON file of the user's, set and taken away in the text. Pure.

Order, indentation, comments and unknown keys stay as they are; taking the member away gives the
text from before it was set, byte for byte. How the member is written remembers what was there: an
object that had to be made for it has a space before its first key (`{ "clients": …`), one that was
there has none or a new line. The reading is `json_text`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .json_text import Node, parse
from .marked_block import end_of_line


class NotAnObject(ValueError):
    """A value on the way to the member is no object; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def get(text: str | None, path: Sequence[str], *, comments: bool) -> tuple[Any, int] | None:
    """The value at `path` and its line, counted from 1; None if there is none.

    Raises `json_text.NotJson`, `NotAnObject`.
    """
    node = parse(text or "", comments=comments)
    for depth, key in enumerate(path):
        if node is None:
            return None
        _require_object(text or "", node, path[:depth])
        node = node.member(key)
    return None if node is None else (node.value, _line(text or "", node.start))


def with_member(text: str | None, path: Sequence[str], value: Any, *, comments: bool) -> str:
    """`text` with `value` at `path`: in the place of what is there, else as the last member.

    `text` is None for a file that does not exist. Raises `json_text.NotJson`, `NotAnObject`.
    """
    eol = end_of_line(text or "")
    root = parse(text or "", comments=comments)
    if root is None:
        whole = _made({path[-1]: value}, path[:-1], "", "  ", eol)
        if text is None:
            return whole + eol
        return text + whole if not text.strip() else whole + text
    assert text is not None
    step = _step(text, root)
    node = root
    for depth, key in enumerate(path):
        _require_object(text, node, path[:depth])
        child = node.member(key)
        if child is None:
            return _appended(text, node, path[depth:], value, step, eol)
        node = child
    if json.dumps(node.value) == json.dumps(value):
        # It may be written in another way; that is nothing to change.
        return text
    rendered = _rendered(value, _indent(text, node.start), step, eol)
    return text[: node.start] + rendered + text[node.end :]


def without_member(text: str, path: Sequence[str], *, comments: bool) -> str | None:
    """`text` without the member at `path`; None if the file was made for it.

    Objects that were made for it go, too. Raises `json_text.NotJson`, `NotAnObject`.
    """
    root = parse(text, comments=comments)
    if root is None or get(text, path, comments=comments) is None:
        return text
    nodes = [root]
    for key in path:
        child = nodes[-1].member(key)
        assert child is not None
        nodes.append(child)
    depth = len(path)
    while depth and _made_for_it(text, nodes[depth - 1]):
        depth -= 1
    if depth:
        return _cut(text, nodes[depth - 1], path[depth - 1])
    before, after = text[: root.start], text[root.end :]
    if not before and after in ("\n", "\r\n"):
        return None
    return before + after


def _made_for_it(text: str, node: Node) -> bool:
    if len(node.members) != 1:
        return False
    return text[node.start + 1 : node.members[0].key_start] == " "


def _cut(text: str, node: Node, key: str) -> str:
    index = next(i for i, member in enumerate(node.members) if member.key == key)
    member = node.members[index]
    start = member.gap_start
    end = member.value.end
    last = index == len(node.members) - 1
    if member.comma is not None:
        # Its comma goes with it. What is between a value and its comma is ours or nobody's.
        return text[:start] + text[end : member.comma] + text[member.comma + 1 :]
    if last and index:
        comma = node.members[index - 1].comma
        assert comma is not None
        return text[:comma] + text[comma + 1 : start] + text[end:]
    return text[:start] + text[end:]


def _appended(text: str, node: Node, path: Sequence[str], value: Any, step: str, eol: str) -> str:
    inside = text[node.start + 1 : node.end - 1]
    place = node.content_end
    if not node.members:
        own_line = "\n" in inside
        indent = _indent(text, node.start) + step
        lead = eol + indent if own_line else ""
        return text[:place] + lead + _member(path, value, indent, step, eol) + text[place:]
    last = node.members[-1]
    own_line = "\n" in text[node.start : last.key_start]
    indent = _indent(text, last.key_start) if own_line else _indent(text, node.start)
    lead = eol + indent if own_line else " "
    if _ends_in_line_comment(text, node):
        lead = eol + indent
    added = lead + _member(path, value, indent, step, eol)
    if last.comma is not None:
        return text[:place] + added + "," + text[place:]
    return text[: last.value.end] + "," + text[last.value.end : place] + added + text[place:]


def _ends_in_line_comment(text: str, node: Node) -> bool:
    line = text[text.rfind("\n", 0, node.content_end) + 1 : node.content_end]
    return "//" in line


def _member(path: Sequence[str], value: Any, indent: str, step: str, eol: str) -> str:
    key = json.dumps(path[0], ensure_ascii=False)
    if len(path) == 1:
        return f"{key}: {_rendered(value, indent, step, eol)}"
    return f"{key}: {_made({path[-1]: value}, path[1:-1], indent, step, eol)}"


def _made(content: dict[str, Any], path: Sequence[str], indent: str, step: str, eol: str) -> str:
    """Objects that are made on the way: a space behind each bracket says so later."""
    ((key, value),) = content.items()
    inner = f"{json.dumps(key, ensure_ascii=False)}: {_rendered(value, indent, step, eol)}"
    for outer in reversed(path):
        inner = f"{json.dumps(outer, ensure_ascii=False)}: {{ {inner} }}"
    return f"{{ {inner} }}"


def _rendered(value: Any, indent: str, step: str, eol: str) -> str:
    lines = _lists_in_one_line(value, step).split("\n")
    return (eol + indent).join(lines)


def _lists_in_one_line(value: Any, step: str, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    deeper = indent + step
    rows = [
        f"{deeper}{json.dumps(key, ensure_ascii=False)}: {_lists_in_one_line(item, step, deeper)}"
        for key, item in value.items()
    ]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def _step(text: str, root: Node) -> str:
    """One level of the file's indentation."""
    for member in root.members:
        indent = _indent(text, member.key_start)
        if indent and "\n" in text[root.start : member.key_start]:
            return indent.removeprefix(_indent(text, root.start)) or "  "
    return "  "


def _indent(text: str, place: int) -> str:
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _require_object(text: str, node: Node, path: Sequence[str]) -> None:
    if not node.is_object:
        what = ".".join(path) or "the whole"
        raise NotAnObject(f"{what} is not an object {{…}}", _line(text, node.start))


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
