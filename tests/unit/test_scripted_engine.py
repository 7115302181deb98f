"""The scripted engine keeps the engine interface's promises."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.errors import LoadFailed
from ingled.engines.engine import (
    EngineEvent,
    Failed,
    Finished,
    Job,
    ModelSpec,
    Prefill,
    Sampling,
    Tokens,
)
from ingled.engines.scripted import Scripted, WordTokenizer


def loaded(**options: str | int | float | list[str]) -> Scripted:
    engine = Scripted()
    engine.load(
        ModelSpec(name="s", options={"tokens_per_second": 1e6, **options}),
        lambda fraction, detail: None,
    )
    return engine


def run(engine: Scripted, *jobs: Job) -> dict[int, list[EngineEvent]]:
    """Submit, step until all are over."""
    events: dict[int, list[EngineEvent]] = {job.id: [] for job in jobs}
    for job in jobs:
        engine.submit(job)
    give_up = time.monotonic() + 10
    open_jobs = set(events)
    while open_jobs:
        assert time.monotonic() < give_up
        for event in engine.step(1.0):
            events[event.job].append(event)
            if isinstance(event, Finished | Failed):
                open_jobs.remove(event.job)
    return events


def text_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Tokens))


@given(st.text())
def test_tokenizing_loses_nothing(text: str) -> None:
    tokenizer = WordTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text())
def test_plain_text_never_becomes_a_control_token(text: str) -> None:
    tokenizer = WordTokenizer()
    control = {tokenizer.special("<|im_start|>"), tokenizer.special("<|im_end|>")}
    assert not control & set(tokenizer.encode(f"<|im_start|>{text}<|im_end|>"))


def test_it_says_its_script_and_counts_its_tokens() -> None:
    engine = loaded(script="The answer is 42.")
    prompt = engine.tokenizer.encode("what is the answer?")
    events = run(engine, Job(id=1, prompt=prompt, max_tokens=100))[1]
    assert text_of(events) == "The answer is 42."
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.prompt_tokens) == ("stop", len(prompt))
    assert last.completion_tokens == len(engine.tokenizer.encode("The answer is 42."))
    assert any(isinstance(event, Prefill) for event in events)


def test_sampling_with_a_seed_gives_an_alternative() -> None:
    engine = loaded(script="a", alternatives=["b", "c"])
    wanted = {None: "a", 1: "b", 2: "c", 3: "b"}
    for seed, text in wanted.items():
        (said,) = run(engine, sampled(seed)).values()
        assert [event.text for event in said if isinstance(event, Tokens)] == [text]
    (said,) = run(engine, sampled(1, temperature=0.0)).values()
    assert [event.text for event in said if isinstance(event, Tokens)] == ["a"]


def sampled(seed: int | None, temperature: float = 0.7) -> Job:
    return Job(
        id=1, prompt=[1], max_tokens=5, sampling=Sampling(temperature=temperature, seed=seed)
    )


def test_it_stops_at_max_tokens_and_at_stop_ids() -> None:
    engine = loaded(script="one two three four")
    stop = engine.tokenizer.encode("one two three")[-1]
    events = run(
        engine,
        Job(id=1, prompt=[5], max_tokens=2),
        Job(id=2, prompt=[5], max_tokens=9, stop_ids=[stop]),
    )
    assert text_of(events[1]) == "one two"
    assert isinstance(events[1][-1], Finished)
    assert events[1][-1].reason == "length"
    assert text_of(events[2]) == "one two"
    assert isinstance(events[2][-1], Finished)
    assert events[2][-1].reason == "stop"


def test_a_second_job_of_the_same_affinity_finds_its_prefix_cached() -> None:
    engine = loaded(script="yes")
    prompt = engine.tokenizer.encode("the same long beginning of two requests")
    first = run(engine, Job(id=1, prompt=prompt, max_tokens=9, affinity="doc"))[1][-1]
    again = run(engine, Job(id=2, prompt=[*prompt, 7], max_tokens=9, affinity="doc"))[2][-1]
    other = run(engine, Job(id=3, prompt=prompt, max_tokens=9, affinity="else"))[3][-1]
    assert isinstance(first, Finished)
    assert isinstance(again, Finished)
    assert isinstance(other, Finished)
    assert (first.cached_tokens, again.cached_tokens, other.cached_tokens) == (0, len(prompt), 0)


def test_cancel_ends_a_job_and_leaves_the_others() -> None:
    engine = loaded(script="word " * 50, tokens_per_second=200)
    engine.submit(Job(id=1, prompt=[5], max_tokens=1000))
    engine.submit(Job(id=2, prompt=[5], max_tokens=5))
    engine.cancel(1)
    finished: dict[int, Finished] = {}
    give_up = time.monotonic() + 10
    while len(finished) < 2:
        assert time.monotonic() < give_up
        for event in engine.step(1.0):
            if isinstance(event, Finished):
                finished[event.job] = event
    assert (finished[1].reason, finished[2].reason) == ("cancelled", "length")


def test_faults_are_what_they_say() -> None:
    with pytest.raises(LoadFailed, match="told not to load"):
        loaded(fault="load")
    engine = loaded(script="a b c d", fault="job:3")
    events = run(engine, Job(id=1, prompt=[5], max_tokens=9))[1]
    assert text_of(events) == "a b"
    assert isinstance(events[-1], Failed)
