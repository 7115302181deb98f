"""Typing in real time, with ingle and with what people use today: alone, and beside long chats.

The same traces for everybody, the contenders in turns, so that drift and noise of the machine hit
all of them. What a pause is and what counts as seen, `typist` says; how the others behave, `peers`.

**Wasted** are tokens that were generated for completions and never became visible, of requests that
were given up, came too late or were cut: generated tokens less those of the visible texts.

**Chat throughput lost to preemption** is what a chat loses beyond the engine time that completions
use anyway: its tokens per second of the time that the engine was not busy with completions (as the
engine measured their prefill and decode), against the same chat alone, right before and after.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from . import plots
from .chats import Chats
from .contenders import Contender, Contenders, Ingle, Work
from .figures import Figure, Listing, Result, quantile
from .footprint import _cpu_percent, _megabytes
from .stage import Stage
from .traces import Trace, traces
from .typist import Session, Typist

#: The chat that the numbers are about.
ONE = 1
#: Seconds after which an engine is at rest again.
SETTLE_S = 0.4


@dataclass
class Outcome:
    """The sessions of one contender beside one number of chats."""

    sessions: list[Session] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    wasted: list[float] = field(default_factory=list)
    chat_rates: list[float] = field(default_factory=list)
    chat_first_ms: list[float] = field(default_factory=list)
    #: Percent, see the module; of ingle beside one chat.
    lost: list[float] = field(default_factory=list)

    @property
    def latencies(self) -> list[float]:
        """Of all pauses that had something to suggest; if none had, all count as unanswered."""
        return [took for session in self.sessions for took in session.latencies] or [
            length for session in self.sessions for length in session.nothing
        ]


Outcomes = dict[tuple[str, int], Outcome]


def measure(stage: Stage) -> list[Result]:
    """All sessions, then figures and pictures."""
    return asyncio.run(_measure(stage))


async def _measure(stage: Stage) -> list[Result]:
    sizes = stage.sizes
    typed = traces(sizes.traces, sizes.trace_keys, before=sizes.trace_lines)
    outcomes: Outcomes = defaultdict(Outcome)
    async with Contenders(stage) as contenders:
        for number, trace in enumerate(typed):
            for chats in sizes.chats:
                if chats > ONE and number >= sizes.busy_traces:
                    continue
                for contender in contenders.all:
                    outcome = outcomes[contender.name, chats]
                    await _session(stage, contenders, contender, trace, chats, outcome)
        names = {contender.name: contender.label for contender in contenders.all}
        bare = [took for session in outcomes["ingle", 0].sessions for took in _bare(stage, session)]
        footprint = [*await _cancels(stage, contenders), *_footprint(stage, contenders)]
    if stage.pictures is not None:
        plots.latencies(stage.pictures, outcomes, names, ONE)
        plots.by_chats(stage.pictures, outcomes, names)
    return [
        *_targets(outcomes),
        *(figure for key, outcome in outcomes.items() for figure in _figures(*key, outcome)),
        Figure(
            name="typing.bare",
            what="the bare engine in-process, the same completions one by one",
            unit="ms",
            samples=bare,
        ),
        *footprint,
        Listing(
            name="typing.traces",
            what="what was typed",
            columns=("keys", "seconds", "language", "licence", "code"),
            rows=[
                (str(len(it.strokes)), f"{it.seconds:.0f}", it.language, it.licence, it.name)
                for it in typed
            ],
        ),
    ]


async def _session(
    stage: Stage,
    contenders: Contenders,
    contender: Contender,
    trace: Trace,
    count: int,
    outcome: Outcome,
) -> None:
    is_measured_alone = count == ONE and isinstance(contender, Ingle)
    alone = [await _chat_alone(stage, contender)] if is_measured_alone else []
    typist = Typist(trace, contender.suggester)
    await typist.open()
    before = await contender.work(0)
    async with Chats(contender.talk, count) as chats:
        session = await typist.type()
    work = (await contender.work(chats.all_tokens)).since(before)
    shown = sum([await contenders.server.tokens(text) for text in session.visible])
    outcome.sessions.append(session)
    outcome.work.append(work)
    outcome.wasted.append(max(0.0, work.generated - shown))
    if count:
        outcome.chat_rates.append(chats.tokens_per_second)
        outcome.chat_first_ms += chats.first_token_ms
    if is_measured_alone:
        alone.append(await _chat_alone(stage, contender))
        while_typing = chats.tokens / max(0.001, chats.seconds - work.engine_s)
        outcome.lost.append(100 * (1 - while_typing / statistics.mean(alone)))


async def _chat_alone(stage: Stage, contender: Contender) -> float:
    """Tokens per second of one chat while nobody types."""
    async with Chats(contender.talk, 1) as chats:
        await asyncio.sleep(stage.sizes.chat_alone_s)
    return chats.tokens_per_second


def _bare(stage: Stage, session: Session) -> list[float]:
    """Milliseconds of each pause's completion by the engine alone, the prefix in its cache."""
    requests = [
        {"prefix": place.before, "suffix": place.after, "document": "typed"}
        for place in session.places
    ]
    if requests:
        stage.engine.infill(requests[0] | {"max_tokens": 1})
    return [stage.engine.infill(request).total_ms for request in requests]


# --- figures -------------------------------------------------------------------------------


def _targets(outcomes: Outcomes) -> list[Result]:
    ingle, vim = outcomes["ingle", 0], outcomes["llama_vim", 0]
    return [
        Figure(
            name="typing.p95_beside_chat",
            what="ingle: p95 from last key to suggestion while a long chat runs ÷ alone",
            unit="",
            samples=[_slowed(outcomes, "ingle")],
            at_most=1.5,
        ),
        *(
            Figure(
                name=f"typing.p95_beside_chat_{name}",
                what=f"the same of {name.replace('_', '.')}",
                unit="",
                samples=[_slowed(outcomes, name)],
            )
            for name in ("llama_vim", "llama_vscode", "fifo")
        ),
        Figure(
            name="typing.p50_ratio",
            what="p50 from last key to suggestion: ingle ÷ llama.vim",
            unit="",
            samples=[statistics.median(ingle.latencies) / statistics.median(vim.latencies)],
            at_most=0.7,
        ),
        Figure(
            name="typing.wasted_ratio",
            what="tokens generated and never shown: ingle ÷ llama.vim",
            unit="",
            samples=[sum(ingle.wasted) / max(1.0, sum(vim.wasted))],
            at_most=0.3,
        ),
        Figure(
            name="typing.chat_lost",
            what="chat throughput lost to preemption",
            unit="%",
            samples=outcomes["ingle", ONE].lost,
            at_most=10.0,
        ),
    ]


def _slowed(outcomes: Outcomes, name: str) -> float:
    return quantile(outcomes[name, ONE].latencies, 0.95) / quantile(
        outcomes[name, 0].latencies, 0.95
    )


def _figures(name: str, chats: int, outcome: Outcome) -> list[Result]:
    who = f"typing.{name}.{chats}_chats"
    beside = f"{name.replace('_', '.')} beside {chats} chats"
    figures: list[Result] = [
        Figure(
            name=f"{who}.p50",
            what=f"{beside}: last key to visible suggestion",
            unit="ms",
            samples=outcome.latencies,
        ),
        Figure(
            name=f"{who}.p95",
            what="the same, p95",
            unit="ms",
            samples=[quantile(outcome.latencies, 0.95)],
        ),
        Figure(
            name=f"{who}.answered",
            what="of the pauses with something to suggest: it became visible",
            unit="%",
            samples=[100 * session.answered for session in outcome.sessions],
        ),
        Figure(
            name=f"{who}.nothing",
            what="pauses with nothing to suggest",
            unit="of a session",
            samples=[len(session.nothing) for session in outcome.sessions],
        ),
        Figure(
            name=f"{who}.generated",
            what="tokens generated for completions",
            unit="of a session",
            samples=[work.generated for work in outcome.work],
        ),
        Figure(
            name=f"{who}.wasted",
            what="of these never shown",
            unit="of a session",
            samples=outcome.wasted,
        ),
    ]
    if chats:
        figures += [
            Figure(
                name=f"{who}.chat_rate",
                what="all chats together meanwhile",
                unit="tokens/s",
                samples=outcome.chat_rates,
            ),
            Figure(
                name=f"{who}.chat_first_token",
                what="a chat's time to first token meanwhile",
                unit="ms",
                samples=outcome.chat_first_ms,
            ),
        ]
    return figures


async def _cancels(stage: Stage, contenders: Contenders) -> list[Result]:
    """How much later the next answer begins when another has just been given up."""
    late: dict[str, list[float]] = defaultdict(list)
    asked = [contender for contender in contenders.all if contender.name != "llama_vscode"]
    for contender in asked:
        await _first_token(contender)
    for _ in range(stage.sizes.cancels):
        for contender in asked:
            at_rest = await _first_token(contender)
            async with Chats(contender.talk, 1):
                pass
            late[contender.name].append(await _first_token(contender) - at_rest)
    return [
        Figure(
            name=f"typing.{contender.name}.cancel",
            what=f"{contender.label}: a chat's first token right after a given up one, later by",
            unit="ms",
            samples=late[contender.name],
        )
        for contender in asked
    ]


async def _first_token(contender: Contender) -> float:
    """Milliseconds to the first token of a chat whose prompt is in the cache."""
    async with Chats(contender.talk, 1) as chats:
        pass
    await asyncio.sleep(SETTLE_S)
    return chats.first_token_ms[0]


def _footprint(stage: Stage, contenders: Contenders) -> list[Result]:
    """Memory after all that, and CPU at rest."""
    figures: list[Result] = []
    for contender in contenders.all:
        if contender.name == "llama_vscode":
            # The same server as llama.vim's.
            continue
        processes = contender.processes
        figures += [
            Figure(
                name=f"typing.{contender.name}.memory",
                what=f"{contender.label}: resident, all processes but the editor",
                unit="MB",
                samples=[sum(map(_megabytes, processes))],
            ),
            Figure(
                name=f"typing.{contender.name}.idle_cpu",
                what="at rest",
                unit="% of a core",
                samples=[sum(_cpu_percent(processes, stage.sizes.idle_s / 2))],
            ),
        ]
    return figures
