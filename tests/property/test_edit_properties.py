"""Edits between random texts, applied by an implementation that shares nothing with ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.documents import Document, Edit, Place
from ingle_lsp.edits import applied, changes, document_edits
from ingle_lsp.positions import Encoding
from support.applied_edits import apply_edits

ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-32"])
#: Few kinds of characters, so that texts share much, in any order of line ends.
TEXT = st.text(alphabet=st.sampled_from("ab (\té漢😀\u2028\x0c\n\r"), max_size=40)
WORDS = st.lists(
    st.sampled_from(["a", "def", "  ", "(", "x😀", "é", "\n", "\n\n", "    "]), max_size=30
)


def independently(text: str, edits: list[Edit], encoding: Encoding) -> str:
    """The text after the edits; see `support.applied_edits`."""
    sent = [
        {
            "range": {
                "start": {"line": edit.start_line, "character": edit.start_units},
                "end": {"line": edit.end_line, "character": edit.end_units},
            },
            "newText": edit.text,
        }
        for edit in edits
    ]
    return apply_edits(text, sent, encoding)


def a_place(document: Document, at: int) -> Place | None:
    """The place of an index into the text; None between the parts of a line end."""
    for line in range(document.line_count):
        text = document.line(line)
        if at < len(text) or line == document.line_count - 1:
            return None if at and text[at - 1 : at + 1] == "\r\n" else Place(line, at)
        at -= len(text)
    raise AssertionError


@given(data=st.data(), encoding=ENCODINGS, old=TEXT, new=TEXT)
def test_edits_give_exactly_the_wanted_text(
    data: st.DataObject, encoding: Encoding, old: str, new: str
) -> None:
    document = Document("file:///a", old, "", encoding)
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(old))] * 2)))
    start, end = a_place(document, low), a_place(document, high)
    if start is None or end is None:
        return
    edits = document_edits(document, start, end, new)
    wanted = old[:low] + new + old[high:]
    assert independently(old, edits, encoding) == wanted
    assert applied(document, edits) == wanted
    assert document.text == old
    for edit in edits:
        # Nothing outside of the range is touched.
        assert (edit.start_line, edit.start_units) >= (start.line, document.units(start))
        assert (edit.end_line, edit.end_units) <= (end.line, document.units(end))
    if old[low:high] == new:
        assert edits == []


@given(encoding=ENCODINGS, words=WORDS, data=st.data(), line_end=st.sampled_from(["\n", "\r\n"]))
def test_a_small_difference_is_a_small_edit(
    encoding: Encoding, words: list[str], data: st.DataObject, line_end: str
) -> None:
    """One word in place of another costs no more than both words."""
    at = data.draw(st.integers(0, len(words)))
    old_word, new_word = "former", data.draw(st.sampled_from(["latter", "for", "a b", ""]))
    old = "".join([*words[:at], " ", old_word, " ", *words[at:]]).replace("\n", line_end)
    new = "".join([*words[:at], " ", new_word, " ", *words[at:]]).replace("\n", line_end)
    document = Document("file:///a", old, "", encoding)
    edits = document_edits(document, Place(0, 0), document.end, new)
    assert independently(old, edits, encoding) == new
    found = changes(old, new)
    assert sum(change.end - change.start for change in found) <= len(old_word)
    assert sum(len(change.text) for change in found) <= len(new_word)


@given(old=TEXT, new=TEXT)
def test_changes_are_in_order_and_apart(old: str, new: str) -> None:
    reached, result = -1, ""
    for change in changes(old, new):
        assert reached < change.start <= change.end <= len(old)
        result += old[max(reached, 0) : change.start] + change.text
        reached = change.end
    assert result + old[max(reached, 0) :] == new
