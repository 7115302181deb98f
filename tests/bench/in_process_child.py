"""The engine without the daemon: a process of its own that runs one request a line of input.

Standard input: one JSON line with the model, then one with a chat or infill request each. Standard
output: one JSON line when the model is resident, then one with the times of each run, in
milliseconds.
The worker's own engine and dialect run here, with the worker's settings; there is no socket, no
broker and no client between the caller's clock and the engine.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from ingle import paths
from ingle.messages import Chat, Infill
from ingled.dialects.dialect import Budget, Defaults
from ingled.dialects.select import choose
from ingled.engines.engine import Failed, Finished, Job, ModelSpec, Tokens
from ingled.engines.registry import create


def main() -> None:
    """Load, then run until standard input ends."""
    # Engines print what they like.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    model = json.loads(sys.stdin.readline())
    engine = create(model.pop("engine"))
    spec = ModelSpec(path=Path(model.pop("path")), **model)
    started = time.perf_counter()
    able = engine.load(spec, lambda _fraction, _detail: None)
    dialect = choose(engine.tokenizer, able, spec.path, paths.cache_dir())
    print(json.dumps({"load_ms": _since(started)}), file=answers)
    budget = Budget(uncached_tokens=able.context, context=able.context)
    for number, line in enumerate(sys.stdin, start=1):
        request = msgspec.json.decode(line, type=Chat | Infill)
        asked = time.perf_counter()
        plan = dialect.chat if isinstance(request, Chat) else dialect.infill
        job = plan(number, request, budget, Defaults()).job  # type: ignore[operator]
        run = {"dialect_ms": _since(asked)} | _run(engine, job)
        print(json.dumps(run), file=answers)
    # Engines may hang in their destructors.
    os._exit(0)


def _run(engine: Any, job: Job) -> dict[str, Any]:
    times: list[float] = []
    submitted = time.perf_counter()
    engine.submit(job)
    while True:
        for event in engine.step(60.0):
            if isinstance(event, Tokens):
                times.append(_since(submitted))
            elif isinstance(event, Failed):
                raise SystemExit(f"the job failed: {event.code}: {event.message}")
            elif isinstance(event, Finished):
                return {
                    "first_ms": times[0],
                    "last_ms": times[-1],
                    "total_ms": _since(submitted),
                    "prefill_ms": event.prefill_ms,
                    "prompt_tokens": event.prompt_tokens,
                    "cached_tokens": event.cached_tokens,
                    "completion_tokens": event.completion_tokens,
                }


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
