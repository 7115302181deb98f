"""What tests do with the engine on a card, in a process of its own: `run` in the test.

The same is done on a real card (`tests/gpu`) and on the pretended one of `separate_card`: what the
process sees is a matter of its environment. As a program it writes JSON in its last line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ingled.engines.engine import Failed, Finished, Job, ModelSpec, Tokens
from support.engine_jobs import Outcome
from support.engine_jobs import run as run_jobs

#: `ids`, and the natural logarithm of each one's probability.
Answer = dict[str, Any]

CONTEXT = 1024
#: Bytes: what may be free of what a full card's allocator holds.
_CRUMB = 512


def run(
    action: str, folder: Path, environment: Mapping[str, str], *, timeout: float = 110, **given: Any
) -> Any:
    """What `action` (a function of this module) returns for the model in `folder`."""
    tests = str(Path(__file__).parents[1])
    known = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    done = subprocess.run(
        [sys.executable, "-m", "support.on_a_card", action, folder, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=dict(environment) | {"PYTHONPATH": os.pathsep.join([*known, tests])},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


# --- in the process -------------------------------------------------------------------------------


def generate(
    folder: Path,
    prompts: list[list[int]],
    max_tokens: int = 32,
    stop_ids: Sequence[int] = (),
    **options: Any,
) -> dict[str, Any]:
    """Greedy answers to `prompts`: each alone, then all together, then the first again."""
    engine = _loaded(folder, options)
    jobs = [
        Job(id=n, prompt=prompt, max_tokens=max_tokens, stop_ids=list(stop_ids), logprobs=True)
        for n, prompt in enumerate(prompts)
    ]
    alone = [_told(run_jobs(engine, [job])[job.id]) for job in jobs]
    running: set[int] = set()
    most_at_once = 0

    def watch(event: Any) -> None:
        nonlocal most_at_once
        if isinstance(event, Tokens):
            running.add(event.job)
            most_at_once = max(most_at_once, len(running))
        elif isinstance(event, Finished):
            running.discard(event.job)

    outcomes = run_jobs(engine, jobs, on_event=watch)
    again = run_jobs(engine, [jobs[-1]])[jobs[-1].id]
    told = {
        "alone": alone,
        "together": [_told(outcomes[job.id]) for job in jobs],
        "again": _told(again),
        "cached": again.finished.cached_tokens,
        "slots": engine.capabilities.slots,
        "most_at_once": most_at_once,
    }
    engine.unload()
    return told


def same(one: Answer, other: Answer, *, within: float = 0.25) -> bool:
    """Whether two greedy answers are the same but for rounding.

    Their likelihoods are, `within` nats; where they part, so are the two tokens' there. A batch
    rounds in another way than a single row, and a random model soon has two tokens as likely.
    """
    for token, beside, mine, theirs in zip(
        one["ids"], other["ids"], one["logprobs"], other["logprobs"], strict=False
    ):
        if abs(mine - theirs) > within:
            return False
        if token != beside:
            return True
    return len(one["ids"]) == len(other["ids"])


def short_of_memory(
    folder: Path, prompts: list[list[int]], stop_ids: Sequence[int] = ()
) -> dict[str, Any]:
    """A second job begins while the card is full; the first one's answer, alone and beside it."""
    import torch

    engine = _loaded(folder, {})
    first, second = (
        Job(id=n, prompt=prompt, max_tokens=120, stop_ids=list(stop_ids))
        for n, prompt in enumerate(prompts, start=1)
    )
    alone = _ids(run_jobs(engine, [first])[1])
    ends: dict[int, Any] = {}
    ids: list[int] = []
    one_at_a_time = engine.capabilities.slots == 1
    if not one_at_a_time:
        engine.submit(first)
        _until(engine, lambda: bool(ids), ids, ends)
    engine.submit(second)
    with _Full():
        _until(engine, lambda: 2 in ends, ids, ends)
    if not one_at_a_time:
        _until(engine, lambda: 1 in ends, ids, ends)
    after = _ids(run_jobs(engine, [first])[1])
    failed = ends[2]
    told = {
        "alone": alone,
        "beside": alone if one_at_a_time else ids,
        "after": after,
        "second": _ids(run_jobs(engine, [second])[2]),
        "code": failed.code if isinstance(failed, Failed) else "",
        "message": failed.message if isinstance(failed, Failed) else repr(failed),
        "first_ended": one_at_a_time or not isinstance(ends[1], Failed),
    }
    engine.unload()
    torch.cuda.set_per_process_memory_fraction(1.0)
    return told


def load_and_unload(folder: Path, prompts: list[list[int]]) -> dict[str, Any]:
    """Bytes of tensors on the card: at first, then loaded and unloaded, three times."""
    import torch

    begin = torch.cuda.memory_allocated()
    loaded, left = [], []
    for _ in range(3):
        engine = _loaded(folder, {})
        run_jobs(engine, [Job(id=1, prompt=prompts[0], max_tokens=8)])
        loaded.append(torch.cuda.memory_allocated() - begin)
        engine.unload()
        del engine
        left.append(torch.cuda.memory_allocated() - begin)
    return {"loaded": loaded, "left": left, "reserved": torch.cuda.memory_reserved()}


class _Full:
    """Inside, nothing more can be allocated on the card."""

    def __enter__(self) -> None:
        import torch

        torch.cuda.empty_cache()
        total = torch.cuda.mem_get_info()[1]
        # A few large segments more than there are: they are filled in a moment.
        limit = (torch.cuda.memory_reserved() + 2**26) / total
        torch.cuda.set_per_process_memory_fraction(min(limit, 1.0))
        self._ballast: list[Any] = []
        size = 2**26
        while size >= _CRUMB:
            try:
                self._ballast.append(torch.empty(size, dtype=torch.uint8, device="cuda:0"))
            except torch.cuda.OutOfMemoryError:
                size //= 2

    def __exit__(self, *_: object) -> None:
        import torch

        self._ballast.clear()
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def _loaded(folder: Path, options: dict[str, Any]) -> Any:
    from ingled.engines.exllamav2.engine import ExLlamaV2Engine

    engine = ExLlamaV2Engine()
    spec = ModelSpec(name=folder.name, path=folder, context=CONTEXT, slots=4, options=options)
    engine.capabilities = engine.load(spec, lambda *_: None)  # type: ignore[attr-defined]
    return engine


def _until(engine: Any, met: Callable[[], bool], ids: list[int], ends: dict[int, Any]) -> None:
    """Step; the first job's ids and every job's end are noted."""
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline, "the engine did not come to it in time"
        for event in engine.step(0.1):
            if isinstance(event, Tokens) and event.job == 1:
                ids += event.ids
            elif isinstance(event, Failed | Finished):
                ends[event.job] = event


def _told(outcome: Outcome) -> Answer:
    return {"ids": _ids(outcome), "logprobs": outcome.logprobs}


def _ids(outcome: Outcome) -> list[int]:
    assert outcome.finished.reason in ("length", "stop")
    return outcome.ids


if __name__ == "__main__":
    name, path, options = sys.argv[1:]
    print(json.dumps(globals()[name](Path(path), **json.loads(options))))
