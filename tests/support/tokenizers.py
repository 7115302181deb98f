"""Tokenizers for tests of dialects: small, exact, and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_harmony import HarmonyEncoding

#: Ids from here on are characters; below are control tokens.
FIRST_CHARACTER = 1000


class CharacterTokenizer:
    """One token a character, and control tokens by name. Remembers what it was asked to encode."""

    def __init__(self, *control: str) -> None:
        self.control = list(control)
        self.encoded: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.encoded.append(text)
        return [FIRST_CHARACTER + ord(character) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(
            self.control[token] if token < FIRST_CHARACTER else chr(token - FIRST_CHARACTER)
            for token in ids
        )

    def special(self, text: str) -> int | None:
        return self.control.index(text) if text in self.control else None

    def controls(self, ids: Sequence[int]) -> list[str]:
        """The control tokens among `ids`, by name."""
        return [self.control[token] for token in ids if token < FIRST_CHARACTER]


class HarmonyTokenizer:
    """The tokenizer of gpt-oss, as an engine would give it."""

    def __init__(self, encoding: HarmonyEncoding) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode(text, disallowed_special=())
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._encoding.decode(ids)
        return text

    def special(self, text: str) -> int | None:
        if text not in self._encoding.special_tokens_set:
            return None
        token: int = self._encoding.encode(text, allowed_special="all")[0]
        return token
