"""Who asks for what in the simulation: typists, talkers, reviewers; all from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ingled.scheduler import Ticket

from .simulation import Demand

#: Seconds between keys: log-normal, median 0.16 s; as measured on 168,000 volunteers by Dhakal,
#: Feit, Kristensson, Oulasvirta, "Observations on Typing from 136 Million Keystrokes", CHI 2018.
KEY_MEDIAN, KEY_SIGMA = 0.16, 0.5
#: After so many keys on average somebody thinks, for so many seconds on average.
BURST, THOUGHT = 18, 2.5
#: An editor asks once typing has paused for so long.
DEBOUNCE = 0.075


def typist(client: int, seconds: float, seed: int, *, answer: int = 24) -> Iterator[Demand]:
    """Completions while typing: one for every pause that is long enough."""
    dice = random.Random(f"typist {client} {seed}")
    now, number = dice.uniform(0, 2), 0
    fresh = 200
    while now < seconds:
        pause = dice.lognormvariate(0, KEY_SIGMA) * KEY_MEDIAN
        if dice.random() < 1 / BURST:
            pause += dice.expovariate(1 / THOUGHT)
        fresh += 1
        if pause > DEBOUNCE:
            number += 1
            yield Demand(
                at=now + DEBOUNCE,
                ticket=Ticket(
                    key=f"i{client}.{number}",
                    client=client,
                    priority="inline",
                    supersedes=(client, "document"),
                    affinity=(client, "document"),
                    deadline=now + 4.0,
                ),
                # What was typed since the last request; the rest is in the cache.
                prompt=max(1, fresh // 4),
                answer=max(1, round(dice.gauss(answer, answer / 3))),
            )
            fresh = 0
        now += pause


def talker(client: int, seconds: float, seed: int, *, answer: int = 400) -> Iterator[Demand]:
    """Chat turns, one after another with time to read."""
    dice = random.Random(f"talker {client} {seed}")
    now, number = dice.uniform(0, 3), 0
    while now < seconds:
        number += 1
        yield Demand(
            at=now,
            ticket=Ticket(key=f"c{client}.{number}", client=client, priority="interactive"),
            prompt=dice.randint(50, 1500),
            answer=max(20, round(dice.gauss(answer, answer / 3))),
        )
        now += dice.expovariate(1 / 30)


def reviewer(client: int, seconds: float, seed: int) -> Iterator[Demand]:
    """Long prompts, nobody waits."""
    dice = random.Random(f"reviewer {client} {seed}")
    now, number = dice.uniform(0, 10), 0
    while now < seconds:
        number += 1
        yield Demand(
            at=now,
            ticket=Ticket(key=f"b{client}.{number}", client=client, priority="batch"),
            prompt=dice.randint(500, 3000),
            answer=300,
        )
        now += dice.expovariate(1 / 60)


def office(typists: int, talkers: int, reviewers: int, seconds: float, seed: int) -> list[Demand]:
    """Everybody's demands, in the order of time."""
    demands: list[Demand] = []
    for client in range(typists):
        demands += typist(client, seconds, seed)
    for client in range(talkers):
        # People who type and talk are the same people.
        demands += talker(client, seconds, seed)
    for client in range(reviewers):
        demands += reviewer(client, seconds, seed)
    return sorted(demands, key=lambda demand: demand.at)
