"""Bytes onto a disk, safely: hashing, atomic writes, free space, a disk's errors in plain words.

Shared by the downloads and the store. It knows neither sources nor models.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Literal

from ingle.errors import StoreError

#: Large enough that hashing dominates, small enough that progress moves.
CHUNK = 1 << 20

Phase = Literal["resolving", "downloading", "waiting", "unpacking", "verifying"]


@dataclass(frozen=True, kw_only=True)
class PullProgress:
    """Where a pull is. `done` and `total` are bytes; `total` is None while unknown."""

    phase: Phase
    done: int = 0
    total: int | None = None
    #: What it works on: a file, a repository, the reason of a wait.
    detail: str = ""


Report = Callable[[PullProgress], None]


@dataclass(frozen=True, kw_only=True)
class FetchedFile:
    """A verified file; `path` is relative to the model's folder, with `/`."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a download brought. `revision` names the exact version of the source."""

    revision: str
    files: list[FetchedFile]


def size_text(size: int) -> str:
    """Bytes for a person: `98.4 MB`. Decimal units, as disks and downloads are sold."""
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def require_space(folder: Path, needed: int) -> None:
    """Raises `StoreError` when the disk of `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"not enough disk space in {folder}: {size_text(needed)} needed, {size_text(free)} "
            "free: free some space, or set INGLE_HOME to a folder on another disk"
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an operating system's error about files in `folder` into a `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk of {folder} is full: free some space and run the same command again"
            ) from error
        if error.errno == errno.EFBIG:
            raise StoreError(
                f"the file system of {folder} (or a limit of this session) does not take a file "
                "this large: set INGLE_HOME to a folder on another disk"
            ) from error
        where = error.filename or folder
        raise StoreError(
            f"can't write the model store: {error.strerror or error} ({where}): "
            "check the folder and its permissions"
        ) from error


def sha256_of(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of a file, in hex; `on_bytes` hears the size of each piece read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def copy_verified(
    source: IO[bytes], target: Path, sha256: str, on_bytes: Callable[[int], None]
) -> None:
    """Copy a stream to `target`: under a temporary name, hashed on the way, synced, renamed.

    Raises `StoreError` on another SHA-256; nothing of a failed copy stays.
    """
    part = part_path(target)
    try:
        digest = hashlib.sha256()
        with open_part(part) as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                on_bytes(len(chunk))
            sync_file(file)
        if digest.hexdigest() != sha256:
            raise wrong_hash(target.name, sha256, digest.hexdigest())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def part_path(target: Path) -> Path:
    """The temporary name of a file that is still being written."""
    return target.with_name(target.name + ".part")


def open_part(part: Path, *, append: bool = False) -> BinaryIO:
    """Open a temporary file for writing, with its folders."""
    part.parent.mkdir(parents=True, exist_ok=True)
    return part.open("ab" if append else "wb")


def sync_file(file: BinaryIO) -> None:
    """Make what was written survive a power cut, so that a rename never shows an empty file."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the platform can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def wrong_hash(name: str, expected: str, found: str) -> StoreError:
    """The error for a download that is not what was announced."""
    return StoreError(
        f"{name} has the wrong checksum (expected {expected[:16]}…, got {found[:16]}…), so it was "
        "damaged or changed on the way and was deleted: run `ingle pull` again"
    )
