"""Where in a document a block of an answer belongs: what it rewrites there. Pure.

A block rewrites a place if both have enough words in common, in their order (`difflib`). Where both
define functions or classes, names count, too: a place is none if the block would delete a
definition from it, or repeat one that stands elsewhere. Places that are as good as each other are
told apart by the cursor, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations, islice

from ingle.threads import Excerpt

from .documents import Place
from .enclosing import PROSE, defined, enclosing

#: How much of two texts must be equal for one to be a rewrite of the other, from 0 to 1.
REWRITES = 0.6
#: Enough where both define the same.
SAME_NAME = 0.3
#: What it takes where both define something, and nothing of the same name: it was renamed.
RENAMED = 0.7
#: Enough for the place that the question was about.
ASKED_ABOUT = 0.4
#: A place that is worse by so much is no rival.
MARGIN = 0.1
#: Lines above which a document is searched for names only.
MAX_LINES = 20_000
#: Places that are compared word by word.
MAX_CANDIDATES = 200
#: Words of a text above which its lines are compared.
MAX_WORDS = 800
#: How alike two lines must be to begin, or to end, the same code.
LINES_ALIKE = 0.75
#: A text that stands in more places than that says nothing of any.
MAX_EXACT = 20

_WORD = re.compile(r"\w+")
#: A line that only ends what was begun above.
_CLOSER = re.compile(r"[\])}]+[;,]?|end")


@dataclass(frozen=True, order=True)
class Stretch:
    """Part of a text, from one place up to another."""

    start: Place
    end: Place

    def touches(self, other: Stretch) -> bool:
        """Whether they overlap."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class _Rated:
    place: Stretch
    likeness: float


def find(
    lines: Sequence[str],
    code: str,
    language: str,
    asked: Sequence[Excerpt] = (),
    cursor: Place | None = None,
) -> list[Stretch]:
    """The places among `lines` that `code` may belong to: one where it is clear, else all, or none.

    `lines` have no line ends; a place has no blank lines at its ends. `asked` is what the question
    was about: its place comes before others, or a part of it, or what is around it, if that is
    what the block rewrites.
    """
    new = _Code(code.split("\n"), language)
    if not new.lines:
        return []
    search = _Search(lines, new)
    others = search.rated(search.candidates(), REWRITES)
    about = (place for excerpt in asked for place in exact(lines, excerpt))
    rated = search.rated(about, ASKED_ABOUT)
    if rated:
        others = [
            _Rated(other.place, other.likeness - MARGIN)
            for other in others
            if any(other.place.touches(each.place) for each in rated)
        ]
    return _best([*rated, *others], cursor)


def defined_beside(
    lines: Sequence[str], code: str, language: str, place: Stretch | None = None
) -> str:
    """A name that the code defines and that stands among the lines already; "" if there is none.

    `place` is where the code would go: then only what stands beside it counts, in the same class or
    function.
    """
    namesakes = _Search(lines, _Code(code.split("\n"), language)).namesakes
    if place is None:
        return next((name for _, name in namesakes), "")
    first, last = place.start.line, place.end.line
    level = _margin(lines[first])
    for row, name in namesakes:
        between = lines[min(row, first) : max(row, last) + 1]
        outermost = min(_margin(line) for line in between if line.strip())
        if not first <= row <= last and _margin(lines[row]) == level == outermost:
            return name
    return ""


def exact(lines: Sequence[str], excerpt: Excerpt) -> list[Stretch]:
    """Where an excerpt's text stands now: where it was, if it still does, else wherever it does.

    None if it is everywhere.
    """
    wanted = excerpt.text.split("\n")
    first, last = _trimmed(wanted, 0, len(wanted) - 1)
    if first > last:
        return []
    found = []
    for row in range(len(lines)):
        for place in _standing(lines, row, wanted[first : last + 1]):
            if excerpt.range is not None and row == excerpt.range.start.line + first:
                return [place]
            found.append(place)
    return found if len(found) <= MAX_EXACT else []


class _Code:
    """The lines of a text without blank ones at its ends, and what they define."""

    def __init__(self, lines: Sequence[str], language: str) -> None:
        first, last = _trimmed(lines, 0, len(lines) - 1)
        self.lines = lines[first : last + 1]
        self.language = language
        #: Name → line, of what is defined at the outermost level.
        self.heads = {} if language in PROSE else dict(self._heads())
        self.names = self.heads.keys() - {""}
        self.words = [word for line in self.lines for word in _WORD.findall(line)]

    @property
    def stripped(self) -> list[str]:
        """The lines that are not blank, without their indentation."""
        return [line.strip() for line in self.lines if line.strip()]

    def _heads(self) -> Iterator[tuple[str, int]]:
        outermost = min((_margin(line) for line in self.lines if line.strip()), default=0)
        for number, line in enumerate(self.lines):
            if line.strip() and _margin(line) == outermost:
                name = defined(self.lines, number)
                if name is not None:
                    yield name, number


class _Search:
    """One document, searched for one piece of code."""

    def __init__(self, lines: Sequence[str], new: _Code) -> None:
        self._lines = lines
        self._new = new
        #: (line, name) of everything that defines one of the code's names.
        self.namesakes = [
            (number, name)
            for number, line in enumerate(lines)
            if any(name in line for name in new.names)
            and (name := defined(lines, number) or "") in new.names
        ]

    def rated(self, places: Iterable[Stretch], least: float) -> list[_Rated]:
        """The places that the code rewrites."""
        found = {place: self._likeness(place, least) for place in places}
        return [_Rated(place, likeness) for place, likeness in found.items() if likeness]

    def candidates(self) -> Iterator[Stretch]:
        """Places that are worth a comparison."""
        named = self._same_names()
        yield from named[:MAX_CANDIDATES]
        if len(self._lines) > MAX_LINES:
            return
        if any(line.strip() for line in self._lines):
            yield _rows(self._lines, 0, len(self._lines) - 1)
        if not named:
            unnamed = self._renamed() if self._new.heads else self._windows()
            yield from islice(unnamed, MAX_CANDIDATES)

    def _likeness(self, place: Stretch, least: float) -> float:
        """How much of the texts is equal; 0 if the code does not rewrite the place."""
        old = _Code(_between(self._lines, place), self._new.language)
        new = self._new
        lost, gained = old.names - new.names, new.names - old.names
        if lost and (old.names & new.names or len(lost) > len(gained)):
            return 0.0
        rows = range(place.start.line, place.end.line + 1)
        if any(name in gained and row not in rows for row, name in self.namesakes):
            return 0.0
        # What was asked about may be written anew: its words say enough, in whatever order.
        likeness = _ratio(old, new, loosely=least == ASKED_ABOUT and not old.names)
        if old.names:
            least = RENAMED if lost else SAME_NAME
        return likeness if likeness >= least else 0.0

    def _same_names(self) -> list[Stretch]:
        """What defines the same names: each by itself, and what stands side by side together."""
        parts: list[tuple[int, int]] = []
        for number, _ in self.namesakes:
            part = enclosing(self._lines, number, self._new.language)
            if part is not None and (not parts or part.first > parts[-1][0]):
                parts.append((part.first, part.last))
        found = parts.copy()
        for (first, _), (_, last) in combinations(parts, 2):
            # All that the code defines, and nothing else: `_likeness` sees to that.
            if len(found) < MAX_CANDIDATES and len(self._new.names) > 1:
                found.append((first, last))
        return [_rows(self._lines, first, last) for first, last in found]

    def _renamed(self) -> Iterator[Stretch]:
        """What begins as the code does, but for the name."""
        head = self._new.lines[min(self._new.heads.values())].strip()
        for number in self._alike([head], REWRITES):
            if defined(self._lines, number) is not None:
                part = enclosing(self._lines, number, self._new.language)
                if part is not None:
                    yield _rows(self._lines, part.first, part.last)

    def _windows(self) -> Iterator[Stretch]:
        """What begins with one of the code's first lines and ends with one of its last."""
        code = self._new.stripped
        # Brackets alone say nothing; they belong to the lines beside them.
        spoken = [number for number, line in enumerate(code) if _WORD.search(line)]
        if not spoken:
            return
        head, tail = code[: spoken[0]], code[spoken[-1] + 1 :]
        starts = self._alike([code[number] for number in spoken[:2]], LINES_ALIKE)
        ends = self._alike([code[number] for number in spoken[-2:]], LINES_ALIKE)
        longest = 3 * len(self._new.lines) + 10
        for first in starts:
            for last in {*ends, self._block_end(first), first + len(self._new.lines) - 1}:
                if not first <= last < min(first + longest, len(self._lines)):
                    continue
                if self._is_cut(first, last):
                    continue
                above, below = first - len(head), last + len(tail)
                yield _rows(
                    self._lines,
                    above if self._stripped(above, first) == head else first,
                    below if self._stripped(last + 1, below + 1) == tail else last,
                )

    def _block_end(self, first: int) -> int:
        """The last line of what a line begins, by indentation."""
        margin, last = _margin(self._lines[first]), first
        for number in range(first + 1, len(self._lines)):
            line = self._lines[number]
            if line.strip() and _margin(line) <= margin:
                return number if _CLOSER.fullmatch(line.strip()) and number > first + 1 else last
            if line.strip():
                last = number
        return last

    def _is_cut(self, first: int, last: int) -> bool:
        """Whether what begins in these lines goes on below them."""
        below = (line for line in self._lines[last + 1 :] if line.strip())
        return _margin(next(below, "")) > _margin(self._lines[first])

    def _stripped(self, first: int, end: int) -> list[str]:
        return [line.strip() for line in self._lines[max(0, first) : end]]

    def _alike(self, wanted: Sequence[str], least: float) -> list[int]:
        """The lines that are like one of these, most alike first."""
        rated: dict[int, float] = {}
        for text in wanted:
            matcher = SequenceMatcher(None, "", text, autojunk=False)
            for number, line in enumerate(self._lines):
                stripped = line.strip()
                if stripped == text:
                    rated[number] = 1.0
                elif stripped and len(stripped) <= 3 * len(text) + 20:
                    matcher.set_seq1(stripped)
                    if matcher.real_quick_ratio() >= least and matcher.quick_ratio() >= least:
                        rated[number] = max(matcher.ratio(), rated.get(number, 0.0))
        good = (number for number, ratio in rated.items() if ratio >= least)
        return sorted(good, key=lambda number: (-rated[number], number))


def _ratio(old: _Code, new: _Code, *, loosely: bool) -> float:
    short = all(0 < len(code.words) <= MAX_WORDS for code in (old, new))
    before, after = (code.words if short else code.stripped for code in (old, new))
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return matcher.quick_ratio() if loosely else matcher.ratio()


def _best(rated: Sequence[_Rated], cursor: Place | None) -> list[Stretch]:
    if not rated:
        return []
    best = max(rated, key=lambda each: each.likeness)
    rivals = {
        each.place
        for each in rated
        if each.likeness > best.likeness - MARGIN and not each.place.touches(best.place)
    }
    places = sorted({best.place, *rivals})
    here = [
        place
        for place in places
        if cursor is not None and place.start.line <= cursor.line <= place.end.line
    ]
    return here if len(here) == 1 else places


def _standing(lines: Sequence[str], row: int, wanted: Sequence[str]) -> Iterator[Stretch]:
    """Where `wanted` begins in one line."""
    if len(wanted) == 1:
        column = lines[row].find(wanted[0])
        while column >= 0:
            yield Stretch(Place(row, column), Place(row, column + len(wanted[0])))
            column = lines[row].find(wanted[0], column + 1)
        return
    last = row + len(wanted) - 1
    if (
        lines[row].endswith(wanted[0])
        and last < len(lines)
        and list(lines[row + 1 : last]) == list(wanted[1:-1])
        and lines[last].startswith(wanted[-1])
    ):
        start = Place(row, len(lines[row]) - len(wanted[0]))
        yield Stretch(start, Place(last, len(wanted[-1])))


def _between(lines: Sequence[str], place: Stretch) -> list[str]:
    found = list(lines[place.start.line : place.end.line + 1])
    found[-1] = found[-1][: place.end.column]
    if not found[0][: place.start.column].isspace():
        found[0] = found[0][place.start.column :]
    return found


def _rows(lines: Sequence[str], first: int, last: int) -> Stretch:
    """Whole lines, but for blanks at their ends."""
    first, last = _trimmed(lines, first, last)
    return Stretch(Place(first, 0), Place(last, len(lines[last])))


def _trimmed(lines: Sequence[str], first: int, last: int) -> tuple[int, int]:
    """Without the blank lines at the ends; first > last if there are no others."""
    while first <= last and not lines[first].strip():
        first += 1
    while last >= first and not lines[last].strip():
        last -= 1
    return first, last


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
