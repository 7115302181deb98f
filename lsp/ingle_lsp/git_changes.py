"""What a commit would hold, as far as it may be told: files, and the lines that change.

Secrets are left out, by the rules of `privacy`: files by their names, and the changes of a file
that has a token or a private key in them. What git ignores and does not track is in no commit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .git import GitFailed, run_git
from .privacy import is_secret_name, is_secret_text

#: Bytes of changes, of names and of the last messages that are read at most.
MAX_DIFF = 600_000
_MAX_NAMES = 1_000_000
_MAX_LOG = 4_000
#: Files whose changes are read; the names of more are told.
MAX_FILES = 300
#: Last messages that show what is usual in the repository.
_LAST = 10

_DIFF = ("diff", "--find-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
_WORDS = {
    "A": "added",
    "C": "copied",
    "D": "deleted",
    "M": "changed",
    "R": "renamed",
    "T": "changed its kind",
    "U": "in conflict",
}


class NothingToCommit(Exception):
    """Why there is nothing to tell, as a line for the user."""


@dataclass(frozen=True)
class Changes:
    """What would be committed."""

    #: One line a file: what became of it, and its path.
    files: Sequence[str]
    #: The changes of each file, as `git diff` prints them, longest last.
    diffs: Sequence[str]
    #: Subjects of the last commits, newest first.
    subjects: Sequence[str]
    #: Files that are not told of.
    left_out: int


@dataclass(frozen=True)
class _File:
    word: str
    #: Its path, and the one that it had before.
    paths: Sequence[str]


def changes(folder: Path) -> Changes:
    """What is staged in a folder's repository, else what has changed in it. Blocks.

    Raises `NothingToCommit`, or `GitFailed`.
    """
    top = _top(folder)
    which: tuple[str, ...] = ("--cached",)
    found = _files(top, which)
    if not found:
        which = ()
        found = _files(top, which)
    if not found:
        raise NothingToCommit("nothing has changed in the files that git tracks")
    files = [file for file in found if not any(is_secret_name(str(top / p)) for p in file.paths)]
    asked = [path for file in files[:MAX_FILES] for path in file.paths]
    printed = run_git(top, *_DIFF, *which, "--", *asked, limit=MAX_DIFF) if asked else b""
    if len(printed) == MAX_DIFF:
        # Half a line may be half a token, which looks like nothing.
        printed = printed[: printed.rfind(b"\n") + 1]
    sections = _sections(printed.decode(errors="replace"))
    told = [section for section in sections if not is_secret_text(section)]
    left_out = len(found) - len(files) + len(sections) - len(told)
    if not told:
        raise NothingToCommit("all that has changed looks like secrets: nothing is sent")
    return Changes(
        files=[f"{file.word}: {' → '.join(file.paths)}" for file in files],
        diffs=sorted(told, key=len),
        subjects=_subjects(top),
        left_out=left_out,
    )


def shortened(diffs: Iterable[str], room: int) -> list[str]:
    """The changes within so many characters: short ones whole, long ones to their fair share.

    `diffs` come shortest first.
    """
    waiting = list(diffs)
    kept = []
    while waiting:
        share = max(0, room) // len(waiting)
        diff = waiting.pop(0)
        if len(diff) > share:
            diff = _cut(diff, share)
        room -= len(diff)
        if diff:
            kept.append(diff)
    return kept


def _cut(diff: str, size: int) -> str:
    kept = diff[:size].rpartition("\n")[0]
    if not kept:
        return ""
    more = diff.count("\n", len(kept) + 1)
    return f"{kept}\n[{more} more lines]\n"


def _top(folder: Path) -> Path:
    try:
        printed = run_git(folder, "rev-parse", "--show-toplevel", limit=_MAX_NAMES)
    except GitFailed as error:
        if "not a git repository" in str(error) or "work tree" in str(error):
            raise NothingToCommit(f"{folder.name or folder} is in no git repository") from error
        raise
    return Path(os.fsdecode(printed.removesuffix(b"\n").removesuffix(b"\r")))


def _files(top: Path, which: Sequence[str]) -> list[_File]:
    printed = run_git(top, *_DIFF, *which, "--name-status", "-z", limit=_MAX_NAMES)
    # What the limit has cut off is no name.
    parts = iter(os.fsdecode(printed).split("\0")[:-1])
    found: dict[str, _File] = {}
    for status in parts:
        count = 2 if status[:1] in ("R", "C") else 1
        paths = [path for _, path in zip(range(count), parts, strict=False)]
        if len(paths) == count:
            # A file in conflict is there twice.
            found.setdefault(paths[-1], _File(_WORDS.get(status[:1], "changed"), paths))
    return list(found.values())


def _sections(diff: str) -> list[str]:
    """A diff, file by file. No line of a file begins as a header does: all have a mark before."""
    sections: list[list[str]] = []
    for line in diff.split("\n"):
        if line.startswith(("diff --git ", "diff --cc ", "* Unmerged path ")):
            sections.append([])
        if sections:
            sections[-1].append(line)
    return ["\n".join(section).rstrip("\n") + "\n" for section in sections]


def _subjects(top: Path) -> list[str]:
    try:
        printed = run_git(top, "log", f"-{_LAST}", "--no-merges", "--format=%s", limit=_MAX_LOG)
    except GitFailed:
        # Before the first commit there is none.
        return []
    lines = printed.decode(errors="replace").splitlines()
    return [line for line in lines if line and not is_secret_text(line)]
