"""The files of `protocol/vectors`, read; bytes from their annotated hex."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"


def load(name: str) -> dict[str, Any]:
    """The content of `NAME.json`."""
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def join(parts: list[Any]) -> bytes:
    """One frame: lines of `hex ; remark`, and `{"repeat": hex, "count": n}`, joined."""
    return b"".join(_part(part) for part in parts)


def _part(part: Any) -> bytes:
    if isinstance(part, dict):
        return bytes.fromhex(part["repeat"]) * int(part["count"])
    return bytes.fromhex(part.split(";")[0])
