"""gpt-oss on ExLlamaV2 as an engine: jobs share one generator and its pages of cache.

With flash-attn the cache is paged: several jobs decode in one step, and a prompt that begins as an
earlier one takes over its pages. Without it one job runs at a time, and only the last prompt's
beginning is kept; `Capabilities.limits` says so.
"""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

from ingle.errors import LoadFailed
from ingled.engines.engine import (
    Capabilities,
    Engine,
    EngineEvent,
    Failed,
    Job,
    Kept,
    ModelSpec,
    ProgressCallback,
    Tokenizer,
)

UNPAGED_LIMITS = (
    "no flash-attn: requests run one at a time",
    "no flash-attn: only the last prompt's beginning is kept in the cache",
)


class ExLlamaV2Engine(Engine):
    """See the module."""

    name = "exllamav2"

    def __init__(self) -> None:
        self._resident: Any = None
        self._generator: Any = None
        self._tokenizer: Any = None
        self._stop_ids: list[int] = []
        self._context = 0
        self._draft_tokens = 0
        self._running: dict[int, Any] = {}
        self._pages: Any = None
        self._events: list[EngineEvent] = []
        self._woken = threading.Event()

    # --- life ----------------------------------------------------------------------------

    def load(self, spec: ModelSpec, progress: ProgressCallback) -> Capabilities:
        if spec.path is None or not spec.path.is_dir():
            raise LoadFailed(
                f"{spec.name} is no folder of safetensors: the exllamav2 engine needs one"
            )
        progress(None, "starting ExLlamaV2")
        from .library import check_versions, install

        check_versions()
        from .device import configure_allocator, require_card

        # Before the library builds its kernels, for minutes, where there is no card.
        require_card()
        configure_allocator()
        install()
        from exllamav2 import attn

        from . import device, loading
        from .adapters import attach, read_adapter
        from .pages import PrefixPages
        from .tokenizer import JsonTokenizer, end_ids

        paged = bool(attn.has_flash_attn_with_paged)
        adapters = [read_adapter(Path(str(folder))) for folder in _folders(spec)]
        options = loading.read_options(
            spec.options,
            spec.context,
            spec.slots if paged else 1,
            tuple(adapter.bytes for adapter in adapters),
        )
        fit = loading.choose_fit(spec.path, options, paged=paged)
        device.forbid_spilling(options.headroom)
        self._tokenizer = JsonTokenizer(spec.path)
        self._stop_ids = end_ids(spec.path)
        self._context, self._draft_tokens = options.context, options.draft_tokens
        self._resident = loading.load(
            spec.path, fit, lambda share: progress(share, f"loading {spec.name}")
        )
        for adapter in adapters:
            attach(adapter, self._resident.model)
        self._generator = self._new_generator()
        self._pages = PrefixPages()
        return Capabilities(
            context=self._context,
            slots=options.slots,
            device=device.describe(),
            chat_template=_chat_template(spec.path),
            limits=() if paged else UNPAGED_LIMITS,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise RuntimeError("no model is loaded")
        return self._tokenizer  # type: ignore[no-any-return]

    def unload(self) -> None:
        self._running.clear()
        self._generator = None
        if self._resident is not None:
            self._resident.model.unload()
        self._resident = None
        gc.collect()
        import torch

        torch.cuda.empty_cache()

    # --- jobs ----------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        from .generation import Generation

        room = self._context - len(job.prompt)
        if job.grammar:
            self._fail(job.id, "unsupported", "the exllamav2 engine takes no grammar: leave it out")
        elif not job.prompt:
            self._fail(job.id, "invalid_request", "the prompt is empty: send some text")
        elif room < 1:
            self._fail(
                job.id,
                "context_overflow",
                f"the prompt has {len(job.prompt):,} tokens, the context {self._context:,}: "
                "send less text or raise `model.context`",
            )
        else:
            generation = Generation(
                job, self._tokenizer.stream(), self._stop_ids, room, self._draft_tokens
            )
            self._running[job.id] = generation
            self._pages.protect(job, self._generator)
            self._generator.enqueue(generation.library_job)

    def cancel(self, job: int) -> None:
        generation = self._running.pop(job, None)
        if generation is not None:
            self._generator.cancel(generation.library_job)
            self._events.append(generation.finished("cancelled"))

    def step(self, timeout: float) -> list[EngineEvent]:
        if not self._running and not self._events:
            self._woken.wait(timeout)
        self._woken.clear()
        if self._running:
            self._iterate()
        events, self._events = self._events, []
        return events

    def kept(self) -> list[Kept]:
        kept: list[Kept] = self._pages.kept(self._generator.page_size)
        return kept

    def wake(self) -> None:
        self._woken.set()

    # --- inside --------------------------------------------------------------------------

    def _iterate(self) -> None:
        import torch

        try:
            results = self._generator.iterate()
        except torch.cuda.OutOfMemoryError:
            self._out_of_memory()
            return
        for result in results:
            generation = self._running.get(result["identifier"])
            if generation is None:
                # It ended earlier in this same step.
                continue
            if result["stage"] == "streaming" and not generation.decoding:
                generation.decoding = True
                if self._resident.fit.plan.paged:
                    self._pages.remember(generation.job, generation.library_job)
            self._events.extend(generation.read(result))
            if generation.reason is not None:
                del self._running[generation.job.id]
                # Does nothing for a job that the generator has ended itself.
                self._generator.cancel(generation.library_job)
                self._events.append(generation.finished(generation.reason))

    def _out_of_memory(self) -> None:
        """Give up the job that asked for more than there is; the others go on."""
        import torch

        from .recovery import culprit, restore_pages

        job = culprit(self._generator)
        restore_pages(self._generator)
        self._generator.cancel(job)
        del self._running[job.identifier]
        torch.cuda.empty_cache()
        self._fail(
            job.identifier,
            "out_of_memory",
            "the card ran out of memory for this request: send less text, close what else uses "
            "the card, or load the model with a smaller `model.context`",
        )

    def _fail(self, job: int, code: str, message: str) -> None:
        self._events.append(Failed(job=job, code=code, message=message))

    def _new_generator(self) -> Any:
        from exllamav2.generator import ExLlamaV2DynamicGenerator

        from .generation import IdsOnly

        plan = self._resident.fit.plan
        return ExLlamaV2DynamicGenerator(
            model=self._resident.model,
            cache=self._resident.cache,
            tokenizer=IdsOnly(self._tokenizer.size),
            max_batch_size=plan.slots,
            max_chunk_size=plan.chunk,
            max_q_size=plan.tokens_per_step,
            use_ngram_draft=self._draft_tokens > 0,
            num_draft_tokens=self._draft_tokens,
            paged=plan.paged,
        )


def _folders(spec: ModelSpec) -> list[str]:
    given = spec.options.get("adapters", [])
    return given if isinstance(given, list) else [str(given)]


def _chat_template(folder: Path) -> str:
    file = folder / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
