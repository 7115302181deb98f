"""A deterministic engine: says its script, at a set pace, with faults on demand.

It ships with ingle so that clients and plugins can be tested without a model. It speaks ChatML
and the Qwen fill-in-the-middle tokens, so the ordinary dialects drive it.

Options (`[scripted]` in the settings): `script`, the reply to everything (empty: the last words of
the prompt are echoed); `alternatives`, what sampling with a seed gives instead, from seed 1 on;
`tokens_per_second`; `prefill_tokens_per_second`; `fault`, one of `load` (refuses to load),
`load-exit` (dies while loading), `exit:N` (dies at the Nth token of a job), `job:N` (fails the job
at its Nth token).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ingle.errors import LoadFailed

from .engine import (
    Capabilities,
    Engine,
    EngineEvent,
    Failed,
    Finished,
    Job,
    Kept,
    ModelSpec,
    Prefill,
    ProgressCallback,
    Tokenizer,
    Tokens,
)

_PIECE = re.compile(r"\s?\w+|\s?[^\w\s]+|\s+")
_CONTROL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
)
_PREFILL_CHUNK = 64
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class WordTokenizer:
    """Words and marks as tokens; ids are given out as they are met. Nothing is lost in a round
    trip, and equal texts have equal ids within one process."""

    def __init__(self) -> None:
        self._pieces: list[str] = list(_CONTROL)
        self._ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        """Plain text → ids."""
        return [self._id(piece) for piece in _PIECE.findall(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Ids → text."""
        return "".join(self._pieces[token] for token in ids)

    def special(self, text: str) -> int | None:
        """The id of a control token."""
        return _CONTROL.index(text) if text in _CONTROL else None

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._pieces)
            self._pieces.append(piece)
        return self._ids[piece]


@dataclass
class _Running:
    job: Job
    reply: list[int]
    cached: int
    started: float
    due: float
    processed: int
    said: int = 0
    cancelled: bool = False
    decode_started: float = 0.0


class Scripted(Engine):
    """See the module."""

    name = "scripted"

    def __init__(self) -> None:
        self._tokenizer = WordTokenizer()
        self._jobs: dict[int, _Running] = {}
        #: Affinity → the ids its last job left in the imagined cache.
        self._cache: dict[str, list[int]] = {}
        self._woken = threading.Event()
        self._script = ""
        self._alternatives: list[str] = []
        self._fault = ""
        self._fault_at = 0
        self._pace = 0.005
        self._prefill_pace = 0.00005
        self._context = 0

    def load(self, spec: ModelSpec, progress: ProgressCallback) -> Capabilities:
        """Nothing to load; the faults `load` and `load-exit` happen here."""
        options = spec.options
        self._script = str(options.get("script", ""))
        alternatives = options.get("alternatives", [])
        self._alternatives = alternatives if isinstance(alternatives, list) else []
        self._fault, _, at = str(options.get("fault", "")).partition(":")
        self._fault_at = int(at or 1)
        self._pace = 1 / float(str(options.get("tokens_per_second", 200.0)))
        self._prefill_pace = 1 / float(str(options.get("prefill_tokens_per_second", 20000.0)))
        self._context = spec.context
        progress(0.5, "reading the script")
        if self._fault == "load":
            raise LoadFailed("the scripted engine was told not to load: clear `fault`")
        if self._fault == "load-exit":
            os._exit(70)
        progress(1.0, "ready")
        return Capabilities(
            context=spec.context,
            slots=spec.slots,
            device="script",
            chat_template=_CHAT_TEMPLATE,
            eos_token=_CONTROL[1],
            warms_up=False,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def submit(self, job: Job) -> None:
        now = time.monotonic()
        kept = self._cache.get(job.affinity, [])
        cached = 0
        while cached < min(len(kept), len(job.prompt)) and kept[cached] == job.prompt[cached]:
            cached += 1
        self._jobs[job.id] = _Running(
            job=job,
            reply=self._reply(job),
            cached=cached,
            started=now,
            due=now,
            processed=cached,
        )
        self.wake()

    def cancel(self, job: int) -> None:
        if job in self._jobs:
            self._jobs[job].cancelled = True
            self.wake()

    def step(self, timeout: float) -> list[EngineEvent]:
        now = time.monotonic()
        due = min((running.due for running in self._jobs.values()), default=now + timeout)
        if not any(running.cancelled for running in self._jobs.values()):
            self._woken.wait(max(0.0, min(timeout, due - now)))
        self._woken.clear()
        now = time.monotonic()
        events: list[EngineEvent] = []
        for running in list(self._jobs.values()):
            if running.cancelled or running.due <= now:
                events += self._advance(running, now)
        return events

    def kept(self) -> list[Kept]:
        return [
            Kept(affinity=affinity, tokens=len(ids))
            for affinity, ids in reversed(self._cache.items())
            if affinity
        ]

    def wake(self) -> None:
        self._woken.set()

    def unload(self) -> None:
        self._jobs.clear()
        self._cache.clear()

    def _advance(self, running: _Running, now: float) -> list[EngineEvent]:
        job = running.job
        if running.cancelled:
            return [self._finish(running, "cancelled", now)]
        if running.processed < len(job.prompt):
            chunk = min(_PREFILL_CHUNK, len(job.prompt) - running.processed)
            running.processed += chunk
            running.due = max(running.due, now - 1.0) + chunk * self._prefill_pace
            return [
                Prefill(
                    job=job.id,
                    processed=running.processed,
                    total=len(job.prompt),
                    cached=running.cached,
                )
            ]
        if not running.said:
            running.decode_started = now
        if running.said >= len(running.reply):
            return [self._finish(running, "stop", now)]
        if running.said >= job.max_tokens:
            return [self._finish(running, "length", now)]
        if self._fault == "exit" and running.said + 1 >= self._fault_at:
            os._exit(71)
        if self._fault == "job" and running.said + 1 >= self._fault_at:
            del self._jobs[job.id]
            return [Failed(job=job.id, code="internal", message="the scripted engine was told to")]
        token = running.reply[running.said]
        running.said += 1
        running.due = max(running.due, now - 1.0) + self._pace
        if token in job.stop_ids:
            return [self._finish(running, "stop", now)]
        logprobs = [-0.01] if job.logprobs else []
        return [
            Tokens(
                job=job.id,
                ids=[token],
                text=self._tokenizer.decode([token]),
                logprobs=logprobs,
            )
        ]

    def _finish(self, running: _Running, reason: str, now: float) -> Finished:
        job = running.job
        del self._jobs[job.id]
        decode_started = running.decode_started or now
        # Moved to the end: the most recently used.
        self._cache.pop(job.affinity, None)
        self._cache[job.affinity] = job.prompt[: running.processed] + running.reply[: running.said]
        return Finished(
            job=job.id,
            reason=reason,  # type: ignore[arg-type]
            prompt_tokens=len(job.prompt),
            cached_tokens=running.cached,
            completion_tokens=running.said,
            prefill_ms=(decode_started - running.started) * 1000,
            decode_ms=(now - decode_started) * 1000,
        )

    def _reply(self, job: Job) -> list[int]:
        """What is still to be said: a job that goes on has said some of it."""
        asked = job.prompt[: len(job.prompt) - job.resumed]
        text = self._script or self._echo(asked)
        seed = job.sampling.seed
        if self._alternatives and seed is not None and job.sampling.temperature > 0:
            text = self._alternatives[(seed - 1) % len(self._alternatives)]
        return self._tokenizer.encode(text)[job.resumed :]

    def _echo(self, prompt: list[int]) -> str:
        """The last piece of plain text in the prompt, at most its last 64 tokens."""
        runs: list[list[int]] = [[]]
        for token in prompt:
            if token < len(_CONTROL):
                runs.append([])
            else:
                runs[-1].append(token)
        texts = [self._tokenizer.decode(run[-64:]).strip() for run in runs]
        spoken = [text for text in texts if text and text != "assistant"]
        return spoken[-1].removeprefix("user\n") if spoken else "nothing was said"
