"""What Helix's `languages.toml` needs for ingle, beside what the user has there. Pure but for our
own file.

A list of language servers replaces another one, so a language whose servers the user has chosen is
left to the user.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from . import places


def body(text: str, path: Path) -> str:
    """The lines for a file whose other text is `text`. Raises `ValueError` if that is no TOML."""
    del path
    source = (places.plugin("helix") / "languages.toml").read_text(encoding="utf-8")
    server, *languages = source.split("[[language]]\n")
    chosen = own_languages(text)
    kept = [part for part in languages if _name(part) not in chosen]
    if not kept:
        server = server.partition("#")[0]
    server = server.replace('"ingle-lsp"', json.dumps(places.language_server(), ensure_ascii=False))
    return "[[language]]\n".join([server, *kept]).rstrip("\n")


def own_languages(text: str) -> list[str]:
    """Languages whose servers `text` chooses. Raises `ValueError` if it is no TOML."""
    languages: Any = tomllib.loads(text).get("language", [])
    if not isinstance(languages, list):
        raise ValueError("`language` is no list of tables")
    return [
        str(language.get("name"))
        for language in languages
        if isinstance(language, dict) and "language-servers" in language
    ]


def check(text: str) -> None:
    """Raise `ValueError` for a text that is no TOML."""
    tomllib.loads(text)


def _name(part: str) -> str:
    return str(tomllib.loads(part)["name"])
