"""Whether a document is in one of some folders, however it is named."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from .privacy import path_of


def normal(folder: str) -> str | None:
    """A folder as a user writes it, `~` and all → as it is compared; None if it is not absolute."""
    path = os.path.expanduser(folder)  # noqa: PTH111 - `Path` raises for unknown homes
    if not folder or not os.path.isabs(path):  # noqa: PTH117 - of the string, as it is
        return None
    return os.path.normcase(os.path.normpath(path))


def is_inside(uri: str, folders: Collection[str]) -> bool:
    """Whether a document's file is in one of the (normal) folders, or below it.

    Links count for where they stand and for where they lead.
    """
    path = path_of(uri)
    if path is None or not folders:
        return False
    parents = _parents(path) | _parents(Path(os.path.realpath(path)))
    return any(
        folder in parents or os.path.normcase(os.path.realpath(folder)) in parents
        for folder in folders
    )


def _parents(path: Path) -> set[str]:
    return {os.path.normcase(parent) for parent in Path(os.path.normpath(path)).parents}
