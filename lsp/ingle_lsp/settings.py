"""The language server's settings: their names, types, defaults and limits, in one table.

They come from the editor, in `initializationOptions` and `workspace/didChangeConfiguration`,
section `ingle`. A wrong one is refused by itself, with a sentence for the user; the others apply.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from .folders import normal

#: Name of the settings' section.
SECTION = "ingle"

Multiline = Literal["auto", "never", "always"]
Prefetch = Literal["auto", "never", "always"]
Effort = Literal["low", "medium", "high"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values in force. Times are milliseconds; None is the daemon's own default."""

    enabled: bool = True
    start_daemon: bool = False
    debounce_ms: int | Literal["auto"] = "auto"
    max_tokens: int | None = None
    multiline: Multiline = "auto"
    min_confidence: float = 0.6
    deadline_ms: int = 2000
    candidates: int = 3
    in_comments: bool = True
    in_strings: bool = True
    prefetch: Prefetch = "auto"
    effort: Effort | None = None
    disabled_languages: frozenset[str] = frozenset()
    #: As `folders.normal` writes them.
    disabled_folders: frozenset[str] = frozenset()


class _Wrong(Exception):
    """A value that a setting can't have."""


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong
    return value


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        # JSON has one kind of number; some editors send 75.0. True is an int in Python only.
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise _Wrong
        if not least <= value <= most:
            raise _Wrong
        return int(value)

    return check


def _fraction(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _Wrong
    return float(value)


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise _Wrong
        return value

    return check


def _how_often(value: Any) -> str:
    # Whoever takes it for a switch means all of it or nothing.
    if isinstance(value, bool):
        return "always" if value else "never"
    return _one_of(get_args(Prefetch))(value)


def _auto_or(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: value if value == "auto" else check(value)


def _folders(value: Any) -> frozenset[str]:
    folders = [normal(item) for item in sorted(_languages(value))]
    if None in folders:
        raise _Wrong
    return frozenset(folder for folder in folders if folder is not None)


def _languages(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Wrong
    return frozenset(value)


@dataclass(frozen=True)
class Setting:
    """One line of the table: the editor's name, ours, what it takes, what it does."""

    name: str
    attribute: str
    takes: str
    check: Callable[[Any], Any]
    description: str


TABLE = (
    Setting("enabled", "enabled", "true or false", _switch, "Whether there are completions."),
    Setting(
        "startDaemon",
        "start_daemon",
        "true or false",
        _switch,
        "Start the daemon if it is not running when the editor starts. It stays stopped when you "
        "stop it later.",
    ),
    Setting(
        "debounceMs",
        "debounce_ms",
        '"auto" or a whole number from 0 to 5000',
        _auto_or(_whole(0, 5000)),
        "How long typing must pause before a completion is asked for by itself; auto: none "
        "where answers take up to 100, else a third of what they take longer, up to 400.",
    ),
    Setting(
        "maxTokens",
        "max_tokens",
        "a whole number from 1 to 4096",
        _whole(1, 4096),
        "Longest completion; unset, the daemon decides.",
    ),
    Setting(
        "multiline",
        "multiline",
        '"auto", "never" or "always"',
        _one_of(get_args(Multiline)),
        "Completions of several lines: where a block begins or when you ask for one (auto), never, "
        "or wherever the rest of the line is empty (always).",
    ),
    Setting(
        "minConfidence",
        "min_confidence",
        "a number from 0 to 1",
        _fraction,
        "A completion that the model is less sure of is not shown by itself.",
    ),
    Setting(
        "deadlineMs",
        "deadline_ms",
        "a whole number from 50 to 60000",
        _whole(50, 60_000),
        "A completion that takes longer is given up.",
    ),
    Setting(
        "candidates",
        "candidates",
        "a whole number from 1 to 10",
        _whole(1, 10),
        "How many different completions you get, at most, when you ask for one by a key.",
    ),
    Setting(
        "inComments",
        "in_comments",
        "true or false",
        _switch,
        "Whether there are completions in comments.",
    ),
    Setting(
        "inStrings",
        "in_strings",
        "true or false",
        _switch,
        "Whether there are completions in strings.",
    ),
    Setting(
        "prefetch",
        "prefetch",
        '"auto", "never" or "always"',
        _how_often,
        "What is computed ahead while the model has nothing else to do: the next line once one is "
        "whole (auto), also what follows the completion that is shown (always), or nothing.",
    ),
    Setting(
        "effort",
        "effort",
        '"low", "medium" or "high"',
        _one_of(get_args(Effort)),
        "How long a reasoning model thinks before it answers in a chat or changes code; unset, the "
        "daemon decides.",
    ),
    Setting(
        "disabledLanguages",
        "disabled_languages",
        'a list of language identifiers, like ["markdown"]',
        _languages,
        "Languages without completions.",
    ),
    Setting(
        "disabledFolders",
        "disabled_folders",
        'a list of absolute folders, like ["~/secret"]',
        _folders,
        "Folders without completions, with all that is in them.",
    ),
)

_BY_NAME = {setting.name: setting for setting in TABLE}


def updated(current: Settings, given: Any) -> tuple[Settings, list[str]]:
    """Apply what an editor sent → the new settings, and a sentence for each refused value.

    `given` is the section or an object that has it. What it leaves out stays; null means the
    default.
    """
    section = _section(given)
    if section is None:
        return current, []
    if not isinstance(section, Mapping):
        return current, [f"the `{SECTION}` settings must be an object: they are ignored"]
    changes: dict[str, Any] = {}
    problems = []
    for name, value in section.items():
        setting = _BY_NAME.get(name)
        if setting is None:
            problems.append(f"there is no setting {SECTION}.{name}{_suggestion(name)}")
        elif value is None:
            changes[setting.attribute] = _default(setting)
        else:
            try:
                changes[setting.attribute] = setting.check(value)
            except _Wrong:
                kept = _written(getattr(current, setting.attribute))
                problems.append(
                    f"{SECTION}.{name} must be {setting.takes}, not {_written(value)}: "
                    f"{kept} stays in force"
                )
    return replace(current, **changes), problems


def markdown_table() -> str:
    """The table of `lsp/README.md`."""
    rows = [
        f"| `{setting.name}` | `{_written(_default(setting))}` | {setting.takes} "
        f"| {setting.description} |"
        for setting in TABLE
    ]
    return "\n".join(
        ["| Setting | Default | Takes | What it does |", "| --- | --- | --- | --- |", *rows]
    )


def _section(given: Any) -> Any:
    if isinstance(given, Mapping) and SECTION in given:
        return given[SECTION]
    if (
        isinstance(given, Mapping)
        and given
        and not any(
            name in _BY_NAME or not isinstance(value, Mapping) for name, value in given.items()
        )
    ):
        # Sections of other servers only.
        return None
    return given


def _default(setting: Setting) -> Any:
    return next(field.default for field in fields(Settings) if field.name == setting.attribute)


def _written(value: Any) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= 60 else written[:57] + "…"


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.5)
    return f": did you mean {SECTION}.{close[0]}?" if close else f": see {', '.join(_BY_NAME)}"
