"""`ingle logs`: the end of the log, for people, followed through a rotation."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingled.cli import logs
from support.cli import Shell

LINE = {
    "time": "2026-01-02T03:04:05.678+00:00",
    "level": "info",
    "logger": "ingled.broker",
    "message": "request",
    "model": "m",
    "ms": 12,
}


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Shell:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path))
    return Shell(monkeypatch, capsys)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log" / "ingled.log"
    file.parent.mkdir()
    return file


def test_without_a_log_it_says_where_one_would_be(shell: Shell, tmp_path: Path) -> None:
    outcome = shell("logs")
    assert outcome.code == 1
    assert str(tmp_path / "log" / "ingled.log") in outcome.err


def test_lines_are_for_people_or_as_they_are(shell: Shell, log: Path) -> None:
    log.write_text(json.dumps(LINE) + "\n")
    people = "2026-01-02T03:04:05.678+00:00 INFO    broker: request model=m ms=12\n"
    assert shell("logs").out == people
    assert json.loads(shell("logs", "--json").out) == LINE


@pytest.mark.parametrize("line", ["", "not json", "[1, 2]", '"text"', "{", "{}", '{"level": 5}'])
def test_lines_of_others_do_no_harm(line: str) -> None:
    assert isinstance(logs.readable(line), str)


def test_only_the_last_lines(shell: Shell, log: Path) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert shell("logs", "-n", "2").out == "line 98\nline 99\n"
    assert shell("logs", "-n", "0").out == ""
    assert shell("logs", "-n", "1000").out.count("\n") == 100


@given(
    st.lists(st.text("ab\u00e9", max_size=9), max_size=30), st.integers(0, 40), st.integers(1, 50)
)
def test_the_tail_is_the_last_lines_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int, block: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "tail.log"
    file.write_text("".join(f"{line}\n" for line in lines) + "unfinished", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_BLOCK", block)
        found, end = logs._tail(file, count)
    assert found == (lines[-count:] if count else [])
    assert end == sum(len(line.encode()) + 1 for line in lines)


def following(file: Path, monkeypatch: pytest.MonkeyPatch, steps: Iterator[object]) -> list[str]:
    """What a follower of `file` sees while each pause makes the next step happen."""

    class Over(Exception):
        pass

    def pause(_: float) -> None:
        if next(steps, Over) is Over:
            raise Over

    monkeypatch.setattr(logs.time, "sleep", pause)
    seen: list[str] = []
    with contextlib.suppress(Over):
        seen.extend(logs._new_lines(file, file.stat().st_size if file.exists() else 0))
    return seen


def append(file: Path, text: str) -> None:
    with file.open("a") as stream:
        stream.write(text)


def test_following_survives_a_rotation(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("old\n")

    def steps() -> Iterator[object]:
        append(log, "one\ntw")
        yield
        append(log, "o\n")
        yield
        append(log, "last of the first\n")
        log.rename(log.with_suffix(".log.1"))
        yield
        log.write_text("first of the second\n")
        yield
        append(log, "more\n")
        yield
        yield

    assert following(log, monkeypatch, steps()) == [
        "one",
        "two",
        "last of the first",
        "first of the second",
        "more",
    ]


def test_following_starts_before_there_is_a_log(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps() -> Iterator[object]:
        yield
        log.write_text("begin\n")
        yield
        yield

    assert following(log, monkeypatch, steps()) == ["begin"]


def test_following_survives_a_truncation(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("a long first line\n")

    def steps() -> Iterator[object]:
        log.write_text("new\n")
        yield from itertools.repeat(None, 3)

    assert following(log, monkeypatch, steps()) == ["new"]
