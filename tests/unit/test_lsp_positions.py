"""Positions in three encodings, and documents that are edited through them."""

from __future__ import annotations

import pytest

from ingle_lsp import positions
from ingle_lsp.documents import Document, Documents, Edit, Place
from ingle_lsp.positions import Encoding

LINE = "aé😀z"  # 1, 2, 4, 1 bytes in UTF-8; 1, 1, 2, 1 units in UTF-16


@pytest.mark.parametrize(
    ("encoding", "valid"),
    [
        ("utf-8", {0: 0, 1: 1, 3: 2, 7: 3, 8: 4}),
        ("utf-16", {0: 0, 1: 1, 2: 2, 4: 3, 5: 4}),
        ("utf-32", {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}),
    ],
)
def test_units_and_characters(encoding: Encoding, valid: dict[int, int]) -> None:
    for units in range(-1, 12):
        assert positions.index(LINE, units, encoding) == valid.get(units)
    for units, index in valid.items():
        assert positions.units(LINE, index, encoding) == units


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_ascii_is_the_same_in_all(encoding: Encoding) -> None:
    assert positions.index("abc", 3, encoding) == 3
    assert positions.index("abc", 4, encoding) is None
    assert positions.units("abc", 2, encoding) == 2


def test_half_a_surrogate_pair_is_an_edit_but_not_a_position() -> None:
    assert positions.index("😀", 1, "utf-16") is None
    head, tail = positions.cut("😀", 1, "utf-16")
    assert (head, tail) == ("\ud83d", "\ude00")
    assert positions.mended(head + tail) == "😀"
    assert positions.cut("é", 1, "utf-8") == ("", "é")


def document(text: str, encoding: Encoding = "utf-16") -> Document:
    return Document("file:///a.py", text, "python", encoding)


@pytest.mark.parametrize(
    ("line", "units"), [(0, 4), (0, 99), (1, 1), (2, 0), (99, 0), (-1, 0), (0, -1)]
)
def test_there_is_no_such_place(line: int, units: int) -> None:
    assert document("abc\n").locate(line, units) is None


def test_the_end_of_a_document_is_a_place() -> None:
    assert document("abc\n").locate(1, 0) == Place(1, 0)
    assert document("").locate(0, 0) == Place(0, 0)
    assert document("abc").locate(0, 3) == Place(0, 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_three_ways(end: str) -> None:
    text = f"one{end}two{end}"
    edited = document(text)
    edited.edit(Edit(0, 3, 1, 0, " "))
    assert edited.text == f"one two{end}"


def test_a_form_feed_ends_no_line() -> None:
    text = document("a\x0cb\u2028c\x85d\nsecond")
    assert text.locate(1, 6) == Place(1, 6)
    assert text.locate(2, 0) is None


def test_a_carriage_return_and_a_line_feed_that_meet_are_one_line_end() -> None:
    text = document("a\rb")
    text.edit(Edit(1, 0, 1, 0, "\n"))
    assert text.text == "a\r\nb"
    assert text.locate(2, 0) is None


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(0, 99, 0, 99, "!"), "abc!\ndef"),
        (Edit(9, 0, 9, 9, "!"), "abc\ndef!"),
        (Edit(0, 0, 9, 0, ""), ""),
        (Edit(1, 1, 0, 1, "-"), "a-ef"),
        (Edit(0, 0, 0, 0, "x\ny"), "x\nyabc\ndef"),
    ],
)
def test_edits_past_the_end_and_reversed_ones(edit: Edit, expected: str) -> None:
    edited = document("abc\ndef")
    edited.edit(edit)
    assert edited.text == expected


def test_what_stands_around_a_place() -> None:
    text = document("first\nsecond\nthird\n")
    place = Place(1, 3)
    assert text.before(place, 100) == "first\nsec"
    assert text.before(place, 8) == "sec"
    assert text.before(place, 9) == "first\nsec"
    assert text.before(place, 2) == "ec"
    assert text.after(place, 100) == "ond\nthird\n"
    assert text.after(place, 5) == "ond\nt"


def test_size_and_binary_follow_the_edits() -> None:
    text = document("a\0b")
    assert text.is_binary
    text.edit(Edit(0, 1, 0, 2, ""))
    assert not text.is_binary
    text.edit(Edit(0, 0, 0, 0, "x" * 5_000_001))
    assert text.is_huge
    text.edit(Edit(0, 0, 0, 5_000_001, ""))
    assert not text.is_huge
    text.replace("\0")
    assert text.is_binary


def test_every_change_is_a_new_revision() -> None:
    text = document("a")
    before = text.revision
    text.edit(Edit(0, 0, 0, 0, ""))
    text.replace("a")
    assert text.revision == before + 2


def test_only_open_documents_are_known() -> None:
    documents = Documents()
    assert not documents.change("file:///a.py", ["text"])
    assert documents.get("file:///a.py") is None
    documents.open("file:///a.py", "x", "python", "utf-16")
    assert documents.change("file:///a.py", [Edit(0, 1, 0, 1, "y"), Edit(0, 2, 0, 2, "z")])
    found = documents.get("file:///a.py")
    assert found is not None
    assert found.text == "xyz"
    documents.close("file:///a.py")
    documents.close("file:///a.py")
    assert documents.get("file:///a.py") is None
