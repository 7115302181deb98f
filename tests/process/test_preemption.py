"""Preemption and riding along through a real daemon, on the scripted engine."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from ingle.blocking_client import Call, Client
from ingle.errors import Busy, WorkerDied
from ingle.messages import Chat, ChatMessage, Delta, Done, Infill, Started
from support.daemons import DaemonUnderTest
from support.waiting import wait_until

MakeDaemon = Callable[..., DaemonUnderTest]
WORDS = [f"w{number:03}" for number in range(200)]
SCRIPT = " ".join(WORDS)


@pytest.fixture
def one_slot(make_daemon: MakeDaemon) -> DaemonUnderTest:
    return make_daemon(
        model={"slots": 1},
        scripted={"script": SCRIPT, "tokens_per_second": 100.0},
        inline={"max_tokens": 8},
    ).start()


def chat(client: Client, **fields: Any) -> Call:
    return client.call(Chat, messages=[ChatMessage(role="user", content="go on")], **fields)


def text(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def first_delta(call: Call) -> list[Any]:
    """Events of a call up to its first text."""
    events = []
    for event in call:
        events.append(event)
        if isinstance(event, Delta):
            return events
    raise AssertionError("no text came")


def test_typing_takes_the_only_slot_and_the_answer_is_whole(one_slot: DaemonUnderTest) -> None:
    with one_slot.client("chat") as talker, one_slot.client("editor") as editor:
        call = chat(talker)
        events = first_delta(call)
        waits = []
        for number in range(5):
            began = time.monotonic()
            done = list(editor.call(Infill, prefix=f"x{number} = ", document="d"))
            waits.append(time.monotonic() - began)
            assert isinstance(done[-1], Done)
        events += list(call)
        report = talker.status()
    assert text(events) == SCRIPT
    done = events[-1]
    assert isinstance(done, Done)
    assert done.finish == "stop"
    assert sum(isinstance(event, Started) for event in events) == 1
    assert done.timings is not None
    assert done.timings.paused_ms > 0
    assert report.totals.preemptions == 5
    # The whole answer takes four seconds; a completion must not have waited for it.
    assert max(waits) < 2


def test_a_paused_answer_can_be_cancelled_and_says_so(one_slot: DaemonUnderTest) -> None:
    one_slot.configure(inline={"max_tokens": 1000})
    with one_slot.client("chat") as talker, one_slot.client("editor") as editor:
        call = chat(talker)
        first_delta(call)
        typing = editor.call(
            Infill, prefix="x = ", document="d", deadline_ms=30_000, max_tokens=150
        )
        first_delta(typing)
        wait_until(
            lambda: any(item.state == "paused" for item in talker.status().active),
            what="a paused answer",
        )
        call.cancel()
        last = list(call)[-1]
        assert isinstance(last, Done)
        assert last.finish == "cancelled"
        assert last.usage is not None
        assert last.usage.completion_tokens > 0
        assert isinstance(list(typing)[-1], Done)


def test_a_worker_that_dies_takes_the_paused_with_it(one_slot: DaemonUnderTest) -> None:
    with one_slot.client("chat") as talker, one_slot.client("editor") as editor:
        call = chat(talker)
        first_delta(call)
        typing = editor.call(Infill, prefix="x = ", document="d", max_tokens=150)
        first_delta(typing)
        (model,) = talker.status().models
        assert model.pid is not None
        os.kill(model.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            list(call)
        with pytest.raises(WorkerDied):
            list(typing)


# --- riding along ---------------------------------------------------------------------------------


@pytest.fixture
def slow(make_daemon: MakeDaemon) -> DaemonUnderTest:
    return make_daemon(
        scripted={"script": "alpha beta gamma delta epsilon", "tokens_per_second": 5.0}
    ).start()


def test_who_types_what_is_being_generated_gets_the_rest(slow: DaemonUnderTest) -> None:
    with slow.client("editor") as editor:
        older = editor.call(Infill, prefix="x = ", document="d", deadline_ms=30_000)
        events = first_delta(older)
        typed = text(events)[:3]
        assert typed == "alp"
        newer = editor.call(Infill, prefix=f"x = {typed}", document="d", deadline_ms=30_000)
        ended = list(older)[-1]
        assert isinstance(ended, Done)
        assert (ended.finish, ended.usage) == ("superseded", None)
        rest = list(newer)
        assert "alp" + text(rest) == "alpha beta gamma delta epsilon"
        # And on beyond what is generated so far: nobody can know yet, so it goes on.
        third = editor.call(Infill, prefix="x = ", document="d", deadline_ms=30_000)
        first_delta(third)
        fourth = editor.call(Infill, prefix="x = alpha beta gam", document="d", deadline_ms=30_000)
        assert text(list(fourth)) == "ma delta epsilon"
        totals = editor.status().totals
    assert totals.rides == 2
    assert totals.ridden_tokens >= 2
    assert totals.wasted_tokens == 0


def test_who_types_something_else_is_started_anew(slow: DaemonUnderTest) -> None:
    with slow.client("editor") as editor:
        older = editor.call(Infill, prefix="x = ", document="d", deadline_ms=30_000)
        first_delta(older)
        # It agrees so far; `alpha beta` will be generated and then be another text.
        newer = editor.call(Infill, prefix="x = alpha bets", document="d", deadline_ms=30_000)
        events = list(newer)
        assert text(events) == "alpha beta gamma delta epsilon"
        assert isinstance(events[-1], Done)
        other = editor.call(Infill, prefix="y = ", document="d", deadline_ms=30_000)
        first_delta(other)
        at_once = editor.call(Infill, prefix="y = Z", document="d", deadline_ms=30_000)
        assert text(list(at_once)) == "alpha beta gamma delta epsilon"
        totals = editor.status().totals
        assert totals.rides == 1
        wait_until(lambda: not editor.status().active, what="nothing runs")
    assert totals.wasted_tokens > 0


def test_more_typed_than_was_ever_generated_is_another_question(slow: DaemonUnderTest) -> None:
    with slow.client("editor") as editor:
        older = editor.call(Infill, prefix="x = ", document="d", max_tokens=2, deadline_ms=30_000)
        first_delta(older)
        newer = editor.call(
            Infill, prefix="x = alpha beta gamma", document="d", max_tokens=2, deadline_ms=30_000
        )
        assert text(list(newer)) == "alpha beta"


def test_a_guess_is_computed_when_nothing_else_is_and_becomes_the_answer(
    slow: DaemonUnderTest,
) -> None:
    with slow.client("editor") as editor, slow.client("chat") as talker:
        guess = editor.call(
            Infill, prefix="x = ", document="d", deadline_ms=30_000, speculative=True
        )
        first_delta(guess)
        wanted = editor.call(Infill, prefix="x = alp", document="d", deadline_ms=30_000)
        events = list(wanted)
        assert text(events) == "ha beta gamma delta epsilon"
        # Whoever looks at the first words knows how sure they are, too.
        deltas = [event for event in events if isinstance(event, Delta)]
        assert all(delta.confidence is not None for delta in deltas)
        assert list(guess)[-1].finish == "superseded"  # type: ignore[attr-defined]
        talking = chat(talker)
        first_delta(talking)
        with pytest.raises(Busy):
            list(editor.call(Infill, prefix="y = ", document="d", speculative=True))
        list(talking)
        guess = editor.call(Infill, prefix="z = ", document="d", speculative=True)
        first_delta(guess)
        assert isinstance(first_delta(chat(talker))[-1], Delta)
        assert list(guess)[-1].finish == "cancelled"  # type: ignore[attr-defined]


# --- metrics --------------------------------------------------------------------------------------


def test_what_is_counted_can_be_scraped(one_slot: DaemonUnderTest) -> None:
    with one_slot.client("chat") as talker, one_slot.client("editor") as editor:
        call = chat(talker)
        first_delta(call)
        list(editor.call(Infill, prefix="x = ", document="file:///a.py"))
        list(call)
        exposition = talker.metrics()
        (model,) = talker.status().models
    for line in (
        r'ingle_requests_total\{class="interactive",ending="stop"\} 1.0',
        r'ingle_requests_total\{class="inline",ending="length"\} 1.0',
        r"ingle_preemptions_total 1.0",
        r'ingle_paused_seconds_count\{class="interactive"\} 1.0',
        r'ingle_tokens_total\{kind="completion"\} \d+',
        r'ingle_slots\{engine="scripted",model="scripted"\} 1.0',
        r'ingle_queue_seconds_bucket\{class="inline",le="\+Inf"\} 1.0',
    ):
        assert re.search(f"^{line}", exposition, re.MULTILINE), line
    assert [(kept.kind, kept.name) for kept in model.cached] == [("document", "file:///a.py")]
