"""The o200k vocabulary of gpt-oss, taken from the resident model's own files.

`openai-harmony` wants the file `o200k_base.tiktoken` and would download it. A gpt-oss model
carries the same data: its GGUF metadata or its `tokenizer.json` list every token in GPT-2's
printable byte alphabet. So the file is written from there, once, into a cache folder, and only
bytes with the official checksum are ever given to the library: nothing is downloaded.

GGUF format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package reads it
too, but takes half a minute for this vocabulary, because it reads the merges and tensors as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ingle.errors import LoadFailed, ModelInvalid

if TYPE_CHECKING:
    from openai_harmony import HarmonyEncoding

FILE_NAME = "o200k_base.tiktoken"
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
#: Ordinary tokens; the control tokens follow them.
ORDINARY = 199_998

_BASE_VARIABLE = "TIKTOKEN_ENCODINGS_BASE"
_environment_lock = Lock()

_GGUF_TOKENS = "tokenizer.ggml.tokens"
_STRING, _ARRAY = 8, 9
#: GGUF value type → bytes.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def load_encoding(model_path: Path | None, cache_dir: Path) -> HarmonyEncoding:
    """The Harmony encoding, its vocabulary from the cache or from the model.

    Raises `ModelInvalid` when the model's vocabulary is not o200k, `LoadFailed` when the cache
    folder can't be written.
    """
    from openai_harmony import HarmonyError, load_harmony_encoding

    folder = cache_dir / "vocabulary"
    ensure_vocabulary(model_path, folder)
    try:
        with _encodings_base(folder):
            return load_harmony_encoding("HarmonyGptOss")
    except HarmonyError as error:
        raise LoadFailed(
            f"the vocabulary in {folder} can't be used: delete it and load the model again"
        ) from error


def ensure_vocabulary(model_path: Path | None, folder: Path) -> Path:
    """The vocabulary file in `folder`, derived from the model unless it is there already."""
    target = folder / FILE_NAME
    if _is_official(target):
        return target
    if model_path is None:
        raise ModelInvalid(
            "the model speaks Harmony but has no file to take its vocabulary from: "
            "load it from a GGUF file or from a folder with tokenizer.json"
        )
    data = tiktoken_bytes(model_tokens(model_path))
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ModelInvalid(
            f"{model_path} has Harmony's control tokens but not the o200k vocabulary of gpt-oss: "
            "the file is damaged or of another kind, take it from another source"
        )
    _write(target, data)
    return target


def model_tokens(path: Path) -> list[str]:
    """The ordinary tokens by id, in the byte alphabet. Raises `ModelInvalid`."""
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        if file.suffix == ".json":
            return _json_tokens(json.loads(file.read_bytes()))
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _gguf_tokens(m)
    except OSError as error:
        raise ModelInvalid(
            f"{file} can't be read ({error.strerror}): the model's vocabulary is needed from there"
        ) from error
    # Broken JSON and text that is not UTF-8 are ValueErrors too.
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise ModelInvalid(
            f"{file} has no readable vocabulary: the file is damaged, take it from another source"
        ) from error


def tiktoken_bytes(tokens: Iterable[str]) -> bytes:
    """The vocabulary in tiktoken's format: a line "base64 rank" for each token."""
    alphabet = _byte_alphabet()
    lines = []
    for rank, token in enumerate(tokens):
        try:
            raw = bytes(alphabet[character] for character in token)
        except KeyError:
            # Not byte-level text. The checksum will say so.
            raw = token.encode("utf-8", "replace")
        lines.append(b"%s %d\n" % (base64.b64encode(raw), rank))
    return b"".join(lines)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character of each byte, reversed.

    Source: `bytes_to_unicode` in https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(256 + place): byte for place, byte in enumerate(others)}
    return alphabet


def _json_tokens(document: object) -> list[str]:
    if not isinstance(document, dict):
        raise TypeError("not a tokenizer.json")
    by_id: dict[int, str] = {token: text for text, token in document["model"]["vocab"].items()}
    return [by_id[token] for token in range(ORDINARY)]


def _gguf_tokens(data: mmap.mmap) -> list[str]:
    """The token list of a GGUF file (little-endian, versions 2 and 3); reads no further."""
    magic, version, _tensors, entries = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError("not GGUF")
    at = 24
    for _ in range(entries):
        key, at = _gguf_string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        if key == _GGUF_TOKENS.encode():
            item, count = struct.unpack_from("<IQ", data, at + 4)
            if kind != _ARRAY or item != _STRING or count < ORDINARY:
                raise ValueError("another kind of vocabulary")
            return _gguf_strings(data, at + 16, ORDINARY)
        at = _skip_value(data, at + 4, kind)
    raise ValueError("no vocabulary")


def _gguf_strings(data: mmap.mmap, at: int, count: int) -> list[str]:
    texts = []
    for _ in range(count):
        raw, at = _gguf_string(data, at)
        texts.append(raw.decode())
    return texts


def _gguf_string(data: mmap.mmap, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("truncated")
    return data[at + 8 : end], end


def _skip_value(data: mmap.mmap, at: int, kind: int) -> int:
    """Where the value of type `kind` at `at` ends."""
    if kind == _STRING:
        return _gguf_string(data, at)[1]
    if kind != _ARRAY:
        return at + _SIZES[kind]
    item, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if item in _SIZES:
        return at + int(count) * _SIZES[item]
    for _ in range(count):
        at = _skip_value(data, at, item)
    return at


def _is_official(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    except OSError:
        return False


def _write(target: Path, data: bytes) -> None:
    """Write under a temporary name, then rename: nobody ever sees half a file."""
    temporary: Path | None = None
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=FILE_NAME, dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(target)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise LoadFailed(
            f"the model's vocabulary can't be written to {target.parent} ({error.strerror}): "
            "make room or fix the folder's permissions"
        ) from error


@contextmanager
def _encodings_base(folder: Path) -> Iterator[None]:
    """Let `openai-harmony` read its vocabulary from `folder` and nowhere else."""
    with _environment_lock:
        before = os.environ.get(_BASE_VARIABLE)
        os.environ[_BASE_VARIABLE] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[_BASE_VARIABLE]
            else:
                os.environ[_BASE_VARIABLE] = before
