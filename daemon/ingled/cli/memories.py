"""How much memory this machine and its cards have and use, for the live view."""

from __future__ import annotations

from pathlib import Path

from ingled.models.gpu_memory import read_cards

from .live_status import Memory


def memories() -> list[Memory]:
    """Cards, then the machine's own; what can't be read here is left out."""
    cards = [Memory("VRAM", card.total, card.used) for card in read_cards()]
    ram = _ram()
    return [*cards, *([ram] if ram else [])]


def _ram() -> Memory | None:
    """As Linux tells it, in KiB: https://docs.kernel.org/filesystems/proc.html."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    facts = dict(line.split(":", 1) for line in lines)
    total, free = (
        int(facts.get(name, "0").split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")
    )
    return Memory("RAM", total, total - free) if total else None
