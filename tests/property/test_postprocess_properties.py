"""What holds of post-processing for any completion at any cursor."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingle_lsp import brackets
from ingle_lsp.postprocess import Cursor, polished

#: Texts that look like programs: what the rules are about is in them often.
WORDS = ["x", "foo", " ", "  ", "    ", "\t", "\n", "\r\n", "(", ")", "[", "]", "{", "}", ":", ";"]
WORDS += [",", "=", "return x", "if a:", "else:", "end", "é", "😀", "\x0c", "\x00"]
WITHOUT_STRINGS = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)
PROGRAM = st.lists(st.sampled_from([*WORDS, '"', "'"]), max_size=30).map("".join)
ANY = st.one_of(PROGRAM, st.text(max_size=60))
LINE = st.text(alphabet="ab ()", max_size=16)


@given(text=ANY, prefix=ANY, suffix=ANY, block=st.booleans(), unfinished=st.booleans())
def test_what_is_shown_is_a_tidy_piece_of_what_the_model_wrote(
    text: str, prefix: str, suffix: str, block: bool, unfinished: bool
) -> None:
    shown = polished(text, Cursor(prefix, suffix), block=block, unfinished=unfinished)
    assert shown in text.replace("\r\n", "\n").replace("\r", "\n")
    assert shown == shown.rstrip()
    assert "\x00" not in shown
    if not block or Cursor(prefix, suffix).rest:
        assert "\n" not in shown


@given(text=LINE, prefix=LINE, suffix=LINE)
def test_a_balanced_line_stays_balanced(text: str, prefix: str, suffix: str) -> None:
    assume(not brackets.unopened(prefix + suffix) and not brackets.unclosed(prefix + suffix))
    shown = polished(text, Cursor(prefix, suffix), block=False)
    assert not brackets.unopened(prefix + shown + suffix)


@given(text=WITHOUT_STRINGS, prefix=WITHOUT_STRINGS, suffix=WITHOUT_STRINGS)
def test_no_bracket_closes_what_nobody_opened(text: str, prefix: str, suffix: str) -> None:
    shown = polished(text, Cursor(prefix, suffix), block=True)
    assert len(brackets.unopened(prefix + shown)) <= len(brackets.unopened(prefix))


@given(
    text=st.text(alphabet="abc =+", max_size=20),
    rest=st.text(alphabet="abc =+", min_size=2).map(lambda tail: " " + tail.strip()),
)
def test_the_rest_of_the_line_never_comes_twice(text: str, rest: str) -> None:
    assume(rest.strip())
    shown = polished(text + rest, Cursor("x = ", rest + "\n"), block=False)
    assert shown in (text + rest).lstrip()
    assert len(shown) <= len(text)


@pytest.mark.parametrize("block", [True, False])
@given(indent=st.sampled_from(["", "    ", "\t"]), words=st.text(alphabet="abcde", min_size=3))
def test_a_neighbour_line_is_never_suggested(block: bool, indent: str, words: str) -> None:
    assume(words not in ("end", "pass"))
    line = f"{indent}{words}\n"
    assert polished(words, Cursor(line + indent, ""), block=block) == ""
    assert polished(words, Cursor(indent, "\n" + line), block=block) == ""
