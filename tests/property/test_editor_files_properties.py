"""Setting an editor up and taking that away gives the user's file back, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingled.editors import json_member, marked_block
from ingled.editors.json_text import NotJson, parse

BODY = "first line\n  second line"
VALUE = {"enabled": True, "command": ["ingle-lsp"], "more": {"startDaemon": True, "ü": None}}

ends = st.sampled_from(["\n", "\r\n", "\r", ""])
lines = st.tuples(st.text(st.characters(codec="utf-8"), max_size=12), ends)
texts = st.lists(lines, max_size=6).map(lambda rows: "".join(a + b for a, b in rows))


@given(text=st.none() | texts, comment=st.sampled_from(["#", '"', "--", ";;"]))
def test_a_block_goes_as_it_came(text: str | None, comment: str) -> None:
    once = marked_block.with_block(text, BODY, comment)
    assert marked_block.with_block(once, BODY, comment) == once
    assert marked_block.without(once, comment) == text
    # Another version's lines take the place of these, and go as well.
    other = marked_block.with_block(once, "changed", comment)
    assert "second line" not in other[len(text or "") :]
    assert marked_block.without(other, comment) == text


@given(before=texts, after=texts, comment=st.sampled_from(["#", "--"]))
def test_what_is_written_around_a_block_later_stays(before: str, after: str, comment: str) -> None:
    once = marked_block.with_block("", BODY, comment)
    before = f"{before}\n"
    assert marked_block.without(before + once + after, comment) == before + after


# --- JSON, as people write it -----------------------------------------------------------------

spaces = st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", "  \n\n    "])
remarks = st.sampled_from(["/* c, } */", '// it, { " \n', "//\r\n", "/**/"])
keys = st.sampled_from(["a", "clients", "lsp", "x\\ny", 'q\\"', "ü", "//"])
scalars = st.sampled_from(["1", "-2.5e3", "true", "null", '"a // b"', '"\\u00e9"', '""'])


@st.composite
def gaps(draw: st.DrawFn, comments: bool) -> str:
    parts = st.lists(spaces | remarks if comments else spaces, max_size=3)
    return "".join(draw(parts))


@st.composite
def values(draw: st.DrawFn, comments: bool, depth: int = 0) -> str:
    kind = draw(st.sampled_from(["scalar", "array", "object"] if depth < 2 else ["scalar"]))
    if kind == "scalar":
        return draw(scalars)
    if kind == "object":
        return draw(objects(comments, depth + 1))
    items = draw(st.lists(values(comments, depth + 1), max_size=3))
    return "[" + draw(gaps(comments)) + ",".join(items) + draw(gaps(comments)) + "]"


@st.composite
def objects(draw: st.DrawFn, comments: bool, depth: int = 0) -> str:
    gap = gaps(comments)
    names = draw(st.lists(keys, max_size=3, unique=True))
    rows = []
    for name in names:
        # On the way to what is set, there are objects.
        inner = objects if name in ("clients", "lsp") and depth < 2 else values
        value = draw(inner(comments, depth + 1))
        rows.append(f'{draw(gap)}"{name}"{draw(gap)}:{draw(gap)}{value}{draw(gap)}')
    trailing = draw(st.sampled_from(["", f",{draw(gap)}"])) if comments and rows else ""
    return "{" + ",".join(rows) + trailing + draw(gap) + "}"


@st.composite
def files(draw: st.DrawFn, comments: bool) -> str:
    whole = draw(objects(comments) | st.just(""))
    return draw(gaps(comments)) + whole + draw(gaps(comments))


paths = st.sampled_from([("clients", "ingle"), ("ingle",), ("lsp", "clients", "ingle")])
cases = st.booleans().flatmap(
    lambda comments: st.tuples(st.just(comments), st.none() | files(comments))
)


@given(case=cases, path=paths)
def test_a_member_goes_as_it_came(case: tuple[bool, str | None], path: tuple[str, ...]) -> None:
    comments, text = case
    once = json_member.with_member(text, path, VALUE, comments=comments)
    found = json_member.get(once, path, comments=comments)
    assert found is not None
    assert found[0] == VALUE
    assert json_member.with_member(once, path, VALUE, comments=comments) == once
    assert json_member.without_member(once, path, comments=comments) == text
    # Everything else means what it meant.
    expected = parse(text or "", comments=comments)
    whole = parse(once, comments=comments)
    assert whole is not None
    assert _without(whole.value, path) == _without(expected.value if expected else {}, path)
    if not comments:
        assert json.loads(once) == whole.value
    other = json_member.with_member(once, path, ["other"], comments=comments)
    assert json_member.without_member(other, path, comments=comments) == text


def _without(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """`value` without what is at `path`, and without objects on the way that are empty then."""
    rest = dict(value)
    if len(path) == 1:
        rest.pop(path[0], None)
    elif path[0] in rest:
        rest[path[0]] = _without(rest[path[0]], path[1:])
        if not rest[path[0]]:
            del rest[path[0]]
    return rest


@given(text=st.text(max_size=40) | files(False) | files(True).map(lambda text: text[:-1]))
def test_without_comments_it_reads_what_python_reads(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=_refuse) if text.strip(" \t\r\n") else None
    except ValueError:
        with pytest.raises(NotJson):
            parse(text, comments=False)
        return
    node = parse(text, comments=False)
    assert (node.value if node else None) == expected


def _refuse(name: str) -> None:
    raise ValueError(name)
