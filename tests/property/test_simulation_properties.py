"""The scheduler in simulated time, with whole days of typing, talking and reviewing."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.simulated_load import office
from bench.simulation import ENGINES, Demand, Engine, Outcome, Simulation, ingle, jain, of_class
from ingled.scheduler import Ticket

engines = st.builds(
    Engine,
    name=st.just("drawn"),
    prefill=st.floats(50, 10_000),
    decode=st.floats(10, 300),
    slots=st.integers(1, 5),
    exclusive=st.booleans(),
    chunk=st.sampled_from([16, 256, 512]),
)


@st.composite
def demands(draw: st.DrawFn) -> list[Demand]:
    """Anybody asks for anything at any time."""
    found = []
    for number in range(draw(st.integers(1, 25))):
        priority = draw(st.sampled_from(["inline", "inline", "interactive", "batch", "prefetch"]))
        client = draw(st.integers(0, 3))
        document = draw(st.none() | st.integers(0, 1)) if priority == "inline" else None
        at = draw(st.floats(0, 5))
        deadline = draw(st.none() | st.floats(0.05, 5))
        found.append(
            Demand(
                at=at,
                ticket=Ticket(
                    key=number,
                    client=client,
                    priority=priority,  # type: ignore[arg-type]
                    supersedes=None if document is None else (client, document),
                    deadline=None if deadline is None else at + deadline,
                ),
                prompt=draw(st.integers(0, 900)),
                answer=draw(st.integers(1, 60)),
            )
        )
    return sorted(found, key=lambda demand: demand.at)


def check(outcomes: list[Outcome], simulation: Simulation) -> None:
    assert len(outcomes) == len(simulation.demands)
    for outcome in outcomes:
        assert outcome.endings == 1, "every request ends exactly once"
        assert outcome.ended is not None
        assert outcome.ended >= outcome.demand.at
        assert outcome.tokens <= outcome.demand.answer
        if outcome.ending == "done":
            assert outcome.tokens == outcome.demand.answer
            # A pause costs at most one token of prompt more.
            extra = outcome.prefilled - outcome.demand.prompt
            assert 0 <= extra <= outcome.pauses
        if outcome.started is None:
            assert outcome.tokens == outcome.prefilled == 0


@settings(max_examples=150, deadline=None)
@given(engine=engines, wanted=demands())
def test_everything_ends_once_and_the_tokens_add_up(engine: Engine, wanted: list[Demand]) -> None:
    simulation = Simulation(engine, ingle(engine), wanted)
    check(simulation.run(), simulation)


@settings(max_examples=200, deadline=None)
@given(engine=engines, wanted=demands())
@example(
    engine=Engine(name="slow", prefill=50.0, decode=10.0, slots=1, exclusive=False, chunk=16),
    wanted=[
        Demand(
            at=2.42,
            ticket=Ticket(key=5, client=0, priority="interactive"),
            prompt=0,
            answer=60,
        )
    ],
)
def test_typing_waits_for_lower_classes_one_step_at_most(
    engine: Engine, wanted: list[Demand]
) -> None:
    """A lone completion among any lower work starts when the step in flight is over: a token of
    everybody, or a chunk of a prompt. One that was passed over too often may have one step more."""
    lower = [demand for demand in wanted if demand.ticket.priority != "inline"]
    typing = Demand(
        at=2.5,
        ticket=Ticket(key="typing", client="me", priority="inline"),
        prompt=1,
        answer=1,
    )
    simulation = Simulation(engine, ingle(engine), [*lower, typing])
    outcomes = {outcome.demand.ticket.key: outcome for outcome in simulation.run()}
    started = outcomes["typing"].started
    assert started is not None
    # Only a class that another lower one was preferred to can be due.
    steps = 1 if len({demand.ticket.priority for demand in lower}) <= 1 else 2
    assert started - typing.at <= steps * simulation.longest_step + 1e-9


@pytest.mark.parametrize("name", ["3090", "5080", "cpu"])
def test_an_office_is_served(name: str) -> None:
    engine = ENGINES[name]
    simulation = Simulation(engine, ingle(engine), office(2, 2, 1, 20.0, seed=3))
    outcomes = simulation.run()
    check(outcomes, simulation)
    for outcome in outcomes:
        if outcome.demand.ticket.priority != "inline":
            assert outcome.ending == "done", "chats and reviews are never given up"


def test_typing_without_an_end_starves_nobody() -> None:
    engine = Engine(name="one", prefill=100, decode=50, slots=1, exclusive=True, chunk=16)
    typing = [
        Demand(
            at=number * 0.05,
            ticket=Ticket(key=number, client=number % 7, priority="inline"),
            prompt=1,
            answer=8,
        )
        for number in range(600)
    ]
    chat = Demand(
        at=0.0, ticket=Ticket(key="c", client="c", priority="interactive"), prompt=20, answer=30
    )
    simulation = Simulation(engine, ingle(engine), [chat, *typing])
    outcomes = {outcome.demand.ticket.key: outcome for outcome in simulation.run()}
    assert outcomes["c"].ending == "done"
    served = sum(
        outcome.ending == "done" and (outcome.ended or 0) < (outcomes["c"].ended or 0)
        for key, outcome in outcomes.items()
        if key != "c"
    )
    # Two chunks of prompt, thirty tokens, each after eight completions at most.
    assert served <= 8 * 33


def test_many_editors_are_served_alike() -> None:
    engine = ENGINES["vllm"]
    simulation = Simulation(engine, ingle(engine), office(80, 0, 0, 6.0, seed=1))
    by_client = dict.fromkeys(range(80), 0.0)
    for outcome in of_class(simulation.run(), "inline"):
        by_client[outcome.demand.ticket.client] += outcome.tokens  # type: ignore[index]
    assert jain(list(by_client.values())) > 0.85


def test_the_same_seed_is_the_same_office() -> None:
    assert office(3, 2, 1, 10.0, seed=5) == office(3, 2, 1, 10.0, seed=5)
    assert office(3, 2, 1, 10.0, seed=5) != office(3, 2, 1, 10.0, seed=6)
