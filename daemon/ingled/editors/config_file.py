"""A configuration file of the user's on the disk: read, compared, replaced. Knows no format.

A file is replaced as a whole or not at all, keeps its mode, and what it was stays beside it as
`NAME.ingle-backup`. Links are followed, so that a file in a folder of dotfiles stays there.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ingle.errors import SettingsError

BACKUP = ".ingle-backup"
#: Larger files are nobody's settings.
_LARGEST = 10_000_000
_BOM = "\ufeff"


@dataclass(frozen=True)
class ConfigFile:
    """A file and its text; None where there is none. A byte order mark is no part of the text."""

    path: Path
    text: str | None
    bom: bool = False

    @property
    def target(self) -> Path:
        """The file itself, where `path` is a link."""
        return Path(os.path.realpath(self.path))


def read(path: Path) -> ConfigFile:
    """Read a file. Raises `SettingsError` for one that can't be read or is not UTF-8."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        return ConfigFile(path, None)
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise SettingsError(f"{path} is larger than 10 MB: nothing is changed in it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{line}: is not UTF-8: save it as UTF-8 first") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SettingsError(f"{path}:{line}: is not a text in UTF-8: save it as UTF-8 first")
    bom = text.startswith(_BOM)
    return ConfigFile(path, text.removeprefix(_BOM) if bom else text, bom)


def difference(file: ConfigFile, new: str | None) -> str:
    """What `new` changes, as a unified diff; "" if nothing."""
    lines = difflib.unified_diff(
        _lines(file.text or ""),
        _lines(new or ""),
        str(file.path) if file.text is not None else os.devnull,
        str(file.path) if new is not None else os.devnull,
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _lines(text: str) -> list[str]:
    """With their ends; only a line feed ends one, unlike in `splitlines`."""
    *lines, rest = text.split("\n")
    return [f"{line}\n" for line in lines] + ([rest] if rest else [])


def replace(file: ConfigFile, new: str | None) -> Path | None:
    """Write `new` in the place of what was read, or delete the file; the backup, if one is left.

    A backup that is what the file is again is deleted. Raises `SettingsError`, also if the file has
    changed since it was read.
    """
    if read(file.path) != file:
        raise SettingsError(f"{file.path} has just been changed by somebody else: try again")
    target = file.target
    backup = target.with_name(target.name + BACKUP)
    if target.exists() and not os.access(target, os.W_OK):
        # It could be replaced in a folder that can be written; that is not meant.
        raise SettingsError(f"{target} can't be written: it is read-only")
    try:
        if new is None:
            target.unlink(missing_ok=True)
            backup.unlink(missing_ok=True)
            if target.parent != Path.home():
                with suppress(OSError):
                    # Only an empty folder goes.
                    target.parent.rmdir()
            return None
        if file.text is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        data = ((_BOM if file.bom else "") + new).encode()
        if backup.exists() and backup.read_bytes() == data:
            _write(target, data, target)
            backup.unlink()
            return None
        if file.text is not None:
            _write(backup, target.read_bytes(), target)
        _write(target, data, target)
    except OSError as error:
        # Not the name of the temporary file, which is what the error has.
        raise SettingsError(f"{target} can't be written: {error.strerror or error}") from None
    return backup if backup.exists() else None


def _write(path: Path, data: bytes, like: Path) -> None:
    """Write a whole file with the mode of `like`, if that exists. Raises `OSError`."""
    mode = like.stat().st_mode & 0o7777 if like.exists() else None
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode if mode is not None else 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
