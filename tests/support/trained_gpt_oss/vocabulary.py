"""A small part of the o200k vocabulary, closed under its merges, and the Harmony control tokens.

A byte-level vocabulary that is a subset of another one tokenizes the texts it was made from in
the same way, so ids can be translated one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ingle.file_lock import file_lock
from support.byte_pairs import byte_letters, last_merge
from support.o200k import ranks, vocabulary_cache
from support.tiny_gpt_oss import CONTROL

#: o200k's way to cut a text into words; from the published `tokenizer.json` of gpt-oss.
PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UNUSED = "<|unused|>"


@dataclass(frozen=True)
class Vocabulary:
    """Small id = place in the list of o200k ids; the one after the last is `UNUSED`."""

    o200k_ids: list[int]

    @classmethod
    def of(cls, texts: Iterable[list[int]]) -> Vocabulary:
        """The smallest vocabulary for these o200k ids."""
        by_id = {rank: token for token, rank in ranks().items()}
        wanted = {token for text in texts for token in text} | set(CONTROL)
        wanted |= {ranks()[bytes([byte])] for byte in range(256)}
        open_ = [by_id[token] for token in wanted if token in by_id]
        while open_:
            token = open_.pop()
            if len(token) > 1:
                for part in last_merge(ranks(), token, ranks()[token]):
                    if ranks()[part] not in wanted:
                        wanted.add(ranks()[part])
                        open_.append(part)
        return cls(sorted(wanted))

    @classmethod
    def read(cls, folder: Path) -> Vocabulary:
        return cls(json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        ids = json.dumps(self.o200k_ids, separators=(",", ":"))
        (folder / "vocabulary.json").write_text(ids + "\n", encoding="utf-8")
        names = {new: token for token, new in self._ordinary().items()}
        control = {CONTROL[old]: new for new, old in enumerate(self.o200k_ids) if old in CONTROL}
        document = tokenizer_json(
            {token: new for new, token in names.items()}, control | {UNUSED: self.unused}
        )
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")

    @property
    def unused(self) -> int:
        return len(self.o200k_ids)

    @property
    def size(self) -> int:
        return len(self.o200k_ids) + 1

    def small(self, ids: Iterable[int]) -> list[int]:
        """o200k ids → small ones."""
        places = {old: new for new, old in enumerate(self.o200k_ids)}
        return [places[token] for token in ids]

    def _ordinary(self) -> dict[bytes, int]:
        by_id = {rank: token for token, rank in ranks().items()}
        return {by_id[old]: new for new, old in enumerate(self.o200k_ids) if old in by_id}


def tokenizer_json(tokens: dict[bytes, int], control: dict[str, int]) -> dict[str, Any]:
    """A `tokenizer.json` as gpt-oss's: byte-level merges in the order of their ids."""
    letters = byte_letters()

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = [
        [written(part) for part in last_merge(tokens, token, rank)]
        for token, rank in sorted(tokens.items(), key=lambda item: item[1])
        if len(token) > 1
    ]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    split = {
        "type": "Split",
        "pattern": {"Regex": PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": text, "special": True} | flags
            for text, number in sorted(control.items(), key=lambda item: item[1])
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split, {"type": "ByteLevel"} | level],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel"} | level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {written(token): rank for token, rank in tokens.items()},
            "merges": merges,
        },
    }


@cache
def full_tokenizer_file() -> Path:
    """The `tokenizer.json` of the whole vocabulary, as gpt-oss has it; made once per user."""
    file = vocabulary_cache() / "o200k-tokenizer.json"
    with file_lock(file.with_suffix(".lock"), wait=True):
        if not file.exists():
            # Without the reserved ones the library would number the others anew.
            numbers = range(min(CONTROL), max(CONTROL) + 1)
            control = {CONTROL.get(n, f"<|reserved_{n}|>"): n for n in numbers}
            document = tokenizer_json(ranks(), control)
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
            partial.replace(file)
    return file
