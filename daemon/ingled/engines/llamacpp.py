"""llama.cpp as an engine, through the PyPI package xllamacpp (llama.cpp's server core in Python).

Runs GGUF models on the CPU, and on whatever GPU the installed wheel was built for. Each job is a
blocking call in a thread of its own; its callbacks put events into one queue that `step` reads.
The job count never exceeds the slots: a request that waits inside llama.cpp gets no callbacks and
so could not be cancelled.
"""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingle.errors import LoadFailed
from ingled.models.gguf_file import check_gguf

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
from .llamacpp_http import ServerTokenizer, UnixServer
from .slots import SlotTable, affinity_of

#: Tokens per prefill call on a CPU. Small: a cancel during prefill waits for one chunk at most,
#: and on CPUs prefill is hardly faster per token in larger chunks.
CPU_CHUNK = 16
GPU_CHUNK = 512

#: llama.cpp's value for "choose a seed".
RANDOM_SEED = 0xFFFFFFFF

_WAKE = None


class LlamaCpp(Engine):
    """See the module."""

    name = "llamacpp"

    def __init__(self) -> None:
        self._server: Any = None
        self._http: UnixServer | None = None
        self._tokenizer: ServerTokenizer | None = None
        self._folder: Path | None = None
        self._events: queue.SimpleQueue[EngineEvent | None] = queue.SimpleQueue()
        self._cancelled: dict[int, threading.Event] = {}
        self._context = 0
        self._slots = SlotTable(0)
        #: Whether llama.cpp chooses slots: it keeps what it evicts in host memory, and takes the
        #: slot with the most in common.
        self._chooses = True
        #: Job → its slot, where we chose it.
        self._slot_of: dict[int, int] = {}
        #: Job → the slot that it was in, its affinity, tokens that it left there.
        self._found: dict[int, tuple[int, str, int]] = {}

    def load(self, spec: ModelSpec, progress: ProgressCallback) -> Capabilities:
        if spec.path is None:
            raise LoadFailed(f"{spec.name} has no file: the llamacpp engine needs a GGUF")
        # A spinning thread pool collapses when an editor or a compiler shares the machine.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import xllamacpp

        progress(None, f"reading {spec.path.name}")
        self._folder = Path(tempfile.mkdtemp(prefix="ingle-llamacpp-"))
        key = secrets.token_hex(16)
        on_gpu = spec.gpu_layers != 0 and _has_gpu(xllamacpp)
        windows = check_gguf(spec.path).sliding_window > 0
        params = _params(xllamacpp, spec, on_gpu, windows)
        address = self._folder / "engine.sock"
        # The server core always listens. A unix socket in a 0700 folder plus a key that nobody
        # is told leaves that door to this process alone.
        params.hostnames = ["127.0.0.1" if sys.platform == "win32" else str(address)]
        params.api_keys = [key]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise LoadFailed(
                f"llama.cpp can't load {spec.path}: not a model it knows, or not enough memory "
                f"for {spec.slots} slots of {spec.context} tokens; try smaller `slots` or `context`"
            ) from error
        self._http = UnixServer(self._server.listening_address, key)
        self._tokenizer = ServerTokenizer(self._http)
        facts = self._http.get("/props")
        trained = self._http.get("/v1/models")["data"][0]["meta"]["n_ctx_train"]
        self._context = min(facts["default_generation_settings"]["n_ctx"], trained)
        self._slots = SlotTable(facts["total_slots"])
        self._chooses = params.cache_ram_mib != 0
        return Capabilities(
            context=self._context,
            slots=facts["total_slots"],
            device=_device(xllamacpp, on_gpu),
            chat_template=facts.get("chat_template", ""),
            bos_token=facts.get("bos_token", ""),
            eos_token=facts.get("eos_token", ""),
            grammar=True,
            exclusive=not on_gpu,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise RuntimeError("no model is loaded")
        return self._tokenizer

    def submit(self, job: Job) -> None:
        slot = None
        if not self._chooses:
            slot = self._slot_of[job.id] = self._slots.take(affinity_of(job))
        self._cancelled[job.id] = threading.Event()
        threading.Thread(
            target=self._run,
            args=(job, slot, self._cancelled[job.id]),
            name=f"job-{job.id}",
            daemon=True,
        ).start()

    def cancel(self, job: int) -> None:
        if job in self._cancelled:
            self._cancelled[job].set()

    def step(self, timeout: float) -> list[EngineEvent]:
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return []
        events = [] if event is None else [event]
        while not self._events.empty():
            event = self._events.get_nowait()
            if event is not None:
                events.append(event)
        for event in events:
            if isinstance(event, Finished | Failed):
                self._cancelled.pop(event.job, None)
                self._leave_slot(event.job)
        return events

    def kept(self) -> list[Kept]:
        return self._slots.kept()

    def wake(self) -> None:
        self._events.put(_WAKE)

    def unload(self) -> None:
        for cancelled in self._cancelled.values():
            cancelled.set()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        # The server object is left to the end of the process: destroying it can hang.

    def _leave_slot(self, job: int) -> None:
        found = self._found.pop(job, None)
        if found is not None:
            self._slots.enter(*found)
        slot = self._slot_of.pop(job, None)
        if slot is not None:
            self._slots.leave(slot)

    # --- one job, in its own thread ------------------------------------------------------

    def _run(self, job: Job, slot: int | None, cancelled: threading.Event) -> None:
        reader = ChunkReader(job, cancelled, self._retokenize)

        def on_chunk(chunk: dict[str, Any]) -> bool:
            for event in reader.read(chunk):
                self._events.put(event)
            return reader.stopped

        try:
            self._server.handle_completions(_request(job, slot), on_chunk)
            last = reader.end()
            if reader.slot is not None:
                self._found[job.id] = (reader.slot, affinity_of(job), reader.held)
        # Whatever llama.cpp throws ends this job only.
        except Exception as error:
            last = Failed(job=job.id, code="internal", message=f"llama.cpp: {type(error).__name__}")
        self._events.put(last)

    def _retokenize(self, text: str) -> list[int]:
        if self._tokenizer is None:
            raise RuntimeError("no model is loaded")
        return self._tokenizer.encode(text)


class ChunkReader:
    """Turns the chunks of one streamed completion into engine events."""

    def __init__(
        self, job: Job, cancelled: threading.Event, retokenize: Callable[[str], list[int]]
    ) -> None:
        self._job = job
        self._cancelled = cancelled
        self._retokenize = retokenize
        self._predicted = 0
        self._reason = ""
        self._error: Failed | None = None
        self._timings: dict[str, Any] = {}
        #: True once the generation is to be stopped.
        self.stopped = False
        #: The slot it is in, once that is known, and how many of its tokens are there.
        self.slot: int | None = None
        self.held = 0

    def read(self, chunk: dict[str, Any]) -> list[EngineEvent]:
        """Events of one chunk."""
        if "error" in chunk:
            self._error = _failure(self._job, chunk["error"])
            return []
        detail = chunk["__verbose"]
        self._timings = detail.get("timings", self._timings)
        self.slot = detail.get("id_slot", self.slot)
        if self._cancelled.is_set():
            self._reason, self.stopped = "cancelled", True
            return []
        choice = chunk["choices"][0]
        if choice["finish_reason"]:
            self._reason = choice["finish_reason"]
            return []
        predicted = detail.get("tokens_predicted", 0)
        if not predicted:
            return self._prefill(detail.get("prompt_progress"))
        return self._tokens(choice["text"], detail, predicted)

    def end(self) -> EngineEvent:
        """The last event, after the call returned."""
        if self._error:
            return self._error
        if not self._reason:
            self._reason = "cancelled" if self._cancelled.is_set() else "stop"
        timings = self._timings
        cached = timings.get("cache_n", 0)
        return Finished(
            job=self._job.id,
            reason=self._reason,  # type: ignore[arg-type]
            prompt_tokens=len(self._job.prompt),
            cached_tokens=cached,
            completion_tokens=self._predicted,
            prefill_ms=timings.get("prompt_ms", 0.0),
            decode_ms=timings.get("predicted_ms", 0.0),
        )

    def _prefill(self, progress: dict[str, int] | None) -> list[EngineEvent]:
        if not progress:
            return []
        self.held = progress["processed"]
        return [
            Prefill(
                job=self._job.id,
                processed=progress["processed"],
                total=progress["total"],
                cached=progress["cache"],
            )
        ]

    def _tokens(self, text: str, detail: dict[str, Any], predicted: int) -> list[EngineEvent]:
        ids = list(detail["tokens"])
        missing = predicted - self._predicted - len(ids)
        self._predicted = predicted
        self.held = len(self._job.prompt) + predicted
        if missing > 0:
            # llama.cpp holds back tokens that end inside a UTF-8 character and then reports only
            # the last one's id; the text is whole, so the ids are found again from it.
            again = self._retokenize(text)
            ids = again if len(again) == missing + len(ids) else again or ids
        if self._job.stop_ids and ids[-1] in self._job.stop_ids:
            self._reason, self.stopped = "stop", True
        logprobs = [entry["logprob"] for entry in detail.get("completion_probabilities", [])]
        return [Tokens(job=self._job.id, ids=ids, text=text, logprobs=logprobs)]


def _request(job: Job, slot: int | None) -> dict[str, Any]:
    """A job → llama.cpp's completion request. Every field here is ours: no client text but ids.

    `slot` None lets llama.cpp choose.
    """
    sampling = job.sampling
    request: dict[str, Any] = {
        "prompt": job.prompt,
        "n_predict": job.max_tokens,
        "stream": True,
        "cache_prompt": True,
        "return_tokens": True,
        "return_progress": True,
        "timings_per_token": True,
        "verbose": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": RANDOM_SEED if sampling.seed is None else sampling.seed,
        "samplers": ["top_k", "top_p", "min_p", "temperature"],
    }
    if slot is not None:
        request["id_slot"] = slot
    if job.stop_texts:
        request["stop"] = job.stop_texts
    if job.grammar:
        request["grammar"] = job.grammar
    if job.logprobs:
        request["n_probs"] = 1
    return request


def _failure(job: Job, error: dict[str, Any]) -> Failed:
    if error.get("type") == "exceed_context_size_error":
        return Failed(
            job=job.id,
            code="context_overflow",
            message=(
                f"the prompt has {error.get('n_prompt_tokens')} tokens, the context "
                f"{error.get('n_ctx')}: send less text or raise `model.context`"
            ),
        )
    return Failed(job=job.id, code="internal", message="llama.cpp refused the job")


def _params(xllamacpp: Any, spec: ModelSpec, on_gpu: bool, windows: bool) -> Any:
    """The configuration that measured best for one user, several slots, and fast cancels.

    `windows`: whether the model has layers with sliding windows.
    """
    cores = _cores()
    params = xllamacpp.CommonParams()
    params.model.path = str(spec.path)
    params.n_parallel = spec.slots
    params.n_ctx = spec.slots * spec.context
    params.kv_unified = False
    params.cache_idle_slots = False
    # llama.cpp gives wrong answers after it took the prompts of a model with sliding windows back
    # from host memory, while `swa_full` keeps the whole window cache, as fast typing needs it.
    params.cache_ram_mib = 0 if windows else spec.cache_mb
    params.slot_prompt_similarity = 0.1
    params.swa_full = True
    params.n_threads_http = 2
    params.ui = False
    params.verbosity = -1
    params.endpoint_slots = False
    params.cpuparams.n_threads = spec.threads or max(1, cores - 1)
    params.cpuparams_batch.n_threads = spec.threads or cores
    params.n_gpu_layers = spec.gpu_layers
    if on_gpu:
        params.n_batch = params.n_ubatch = GPU_CHUNK
    else:
        params.n_batch = params.n_ubatch = CPU_CHUNK
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_Q8_0
        params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return params


def _gpus(xllamacpp: Any) -> list[str]:
    kind = xllamacpp.ggml_backend_dev_type
    wanted = {kind.GGML_BACKEND_DEVICE_TYPE_GPU, kind.GGML_BACKEND_DEVICE_TYPE_IGPU}
    return [
        str(device.get("description") or device.get("name"))
        for device in xllamacpp.get_device_info()
        if device.get("type") in wanted
    ]


def _has_gpu(xllamacpp: Any) -> bool:
    return bool(_gpus(xllamacpp))


def _device(xllamacpp: Any, on_gpu: bool) -> str:
    return ", ".join(_gpus(xllamacpp)) if on_gpu else f"CPU, {_cores()} cores"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
