"""A cheap structural check of a folder with a safetensors model.

Reads headers and the index only: every file the index names is there and as long as its header
says. It tells names, types and shapes of tensors, but neither loads them nor judges whether an
engine supports the model.

Format: https://github.com/huggingface/safetensors#format (8 bytes of little-endian header length,
a JSON header, then the data that `data_offsets` point into).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ingle.errors import ModelInvalid, ModelNotFound

from .catalog import is_safe_path
from .transfer import size_text
from .weights import TensorInfo

CONFIG_NAME = "config.json"
INDEX_NAME = "model.safetensors.index.json"
#: The limit of the format's own reader.
_MAX_HEADER = 100_000_000


def check_safetensors(folder: Path) -> list[Path]:
    """Check a model's folder; its weight files. Raises `ModelNotFound` or `ModelInvalid`."""
    try:
        weights = _weights(folder)
        for file in weights:
            _check_file(file)
    except OSError as error:
        raise ModelInvalid(
            f"{error.filename or folder} can't be read ({error.strerror}): check its permissions"
        ) from error
    return weights


def _weights(folder: Path) -> list[Path]:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelInvalid(
            f"{folder} holds no .safetensors file: give a folder of safetensors or a .gguf file"
        )
    if not (folder / CONFIG_NAME).is_file():
        raise ModelNotFound(f"{folder / CONFIG_NAME} is missing: download the whole model again")
    index = folder / INDEX_NAME
    if not index.is_file():
        return weights
    try:
        named = set(
            msgspec.json.decode(index.read_bytes(), type=dict[str, Any])["weight_map"].values()
        )
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, AttributeError, TypeError) as error:
        raise ModelInvalid(f"{index} is damaged: download it again") from error
    for name in sorted(map(str, named)):
        if not is_safe_path(name) or not (folder / name).is_file():
            raise ModelNotFound(f"{folder / name} is missing: download the whole model again")
    return [folder / name for name in sorted(named)]


def tensors_on_disk(folder: Path) -> dict[str, TensorInfo]:
    """Every tensor of a model's folder, after the checks of `check_safetensors`."""
    found: dict[str, TensorInfo] = {}
    for file in check_safetensors(folder):
        for name, entry in _read_header(file)[1].items():
            try:
                shape = tuple(int(size) for size in entry["shape"])
                found[name] = TensorInfo(str(entry["dtype"]), shape)
            except (LookupError, TypeError, ValueError) as error:
                raise _damaged(file) from error
            if any(size < 0 for size in shape):
                raise _damaged(file)
    return found


def _check_file(path: Path) -> None:
    size = path.stat().st_size
    length, tensors = _read_header(path)
    try:
        data = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(path) from error
    if size != 8 + length + data:
        raise ModelInvalid(
            f"{path} is truncated or damaged: it has {size_text(size)}, its header asks for "
            f"{size_text(8 + length + data)}: download it again"
        )


def _read_header(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Bytes of the header, and tensor name → its entry."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            raise ModelInvalid(f"{path} is truncated or no safetensors file: download it again")
        header = file.read(length)
    try:
        tensors = msgspec.json.decode(header, type=dict[str, dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path) from error
    tensors.pop("__metadata__", None)
    return length, tensors


def _damaged(path: Path) -> ModelInvalid:
    return ModelInvalid(f"{path} has a damaged header: download it again")
