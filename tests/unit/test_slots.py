"""Which slot a job gets: its own, else the one that is missed least."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingled.engines.engine import Kept
from ingled.engines.slots import SlotTable


def use(table: SlotTable, affinity: str, tokens: int = 10) -> int:
    slot = table.take(affinity)
    table.enter(slot, affinity, tokens)
    table.leave(slot)
    return slot


def test_a_document_returns_to_its_slot() -> None:
    table = SlotTable(3)
    slots = {name: use(table, name) for name in ("infill:a", "infill:b", "chat:c")}
    assert len(set(slots.values())) == 3
    for name in ("chat:c", "infill:a", "infill:b"):
        assert use(table, name) == slots[name]


def test_chats_leave_the_last_document_alone_and_documents_the_last_chat() -> None:
    table = SlotTable(3)
    document, chat = use(table, "infill:a"), use(table, "chat:c")
    for number in range(5):
        assert use(table, f"chat:{number}") != document
    chat = use(table, "chat:last")
    for number in range(5):
        assert use(table, f"infill:{number}") != chat


def test_a_single_slot_serves_everybody() -> None:
    table = SlotTable(1)
    assert [use(table, name) for name in ("infill:a", "chat:c", "job:1")] == [0, 0, 0]
    assert table.kept() == [Kept(affinity="job:1", tokens=10)]


@given(
    count=st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.sampled_from("abcd"), st.booleans()), max_size=60),
)
def test_no_slot_is_given_twice(count: int, steps: list[tuple[bool, str, bool]]) -> None:
    table = SlotTable(count)
    busy: list[int] = []
    for take, name, is_document in steps:
        if take and len(busy) < count:
            slot = table.take(f"{'infill' if is_document else 'chat'}:{name}")
            assert 0 <= slot < count
            assert slot not in busy
            busy.append(slot)
        elif take:
            with pytest.raises(ValueError, match="busy"):
                table.take("chat:x")
        elif busy:
            table.leave(busy.pop(0))
        names = [kept.affinity for kept in table.kept()]
        assert len(names) == len(set(names)) <= count
