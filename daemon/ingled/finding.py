"""What a health check found: of `ingle doctor`, and of an engine's own checks on its card."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

#: `skip`: it could not be looked at here, and why.
Grade = Literal["ok", "info", "warn", "fail", "skip"]


class Finding(Struct, kw_only=True, frozen=True):
    """What one check found; `remedy` is what to do about it."""

    check: str
    grade: Grade
    text: str
    remedy: str = ""
    #: What was measured, by name; the unit is the end of the name.
    figures: dict[str, Any] = {}
