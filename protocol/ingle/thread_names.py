"""Names and titles of chat threads. Pure.

A name is a file's name without its ending, so what could be a path, a hidden file or a device of
any platform is none. Letters of all scripts are fine.
"""

from __future__ import annotations

import unicodedata
from datetime import date

from .errors import ThreadNameError

#: The word for the newest thread; no thread can be called that.
LAST = "last"
#: Longest name in characters, and in bytes of UTF-8 (files' names have 255 at most).
MAX_CHARACTERS = 100
MAX_BYTES = 200
#: Longest title in characters.
MAX_TITLE = 80
#: Characters of a title that become part of a name; together with a date they fit `MAX_BYTES`.
_MAX_SLUG = 40
#: Names that are devices on Windows, whatever their ending.
_DEVICES = frozenset(
    [
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789"),
    ]
)


def checked(name: str) -> str:
    """A thread's name as its file has it. Raises `ThreadNameError` for what can't be one."""
    name = unicodedata.normalize("NFC", name)
    if name == LAST:
        raise ThreadNameError(f"{LAST!r} means the newest thread: choose another name")
    usable = (
        0 < len(name) <= MAX_CHARACTERS
        and all(_is_word(character) or character in "-_." for character in name)
        and len(name.encode()) <= MAX_BYTES
        and name[0].isalnum()
        and not name.endswith(".")
        and name.partition(".")[0].casefold() not in _DEVICES
    )
    if not usable:
        raise ThreadNameError(
            f"{name[:MAX_CHARACTERS]!r} can't be a thread's name: use letters, digits, '-', '_' "
            f"and '.', at most {MAX_CHARACTERS}, like {slug(name)!r}"
        )
    return name


def title_of(question: str) -> str:
    """A thread's title from its first question: the first line with a word, at most 80 long."""
    lines = (" ".join(line.split()) for line in question.splitlines())
    spoken = (
        line
        for line in lines
        if any(map(str.isalnum, line)) and not line.startswith(("```", "~~~"))
    )
    title = next(spoken, "Chat")
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1].rstrip() + "…"


def slug(title: str) -> str:
    """The words of a title, joined by dashes, in lower case; `chat` if it has none."""
    text = unicodedata.normalize("NFKC", title).casefold()
    words = "".join(character if _is_word(character) else " " for character in text).split()
    short = ""
    for word in words:
        if short and len(short) + 1 + len(word) > _MAX_SLUG:
            break
        short = f"{short}-{word}" if short else word[:_MAX_SLUG]
    short = unicodedata.normalize("NFC", short)
    return short if short[:1].isalnum() and short not in {LAST, *_DEVICES} else "chat"


def begun_on(day: date, title: str, number: int = 1) -> str:
    """The name of a thread that is begun on a day; `number` tells those of one title apart."""
    name = f"{day.isoformat()}-{slug(title)}"
    return name if number == 1 else f"{name}-{number}"


def _is_word(character: str) -> bool:
    """Letters, digits, and the marks that belong to letters in many scripts."""
    return character.isalnum() or unicodedata.category(character).startswith("M")
