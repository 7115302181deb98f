"""`python -m tests.bench.simulate`: policies side by side, in simulated time.

Thousands of clients in a minute, on engines that are not at hand. Prints latencies of completions,
what chats got meanwhile, tokens for nobody, and how equally clients were served.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .simulated_load import office
from .simulation import (
    ENGINES,
    Engine,
    FirstComeFirstServed,
    Outcome,
    Policy,
    Simulation,
    ingle,
    jain,
    of_class,
    percentile,
)

POLICIES: dict[str, Callable[[Engine], Policy]] = {
    "ingle": ingle,
    "slots, first come": lambda engine: FirstComeFirstServed(engine.slots),
    "one slot, first come": lambda _engine: FirstComeFirstServed(1),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One policy on one engine. Latencies are milliseconds from request to whole suggestion."""

    engine: str
    policy: str
    clients: int
    completions: int
    p50: float
    p95: float
    p99: float
    answered: float
    wasted: float
    chat_first_token: float
    chat_tokens_per_second: float
    fairness: float


def simulate(
    engine: Engine, policy: str, clients: tuple[int, int, int], seconds: float, seed: int
) -> Row:
    """One row of the table. `clients`: typists, talkers, reviewers."""
    demands = office(*clients, seconds, seed)
    simulation = Simulation(engine, POLICIES[policy](engine), demands)
    return _row(engine, policy, clients, simulation.run(until=4 * seconds), seconds)


def _row(
    engine: Engine,
    policy: str,
    clients: tuple[int, int, int],
    outcomes: list[Outcome],
    seconds: float,
) -> Row:
    inline = list(of_class(outcomes, "inline"))
    answered = [outcome for outcome in inline if outcome.ending == "done"]
    latencies = [
        (outcome.ended - outcome.demand.at) * 1000 for outcome in answered if outcome.ended
    ]
    chats = list(of_class(outcomes, "interactive"))
    first = [
        (outcome.first_token - outcome.demand.at) * 1000
        for outcome in chats
        if outcome.first_token is not None
    ]
    by_client: dict[object, float] = {}
    for outcome in answered:
        client = outcome.demand.ticket.client
        by_client[client] = by_client.get(client, 0.0) + 1
    computed = sum(outcome.tokens for outcome in inline)
    ended = max((outcome.ended or 0.0 for outcome in chats), default=0.0)
    return Row(
        engine=engine.name,
        policy=policy,
        clients=sum(clients),
        completions=len(inline),
        p50=percentile(latencies, 0.5),
        p95=percentile(latencies, 0.95),
        p99=percentile(latencies, 0.99),
        answered=len(answered) / len(inline) if inline else 1.0,
        wasted=sum(outcome.wasted for outcome in inline) / computed if computed else 0.0,
        chat_first_token=percentile(first, 0.5),
        chat_tokens_per_second=sum(outcome.tokens for outcome in chats) / max(ended, seconds),
        fairness=jain(list(by_client.values())) if by_client else 1.0,
    )


_COLUMNS = (
    ("engine", "{.engine}"),
    ("policy", "{.policy}"),
    ("clients", "{.clients}"),
    ("requests", "{.completions}"),
    ("p50 ms", "{.p50:.0f}"),
    ("p95 ms", "{.p95:.0f}"),
    ("p99 ms", "{.p99:.0f}"),
    ("answered", "{.answered:.0%}"),
    ("wasted", "{.wasted:.0%}"),
    ("chat first token ms", "{.chat_first_token:.0f}"),
    ("chat tokens/s", "{.chat_tokens_per_second:.0f}"),
    ("fairness", "{.fairness:.2f}"),
)


def table(rows: Sequence[Row]) -> str:
    """Columns for people."""
    lines = [[name for name, _ in _COLUMNS]]
    lines += [[shown.format(row) for _, shown in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.simulate", description=__doc__)
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="default: all")
    parser.add_argument("--typists", type=int, default=2)
    parser.add_argument("--talkers", type=int, default=1)
    parser.add_argument("--reviewers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one object a line")
    given = parser.parse_args(arguments)
    clients = (given.typists, given.talkers, given.reviewers)
    rows = [
        simulate(ENGINES[engine], policy, clients, given.seconds, given.seed)
        for engine in given.engine or ENGINES
        for policy in POLICIES
    ]
    if given.json:
        for row in rows:
            json.dump(row.__dict__, sys.stdout)
            print()
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
