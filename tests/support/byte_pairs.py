"""Byte-level byte-pair encoding: GPT-2's letters for bytes, and merges found from ranks."""

from __future__ import annotations

from collections.abc import Mapping


def last_merge(ranks: Mapping[bytes, int], piece: bytes, rank: int) -> list[bytes]:
    """The two parts whose merge makes `piece`: byte-pair encoding with the merges before it."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        pairs = [(ranks.get(parts[n] + parts[n + 1], rank), n) for n in range(len(parts) - 1)]
        best, place = min(pairs)
        if best >= rank:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + number) for number, byte in enumerate(others)}
