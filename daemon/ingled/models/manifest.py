"""What a pulled model consists of: `ingle-manifest.json` in the model's folder.

Owns the file's format and the rule that every file is verified by SHA-256 before it is used: a
file whose size, mtime and inode are those of its last verification is trusted, any other is
hashed again. It doesn't know the catalog, locks or downloads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ingle.errors import ModelInvalid, ModelNotFound

from .catalog import Format, Sha256, is_safe_path
from .transfer import open_part, part_path, sha256_of, sync_file

MANIFEST_NAME = "ingle-manifest.json"


class ManifestFile(Struct, kw_only=True, frozen=True):
    """One file, and its state when its SHA-256 was last checked."""

    #: Relative to the model's folder, with `/`.
    path: str
    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0)]
    mtime_ns: int
    inode: int


class Manifest(Struct, kw_only=True, frozen=True):
    """A pulled model. Unknown fields are those of a newer ingle, and are left alone."""

    version: Literal[1] = 1
    name: str
    format: Format
    licence: str
    source: str
    #: Exact version of the source: a commit, a package version.
    revision: str
    #: The file an engine is given; "" means the folder.
    main: str
    files: Annotated[list[ManifestFile], Meta(min_length=1)]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in `folder`, None if there is none. Raises `ModelInvalid` if it is damaged."""
    try:
        text = (folder / MANIFEST_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ModelInvalid(
            f"{folder / MANIFEST_NAME} can't be read ({error.strerror}): check its permissions"
        ) from error
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelInvalid(
            f"the record of {folder.name} is damaged ({error}): {_repair(folder.name)}"
        ) from error
    paths = [file.path for file in manifest.files]
    if not all(is_safe_path(path) for path in paths) or manifest.main not in ("", *paths):
        raise ModelInvalid(
            f"the record of {folder.name} names files outside its folder: {_repair(folder.name)}"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest in `folder`, atomically."""
    target = folder / MANIFEST_NAME
    part = part_path(target)
    with open_part(part) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        sync_file(file)
    part.replace(target)


def record_file(folder: Path, path: str, sha256: str) -> ManifestFile:
    """The entry of a file that was just verified."""
    state = (folder / path).stat()
    return ManifestFile(
        path=path,
        sha256=sha256,
        bytes=state.st_size,
        mtime_ns=state.st_mtime_ns,
        inode=state.st_ino,
    )


def verify_files(
    folder: Path, manifest: Manifest, on_bytes: Callable[[str, int], None]
) -> Manifest:
    """The manifest with every file known to be good; the same object if nothing was hashed.

    `on_bytes(path, count)` hears each piece that is hashed again. Raises `ModelNotFound` for a
    missing file, `ModelInvalid` for one whose content changed.
    """
    files = [_verified(folder, manifest.name, file, on_bytes) for file in manifest.files]
    if files == manifest.files:
        return manifest
    return msgspec.structs.replace(manifest, files=files)


def _verified(
    folder: Path, name: str, known: ManifestFile, on_bytes: Callable[[str, int], None]
) -> ManifestFile:
    path = folder / known.path
    try:
        # The state is taken before hashing, so a write during it shows up at the next check.
        state = record_file(folder, known.path, known.sha256)
        if state == known:
            return known
        damaged = state.bytes != known.bytes or known.sha256 != sha256_of(
            path, lambda count: on_bytes(known.path, count)
        )
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path} is gone: {_repair(name)}") from error
    except OSError as error:
        raise ModelInvalid(
            f"{path} can't be read ({error.strerror}): check the disk and the permissions"
        ) from error
    if damaged:
        raise ModelInvalid(
            f"{path} is not what was downloaded (its SHA-256 or size changed): {_repair(name)}"
        )
    return state


def _repair(name: str) -> str:
    return f"run `ingle pull {name}`, which keeps its good files and fetches the rest again"
