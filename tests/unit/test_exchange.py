"""One question to a thread: what is sent, what is kept, and what a bad day leaves."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingle import conversation
from ingle.codec import MAX_MESSAGE_BYTES
from ingle.errors import (
    IngleError,
    InvalidRequest,
    ThreadBusy,
    ThreadError,
    ThreadNameError,
    WorkerDied,
)
from ingle.exchange import Exchange, exchange
from ingle.messages import Delta, Done, FinishReason, Message, Started, Usage
from ingle.threads import Excerpt, Position, Range, ThreadStore, Turn

START = datetime.fromisoformat("2026-11-24T23:30:00-08:00")


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> ThreadStore:
    return ThreadStore(tmp_path / "threads")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def question(text: str = "Why?", *context: Excerpt) -> Turn:
    return Turn(role="user", text=text, context=list(context))


def said(text: str, channel: str = "final") -> Delta:
    return Delta(id=1, channel=channel, text=text)  # type: ignore[arg-type]


def done(finish: FinishReason = "stop") -> Done:
    return Done(id=1, finish=finish, model="m", usage=Usage(completion_tokens=3))


def answered(
    store: ThreadStore,
    name: str | None,
    text: str = "Why?",
    *events: Message | BaseException,
    create: bool = False,
    system: str | None = None,
    clock: Callable[[], datetime] = lambda: START,
) -> Exchange:
    with exchange(
        store, name, question(text), create=create, system=system, clock=clock
    ) as going_on:
        for event in events or (said("Because."), done()):
            if isinstance(event, BaseException):
                raise event
            going_on.add(event)
    return going_on


# --- what is kept ------------------------------------------------------------------------------


def test_a_thread_is_begun_and_continued(store: ThreadStore) -> None:
    events = [Started(id=1, model="m"), said("Hm", "analysis"), said("B"), done()]
    first = answered(store, None, "Why?", *events)
    assert (first.name, first.title, first.turn) == ("2026-11-24-why", "Why?", 1)
    second = answered(store, first.name, "And?")
    assert second.turn == 3
    thread = store.read(first.name)
    assert [turn.text for turn in thread.turns] == ["Why?", "B", "And?", "Because."]
    assert thread.turns[1] == Turn(
        role="assistant", text="B", analysis="Hm", finish="stop", model="m", tokens=3
    )
    assert thread.title == "Why?"
    assert first.note == second.note == ""


def test_threads_of_one_title_have_names_of_their_own(store: ThreadStore) -> None:
    (store.folder).mkdir(parents=True)
    (store.folder / "2026-11-24-why-2.json").write_text("damaged")
    with store.hold("2026-11-24-why"):
        names = [answered(store, None).name for _ in range(2)]
    assert names == ["2026-11-24-why-3", "2026-11-24-why-4"]
    assert (store.folder / "2026-11-24-why-2.json").read_text() == "damaged"


def test_a_name_of_the_users_own(store: ThreadStore) -> None:
    with pytest.raises(ThreadError, match="there is no thread 'mine'"):
        answered(store, "mine")
    assert list(store.folder.iterdir()) == []
    assert answered(store, "mine", create=True).name == "mine"
    assert answered(store, "mine", create=True).turn == 3
    for name in ("../mine", "last"):
        with pytest.raises(ThreadNameError):
            answered(store, name, create=True)


def test_a_damaged_thread_is_not_continued(store: ThreadStore) -> None:
    answered(store, "mine", create=True)
    file = store.folder / "mine.json"
    file.write_bytes(file.read_bytes()[:-5])
    before = file.read_bytes()
    with pytest.raises(ThreadError, match="damaged"):
        answered(store, "mine", create=True)
    assert file.read_bytes() == before


def test_instructions_stay_until_there_are_others(store: ThreadStore) -> None:
    answered(store, "mine", create=True, system="Be brief.")
    with exchange(store, "mine", question()) as going_on:
        assert going_on.fields()["messages"][0].content == "Be brief."
    answered(store, "mine", system="Be long.")
    assert store.read("mine").system == "Be long."
    for name in ("mine", "other"):
        with exchange(store, name, question(), create=True, first_system="Hello.") as going_on:
            first = going_on.fields()["messages"][0].content
        assert first == ("Be long." if name == "mine" else "Hello.")


@pytest.mark.parametrize(
    ("error", "finish"),
    [
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (BrokenPipeError(), "cancelled"),
        (WorkerDied("x"), "error"),
    ],
)
def test_what_was_said_before_it_broke_off_is_kept(
    store: ThreadStore, error: BaseException, finish: str
) -> None:
    with pytest.raises(type(error)):
        answered(store, "a", "Why?", said("Beca"), said("use"), error, create=True)
    assert store.read("a").turns[1] == Turn(role="assistant", text="Because", finish=finish)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WorkerDied("x")])
def test_a_question_without_a_word_of_an_answer_is_not_kept(
    store: ThreadStore, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        answered(store, "new", "Why?", Started(id=1), error, create=True)
    assert list(store.folder.iterdir()) == []
    answered(store, "old", create=True)
    with pytest.raises(type(error)):
        answered(store, "old", "More?", error)
    answered(store, "old", "Once more?", Started(id=1), done("cancelled"))
    assert len(store.read("old").turns) == 2


def test_an_empty_answer_is_one(store: ThreadStore) -> None:
    answered(store, "a", "Why?", done(), create=True)
    assert [turn.text for turn in store.read("a").turns] == ["Why?", ""]
    with exchange(store, "a", question("And?")) as going_on:
        assert [turn.content for turn in going_on.fields()["messages"]] == ["Why?", "And?"]


def test_a_killed_process_leaves_what_was_saved_on_the_way(
    store: ThreadStore, clock: Clock
) -> None:
    with exchange(store, "a", question(), create=True, clock=clock) as going_on:
        going_on.add(Started(id=1, model="m"))
        assert not store.exists("a")
        going_on.add(said("one "))
        assert [turn.text for turn in store.read("a").turns] == ["Why?", "one "]
        going_on.add(said("two "))
        assert store.read("a").turns[1].text == "one "
        clock.now += timedelta(seconds=5)
        going_on.add(said("three"))
        left = store.read("a")
        going_on.add(done())
    assert left.turns[1] == Turn(role="assistant", text="one two three", model="m", finish="")
    store.write(left)
    assert answered(store, "a").turn == 3


def test_one_question_at_a_time(store: ThreadStore) -> None:
    answered(store, "a", create=True)
    with exchange(store, "a", question()) as going_on:
        with pytest.raises(ThreadBusy):
            answered(ThreadStore(store.folder), "a")
        answered(store, "b", create=True)
        going_on.add(said("x"))
        going_on.add(done())
    assert answered(store, "a").turn == 5


# --- bad disks ---------------------------------------------------------------------------------


def test_a_full_disk_is_a_note(store: ThreadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("ingle.threads.os.fsync", full)
        assert "can't be saved" in (note := answered(store, None).note)
        assert "no space left" in note
        assert "\n" not in note
    assert list(store.folder.iterdir()) == []


def test_a_disk_that_has_room_again_in_time(
    store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with exchange(store, "a", question(), create=True) as going_on:
        with monkeypatch.context() as patched:
            patched.setattr("ingle.threads.os.fsync", full)
            going_on.add(said("x"))
        assert going_on.note
        going_on.add(done())
    assert going_on.note == ""
    assert len(store.read("a").turns) == 2


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that is mounted so; modes mean nothing to an administrator."""
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, flags, mode)

    monkeypatch.setattr("ingle.threads.os.open", refuse)


def test_a_read_only_folder_is_a_note(store: ThreadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(store, "old", create=True)
    before = (store.folder / "old.json").read_bytes()
    read_only(monkeypatch)
    for name, turns in ((None, 1), ("new", 1), ("old", 3)):
        with exchange(store, name, question("More?"), create=True) as going_on:
            assert len(going_on.fields()["messages"]) == turns
            going_on.add(said("x"))
            going_on.add(done())
        assert "read-only file system" in going_on.note
    assert store.names() == ["old"]
    assert (store.folder / "old.json").read_bytes() == before


def test_a_thread_that_can_not_be_locked_is_not_saved(
    store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(handle: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("ingle.threads.lock", no_locks)
    going_on = answered(store, "a", create=True)
    assert "no locks available" in going_on.note
    assert not store.exists("a")


# --- what is sent ------------------------------------------------------------------------------

EXCERPT = Excerpt(
    uri="file:///home/me/project/src/a%20b.py",
    range=Range(start=Position(line=2, character=4), end=Position(line=9, character=0)),
    language="python",
    text="x = '```'\n",
)


def test_a_question_reads_the_same_at_every_turn(store: ThreadStore) -> None:
    prompts = []
    for number in range(3):
        with exchange(store, "a", question(f"Q{number}", EXCERPT), create=True) as going_on:
            prompts.append(going_on.fields()["messages"])
            assert going_on.fields()["conversation"] == "a"
            going_on.add(said("thought", "analysis"))
            going_on.add(said(f"A{number}"))
            going_on.add(done())
    assert prompts[2][:3] == prompts[1]
    assert prompts[1][:1] == prompts[0]
    assert prompts[0][0].content == (
        "src/a b.py, lines 3 to 9:\n\n````python\nx = '```'\n````\n\nQ0"
    )
    assert [turn.content for turn in prompts[2][1::2]] == ["A0", "A1"]
    assert not any(turn.analysis for turn in prompts[2])


@pytest.mark.parametrize(
    ("excerpt", "text"),
    [
        (Excerpt(uri="untitled:Untitled-1", text="x"), "Untitled-1:\n\n```\nx\n```\n\nQ"),
        (Excerpt(uri="file:///a.py", text="~~~"), "a.py:\n\n```\n~~~\n```\n\nQ"),
        (Excerpt(uri="http://[bad", text=""), ":\n\n```\n\n```\n\nQ"),
        (
            Excerpt(
                uri="file:///a",
                range=Range(start=Position(line=0, character=0), end=Position(line=0, character=1)),
                text="x",
            ),
            "a, line 1:\n\n```\nx\n```\n\nQ",
        ),
    ],
)
def test_excerpts(excerpt: Excerpt, text: str) -> None:
    assert conversation.question_text(question("Q", excerpt)) == text


def a_long_thread(store: ThreadStore, pairs: int, characters: int = 100) -> None:
    for number in range(pairs):
        answered(store, "a", f"Q{number} " + "x" * characters, create=True)


def test_the_oldest_turns_are_left_out_and_stay_out(store: ThreadStore) -> None:
    a_long_thread(store, 9)
    with exchange(store, "a", question("Q9")) as going_on:
        assert len(going_on.fields()["messages"]) == 19
        assert going_on.shorten()
        kept = going_on.fields()["messages"]
        assert kept[0].content.startswith("Q3 ")
        assert kept[-1].content == "Q9"
        going_on.add(said("x"))
        going_on.add(done())
    assert "its oldest 6 turns are left out" in going_on.note
    assert len(store.read("a").turns) == 20
    with exchange(store, "a", question("Q10")) as going_on:
        assert going_on.fields()["messages"][: len(kept)] == kept
        assert going_on.note == ""


def test_leaving_out_comes_to_an_end(store: ThreadStore) -> None:
    a_long_thread(store, 50)
    with exchange(store, "a", question("Q")) as going_on:
        tries = 0
        while going_on.shorten():
            tries += 1
            assert going_on.fields()["messages"][0].role == "user"
        assert 3 <= tries <= 12
        assert [turn.content for turn in going_on.fields()["messages"]] == ["Q"]


def test_nothing_is_left_out_once_the_answer_has_begun(store: ThreadStore) -> None:
    a_long_thread(store, 3)
    with exchange(store, "a", question("Q")) as going_on:
        going_on.add(said("x"))
        assert not going_on.shorten()
        going_on.add(done())
    assert going_on.note == ""


def test_an_answer_that_was_cut_makes_room_for_the_next(store: ThreadStore) -> None:
    def cut(prompt: int, answer: int) -> Done:
        return Done(
            id=1, finish="length", usage=Usage(prompt_tokens=prompt, completion_tokens=answer)
        )

    def note(done: Done, max_tokens: int | None = None) -> str:
        with exchange(store, "a", question(), max_tokens=max_tokens) as going_on:
            going_on.add(said("x" * 100))
            going_on.add(done)
        return going_on.note

    a_long_thread(store, 9)
    # Long by itself; as long as was asked for.
    assert note(cut(500, 2048)) == ""
    assert note(cut(5000, 100), max_tokens=100) == ""
    assert store.read("a").first == 0
    said_so = note(cut(5000, 100), max_tokens=200)
    assert "so the answer was cut: its oldest 8 turns are left out from now on" in said_so
    assert store.read("a").first == 8


def test_what_no_message_can_hold_is_left_out_before_it_is_sent(store: ThreadStore) -> None:
    megabyte = 2**20
    a_long_thread(store, 9, megabyte)
    with exchange(store, "a", question("Q")) as going_on:
        sent = sum(len(turn.content) for turn in going_on.fields()["messages"])
        assert 3 * megabyte < sent < MAX_MESSAGE_BYTES
        assert "left out" in going_on.note
    with (
        pytest.raises(InvalidRequest, match="too long: send less"),
        exchange(store, "a", question("é" * (MAX_MESSAGE_BYTES // 2))) as going_on,
    ):
        going_on.fields()


def test_errors_are_one_line(store: ThreadStore) -> None:
    for name in ("no", "a/b"):
        with pytest.raises(IngleError) as caught:
            answered(store, name)
        assert "\n" not in str(caught.value)
