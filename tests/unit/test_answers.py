"""What of a model's answer is used, and how it is made to fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.messages import FinishReason
from ingle.results import Answer
from ingle_lsp.answers import Refused, code_of, fitted, indentation


def said(text: str, finish: FinishReason = "stop") -> Answer:
    return Answer(text=text, finish=finish)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na = 1\n```", "a = 1"),
        ("Here it is:\n\n```\n\n\n    a\n\n    b\n  \n```\nThat's all.", "    a\n\n    b"),
        ("```\n```", ""),
        ("```\n\n\n```", ""),
        ("```py\nprint(...)\n...\n# ...\n# the rest is silence\n```", None),
    ],
)
def test_code(text: str, code: str | None) -> None:
    found = code_of(said(text))
    assert code is None or found == code


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(""), "without code"),
        (said("You should use a dataclass."), "without code"),
        (said("a = 1"), "without code"),
        (said("```py\na = 1\n"), "in the middle"),
        (said("```py\na = 1\n```", "length"), "did not fit"),
        (said("```py\na = 1\n```", "cancelled"), "cut off"),
        (said("```py\na = 1\n```", "deadline"), "cut off"),
        (said("```py\na\n```\nor\n```py\nb\n```"), "2 pieces"),
    ],
)
def test_unusable_answers(answer: Answer, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        code_of(answer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "# ... existing code ...",
        "    // ... rest of the function",
        "// rest of the code",
        "# rest of the file remains unchanged",
        "-- … remaining methods …",
        "/* ... other members unchanged ... */",
        "<!-- existing code here -->",
        "# [... same as before ...]",
        "// Existing methods stay as they are",
    ],
)
def test_code_that_is_left_out(line: str) -> None:
    answer = said(f"```\na = 1\n{line}\nb = 2\n```")
    with pytest.raises(Refused, match="leaves out"):
        code_of(answer)
    # Unless it stood there before.
    assert line in code_of(answer, f"a = 0\n  {line.strip()}\nb = 2")


@pytest.mark.parametrize(
    "line",
    [
        "# Other people's code is slow.",
        "// see below ...",
        "rest = existing[1:]  # ...",
        "# The rest is copied.",
        "/// Returns the remaining time.",
        "# Existing files are kept.",
    ],
)
def test_ordinary_comments(line: str) -> None:
    assert line in code_of(said(f"```\n{line}\nx\n```"))


SPACES = ["class A:\n", "    def f(self):\n", "        return 1\n"]
TABS = ["func f() {\n", "\tif x {\n", "\t\treturn\n", "\t}\n", "}\n"]


@pytest.mark.parametrize(
    ("code", "old", "surroundings", "wanted"),
    [
        ("def f():\n    pass", "    def f(self):", SPACES, "    def f():\n        pass"),
        ("    def f():\n        pass", "    def f(self):", SPACES, "    def f():\n        pass"),
        ("        def f():\n            pass", "    d", SPACES, "    def f():\n        pass"),
        ("    def f():\n        pass", "def f():", SPACES, "def f():\n    pass"),
        ("def f():\n\n    pass", "    def f(self):", SPACES, "    def f():\n\n        pass"),
        ("\tdef f():\n\t\tpass", "    def f(self):", SPACES, "    def f():\n        pass"),
        ("if x {\n    return\n}", "\tif x {", TABS, "\tif x {\n\t\treturn\n\t}"),
        (
            "if x {\n  return (a,\n     b)\n}",
            "\tif x {",
            TABS,
            "\tif x {\n\t\treturn (a,\n\t\t\t b)\n\t}",
        ),
        # Less than the first line: as much less as before, and never less than nothing.
        ("    x\ny", "        x", SPACES, "        x\n    y"),
        ("    x\ny", "  x", SPACES, "  x\ny"),
        ("a\n\tb", "a", ["a\n"], "a\n\tb"),
    ],
)
def test_indentation_of_the_place(
    code: str, old: str, surroundings: list[str], wanted: str
) -> None:
    assert fitted(code, old, surroundings, "\n") == wanted


def test_line_ends_of_the_document() -> None:
    assert fitted("a\nb\n\nc", "a\r\nb", ["a\r\n"], "\r\n") == "a\r\nb\r\n\r\nc"


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("a\n  b\n    c\n", "  "),
        ("a\n    b\n        c\n  d\n", "    "),
        ("a\n\tb\n", "\t"),
        ("a\nb\n", "    "),
        ("", "    "),
        ("        a\n            b\n", "    "),
        ("f(a,\n  b)\n  if c:\n      d\n      if e:\n          f\n", "    "),
    ],
)
def test_steps(text: str, step: str) -> None:
    assert indentation(text.splitlines()) == step


MARGIN = st.sampled_from(["", "  ", "    ", "        ", "\t", "\t\t"])
LINE = st.builds(lambda margin, text: margin + text, MARGIN, st.sampled_from(["a", "b(", "", "é"]))


@given(
    lines=st.lists(LINE, max_size=8),
    margin=MARGIN,
    surroundings=st.sampled_from([SPACES, TABS, ["x\n"]]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_fitting_changes_blanks_only(
    lines: list[str], margin: str, surroundings: list[str], line_end: str
) -> None:
    code = "\n".join(["first", *lines])
    made = fitted(code, margin + "old", surroundings, line_end).split(line_end)
    assert made[0] == margin + "first"
    assert [line.strip() for line in made] == [line.strip() for line in code.split("\n")]
    assert not any("\n" in line or "\r" in line for line in made)


@given(lines=st.lists(LINE, max_size=8), surroundings=st.sampled_from([SPACES, TABS]))
def test_code_that_fits_stays_as_it_is(lines: list[str], surroundings: list[str]) -> None:
    step = indentation(surroundings)
    uniform = [
        line.replace("\t", step) if step != "\t" else line.replace("  ", "\t") for line in lines
    ]
    code = "\n".join(["first", *uniform])
    assert fitted(code, "first", surroundings, "\n") == code
