"""Code blocks of answers, as models write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.blocks import Block, code_blocks, fenced


def texts(markdown: str) -> list[tuple[str, str]]:
    return [(block.language, block.text) for block in code_blocks(markdown)]


@pytest.mark.parametrize(
    ("markdown", "found"),
    [
        ("no code at all", []),
        ("```python\na = 1\n```", [("python", "a = 1\n")]),
        ("Here:\n\n```\na\n\nb\n```\nDone.", [("", "a\n\nb\n")]),
        ("~~~ Lua extra words\nx\n~~~~", [("lua", "x\n")]),
        ("```{.rust}\nx\n```", [("rust", "x\n")]),
        ("```\n```", [("", "")]),
        ("```py\r\na\r\nb\r\n```\r\n", [("py", "a\nb\n")]),
        ("```a\n1\n```\ntext\n```b\n2\n```", [("a", "1\n"), ("b", "2\n")]),
        ("1. so:\n   ```c\n   int a;\n     int b;\n   ```", [("c", "int a;\n  int b;\n")]),
        ("````\n```\ninner\n```\n````", [("", "```\ninner\n```\n")]),
        ("~~~\n```\n~~~", [("", "```\n")]),
        ("say ```code``` in a line", []),
        ("```not a fence``` at the start", []),
        # A closing fence has no words, and one far to the right is text.
        ("```\n``` x\n      ```\n```", [("", "``` x\n      ```\n")]),
        ("```md\n# A\n```py\nx\n```\n# B\n```", [("md", "# A\n```py\nx\n```\n# B\n")]),
    ],
)
def test_what_is_found(markdown: str, found: list[tuple[str, str]]) -> None:
    assert texts(markdown) == found
    assert all(block.closed for block in code_blocks(markdown))


@pytest.mark.parametrize("markdown", ["```py\na = 1", "```py\na = 1\n", "text\n```py\na = 1\n``"])
def test_an_answer_that_was_cut_off(markdown: str) -> None:
    (block,) = code_blocks(markdown)
    assert not block.closed
    assert block.text.startswith("a = 1\n")


@pytest.mark.parametrize(
    ("info", "language", "path"),
    [
        ("python", "python", ""),
        ("python:src/a.py", "python", "src/a.py"),
        ("Python: x", "python", ""),
        ("src/a.py", "py", "src/a.py"),
        ("a.test.ts", "ts", "a.test.ts"),
        ("Makefile", "makefile", ""),
        ("build/Makefile", "", "build/Makefile"),
        ("12:30:app/main.rb", "rb", "app/main.rb"),
        ('tsx title="my app/a.tsx" {1,3}', "tsx", "my app/a.tsx"),
        ("js filename=a.js", "js", "a.js"),
        ("{.python file=a.py}", "python", "a.py"),
        ("c++", "c++", ""),
        ("c#", "c#", ""),
        (".rust", "rust", ""),
        ("diff --git a/x.py b/x.py", "diff", ""),
    ],
)
def test_what_a_fence_says(info: str, language: str, path: str) -> None:
    (block,) = code_blocks(f"~~~{info}\nx\n~~~")
    assert (block.language, block.path) == (language, path)


def test_blocks_are_counted() -> None:
    assert code_blocks("```\na\n```\n```x\n")[1] == Block(1, "x", "", False)


@given(st.text(alphabet="`~ab \n", max_size=40), st.sampled_from(["", "python", "markdown"]))
def test_what_is_made_is_found_again(text: str, language: str) -> None:
    made = f"Before.\n\n{fenced(text, language)}\n\nAfter."
    end = "" if not text or text.endswith("\n") else "\n"
    assert code_blocks(made) == [Block(0, language, text + end, True)]


@given(st.text(alphabet="`~m d\n\r\t", max_size=60))
def test_any_text_has_blocks_or_none(markdown: str) -> None:
    for number, block in enumerate(code_blocks(markdown)):
        assert block.index == number
        assert block.text == "" or block.text.endswith("\n")
        assert "\r" not in block.text
