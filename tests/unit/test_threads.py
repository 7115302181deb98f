"""The files of chat threads: names, what is written, what is locked, what is reported."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingle import thread_names
from ingle.errors import ThreadBusy, ThreadError, ThreadNameError
from ingle.threads import Excerpt, Position, Range, Thread, ThreadStore, Turn
from support.waiting import wait_until

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
HERE = Range(start=Position(line=1, character=0), end=Position(line=3, character=0))
TURNS = [
    Turn(
        role="user",
        text="Why is this slow?",
        context=[Excerpt(uri="file:///a.py", range=HERE, language="python", text="x = 1\n")],
    ),
    Turn(role="assistant", text="Because 🐌.", analysis="Hm.", finish="stop", tokens=7),
]


@pytest.fixture
def store(tmp_path: Path) -> ThreadStore:
    return ThreadStore(tmp_path / "data" / "threads")


def a_thread(name: str = "why", turns: list[Turn] = TURNS, **fields: Any) -> Thread:
    values: dict[str, Any] = {"title": "Why is this slow?", "created": NOW, "updated": NOW}
    return Thread(name=name, turns=turns, **values | fields)


def files(store: ThreadStore) -> list[Path]:
    return list(store.folder.iterdir())


# --- files -------------------------------------------------------------------------------------


def test_what_is_written_is_read(store: ThreadStore) -> None:
    thread = a_thread(system="Be brief.", first=1)
    store.write(thread)
    assert store.read("why") == thread
    assert store.names() == ["why"]


def test_the_file_is_plain_json(store: ThreadStore) -> None:
    store.write(a_thread())
    document = json.loads((store.folder / "why.json").read_text(encoding="utf-8"))
    assert document["title"] == "Why is this slow?"
    assert document["updated"] == "2026-11-24T18:00:00Z"
    assert [turn["role"] for turn in document["turns"]] == ["user", "assistant"]
    assert document["turns"][0]["context"][0]["text"] == "x = 1\n"
    assert "analysis" not in document["turns"][0]


def test_a_thread_without_turns(store: ThreadStore) -> None:
    store.write(a_thread(turns=[]))
    assert store.read("why").turns == []
    assert store.listing().threads[0].turns == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_it_is_the_users_alone(store: ThreadStore) -> None:
    store.folder.mkdir(parents=True, mode=0o755)
    before = os.umask(0)
    try:
        with store.hold("why"):
            store.write(a_thread())
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()
            }
    finally:
        os.umask(before)
    assert modes == {"why.json": 0o600, ".why.lock": 0o600}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_fields_of_a_newer_version_are_tolerated(store: ThreadStore) -> None:
    store.write(a_thread())
    file = store.folder / "why.json"
    document = json.loads(file.read_text())
    document |= {"pinned": True}
    document["turns"][1] |= {"rating": 5}
    # Formatted by another hand, too.
    file.write_text(json.dumps(document, indent=2))
    assert store.read("why") == a_thread()
    assert store.listing().threads[0].turns == 2


def test_a_file_of_a_newer_form_is_not_read(store: ThreadStore) -> None:
    store.write(a_thread())
    file = store.folder / "why.json"
    newer = file.read_bytes().replace(b'"format":1', b'"format":2')
    for data in (newer, b'{"format": 2, "turns": {}}', b'{"format": 2,\n"title": 5}'):
        file.write_bytes(data)
        with pytest.raises(ThreadError, match="newer ingle: upgrade"):
            store.read("why")
        assert "newer ingle" in store.listing().problems[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-10],
        lambda data: b"\0" * len(data),
        lambda data: data.replace(b"Because", b"\xff\xfe"),
        lambda data: data.replace(b'"user"', b'"God"'),
        lambda data: data.replace(b'"2026', b'"year 2026', 1),
        lambda data: b"[1, 2]",
        lambda data: b"[" * 100_000,
        lambda data: b'{"future":' + b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_reported_in_a_line_and_stays(
    store: ThreadStore, damage: Callable[[bytes], bytes]
) -> None:
    store.write(a_thread())
    store.write(a_thread("good"))
    file = store.folder / "why.json"
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    with pytest.raises(ThreadError, match=r"why.json is damaged .*ingle threads rm why") as caught:
        store.read("why")
    assert "\n" not in str(caught.value)
    assert "Because" not in str(caught.value)
    listing = store.listing()
    assert "good" in [thread.name for thread in listing.threads]
    assert len(listing.threads) + len(listing.problems) == 2
    assert store.exists("why")
    assert file.read_bytes() == damaged
    store.delete("why")
    assert store.names() == ["good"]


def test_what_is_no_thread_is_let_be(store: ThreadStore) -> None:
    store.write(a_thread())
    for name in ("notes.txt", ".hidden.json", ".why.json.part", "a b.json"):
        (store.folder / name).write_text("x")
    (store.folder / "folder.json").mkdir()
    listing = store.listing()
    assert [thread.name for thread in listing.threads] == ["why"]
    assert len(listing.problems) == 2
    assert any("'a b' can't be a thread's name" in line for line in listing.problems)
    assert any("folder" in line for line in listing.problems)


def test_no_folder_is_no_threads(store: ThreadStore) -> None:
    assert store.listing().threads == []
    assert store.newest() is None
    with pytest.raises(ThreadError, match="there is no thread 'why'"):
        store.read("why")
    with pytest.raises(ThreadError, match="there is no thread 'why'"):
        store.delete("why")
    assert not store.folder.exists()


def test_the_newest_comes_first(store: ThreadStore) -> None:
    for number, name in enumerate(["b", "c", "a"]):
        store.write(a_thread(name, updated=NOW + timedelta(milliseconds=number)))
    assert [thread.name for thread in store.listing().threads] == ["a", "c", "b"]
    assert store.newest() == "a"


def test_a_thousand_threads_are_listed_at_once(store: ThreadStore) -> None:
    long = [Turn(role="user", text="word " * 2000), Turn(role="assistant", text="word " * 2000)]
    store.write(a_thread("one", turns=long * 50))
    data = (store.folder / "one.json").read_bytes()
    assert len(data) > 1_000_000
    for number in range(1000):
        (store.folder / f"t{number}.json").write_bytes(data[: 20_000 if number else None])
    begun = time.perf_counter()
    listing = store.listing()
    assert time.perf_counter() - begun < 1.0
    assert len(listing.threads) == 1001
    assert {thread.turns for thread in listing.threads} == {100}


def test_turns_of_a_megabyte(store: ThreadStore) -> None:
    text = 'naïve 日本語 😀 \u2028 \0 \\ " </script>\r\n' * 30_000
    thread = a_thread(turns=[Turn(role="user", text=text), Turn(role="assistant", text=text)])
    store.write(thread)
    assert store.read("why") == thread


def test_a_disk_that_is_full_costs_nothing_that_was_saved(
    store: ThreadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(a_thread())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ingle.threads.os.fsync", full)
    with pytest.raises(ThreadError, match=r"'why' can't be saved in .*: no space left on device"):
        store.write(a_thread(turns=TURNS * 2))
    assert store.read("why") == a_thread()
    assert [path.name for path in files(store)] == ["why.json"]


def test_text_that_is_no_unicode_is_refused_in_a_line(store: ThreadStore) -> None:
    with pytest.raises(ThreadError, match="not valid Unicode"):
        store.write(a_thread(turns=[Turn(role="user", text="\ud800")]))
    assert store.names() == []


def test_a_folder_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "threads").write_text("")
    store = ThreadStore(tmp_path / "threads")
    with pytest.raises(ThreadError):
        store.listing()
    with pytest.raises(ThreadError):
        store.write(a_thread())
    with pytest.raises(ThreadError), store.hold("why"):
        pass


# --- locks -------------------------------------------------------------------------------------


def test_one_holds_a_thread(store: ThreadStore) -> None:
    other = ThreadStore(store.folder)
    with store.hold("why"):
        with pytest.raises(ThreadBusy, match="'why' answers another question"), other.hold("why"):
            pass
        with other.hold("else"):
            pass
    with other.hold("why"):
        pass


def test_a_thread_that_answers_is_not_deleted(store: ThreadStore) -> None:
    with store.hold("why"):
        store.write(a_thread())
        with pytest.raises(ThreadBusy):
            ThreadStore(store.folder).delete("why")
    assert store.names() == ["why"]
    store.delete("why")
    # Its name has its title, so the lock goes, too.
    assert files(store) == []


def test_a_lock_on_a_deleted_file_is_no_lock(store: ThreadStore) -> None:
    """Many take and drop the lock of a thread that comes and goes: one has it at any time."""
    holders: list[int] = []
    most = [0]
    failures: list[BaseException] = []
    turns = [0]
    guard = threading.Lock()

    def work() -> None:
        mine = ThreadStore(store.folder)
        for _ in range(300):
            try:
                with mine.hold("why"):
                    with guard:
                        holders.append(1)
                        most[0] = max(most[0], len(holders))
                        turns[0] += 1
                    with guard:
                        holders.pop()
            except ThreadBusy:
                continue
            except BaseException as error:
                failures.append(error)
                raise

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failures == []
    assert most == [1]
    assert turns[0] > 0
    assert files(store) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_the_lock_dies_with_its_owner(store: ThreadStore) -> None:
    import signal
    import subprocess

    code = (
        "import sys, time; from pathlib import Path; from ingle.threads import ThreadStore\n"
        "with ThreadStore(Path(sys.argv[1])).hold('why'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder)], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(ThreadBusy), store.hold("why"):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait(20)

    def free() -> bool:
        try:
            with store.hold("why"):
                return True
        except ThreadBusy:
            return False

    wait_until(free, what="the lock is free")


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a", "why-is-it", "2026-11-24-x", "v1.2_b", "Ärger", "日本語", "हिन्दी"]
)
def test_names(name: str) -> None:
    assert thread_names.checked(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "C:x",
        ".hidden",
        "-x",
        "a\0b",
        "a\nb",
        "a b",
        "a.",
        "con",
        "NUL.txt",
        "last",
        "a" * 101,
        "𝔘" * 100,
        "\ud800",
        "x\u202egnp",
    ],
)
def test_what_can_not_be_a_name(store: ThreadStore, name: str) -> None:
    with pytest.raises(ThreadNameError) as caught:
        thread_names.checked(name)
    assert "\n" not in str(caught.value)
    for use in (store.read, store.delete, store.exists):
        with pytest.raises(ThreadNameError):
            use(name)
    with pytest.raises(ThreadNameError), store.hold(name):
        pass


def test_the_same_letters_are_the_same_name(store: ThreadStore) -> None:
    store.write(a_thread("e\u0301"))
    assert store.names() == ["é"]
    assert store.read("é").turns == TURNS


@pytest.mark.parametrize(
    ("question", "title", "slug"),
    [
        ("Why is this slow?", "Why is this slow?", "why-is-this-slow"),
        ("\n\n  Fix   it:\n\ncode", "Fix it:", "fix-it"),
        ("```python\nx = 1\n```", "x = 1", "x-1"),
        ("???", "Chat", "chat"),
        ("../../etc/passwd", "../../etc/passwd", "etc-passwd"),
        ("CON", "CON", "chat"),
        ("Почему так?", "Почему так?", "почему-так"),
        ("x" * 200, "x" * 79 + "…", "x" * 40),
        ("word " * 30, "word " * 15 + "word…", "word-word-word-word-word-word-word-word"),
    ],
)
def test_titles_and_their_names(question: str, title: str, slug: str) -> None:
    assert thread_names.title_of(question) == title
    assert thread_names.slug(title) == slug
    assert thread_names.checked(thread_names.begun_on(NOW.date(), title, 12))
