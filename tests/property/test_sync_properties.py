"""Random edits, as an editor sends them, against a model of the text that knows no lines.

The model is the sequence of code units, so it can't make the same mistakes: it finds a position by
walking over the units, and an edit is a slice.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.documents import Document, Edit, Place
from ingle_lsp.positions import Encoding

CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
#: Few kinds of characters, so that line ends and surrogate pairs meet and part often.
TEXT = st.text(alphabet=st.sampled_from("a\n\r\x0c\u2028é漢😀"), max_size=8)


class Model:
    """A text as its code units."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        self.codec, self.size = CODECS[encoding]
        self.units = self._cut(text)

    def _cut(self, text: str) -> list[bytes]:
        data = text.encode(self.codec, "surrogatepass")
        return [data[at : at + self.size] for at in range(0, len(data), self.size)]

    @property
    def text(self) -> str:
        return b"".join(self.units).decode(self.codec, "surrogatepass")

    def starts(self) -> list[tuple[int, int]]:
        """(first unit, unit after the last before the line end) of every line."""
        newline, carriage = self._cut("\n")[0], self._cut("\r")[0]
        found, start, at = [], 0, 0
        while at < len(self.units):
            if self.units[at] in (newline, carriage):
                found.append((start, at))
                if self.units[at] == carriage and self.units[at + 1 : at + 2] == [newline]:
                    at += 1
                start = at + 1
            at += 1
        return [*found, (start, len(self.units))]

    def is_boundary(self, at: int) -> bool:
        """Whether a character begins at this unit."""
        try:
            b"".join(self.units[:at]).decode(self.codec)
            b"".join(self.units[at:]).decode(self.codec)
        except UnicodeDecodeError:
            return False
        return True


@st.composite
def a_position(draw: st.DrawFn, model: Model, *, whole: bool) -> tuple[int, int, int]:
    """(line, units, unit of the text), at a character boundary if `whole`."""
    lines = model.starts()
    line = draw(st.integers(0, len(lines) - 1))
    start, end = lines[line]
    candidates = [at for at in range(start, end + 1) if not whole or model.is_boundary(at)]
    at = draw(st.sampled_from(candidates))
    return line, at - start, at


@given(data=st.data(), encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]), text=TEXT)
def test_the_document_is_what_the_editor_has(
    data: st.DataObject, encoding: Encoding, text: str
) -> None:
    document = Document("file:///a", text, "", encoding)
    model = Model(text, encoding)
    for _ in range(data.draw(st.integers(1, 6))):
        # An editor that counts in UTF-16 may edit half a pair; the others can't.
        whole = encoding != "utf-16"
        first = data.draw(a_position(model, whole=whole))
        last = data.draw(a_position(model, whole=whole))
        new = data.draw(TEXT)
        low, high = sorted((first[2], last[2]))
        document.edit(Edit(*first[:2], *last[:2], new))
        model.units[low:high] = model._cut(new)
        assert document.text == model.text
        lines = model.starts()
        assert document.locate(len(lines), 0) is None
        for line, (start, end) in enumerate(lines):
            assert document.locate(line, end - start) is not None
            assert document.locate(line, end - start + 1) is None
        assert document.is_binary is ("\0" in model.text)


@given(data=st.data(), encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]), text=TEXT)
def test_places_are_where_the_editor_means_them(
    data: st.DataObject, encoding: Encoding, text: str
) -> None:
    document = Document("file:///a", text, "", encoding)
    model = Model(text, encoding)
    line, units, at = data.draw(a_position(model, whole=False))
    place = document.locate(line, units)
    if not model.is_boundary(at):
        assert place is None
        return
    assert place is not None
    assert document.units(place) == units
    assert document.before(place, 10_000) + document.after(place, 10_000) == text
    start, end = model.starts()[line]
    assert document.locate(line, end - start + 1) is None
    assert document.locate(len(model.starts()), 0) is None


@given(
    text=TEXT,
    limit=st.integers(1, 30),
    line=st.integers(0, 8),
    units=st.integers(0, 8),
)
def test_what_is_around_a_place_is_bounded(text: str, limit: int, line: int, units: int) -> None:
    document = Document("file:///a", text, "", "utf-32")
    place = document.locate(line, units)
    if place is None:
        return
    before, after = document.before(place, limit), document.after(place, limit)
    whole = document.before(place, 10_000)
    assert whole.endswith(before)
    assert len(before) <= limit
    assert len(after) == min(limit, len(text) - len(whole))
    if len(before) < len(whole) and place.column < limit:
        assert whole[: len(whole) - len(before)].endswith(("\n", "\r"))


def test_a_place_names_a_line_and_a_column() -> None:
    assert Document("file:///a", "a\nbc", "", "utf-8").locate(1, 2) == Place(1, 2)


def offset(text: str, line: int, column: int) -> int:
    """The index into a text of a place, which has characters for columns."""
    return sum(len(each) + 1 for each in text.split("\n")[:line]) + column


@given(data=st.data(), text=st.text(alphabet="ab\n😀", min_size=1, max_size=30))
def test_a_mark_stays_with_its_text(data: st.DataObject, text: str) -> None:
    """Against two numbers that move with the edits before them."""
    document = Document("file:///a", text, "", "utf-32")
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    with document.marked(place(text, low), place(text, high)) as mark:
        marked = text[low:high]
        for _ in range(data.draw(st.integers(1, 5))):
            first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
            new = data.draw(st.text(alphabet="ab\n", max_size=5))
            start, end = place(text, first), place(text, last)
            document.edit(Edit(start.line, start.column, end.line, end.column, new))
            text = text[:first] + new + text[last:]
            assert document.text == text
            if last <= low:
                low, high = low + len(new) - (last - first), high + len(new) - (last - first)
            elif first < high:
                assert mark.touched
                return
            assert not mark.touched
            assert offset(text, mark.start.line, mark.start.column) == low
            assert offset(text, mark.end.line, mark.end.column) == high
            assert document.between(mark.start, mark.end) == marked
    assert document._marks == []


def place(text: str, at: int) -> Place:
    """The place of an index into a text."""
    before = text[:at].split("\n")
    return Place(len(before) - 1, len(before[-1]))


@given(
    before=st.text(alphabet="ab\r\n", max_size=12),
    after=st.text(alphabet="ab\r\n", max_size=12),
    new=st.tuples(*[st.text(alphabet="ab\r\n", max_size=12)] * 2),
)
def test_a_mark_stays_when_the_editor_sends_the_whole_text(
    before: str, after: str, new: tuple[str, str]
) -> None:
    marked = "the marked\nlines\n"
    document = Document("file:///a", f"{before}\n{marked}{after}", "", "utf-8")
    first = document.line_count - Document("", after, "", "utf-8").line_count
    with document.marked(Place(first - 2, 0), Place(first, 0)) as mark:
        assert document.between(mark.start, mark.end) == marked
        # One end at a time: what changes at both ends of a whole text is one change.
        for text in (f"{new[0]}\n{marked}{after}", f"{new[0]}\n{marked}{new[1]}"):
            document.replace(text)
            assert document.text == text
            assert not mark.touched
            assert document.between(mark.start, mark.end) == marked
        document.replace(document.text.replace("marked", "MARKED"))
        assert mark.touched


def test_a_text_by_its_lines() -> None:
    document = Document("file:///a", "one\r\ntwo\nthree", "", "utf-8", 3)
    assert (document.line_count, document.line_end, document.version) == (3, "\r\n", 3)
    assert document.end == Place(2, 5)
    assert document.line(0) == "one\r\n"
    assert document.between(Place(0, 1), Place(0, 2)) == "n"
    assert document.between(Place(0, 1), Place(2, 2)) == "ne\r\ntwo\nth"
    assert document.between(Place(0, 0), document.end) == document.text
    assert Document("file:///a", "one", "", "utf-8").line_end == "\n"
