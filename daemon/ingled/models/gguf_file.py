"""A cheap structural check of GGUF files, before any engine sees them.

Reads the header only: magic, version, metadata, tensor infos; and holds the file's length against
what the tensor infos need, so that a truncated download gets a plain error. It neither loads
tensors nor judges whether an engine supports the model.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (all numbers little-endian);
sizes of tensor types: `type_traits` in ggml/src/ggml.c.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ingle.errors import ModelInvalid, ModelNotFound

from .transfer import size_text

MAGIC = b"GGUF"
VERSIONS = (2, 3)

_STRING, _ARRAY = 8, 9
#: Metadata value type → bytes, for those of a fixed size.
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
#: Metadata value type → struct format, for the integers that are read.
_INTEGERS = {0: "<B", 2: "<H", 4: "<I", 5: "<i", 10: "<Q"}

#: Tensor type → (elements, bytes) of one block.
_TENSOR_BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 40),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
    41: (128, 18),  # Q1_0
}

#: Far above real models, low enough that a hostile header can't keep the reader busy.
_MAX_METADATA = 1 << 16
_MAX_TENSORS = 1 << 20
_MAX_STRINGS = 1 << 24
_MAX_NAME = 1 << 16
_MAX_ARRAY_DEPTH = 3
_MAX_DIMENSIONS = 4

_SLIDING_WINDOW = ".attention.sliding_window"

_SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """What the header says. `architecture` is "" in the later parts of a split model."""

    version: int
    tensors: int
    architecture: str
    #: Files the model is split into; 1 for a whole one.
    parts: int
    #: Tokens that a layer with a sliding window looks back; 0 when no layer has one.
    sliding_window: int


class _Broken(Exception):
    """Text: what is wrong with the file."""


class _Truncated(_Broken):
    """The file ends before what it announces."""


@dataclass
class _Reader:
    """A file read forwards, never past its end."""

    file: BinaryIO
    size: int
    position: int = 0
    strings: int = 0
    values: dict[str, str | int] = field(default_factory=dict)

    def take(self, count: int) -> bytes:
        self._need(count)
        data = self.file.read(count)
        if len(data) != count:
            raise _Truncated(f"{size_text(self.position + count)} or more")
        self.position += count
        return data

    def skip(self, count: int) -> None:
        self._need(count)
        self.file.seek(count, 1)
        self.position += count

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return int(value)

    def name(self, what: str) -> str:
        length = self.number("<Q")
        if length > _MAX_NAME:
            raise _Broken(f"a {what} name of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise _Broken(f"a {what} name that is not UTF-8") from error

    def skip_strings(self, count: int) -> None:
        self.strings += count
        if self.strings > _MAX_STRINGS:
            raise _Broken(f"{self.strings} strings in its metadata")
        for _ in range(count):
            self.skip(int.from_bytes(self.take(8), "little"))

    def _need(self, count: int) -> None:
        if self.position + count > self.size:
            raise _Truncated(size_text(self.position + count) + " or more")


def check_gguf(path: Path) -> GgufHeader:
    """Check one GGUF file. Raises `ModelNotFound` or `ModelInvalid` with a line for a person."""
    try:
        with path.open("rb") as file:
            return _check(_Reader(file, path.stat().st_size))
    except FileNotFoundError as error:
        raise ModelNotFound(f"no such file: {path}: check the path") from error
    except OSError as error:
        raise ModelInvalid(
            f"{path} can't be read ({error.strerror}): check that it is a file and its permissions"
        ) from error
    except _Truncated as error:
        raise ModelInvalid(
            f"{path} is truncated: it has {size_text(path.stat().st_size)}, its header asks for "
            f"{error}: download it again"
        ) from error
    except _Broken as error:
        raise ModelInvalid(
            f"{path} is not a usable GGUF model ({error}): download it again, or give another file"
        ) from error


def check_gguf_model(path: Path) -> list[Path]:
    """Check a model by its only or first file; all its files, in order.

    Raises `ModelNotFound` for a missing part, `ModelInvalid` for a broken one.
    """
    split = _SPLIT_NAME.fullmatch(path.name)
    if split is not None and split["number"] != "00001":
        first = f"{split['stem']}-00001-of-{split['count']}.gguf"
        raise ModelInvalid(f"{path} is a later part of a split model: give the first one, {first}")
    header = check_gguf(path)
    if not header.architecture:
        raise ModelInvalid(
            f"{path} names no model architecture, so it is no model of its own: give another file"
        )
    if header.parts == 1:
        return [path]
    if split is None or int(split["count"]) != header.parts:
        raise ModelInvalid(
            f"{path} is the first of {header.parts} parts but is not named so: "
            f"rename the parts to NAME-00001-of-{header.parts:05}.gguf and so on"
        )
    others = [
        path.with_name(f"{split['stem']}-{number:05}-of-{split['count']}.gguf")
        for number in range(2, header.parts + 1)
    ]
    for other in others:
        if check_gguf(other).parts != header.parts:
            raise ModelInvalid(f"{other} is no part of {path.name}: download the model again")
    return [path, *others]


def _check(reader: _Reader) -> GgufHeader:
    start = reader.take(min(4, reader.size))
    if start != MAGIC:
        raise _Broken("it does not start with 'GGUF'" if reader.size else "it is empty")
    version = reader.number("<I")
    if version not in VERSIONS:
        if int.from_bytes(version.to_bytes(4, "big"), "little") in VERSIONS:
            raise _Broken("it is for big-endian machines")
        raise _Broken(f"format version {version}, known are 2 and 3")
    tensors = reader.number("<Q")
    metadata = reader.number("<Q")
    if tensors > _MAX_TENSORS or metadata > _MAX_METADATA:
        raise _Broken(f"{tensors} tensors and {metadata} metadata entries in its header")
    for _ in range(metadata):
        _read_metadata(reader)
    needed = [_read_tensor(reader) for _ in range(tensors)]
    alignment = reader.values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise _Broken(f"an alignment of {alignment}")
    if tensors:
        end = -(-reader.position // alignment) * alignment + max(needed)
        if end > reader.size:
            raise _Truncated(size_text(end))
    parts = reader.values.get("split.count", 1)
    window = reader.values.get(_SLIDING_WINDOW, 0)
    return GgufHeader(
        version=version,
        tensors=tensors,
        architecture=str(reader.values.get("general.architecture", "")),
        parts=parts if isinstance(parts, int) and parts > 1 else 1,
        sliding_window=window if isinstance(window, int) else 0,
    )


def _read_metadata(reader: _Reader) -> None:
    key = reader.name("metadata")
    kind = reader.number("<I")
    if key == "general.architecture" and kind == _STRING:
        reader.values[key] = reader.name("architecture")
    elif key in ("general.alignment", "split.count") and kind in _INTEGERS:
        reader.values[key] = reader.number(_INTEGERS[kind])
    elif key.endswith(_SLIDING_WINDOW) and kind in _INTEGERS:
        # The name of the architecture is before it.
        reader.values[_SLIDING_WINDOW] = reader.number(_INTEGERS[kind])
    else:
        _skip_value(reader, kind, 0)


def _skip_value(reader: _Reader, kind: int, depth: int) -> None:
    if kind in _VALUE_BYTES:
        reader.skip(_VALUE_BYTES[kind])
    elif kind == _STRING:
        reader.skip_strings(1)
    elif kind == _ARRAY and depth < _MAX_ARRAY_DEPTH:
        item, count = reader.number("<I"), reader.number("<Q")
        if item in _VALUE_BYTES:
            reader.skip(_VALUE_BYTES[item] * count)
        elif item == _STRING:
            reader.skip_strings(count)
        else:
            for _ in range(min(count, _MAX_STRINGS)):
                _skip_value(reader, item, depth + 1)
    else:
        raise _Broken(f"a metadata value of type {kind}")


def _read_tensor(reader: _Reader) -> int:
    """Bytes of the data section that this tensor needs."""
    name = reader.name("tensor")
    dimensions = reader.number("<I")
    if dimensions > _MAX_DIMENSIONS:
        raise _Broken(f"a tensor of {dimensions} dimensions")
    shape = [reader.number("<Q") for _ in range(dimensions)]
    kind = reader.number("<I")
    offset = reader.number("<Q")
    # A type newer than this table: an engine may know it, so only its start is checked.
    elements, size = _TENSOR_BLOCKS.get(kind, (1, 0))
    if shape and shape[0] % elements:
        raise _Broken(f"a tensor {name[:40]!r} of {shape[0]} columns, in blocks of {elements}")
    count = 1
    for length in shape:
        count *= length
    return offset + count // elements * size
