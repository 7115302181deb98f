"""Edits as a person would make them."""

from __future__ import annotations

import time

import pytest

from ingle_lsp.documents import Document, Edit, Place
from ingle_lsp.edits import Change, applied, changes, document_edits


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", []),
        ("same\n", "same\n", []),
        ("", "new\n", [Change(0, 0, "new\n")]),
        ("old\n", "", [Change(0, 4, "")]),
        ("x = 1\n", "x = 2\n", [Change(4, 5, "2")]),
        ("total = count\n", "total = counter\n", [Change(13, 13, "er")]),
        ("a\nb\nc\n", "a\nc\n", [Change(2, 4, "")]),
        ("def f(a):\n    pass\n", "def f(a: int):\n    pass\n", [Change(7, 7, ": int")]),
        (
            "a = 1\nkeep = 0\nb = 1\n",
            "a = 2\nkeep = 0\nb = 2\n",
            [Change(4, 5, "2"), Change(19, 20, "2")],
        ),
        # One edit reads better than three in three words.
        ("a = b + c\n", "a = d - e\n", [Change(4, 9, "d - e")]),
        ("a\r\nb", "a\nb", [Change(1, 3, "\n")]),
        ("a\rb", "a\r\nb", [Change(1, 2, "\r\n")]),
    ],
)
def test_changes(old: str, new: str, found: list[Change]) -> None:
    assert changes(old, new) == found


def test_texts_without_anything_in_common_take_no_time() -> None:
    old = "\n".join(f"line {number} of the one" for number in range(50_000))
    new = "\n".join(f"row {number} of the other" for number in range(50_000))
    begun = time.monotonic()
    assert changes(old, new) == [Change(0, len(old), new)]
    wide = " ".join(f"{number}word" for number in range(50_000))
    (change,) = changes(wide, wide.upper())
    # The first number stands there already.
    assert change == Change(1, len(wide), wide[1:].upper())
    assert time.monotonic() - begun < 5


def test_edits_of_a_document_are_in_its_encoding() -> None:
    document = Document("file:///a", "x = '😀' + é\ny = 1\n", "", "utf-16")
    edits = document_edits(document, Place(0, 0), Place(1, 0), "x = '😀' + é + z\n")
    assert edits == [Edit(0, 12, 0, 12, " + z")]
    assert applied(document, edits) == "x = '😀' + é + z\ny = 1\n"


def test_a_stretch_in_the_middle_of_a_line() -> None:
    document = Document("file:///a", "f(a, b)\n", "", "utf-8")
    assert document_edits(document, Place(0, 2), Place(0, 6), "a, c") == [Edit(0, 5, 0, 6, "c")]


def test_text_behind_the_last_line() -> None:
    document = Document("file:///a", "a\nb", "", "utf-8")
    assert document_edits(document, document.end, document.end, "\nc\n") == [
        Edit(1, 1, 1, 1, "\nc\n")
    ]
    document = Document("file:///a", "a\nb\n", "", "utf-8")
    assert document_edits(document, document.end, document.end, "c\n") == [Edit(2, 0, 2, 0, "c\n")]
    assert document_edits(document, Place(1, 0), document.end, "") == [Edit(1, 0, 2, 0, "")]
