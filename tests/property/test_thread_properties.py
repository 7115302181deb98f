"""Threads: whatever is said comes back, whatever a file holds is one line, prompts only grow."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingle import conversation, thread_names
from ingle.errors import ThreadError, ThreadNameError
from ingle.threads import Excerpt, Position, Range, Thread, ThreadStore, Turn

NOW = datetime(2026, 11, 24, tzinfo=UTC)
texts = st.text(st.characters(codec="utf-8"))
positions = st.builds(Position, line=st.integers(0, 2**31), character=st.integers(0, 2**31))
excerpts = st.builds(
    Excerpt,
    uri=texts,
    range=st.none() | st.builds(Range, start=positions, end=positions),
    language=texts,
    text=texts,
)
questions = st.builds(
    Turn, role=st.just("user"), text=texts, context=st.lists(excerpts, max_size=2)
)
answers = st.builds(
    Turn,
    role=st.just("assistant"),
    text=texts,
    analysis=texts,
    finish=st.sampled_from(["stop", "cancelled", "error", ""]),
    model=texts,
    tokens=st.integers(0, 2**31),
)
turns = st.lists(questions | answers, max_size=6)


def thread(turns: list[Turn], system: str = "") -> Thread:
    return Thread(name="a", title="A", created=NOW, updated=NOW, system=system, turns=turns)


@given(turns, texts)
def test_whatever_is_written_is_read(turns: list[Turn], system: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ThreadStore(Path(folder))
        store.write(thread(turns, system))
        assert store.read("a") == thread(turns, system)
        (summary,) = store.listing().threads
        assert (summary.title, summary.turns) == ("A", len(turns))


@given(turns, st.data())
def test_a_file_that_was_hit_is_read_or_reported(turns: list[Turn], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ThreadStore(Path(folder))
        store.write(thread(turns))
        file = Path(folder) / "a.json"
        content = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        file.write_bytes(content)
        said = ""
        try:
            store.read("a")
        except ThreadError as error:
            said = str(error)
        assert "\n" not in said
        listing = store.listing()
        assert len(listing.threads) + len(listing.problems) == 1
        assert file.read_bytes() == content


@given(texts | st.sampled_from(["..", "a/b", "CON", "last", "."]))
def test_a_name_is_a_file_in_the_folder_or_refused(name: str) -> None:
    try:
        good = thread_names.checked(name)
    except ThreadNameError:
        return
    path = Path("/threads") / f"{good}.json"
    assert path.parent == Path("/threads")
    assert len(f".{good}.json.part".encode()) <= 255
    assert thread_names.checked(good) == good


@given(texts, st.integers(1, 999))
def test_every_question_has_a_title_and_a_name(question: str, number: int) -> None:
    title = thread_names.title_of(question)
    assert 0 < len(title) <= thread_names.MAX_TITLE
    assert "\n" not in title
    name = thread_names.begun_on(NOW.date(), title, number)
    assert thread_names.checked(name) == name


@given(turns, questions)
def test_a_longer_thread_begins_with_the_shorter_ones_messages(
    turns: list[Turn], more: Turn
) -> None:
    before = conversation.messages("S", turns)
    assert conversation.messages("S", [*turns, more])[: len(before)] == before


@settings(max_examples=200)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.data())
def test_shortening_leaves_out_a_third_in_whole_pairs(
    lengths: list[int], data: st.DataObject
) -> None:
    roles = [data.draw(st.sampled_from(["user", "assistant"])) for _ in lengths]
    turns = [Turn(role=r, text="x" * n) for r, n in zip(roles, lengths, strict=True)]  # type: ignore[arg-type]
    turns.append(Turn(role="user", text="last"))
    first, tries = 0, 0
    while (following := conversation.shortened(turns, first)) != first:
        assert first < following < len(turns)
        assert turns[following].role == "user"
        kept = sum(lengths[following:])
        assert kept <= sum(lengths[first:]) * conversation.KEPT
        first, tries = following, tries + 1
    assert first == len(turns) - 1
    assert tries <= 20


@given(texts, texts)
def test_a_fence_holds_its_text(before: str, after: str) -> None:
    text = f"{before}```{after}`"
    fence = conversation.fence_around(text)
    assert len(fence) > 3
    assert fence not in text
