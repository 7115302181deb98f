"""The models `ingle pull` knows: `catalog.toml` as typed entries.

Owns the types of an entry and of its source, and the rule for file names that come from outside.
It doesn't know what is installed (`store`) nor how to fetch (`download_pypi`, `download_hub`).

A model with several forms has one entry each: the plain name is the GGUF, `NAME-safetensors` the
original weights.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from importlib import resources
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Format = Literal["gguf", "safetensors"]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
#: Names become folder names, so they keep to what every file system takes.
ModelName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]
Bytes = Annotated[int, Meta(ge=1)]


class PypiSource(
    Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="pypi"
):
    """One file inside a wheel of a Python package index."""

    package: str
    version: str
    wheel_bytes: Bytes
    wheel_sha256: Sha256
    #: Path inside the wheel.
    member: str
    #: Of the member.
    sha256: Sha256

    def __str__(self) -> str:
        return f"PyPI: {self.package} {self.version}"


class HubSource(
    Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="hub"
):
    """Files of a repository on the Hugging Face hub."""

    repo: Annotated[str, Meta(pattern=r"^[\w.-]+/[\w.-]+$")]
    #: Patterns of whole paths; `*` stays within a folder, letter case doesn't matter.
    files: Annotated[list[str], Meta(min_length=1)]
    #: Branch, tag or commit; the pull pins the commit it finds there.
    revision: str = "main"

    def __str__(self) -> str:
        return f"Hugging Face: {self.repo}"


class CatalogEntry(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A model that can be pulled."""

    name: ModelName
    description: str
    format: Format
    licence: str
    #: Size on disk; approximate for hub sources.
    bytes: Bytes
    source: PypiSource | HubSource


class Catalog(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """All entries, in the order they are shown."""

    model: list[CatalogEntry]

    def find(self, name: str) -> CatalogEntry | None:
        """The entry of that name, None if there is none."""
        return next((entry for entry in self.model if entry.name == name), None)


def parse_catalog(text: bytes) -> Catalog:
    """TOML → catalog. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    catalog = msgspec.toml.decode(text, type=Catalog)
    names = [entry.name for entry in catalog.model]
    if len(set(names)) != len(names):
        raise msgspec.ValidationError("two models of the catalog have the same name")
    return catalog


@functools.cache
def builtin_catalog() -> Catalog:
    """The catalog inside the package."""
    return parse_catalog((resources.files(__package__) / "catalog.toml").read_bytes())


def suggestion(name: str, known: Iterable[str]) -> str:
    """` did you mean 'x'?`, or nothing when no known name is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f" did you mean {close[0]!r}?" if close else ""


def is_safe_path(path: str) -> bool:
    """Whether a `/`-separated path from outside stays inside the folder it is put in.

    Checked under the rules of every platform: no `..`, no root, no drive, no backslash.
    """
    if not path or "\\" in path or any(ord(char) < 32 for char in path):
        return False
    parts = path.split("/")
    return (
        not PurePosixPath(path).is_absolute()
        and not any(PureWindowsPath(part).drive for part in parts)
        and all(part not in ("", ".", "..") for part in parts)
    )
