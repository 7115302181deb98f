"""Which dialect a loaded model is spoken to in. Heavy libraries are imported only when needed."""

from __future__ import annotations

from pathlib import Path

from ingle.errors import ModelInvalid
from ingled.engines.engine import Capabilities, Tokenizer

from .dialect import Dialect


def choose(
    tokenizer: Tokenizer, capabilities: Capabilities, model_path: Path | None, cache_dir: Path
) -> Dialect:
    """Harmony where the vocabulary has its control tokens, else the model's own chat template.

    `cache_dir` keeps what is derived from the model's files. Raises `ModelInvalid` when the
    model's vocabulary or template can't be used, `LoadFailed` when the cache can't be written.
    """
    # The numbers are in `harmony.CONTROL_IDS`; two tell, without importing openai-harmony.
    if tokenizer.special("<|start|>") == 200006 and tokenizer.special("<|return|>") == 200002:
        return _harmony(tokenizer, model_path, cache_dir)
    from .chat_template import ChatTemplateDialect

    return ChatTemplateDialect(tokenizer, capabilities)


#: Texts that the model's tokenizer and openai-harmony must agree on.
_PROBES = ("def main():\n    return 0\n", "Ünïcödé, 漢字, 1234567")


def _harmony(tokenizer: Tokenizer, model_path: Path | None, cache_dir: Path) -> Dialect:
    from .harmony import CONTROL_IDS, HarmonyDialect
    from .harmony_vocabulary import load_encoding

    encoding = load_encoding(model_path, cache_dir)
    agree = all(tokenizer.special(text) == token for text, token in CONTROL_IDS.items()) and all(
        tokenizer.encode(text) == encoding.encode(text, disallowed_special=()) for text in _PROBES
    )
    if not agree:
        raise ModelInvalid(
            "the model has Harmony's control tokens but tokenizes text in another way than "
            "gpt-oss: it is damaged or of another kind, take it from another source"
        )
    return HarmonyDialect(encoding)
