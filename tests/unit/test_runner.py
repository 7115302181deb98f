"""A worker's jobs: paused at any token and resumed, they say what they would have said."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ingle.messages import Chat, ChatMessage, Message
from ingled.dialects.select import choose
from ingled.engines.engine import Job, ModelSpec, Sampling
from ingled.engines.scripted import Scripted
from ingled.worker.resuming import resumed_job
from ingled.worker.runner import Runner
from ingled.worker.wire import JobDone, JobFailed, JobPaused, JobPiece, Run

SCRIPT = "One two three, four five six seven. Eight nine ten!"
TOKENS = 13


class Worker:
    """A runner on the scripted engine, stepped by the test."""

    def __init__(self, context: int = 4096, script: str = SCRIPT) -> None:
        self.said: list[Message] = []
        engine = Scripted()
        options: dict[str, str | int | float | bool | list[str]] = {
            "script": script,
            "tokens_per_second": 1e6,
            "prefill_tokens_per_second": 1e6,
        }
        spec = ModelSpec(name="s", context=context, options=options)
        able = engine.load(spec, lambda *_: None)
        dialect = choose(engine.tokenizer, able, None, Path())
        self.runner = Runner(engine, dialect, able.context, self.said.append)

    def ask(self, job: int = 1, *, report: bool = False, max_tokens: int = 100) -> None:
        request = Chat(
            id=1,
            messages=[ChatMessage(role="user", content="Count.")],
            max_tokens=max_tokens,
            conversation="c",
        )
        self.runner.run(Run(job=job, request=request, client="ab", report=report))

    def until(self, kind: type[Message], count: int = 1) -> None:
        give_up = time.monotonic() + 10
        while sum(isinstance(message, kind) for message in self.said) < count:
            assert time.monotonic() < give_up, self.said
            self.runner.step(0.01)

    @property
    def text(self) -> str:
        return "".join(message.text for message in self.said if isinstance(message, JobPiece))

    @property
    def done(self) -> JobDone:
        (found,) = (message for message in self.said if isinstance(message, JobDone))
        return found


@given(pauses=st.lists(st.integers(0, 8), max_size=6))
def test_pauses_at_any_token_change_nothing(pauses: list[int]) -> None:
    worker = Worker()
    worker.ask()
    for number, pieces in enumerate(pauses, 1):
        have = sum(isinstance(message, JobPiece) for message in worker.said)
        for _ in range(200):
            now = sum(isinstance(message, JobPiece) for message in worker.said)
            if now >= have + pieces or any(isinstance(m, JobDone) for m in worker.said):
                break
            worker.runner.step(0.01)
        if any(isinstance(message, JobDone) for message in worker.said):
            break
        worker.runner.pause(1)
        worker.runner.step(0.01)
        paused = sum(isinstance(message, JobPaused) for message in worker.said)
        if paused < number:
            # It was done first.
            break
        worker.runner.resume(1)
    worker.until(JobDone)
    assert worker.text == SCRIPT
    assert worker.done.finish == "stop"
    assert worker.done.usage.completion_tokens == TOKENS


def test_a_pause_finds_a_prefix_in_the_cache_and_is_no_part_of_the_prompt() -> None:
    worker = Worker()
    worker.ask()
    worker.until(JobPiece, 3)
    worker.runner.pause(1)
    worker.until(JobPaused)
    worker.runner.resume(1)
    worker.until(JobDone)
    plain = Worker()
    plain.ask()
    plain.until(JobDone)
    assert worker.done.usage == plain.done.usage
    (kept,) = worker.done.cached
    assert (kept.kind, kept.name) == ("conversation", "c")
    assert kept.tokens == plain.done.usage.prompt_tokens + TOKENS


def test_a_paused_job_can_be_ended() -> None:
    worker = Worker()
    worker.ask()
    worker.until(JobPiece, 2)
    worker.runner.pause(1)
    worker.until(JobPaused)
    worker.runner.halt(1)
    assert worker.done.finish == "cancelled"
    assert worker.done.usage.completion_tokens == 2
    worker.runner.resume(1)
    worker.runner.pause(1)
    worker.runner.halt(1)
    assert worker.runner._active == {}


def test_an_end_overtakes_a_pause() -> None:
    worker = Worker()
    worker.ask()
    worker.until(JobPiece, 2)
    worker.runner.pause(1)
    worker.runner.halt(1)
    worker.until(JobDone)
    assert worker.done.finish == "cancelled"
    assert not any(isinstance(message, JobPaused) for message in worker.said)


def test_the_length_counts_over_pauses() -> None:
    worker = Worker()
    worker.ask(max_tokens=5)
    worker.until(JobPiece, 3)
    worker.runner.pause(1)
    worker.until(JobPaused)
    worker.runner.resume(1)
    worker.until(JobDone)
    assert (worker.done.finish, worker.done.usage.completion_tokens) == ("length", 5)


def test_nothing_is_left_to_resume_at_the_end_of_the_length() -> None:
    worker = Worker()
    worker.ask(max_tokens=3)
    worker.until(JobPiece, 3)
    worker.runner.pause(1)
    worker.until(JobPaused)
    worker.runner.resume(1)
    assert worker.done.finish == "length"
    assert not any(isinstance(message, JobFailed) for message in worker.said)


def test_a_seed_goes_on_at_another_place_but_always_the_same() -> None:
    job = Job(id=1, prompt=[1, 2], max_tokens=10, sampling=Sampling(temperature=1.0, seed=7))
    once, again, later = (resumed_job(job, ids) for ids in ([5, 6], [5, 6], [5, 6, 7]))
    assert once == again
    assert once.prompt == [1, 2, 5, 6]
    assert (once.max_tokens, once.resumed) == (8, 2)
    assert len({7, once.sampling.seed, later.sampling.seed}) == 3
    greedy = replace(job, sampling=Sampling())
    assert resumed_job(greedy, [5]).sampling == Sampling()
    assert resumed_job(job, []) is job
