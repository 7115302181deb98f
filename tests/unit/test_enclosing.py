"""The code around a line, in the languages that people write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.enclosing import Part, around, defined, enclosing

PYTHON = '''\
import os

LIMIT = 3
NAMES = [
    "a",
]


# The sum.
@cached
def add(
    a: int,
    b: int,
) -> int:
    """Adds.

text at the margin
    """
    if a:
        return a + b

    return b


class Tree:
    left = None

    def grow(self):
        for branch in self:
            branch.grow()
# at the margin
        return self


async def one_line(): pass
print(add(1, 2))
'''.splitlines(keepends=True)

C = """\
#include <stdio.h>

/*
 * Adds.
 */
static int add(int a,
               int b)
{
#ifdef X
    if (a) {
        return b;
    }
#endif
    return a + b;
}

void (*handler)(int);
int main(void) {
    return add(1, 2);
}
""".splitlines(keepends=True)

RUST = """\
use std::fmt;

/// A point.
#[derive(Debug)]
pub struct Point {
    x: i32,
}

impl<T> Shape for Point {
    pub(crate) fn area(&self) -> i32
    where
        T: Into<i32>,
    {
        match self.x {
            0 => 1,
            _ => 2,
        }
    }
}
""".splitlines(keepends=True)

TYPESCRIPT = """\
import { a } from './a';

export const twice = (n: number): number => {
  return 2 * n;
};

export default class Store extends Base {
  private items: string[] = [];

  async load(path: string): Promise<void> {
    await read(path, (line) => {
      this.items.push(line);
    });
  }
}

describe('Store', () => {
  it('loads', () => {
    expect(1).toBe(1);
  });
});
""".splitlines(keepends=True)

GO = """\
package tree

func (t *Tree) Walk(visit func(int)) {
\tif t == nil {
\t\treturn
\t}
\tvisit(t.Value)
}
""".splitlines(keepends=True)

LUA = """\
local M = {}

function M.add(a, b)
  if a then
    return a + b
  end
end

local twice = function(n)
  return 2 * n
end

print(M.add(1, 2))
""".splitlines(keepends=True)


def found(lines: list[str], text: str, language: str = "") -> tuple[str, str, str]:
    """First line, last line and name of what is around the line with `text`."""
    at = next(number for number, line in enumerate(lines) if text in line)
    part = enclosing(lines, at, language)
    assert part is not None
    return lines[part.first].strip(), lines[part.last].strip(), part.name


@pytest.mark.parametrize(
    ("text", "first", "last", "name"),
    [
        ("return a + b", "# The sum.", "return b", "add"),
        ("a: int", "# The sum.", "return b", "add"),
        (") -> int", "# The sum.", "return b", "add"),
        ("@cached", "# The sum.", "return b", "add"),
        ("# The sum.", "# The sum.", "return b", "add"),
        ("Adds.", "# The sum.", "return b", "add"),
        ("left = None", "class Tree:", "return self", "Tree"),
        ("branch.grow()", "def grow(self):", "return self", "grow"),
        ("return self", "def grow(self):", "return self", "grow"),
        ("one_line", "async def one_line(): pass", "async def one_line(): pass", "one_line"),
        ("print(", "async def one_line(): pass", "print(add(1, 2))", ""),
        ("import os", "import os", "import os", ""),
        ('"a"', "LIMIT = 3", "]", ""),
    ],
)
def test_python(text: str, first: str, last: str, name: str) -> None:
    assert found(PYTHON, text, "python") == (first, last, name)


@pytest.mark.parametrize(
    ("lines", "text", "first", "last", "name"),
    [
        (C, "return b;", "/*", "}", "add"),
        (C, "return a + b", "/*", "}", "add"),
        (C, "int b)", "/*", "}", "add"),
        (C, "return add", "int main(void) {", "}", "main"),
        (C, "#include", "#include <stdio.h>", "#include <stdio.h>", ""),
        (RUST, "x: i32", "/// A point.", "}", "Point"),
        (RUST, "0 => 1", "pub(crate) fn area(&self) -> i32", "}", "area"),
        (RUST, "T: Into", "pub(crate) fn area(&self) -> i32", "}", "area"),
        (RUST, "impl", "impl<T> Shape for Point {", "}", "Shape"),
        (TYPESCRIPT, "return 2", "export const twice = (n: number): number => {", "};", "twice"),
        (
            TYPESCRIPT,
            "this.items.push",
            "async load(path: string): Promise<void> {",
            "}",
            "load",
        ),
        (TYPESCRIPT, "private", "export default class Store extends Base {", "}", "Store"),
        (TYPESCRIPT, "toBe", "it('loads', () => {", "});", "loads"),
        (TYPESCRIPT, "describe(", "describe('Store', () => {", "});", "Store"),
        (GO, "visit(t.Value)", "func (t *Tree) Walk(visit func(int)) {", "}", "Walk"),
        (LUA, "return a + b", "function M.add(a, b)", "end", "M.add"),
        (LUA, "return 2", "local twice = function(n)", "end", "twice"),
        (LUA, "print(", "print(M.add(1, 2))", "print(M.add(1, 2))", ""),
        (LUA, "local M", "local M = {}", "local M = {}", ""),
    ],
)
def test_others(lines: list[str], text: str, first: str, last: str, name: str) -> None:
    assert found(lines, text) == (first, last, name)


def test_what_a_line_is_inside_of() -> None:
    at = next(number for number, line in enumerate(PYTHON) if "branch.grow" in line)
    assert around(PYTHON, at) == {"Tree", "grow"}
    assert around(PYTHON, 0) == set()
    inner = next(number for number, line in enumerate(RUST) if "0 => 1" in line)
    assert around(RUST, inner) == {"area", "Shape"}
    assert around(C, 13) == {"add"}


def test_the_end_of_a_function_is_its_own() -> None:
    lines = C[:15]
    assert enclosing(lines, 14) == Part(2, 14, "add")


def test_a_blank_line_belongs_to_what_follows() -> None:
    blank = PYTHON.index("\n", 5)
    part = enclosing(PYTHON, blank, "python")
    assert part is not None
    assert part.name == "add"
    assert enclosing(["a\n", "\n", "\n"], 2) == Part(0, 0)
    assert enclosing(["\n", " \n", ""], 1) is None
    assert enclosing([""], 0) is None


def test_prose_has_paragraphs() -> None:
    lines = ["class struggles are\n", "everywhere\n", "\n", "it (really) is\n"]
    assert enclosing(lines, 1, "markdown") == Part(0, 1)
    assert enclosing(lines, 3, "plaintext") == Part(3, 3)


@pytest.mark.parametrize(
    "line",
    [
        "object = x",
        "test = 5",
        "it is",
        "foo(a, b)",
        "print(x)",
        "if (a) {",
        "} else if (a) {",
        "for i in range(3):",
        "return function_call(a)",
        "foo(bar, () => {",
        "x = {",
        "int f(int a);",
        "y = (a + b)",
        "class_name = 3",
        "a" * 600 + "() {",
    ],
)
def test_what_begins_nothing(line: str) -> None:
    assert defined([line], 0) is None


LINES = st.lists(
    st.sampled_from(
        [
            "",
            "    ",
            "def f(a):",
            "    def g():",
            "        x = 1",
            "    return",
            "}",
            "int f(",
            "{",
            "  int a) {",
            "end",
            "# note",
            '"""',
            "@x",
            "x = 1",
            "class A:",
            "\tfoo(",
        ]
    ),
    min_size=1,
    max_size=20,
)


@given(lines=LINES, data=st.data(), language=st.sampled_from(["python", "c", "markdown", ""]))
def test_any_text(lines: list[str], data: st.DataObject, language: str) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    part = enclosing([line + "\n" for line in lines], at, language)
    if part is None:
        assert not any(line.strip() for line in lines)
        return
    assert 0 <= part.first <= part.last < len(lines)
    assert lines[part.first].strip()
    assert lines[part.last].strip()
    if lines[at].strip():
        assert part.first <= at <= part.last
