"""Which prefix is in which slot of an engine, and which slot a job gets. Pure.

A job returns to the slot that holds its document or chat. For another one the least recently used
free slot is given up, but not the last one that is left of the other kind: a chat turn does not
evict the document that is being edited, nor the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass

from .engine import Job, Kept


def is_document(affinity: str) -> bool:
    """Whether it is a document's, as the dialects name them; else a chat's, or nobody's."""
    return affinity.startswith("infill:")


@dataclass
class _Slot:
    affinity: str = ""
    tokens: int = 0
    #: Goes up with every use; 0 for never.
    used: int = 0
    busy: bool = False


def affinity_of(job: Job) -> str:
    """A job without a name of its own returns to its own cache at least, when it is resumed."""
    return job.affinity or f"job:{job.id}"


class SlotTable:
    """See the module."""

    def __init__(self, count: int) -> None:
        self._slots = [_Slot() for _ in range(count)]
        self._uses = 0

    def take(self, affinity: str) -> int:
        """The slot for a job, busy from now on. Raises `ValueError` when none is free."""
        free = [number for number, slot in enumerate(self._slots) if not slot.busy]
        if not free:
            raise ValueError("every slot is busy")
        number = next((number for number in free if self._slots[number].affinity == affinity), None)
        if number is None:
            number = self._least_missed(free, affinity)
        self.enter(number, affinity, 0)
        self._slots[number].busy = True
        return number

    def enter(self, number: int, affinity: str, tokens: int) -> None:
        """A slot holds this now."""
        self._uses += 1
        for slot in self._slots:
            # What moved is no longer where it was.
            if slot.affinity == affinity:
                slot.affinity, slot.tokens = "", 0
        slot = self._slots[number]
        slot.affinity, slot.tokens, slot.used = affinity, tokens, self._uses

    def leave(self, number: int) -> None:
        """A job is over; its slot is free and holds what it left there."""
        self._slots[number].busy = False

    def kept(self) -> list[Kept]:
        """What is held, the most recently used first."""
        held = [slot for slot in self._slots if slot.affinity and slot.tokens]
        return [
            Kept(affinity=slot.affinity, tokens=slot.tokens)
            for slot in sorted(held, key=lambda slot: -slot.used)
        ]

    def _least_missed(self, free: list[int], affinity: str) -> int:
        others = [
            slot
            for slot in self._slots
            if slot.affinity and is_document(slot.affinity) != is_document(affinity)
        ]
        last = max(others, key=lambda slot: slot.used, default=None)
        candidates = [number for number in free if self._slots[number] is not last] or free
        return min(candidates, key=lambda number: self._slots[number].used)
