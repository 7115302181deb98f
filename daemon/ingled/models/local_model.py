"""Models of the user's own: a path to a GGUF file or to a folder of safetensors.

Owns `StoredModel`, the form in which every model of this disk is handed on, and the rule that
tells a path from a name. Such files have no known checksum, so only their structure is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingle.errors import ModelInvalid, ModelNotFound

from .catalog import Format
from .gguf_file import check_gguf_model
from .safetensors_folder import check_safetensors


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model on this disk that passed its checks. `name` finds it again."""

    name: str
    #: The GGUF file (the first of a split one), or the folder of a safetensors model.
    path: Path
    format: Format
    #: Of all its files.
    bytes: int
    licence: str = ""
    source: str = ""


def is_path(name_or_path: str) -> bool:
    """Whether a user means a file: anything with a separator, a `~`, or ending in `.gguf`."""
    return (
        any(mark in name_or_path for mark in "/\\")
        or name_or_path.startswith("~")
        or name_or_path in (".", "..")
        or name_or_path.lower().endswith(".gguf")
    )


def local_model(path: Path) -> StoredModel:
    """Check a model by its path. Raises `ModelNotFound` or `ModelInvalid`."""
    try:
        path = path.expanduser().absolute()
        is_folder, is_file, exists = path.is_dir(), path.is_file(), path.exists()
    except (OSError, RuntimeError) as error:
        # A name that is too long, a folder without permission, a home of nobody.
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelNotFound(
            f"can't look at {str(path)[:200]} ({reason}): check the path"
        ) from error
    if not exists:
        raise ModelNotFound(f"no such file: {path}: check the path")
    if not is_folder and not is_file:
        # Opening a pipe would wait for its other end.
        raise ModelInvalid(f"{path} is neither a file nor a folder: give a .gguf file")
    files = check_safetensors(path) if is_folder else check_gguf_model(path)
    return StoredModel(
        name=str(path),
        path=path,
        format="safetensors" if is_folder else "gguf",
        bytes=sum(file.stat().st_size for file in files),
        source="local",
    )
