"""Typing, key by key, as somebody writes real code: what the sessions of the benchmark replay.

Owns where the code comes from, how it is typed, and how long the hands rest; a trace is the same
for the same seed and sources. Replaying it is `sessions`' affair.

**Code.** Files that the development install has, all permissively licensed: Python's standard
library (PSF-2.0), C of mypyc's runtime (MIT), JavaScript of matplotlib (its PSF-like licence). Or
what the commits of a git repository changed (`--repo`, by default the repository of this file): the
document is the file before a commit, and what is typed is what the commit added, where it added it.
Of a file only the surroundings are kept, `before` and `AFTER` lines, so that a small CPU can take
them into a prompt at all; what is not ASCII is left out.

**Time between keys.** Log-normal, by what the key begins. That keystroke intervals are right-skewed
and that a log-normal fits them well, if not best of all: González et al. 2021, "On the shape of
timings distributions in free-text keystroke dynamics profiles", Heliyon 7(11) e08413. Typical
intervals inside of words: Dhakal et al. 2018, "Observations on typing from 136 million keystrokes",
CHI '18 (168,000 people; practised ones stay below 200 ms). That pauses are longer at larger units
(word, line): Conijn et al. 2019, "Understanding the keystroke log", Reading and Writing 32. The
medians and spreads in `PACES` are ours, of somebody who types with practice and thinks before each
line. Rests are cut at `LONGEST` seconds: nothing happens in the rest of a longer one.

**Corrections.** A key goes wrong with `SLIP` probability; up to three wrong letters are typed
before it is seen, and each is erased with a key of its own.

**Jumps.** Each block is written in its own place: between two of them the cursor jumps.

**Indentation** is the editor's, as VS Code, Vim and most others do it: a line break brings the
indentation of the line before, a level more after an opening bracket or a colon; a closing bracket
that begins a line takes a level back by itself, what else is less deep takes a Backspace a level,
and an empty line leaves no spaces behind. Each is one key.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import math
import random
import string
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Lines of a document that are kept around the blocks that are typed.
BEFORE = 60
AFTER = 30
#: Lines of one block.
SHORTEST_BLOCK = 3
LONGEST_BLOCK = 8
#: Longest rest, in seconds.
LONGEST = 4.0
SHORTEST = 0.03
#: Probability that a letter goes wrong, and that somebody stops to think before a word.
SLIP = 0.03
THINKING = 0.05
#: What a key begins → median of the time before it, in seconds, and sigma of its logarithm.
PACES: dict[str, tuple[float, float]] = {
    "letter": (0.15, 0.35),
    "word": (0.26, 0.45),
    "line": (1.1, 0.6),
    "thought": (1.6, 0.5),
    "slip seen": (0.35, 0.4),
    "erase": (0.12, 0.25),
    "jump": (1.8, 0.4),
}
#: File endings → language identifiers of LSP.
LANGUAGES = {".py": "python", ".c": "c", ".h": "c", ".js": "javascript", ".lua": "lua"}
COMMITS = 200

#: Spaces of a level, and what deepens the next line.
LEVEL = 4
_OPENERS = (":", "{", "(", "[")
_CLOSERS = (")", "]", "}")
_ROOT = Path(__file__).parents[2]
_STANDARD_LIBRARY = ("textwrap.py", "shlex.py", "difflib.py", "argparse.py", "json/decoder.py")
_MYPYC = ("lib-rt/str_ops.c", "lib-rt/list_ops.c", "lib-rt/dict_ops.c", "lib-rt/misc_ops.c")
_MATPLOTLIB = ("backends/web_backend/js/mpl.js",)


@dataclass(frozen=True)
class Stroke:
    """One key. `wait_s` is how long after the one before it is pressed.

    All but a jump replaces the last `erased` characters of the cursor's line by `text`.
    """

    wait_s: float
    kind: Literal["type", "erase", "jump"]
    text: str = ""
    erased: int = 0
    #: `jump`: the line, counted from 0, to whose end the cursor goes.
    line: int = 0


@dataclass(frozen=True)
class Trace:
    """A document as it is at first, and the keys."""

    name: str
    language: str
    licence: str
    document: str
    strokes: tuple[Stroke, ...]

    @property
    def seconds(self) -> float:
        """How long it takes to type."""
        return sum(stroke.wait_s for stroke in self.strokes)


@dataclass(frozen=True)
class Change:
    """Lines that somebody wrote: `added` stands at line `line` of `document`, which lacks it."""

    name: str
    language: str
    licence: str
    document: str
    #: (line at which it begins once the earlier ones are typed, at least 1; its text), downwards.
    blocks: tuple[tuple[int, str], ...]


def traces(
    count: int, keys: int, *, seed: int = 1, before: int = BEFORE, repo: Path | None = None
) -> list[Trace]:
    """`count` traces of `keys` strokes at most, of several languages in turns.

    `before`: lines of the document above what is typed. `repo`: of this repository's history
    alone. Raises `ValueError` where no source has any code.
    """
    dice = random.Random(seed)
    sources = [_history(repo, before, dice)] if repo is not None else _all_sources(before, dice)
    made: list[Trace] = []
    while sources and len(made) < count:
        source = sources.pop(0)
        change = next(source, None)
        if change is not None:
            made.append(_typed(change, keys, dice))
            sources.append(source)
    if not made:
        raise ValueError("there is no code to type: neither installed files nor a git history")
    return made


# --- code ----------------------------------------------------------------------------------


def _all_sources(before: int, dice: random.Random) -> list[Iterator[Change]]:
    standard = Path(sysconfig.get_paths()["stdlib"])
    return [
        _files([standard / name for name in _STANDARD_LIBRARY], "PSF-2.0", before, dice),
        _files(_of_package("mypyc", _MYPYC), "MIT", before, dice),
        _files(_of_package("matplotlib", _MATPLOTLIB), "matplotlib (PSF-like)", before, dice),
        _history(_ROOT, before, dice),
    ]


def _of_package(package: str, names: Sequence[str]) -> list[Path]:
    """Files of an installed package; none if it is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return []
    return [Path(found.submodule_search_locations[0]) / name for name in names]


def _files(
    files: Sequence[Path], licence: str, before: int, dice: random.Random
) -> Iterator[Change]:
    """Endless: blocks of these files, as if they were written last."""
    usable = [file for file in files if file.is_file()]
    while usable:
        file = dice.choice(usable)
        lines = file.read_text(encoding="utf-8").expandtabs(4).splitlines(keepends=True)
        start = dice.randrange(0, max(1, len(lines) - before - AFTER))
        part = lines[start : start + before + AFTER]
        if not "".join(part).isascii():
            continue
        first = _begin(part, before, dice)
        second = _begin(part, first + LONGEST_BLOCK + 2, dice)
        blocks = []
        for line in (first, second):
            length = dice.randint(SHORTEST_BLOCK, LONGEST_BLOCK)
            text = "".join(part[line : line + length])
            if text.strip():
                blocks.append((line, text, length))
        kept = [
            line
            for number, line in enumerate(part)
            if not any(begin <= number < begin + length for begin, _, length in blocks)
        ]
        if blocks:
            yield Change(
                name=f"{file.parent.name}/{file.name}:{start + first + 1}",
                language=LANGUAGES[file.suffix],
                licence=licence,
                document="".join(kept),
                blocks=tuple((line, text) for line, text, _ in blocks),
            )


def _begin(lines: Sequence[str], around: int, dice: random.Random) -> int:
    """A line near `around` that has text."""
    for line in range(around + dice.randint(0, 6), len(lines)):
        if lines[line].strip():
            return line
    return min(around, len(lines) - 1)


def _history(repo: Path, before: int, dice: random.Random) -> Iterator[Change]:
    """What commits added to files that there were; nothing where there is no git history."""
    listed = _git(repo, "log", "--no-merges", f"-n{COMMITS}", "--format=%H")
    commits = (listed or "").split()
    dice.shuffle(commits)
    for commit in commits:
        two = (commit + "^", commit)
        named = _git(repo, "diff-tree", "-r", "--name-only", "--diff-filter=M", *two)
        for name in (named or "").splitlines():
            language = LANGUAGES.get(Path(name).suffix)
            old, new = (_git(repo, "show", f"{version}:{name}") for version in two)
            if language and old and new and old.isascii() and new.isascii():
                change = _difference(old, new, before)
                if change is not None:
                    document, blocks = change
                    yield Change(
                        f"{commit[:9]} {name}", language, "the repository's", document, blocks
                    )


def _difference(
    old_text: str, new_text: str, before: int
) -> tuple[str, tuple[tuple[int, str], ...]] | None:
    """The part of a document around what was added, without it, and the blocks; None if little."""
    old, new = old_text.splitlines(keepends=True), new_text.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    added = [
        (start, end)
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag in ("insert", "replace") and start and SHORTEST_BLOCK <= end - start <= LONGEST_BLOCK
    ]
    if not added:
        return None
    top = max(0, added[0][0] - before)
    bottom = added[0][0] + AFTER
    blocks = [(start, end) for start, end in added if end <= bottom]
    kept = [
        line
        for number, line in enumerate(new)
        if top <= number < bottom and not any(start <= number < end for start, end in blocks)
    ]
    return "".join(kept), tuple((start - top, "".join(new[start:end])) for start, end in blocks)


def _git(repo: Path, *arguments: str) -> str | None:
    """What git says; None where it fails, as it does outside of a repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), *arguments], capture_output=True, check=True, timeout=30
        )
        return done.stdout.decode("utf-8")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


# --- hands ---------------------------------------------------------------------------------


def _typed(change: Change, keys: int, dice: random.Random) -> Trace:
    strokes: list[Stroke] = []
    lines = change.document.split("\n")
    for line, text in change.blocks:
        strokes.append(Stroke(_rest("jump", dice), "jump", line=line - 1))
        new = text.rstrip("\n").split("\n")
        strokes += _block(lines[line - 1], new, dice)
        lines[line:line] = new
    return Trace(
        change.name, change.language, change.licence, change.document, tuple(strokes[:keys])
    )


def _block(above: str, lines: Sequence[str], dice: random.Random) -> Iterator[Stroke]:
    """The keys that write lines below `above`, from its end on."""
    deep = _depth(above) + (LEVEL if above.rstrip().endswith(_OPENERS) else 0)
    is_empty, spaces = False, 0
    for line in lines:
        pace = "line" if is_empty else "letter"
        # An empty line's spaces go as the next one begins.
        yield Stroke(_rest(pace, dice), "type", "\n" + " " * deep, erased=spaces)
        is_empty, spaces = not line.strip(), 0 if line.strip() else deep
        if not is_empty:
            yield from _line(line, deep, dice)
            deep = _depth(line) + (LEVEL if line.rstrip().endswith(_OPENERS) else 0)


def _line(line: str, deep: int, dice: random.Random) -> Iterator[Stroke]:
    """The keys of a line that the editor has indented by `deep` spaces."""
    pace, depth, first = "line", _depth(line), line.lstrip()[0]
    before, rest = "\n", line.strip()
    if depth < deep and first in _CLOSERS:
        yield Stroke(_rest(pace, dice), "type", first, erased=deep - depth)
        before, rest = first, rest[1:]
    elif depth > deep:
        yield Stroke(_rest(pace, dice), "type", " " * (depth - deep))
        before = " "
    while depth < deep and before == "\n":
        less = min(LEVEL, deep - depth)
        yield Stroke(_rest(pace, dice), "erase", erased=less)
        deep, pace = deep - less, "erase"
        before = "\n" if deep > depth else " "
    for key in rest:
        if key.isalpha() and dice.random() < SLIP:
            yield from _slip(before, dice)
        yield Stroke(_rest(_begins(before, key, dice), dice), "type", key)
        before = key


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _begins(before: str, key: str, dice: random.Random) -> str:
    """What a key begins: a name of `PACES`."""
    if before == "\n":
        return "line"
    if key.isalnum() and not before.isalnum():
        return "thought" if dice.random() < THINKING else "word"
    return "letter"


def _slip(before: str, dice: random.Random) -> Iterator[Stroke]:
    wrong = [dice.choice(string.ascii_lowercase) for _ in range(dice.randint(1, 3))]
    for letter in wrong:
        yield Stroke(_rest(_begins(before, letter, dice), dice), "type", letter)
        before = letter
    for number in range(len(wrong)):
        yield Stroke(_rest("erase" if number else "slip seen", dice), "erase", erased=1)


def _rest(pace: str, dice: random.Random) -> float:
    median, sigma = PACES[pace]
    return min(LONGEST, max(SHORTEST, dice.lognormvariate(math.log(median), sigma)))


def main() -> None:
    """Show what the generator makes of a repository, or of the installed files."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.traces", description=main.__doc__)
    parser.add_argument("--repo", type=Path, help="a git repository: its history alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--keys", type=int, default=250)
    given = parser.parse_args()
    for trace in traces(given.count, given.keys, seed=given.seed, repo=given.repo):
        kinds = [stroke.kind for stroke in trace.strokes]
        print(
            f"{trace.name}: {trace.language}, {trace.licence}; {len(trace.strokes)} keys in "
            f"{trace.seconds:.0f} s, {kinds.count('erase')} erased, {kinds.count('jump')} jumps, "
            f"{sum(stroke.wait_s >= 0.5 for stroke in trace.strokes)} pauses of half a second"
        )


if __name__ == "__main__":
    main()
