"""The model's `tokenizer.json`, through Hugging Face's tokenizers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from ingle.errors import ModelInvalid


class JsonTokenizer:
    """Text ↔ ids. See `ingled.engines.engine.Tokenizer`."""

    def __init__(self, folder: Path) -> None:
        """Raises `ModelInvalid`."""
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ModelInvalid(f"{file} is missing: download the whole model again")
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        # The library raises bare exceptions for anything that is wrong in the file.
        except Exception as error:
            raise ModelInvalid(f"{file} is damaged: download it again") from error
        # User text is data: `<|end|>` in it is six characters, not a control token.
        self._tokenizer.encode_special_tokens = True
        self._special = {
            token.content: number
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
        }
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        #: One more than the highest id.
        self.size = max(vocabulary.values(), default=-1) + 1

    def encode(self, text: str) -> list[int]:
        """Plain text → ids."""
        # Half a surrogate pair is no text; it becomes U+FFFD as in any decoder.
        clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        ids: list[int] = self._tokenizer.encode(clean, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Ids → text, control tokens written out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def special(self, text: str) -> int | None:
        """The id of a control token."""
        return self._special.get(text)

    def stream(self) -> TextStream:
        """Decodes ids one after another."""
        return TextStream(self._tokenizer)


class TextStream:
    """Ids → text as they come: whole characters only, control tokens left out."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        """The text that is complete with this token."""
        return self._stream.step(self._tokenizer, token) or ""


def end_ids(folder: Path) -> list[int]:
    """Ids that end a generation, by `generation_config.json` and `config.json`."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        try:
            given = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError) as error:
            raise ModelInvalid(f"{file} is damaged: download it again") from error
        found.update([given] if isinstance(given, int) else given or [])
    return sorted(found)
