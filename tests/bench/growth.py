"""What grows with clients, with documents and with context, and what must not.

- **Idle clients**: completions of one client while others are connected and silent.
- **Typing clients**: each with a document of its own; all ask after pauses like a typist's.
- **Documents**: from a key to the request on the wire, through language server and client. A
  stand-in for the daemon takes the time, and the language server does not wait for a pause.
- **Contexts**: a conversation that fills three quarters of what the model was loaded with.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections import defaultdict
from contextlib import AsyncExitStack

import psutil

from ingle.async_client import AsyncClient
from ingle.errors import IngleError
from ingle.messages import Chat, ChatMessage, Delta, Done
from support.daemons import DaemonUnderTest
from support.demo_model import demo_model

from . import plots
from .editor import AUTOMATIC, COMPLETION, Editor, completion_at
from .figures import Figure, Result
from .footprint import _cpu_percent, _megabytes
from .stage import Stage
from .stand_in import StandIn

#: Rounds in which the numbers of idle clients take turns.
ROUNDS = 4
#: Seconds between two completions of a typing client, least and most.
PAUSES = (0.5, 2.0)
DEADLINE_MS = 2000
#: A typing client's document, and a completion that does not end by itself.
_CODE = "def area_{0}(width, height):\n    return width * height\n\n\nvalues_{0} = ["
_WORDS = "The keeper wrote down the weather, the ships that went by, and what the gulls did. "
#: Tokens of one sentence of these, rounded up.
_WORDS_TOKENS = 20


def measure(stage: Stage) -> list[Result]:
    """Clients, documents, contexts."""
    return [
        *asyncio.run(_clients(stage)),
        *_documents(stage),
        *(result for context in stage.sizes.contexts for result in _context(stage, context)),
    ]


# --- clients -------------------------------------------------------------------------------


async def _clients(stage: Stage) -> list[Result]:
    counts = stage.sizes.clients
    most = max(counts)
    alone: dict[int, list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        active = await stack.enter_async_context(await _connected(stage))
        await _complete(active, 0, 0)
        for turn in range(ROUNDS):
            for count in counts if turn % 2 else reversed(counts):
                async with AsyncExitStack() as idle:
                    for _ in range(count - 1):
                        await idle.enter_async_context(await _connected(stage))
                    for number in range(stage.sizes.growth_completions):
                        alone[count].append(await _complete(active, 0, number))
        async with AsyncExitStack() as idle:
            for _ in range(most - 1):
                await idle.enter_async_context(await _connected(stage))
            idle_cpu = sum(
                await asyncio.to_thread(
                    _cpu_percent, [stage.broker, stage.worker], stage.sizes.idle_s
                )
            )
            broker_mb = _megabytes(stage.broker)
        typing = {count: await _typing(stage, count) for count in counts}
    medians = {count: statistics.median(alone[count]) for count in counts}
    answered = {count: [took for took in took_ms if took] for count, took_ms in typing.items()}
    if stage.pictures is not None:
        lines = {
            "one typing, the others idle": medians,
            "all typing": {
                count: statistics.median(took) for count, took in answered.items() if took
            },
        }
        plots.growth(stage.pictures, "growth-clients", "clients", lines)
    return [
        Figure(
            name="growth.idle_clients",
            what=f"inline latency with {most} clients, all but one idle ÷ with one client",
            unit="",
            samples=[medians[most] / medians[min(counts)]],
            at_most=1.1,
        ),
        Figure(
            name="growth.idle_clients_cpu",
            what=f"broker + worker with {most} idle clients",
            unit="% of a core",
            samples=[idle_cpu],
            at_most=1.0,
        ),
        Figure(
            name="growth.idle_clients_memory",
            what=f"broker, resident, with {most} clients",
            unit="MB",
            samples=[broker_mb],
        ),
        *(
            Figure(
                name=f"growth.idle_{count}",
                what=f"a completion with {count} clients, all but one idle",
                unit="ms",
                samples=alone[count],
            )
            for count in counts
        ),
        *(
            Figure(
                name=f"growth.typing_{count}",
                what=f"a completion while {count} clients type (unanswered: as long as waited for)",
                unit="ms",
                samples=[took or float(DEADLINE_MS) for took in typing[count]],
            )
            for count in counts
        ),
        *(
            Figure(
                name=f"growth.typing_{count}_answered",
                what="of these, answered before the deadline",
                unit="%",
                samples=[100 * len(answered[count]) / len(typing[count])],
            )
            for count in counts
        ),
    ]


async def _connected(stage: Stage) -> AsyncClient:
    return await AsyncClient.connect(stage.daemon.endpoint, name="bench-growth", timeout=30.0)


async def _complete(client: AsyncClient, document: int, number: int) -> float:
    """Milliseconds of a completion after one more key in a document."""
    prefix = _CODE.format(document) + "1, " * number
    asked = time.perf_counter()
    await client.infill(prefix, document=f"growth-{document}", max_tokens=8)
    return (time.perf_counter() - asked) * 1000


async def _typing(stage: Stage, count: int) -> list[float]:
    """Times of all completions of `count` typing clients; 0 for those that had no answer."""
    took: list[float] = []
    end = time.perf_counter() + stage.sizes.typing_s

    async def type_on(number: int) -> None:
        dice = random.Random(number)
        async with await _connected(stage) as client:
            typed = 0
            while time.perf_counter() < end or not typed:
                await asyncio.sleep(dice.uniform(*PAUSES) if stage.sizes.typing_s > 2 else 0.1)
                typed += 1
                prefix = _CODE.format(number) + "1, " * typed
                asked = time.perf_counter()
                try:
                    completion = await client.infill(
                        prefix,
                        document=f"typing-{number}",
                        max_tokens=8,
                        deadline_ms=DEADLINE_MS,
                    )
                    is_answer = completion.finish != "deadline"
                except IngleError:
                    # Busy, or the deadline came before its first token.
                    is_answer = False
                took.append((time.perf_counter() - asked) * 1000 if is_answer else 0.0)

    await asyncio.gather(*(type_on(number) for number in range(count)))
    return took


# --- documents -----------------------------------------------------------------------------


def _documents(stage: Stage) -> list[Result]:
    """Keys in documents of different lengths, in turns."""
    folder = stage.folder / "growth"
    folder.mkdir()
    keys: dict[int, list[float]] = defaultdict(list)
    with StandIn(folder) as daemon:
        env = os.environ | {"INGLE_ENDPOINT_FILE": str(daemon.endpoint_file)}
        editor = Editor(env, folder / "log", debounceMs=0)
        try:
            for lines in stage.sizes.documents:
                text = "".join(f"{_line(number)}\n" for number in range(lines))
                editor.open(_uri(lines), text)
                _key_to_wire(editor, daemon, lines, 0)
            for number in range(1, stage.sizes.keys + 1):
                for lines in stage.sizes.documents:
                    keys[lines].append(_key_to_wire(editor, daemon, lines, number))
        finally:
            editor.close()
    longest = max(stage.sizes.documents)
    if stage.pictures is not None:
        medians = {lines: statistics.median(times) for lines, times in keys.items()}
        plots.growth(
            stage.pictures, "growth-documents", "lines of the document", {"key to wire": medians}
        )
    return [
        Figure(
            name="growth.key",
            what=f"{longest:,} lines: a key to its request on the wire, server and client",
            unit="ms",
            samples=keys[longest],
            at_most=3.0,
        ),
        *(
            Figure(
                name=f"growth.key_{lines}",
                what=f"the same in {lines:,} lines",
                unit="ms",
                samples=times,
            )
            for lines, times in keys.items()
        ),
    ]


def _key_to_wire(editor: Editor, daemon: StandIn, lines: int, number: int) -> float:
    """Milliseconds from a key to the completion's request; the key is one that nobody foresaw."""
    uri, line = _uri(lines), lines // 2
    column = len(_line(line)) + number
    started = time.perf_counter()
    editor.type(uri, number + 2, line, column, "x")
    asked = editor.ask(COMPLETION, completion_at(uri, line, column + 1, AUTOMATIC))
    arrived = daemon.wait_for_infill()
    editor.result(COMPLETION, asked)
    return (arrived - started) * 1000


def _line(number: int) -> str:
    return f"value_{number} = compute({number})"


def _uri(lines: int) -> str:
    return f"untitled:{lines}.py"


# --- contexts ------------------------------------------------------------------------------


def _context(stage: Stage, context: int) -> list[Result]:
    """In a daemon of its own: the model is loaded with this context."""
    daemon = DaemonUnderTest(
        stage.folder / f"c{context}", model={"name": str(demo_model()), "context": context}
    )
    text = _WORDS * max(1, int(0.75 * context) // _WORDS_TOKENS)
    fields = {"messages": [ChatMessage(role="user", content=text)], "max_tokens": 16}
    firsts: list[float] = []
    steps: list[float] = []
    prefill = 0.0
    try:
        daemon.start()
        with daemon.client(timeout=600.0) as client:
            for number in range(3):
                asked = time.perf_counter()
                times: list[float] = []
                for event in client.call(Chat, **fields, temperature=0.0):
                    if isinstance(event, Delta):
                        times.append((time.perf_counter() - asked) * 1000)
                    elif isinstance(event, Done) and not number:
                        assert event.usage is not None
                        assert event.timings is not None
                        prefill = event.usage.prompt_tokens / event.timings.prefill_ms * 1000
                if number:
                    firsts.append(times[0])
                    steps.append((times[-1] - times[0]) / (len(times) - 1))
            pid = client.status().models[0].pid
            memory = _megabytes(psutil.Process(pid))
    finally:
        daemon.close()
    return [
        Figure(
            name=f"growth.context_{context}.{name}",
            what=f"{what}, three quarters of {context:,} tokens of context in use",
            unit=unit,
            samples=samples,
        )
        for name, what, unit, samples in (
            ("prefill", "prefill of all of it", "tokens/s", [prefill]),
            ("first_token", "first token with it in the cache", "ms", firsts),
            ("step", "one token", "ms", steps),
            ("memory", "worker, resident", "MB", [memory]),
        )
    ]
