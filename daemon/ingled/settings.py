"""The settings file: where it is, reading it, and what differs between two of them.

One TOML file, `config.toml` in the configuration folder; a missing file means the defaults. What
the settings are is in `settings_schema`; who acts on a change is the daemon's affair.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from ingle import paths
from ingle.errors import SettingsError

from .settings_schema import (
    LOAD,
    RESTART,
    ChatSettings,
    DaemonSettings,
    InlineSettings,
    ModelSettings,
    ScriptedSettings,
    Setting,
    Settings,
    all_settings,
    default_toml,
    settings_table,
    toml_value,
)

FILE_NAME = "config.toml"
#: A settings file is a page; more is a mistake.
MAX_FILE_BYTES = 256 * 1024

__all__ = [
    "ChatSettings",
    "DaemonSettings",
    "InlineSettings",
    "ModelSettings",
    "ScriptedSettings",
    "Settings",
    "changed",
    "default_toml",
    "load_settings",
    "needs_reload",
    "needs_restart",
    "settings_file",
    "settings_table",
    "toml_value",
]


def settings_file() -> Path:
    """Where the settings are read from; the file may be missing."""
    return paths.config_dir() / FILE_NAME


def load_settings(file: Path | None = None) -> Settings:
    """Read `file`, or the user's own settings file.

    Raises `SettingsError` with file, line and what to do.
    """
    file = file or settings_file()
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(
            f"{file} has more than {MAX_FILE_BYTES // 1024} KB: is it the right one?"
        )
    return _Reader(file, data).settings()


def changed(old: Settings, new: Settings) -> list[str]:
    """Names (`section.key`) of the settings that differ."""
    return [setting.name for setting in _differing(old, new)]


def needs_reload(old: Settings, new: Settings) -> list[str]:
    """Names of changed settings that take effect only when a model is loaded the next time."""
    return [setting.name for setting in _differing(old, new) if setting.applies == LOAD]


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Names of changed settings that take effect only when the daemon starts the next time."""
    return [setting.name for setting in _differing(old, new) if setting.applies == RESTART]


def _differing(old: Settings, new: Settings) -> Iterator[Setting]:
    for setting in all_settings():
        before, after = (
            getattr(getattr(side, setting.section), setting.key) for side in (old, new)
        )
        if before != after:
            yield setting


class _Reader:
    """One settings file on its way to `Settings`; knows where things stand in it."""

    def __init__(self, file: Path, data: bytes) -> None:
        self._file = file
        try:
            # Notepad writes a byte order mark.
            self._text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._fail(data.count(b"\n", 0, error.start) + 1, "this is not UTF-8 text", error)

    def settings(self) -> Settings:
        try:
            found = tomllib.loads(self._text)
        except RecursionError as error:
            self._fail(None, "this nests too deep to be a settings file", error)
        except tomllib.TOMLDecodeError as error:
            where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
            line = int(where[1]) if where and where[1] else self._text.rstrip("\n").count("\n") + 1
            reason = str(error).replace(where[0], "") if where else str(error)
            self._fail(line, f"this is not valid TOML: {reason[:1].lower()}{reason[1:]}", error)
        known: dict[str, dict[str, Setting]] = {}
        for setting in all_settings():
            known.setdefault(setting.section, {})[setting.key] = setting
        for section, values in found.items():
            self._check_section(section, values, known)
        return msgspec.convert(found, Settings)

    def _check_section(
        self, section: str, values: Any, known: Mapping[str, Mapping[str, Setting]]
    ) -> None:
        if section not in known:
            homes = [f"[{home}]" for home, keys in known.items() if section in keys]
            hint = f": it belongs under {' or '.join(homes)}" if homes else _hint(section, known)
            what = "section" if isinstance(values, dict) else "setting"
            self._fail(self._line(section), f"unknown {what} {section!r}{hint}")
        if not isinstance(values, dict):
            self._fail(
                self._line(section),
                f"{section} is a section: write [{section}] on a line of its own",
            )
        for key, value in values.items():
            setting = known[section].get(key)
            if setting is None:
                homes = [f"[{home}]" for home, keys in known.items() if key in keys]
                hint = _hint(key, known[section])
                if homes and "did you mean" not in hint:
                    hint = f": it belongs under {' or '.join(homes)}"
                self._fail(
                    self._line(section, key), f"unknown setting {key!r} in [{section}]{hint}"
                )
            self._check_value(setting, value)

    def _check_value(self, setting: Setting, value: Any) -> None:
        try:
            msgspec.convert(value, setting.type)
            fits = value == value and value not in (float("inf"), float("-inf"))
        except msgspec.ValidationError:
            fits = False
        if not fits:
            shown = json.dumps(value, default=str, ensure_ascii=False)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            choices = re.findall(r'"(\w+)"', setting.allowed)
            close = (
                difflib.get_close_matches(value.lower(), choices, 1)
                if isinstance(value, str)
                else []
            )
            meant = f"; did you mean {json.dumps(close[0])}?" if close else ""
            self._fail(
                self._line(setting.section, setting.key),
                f"{setting.name} is {shown}, allowed is {setting.allowed}{meant}",
            )

    def _line(self, *path: str) -> int | None:
        """The line that defines `path`; None if it can't be told.

        A line defines it when the text before it parses and lacks it, and the text up to the end
        of its value parses and has it. So strings, comments and inline tables can't mislead.
        """
        lines = self._text.split("\n")
        for start, line in enumerate(lines):
            if path[-1] not in line or _has("\n".join(lines[:start]), path) is not False:
                continue
            for end in range(start + 1, len(lines) + 1):
                has = _has("\n".join(lines[:end]), path)
                if has is not None:
                    break
            if has:
                return start + 1
        return None

    def _fail(self, line: int | None, reason: str, cause: Exception | None = None) -> NoReturn:
        where = f"{self._file}:{line}" if line else str(self._file)
        raise SettingsError(f"{where}: {reason}") from cause


def _has(text: str, path: tuple[str, ...]) -> bool | None:
    """Whether a TOML text defines `path`; None if it isn't valid TOML."""
    try:
        found: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def _hint(wrong: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(wrong.lower(), known, 1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": known are {', '.join(known)}"
