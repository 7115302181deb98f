"""When a given-up completion is still worth its computing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.riding import agrees


@pytest.mark.parametrize(
    ("after", "generated", "suffix", "wanted"),
    [
        ("a\n", "a + b", "\n", True),
        ("a + b\n", "a + b", "\n", True),
        # More was typed than is generated so far.
        ("a + b + c\n", "a +", "\n", True),
        # Nothing is generated so far.
        ("a\n", "", "\n", True),
        ("x\n", "a + b", "\n", False),
        ("a x\n", "a + b", "\n", False),
        # Nothing was typed; something was deleted.
        ("\n", "a + b", "\n", False),
        ("", "a + b", "\n", False),
        ("a", "a + b", "", True),
        ("", "a + b", "", False),
    ],
)
def test_cases(after: str, generated: str, suffix: str, wanted: bool) -> None:
    assert agrees(after, generated, suffix) == wanted


@given(
    generated=st.text("ab (", max_size=20),
    length=st.integers(1, 20),
    suffix=st.text("xy\n", max_size=100),
)
def test_typing_what_is_generated_is_always_seen(generated: str, length: int, suffix: str) -> None:
    typed = generated[:length]
    if typed:
        assert agrees(typed + suffix, generated, suffix)
        assert agrees(typed + suffix, "", suffix)


@given(generated=st.text("ab", min_size=3, max_size=20), suffix=st.text("xy\n", max_size=100))
def test_typing_something_else_is_always_seen(generated: str, suffix: str) -> None:
    assert not agrees("#" + suffix, generated, suffix)
