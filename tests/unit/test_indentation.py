"""The indentation of a new line, as editors choose it."""

from __future__ import annotations

import pytest

from ingle_lsp.indentation import after_break, level


@pytest.mark.parametrize(
    ("before", "indentation"),
    [
        ("", ""),
        ("x", ""),
        ("  x", "  "),
        ("\tx", "\t"),
        ("x:", "    "),
        ("\tf(a, b) {", "\t\t"),
        ("a {\n  b {", "    "),
        ("a {\n\tb {", "\t\t"),
        ("if x:  ", "    "),
        ("  return x\n}", ""),
    ],
)
def test_after_a_line_break(before: str, indentation: str) -> None:
    assert after_break(before) == indentation


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("", "    "),
        ("a\n  b\n    c\n", "  "),
        ("a\n\tb\n\n\t\tc\n", "\t"),
        # One that is aligned with a bracket is the exception.
        ("f(a,\n  b)\nif x:\n    y\nif z:\n    w\n", "    "),
        # Other characters are no deeper level.
        ("  a\n\tb\n\t\tc\n    d\n\te\n\t\tf\n", "\t"),
    ],
)
def test_a_level_is_what_most_lines_have(text: str, one: str) -> None:
    assert level(text) == one
