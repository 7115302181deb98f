"""The exllamav2 engine's promises, on a tiny random gpt-oss and the CPU stand-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ingle.errors import LoadFailed, ModelInvalid, ModelNotFound, Unsupported
from ingled.engines.engine import (
    EngineEvent,
    Failed,
    Finished,
    Job,
    ModelSpec,
    Prefill,
    Sampling,
    Tokens,
)
from ingled.worker.resuming import resumed_job
from support import random_gpt_oss
from support.engine_jobs import Outcome, run
from support.exllamav2_stand_in import install, without_flash_attention

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    install()
    return random_gpt_oss.build(tmp_path_factory.mktemp("engine") / "tiny", experts=4, active=2)


def load(folder: Path, **changes: Any) -> Any:
    from ingled.engines.exllamav2.engine import ExLlamaV2Engine

    options = changes.pop("options", {})
    engine = ExLlamaV2Engine()
    wanted = {"context": 1024, "slots": 4} | changes
    engine.capabilities = engine.load(  # type: ignore[attr-defined]
        ModelSpec(name="tiny", path=folder, options=options, **wanted), lambda *_: None
    )
    return engine


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Any]:
    made = load(folder)
    yield made
    made.unload()


@pytest.fixture(scope="module")
def unpaged(folder: Path) -> Iterator[Any]:
    with without_flash_attention():
        made = load(folder)
        yield made
        made.unload()


def prompt(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    drawn: list[int] = torch.randint(3, 500, (length,), generator=generator).tolist()
    return drawn


def job(number: int, ids: list[int], **changes: Any) -> Job:
    return Job(id=number, prompt=ids, **({"max_tokens": 24} | changes))


def one(engine: Any, wanted: Job) -> Outcome:
    return run(engine, [wanted])[wanted.id]


# --- what it computes ---------------------------------------------------------------------


def test_greedy_tokens_are_the_models(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = prompt(40)
    said = one(engine, job(1, ids)).ids
    model = engine._resident.model
    monkeypatch.setattr(model.config, "max_output_len", None)
    text = torch.tensor([ids + said])
    with torch.inference_mode():
        wanted = model.forward(text)[0, len(ids) - 1 : -1, : random_gpt_oss.VOCABULARY]
    chosen = torch.tensor(said)[:, None]
    behind = wanted.amax(-1) - wanted.gather(1, chosen)[:, 0]
    # One step and a whole prompt round differently: a token may win by a hair.
    assert behind.max() < 0.05


@pytest.mark.parametrize("cache", ["fp16", "q8", "q6", "q4"])
def test_every_cache_type_answers(folder: Path, cache: str) -> None:
    made = load(folder, options={"cache": cache})
    try:
        outcome = one(made, job(1, prompt(300), logprobs=True))
        assert len(outcome.ids) == 24
        assert (
            type(made._resident.cache).__name__
            == {
                "fp16": "ExLlamaV2Cache",
                "q8": "ExLlamaV2Cache_Q8",
                "q6": "ExLlamaV2Cache_Q6",
                "q4": "ExLlamaV2Cache_Q4",
            }[cache]
        )
    finally:
        made.unload()


def test_several_jobs_say_what_each_says_alone(engine: Any) -> None:
    jobs = [job(n, prompt(length, n)) for n, length in enumerate((20, 300, 700))]
    alone = {wanted.id: one(engine, wanted).ids for wanted in jobs}
    together = run(engine, jobs)
    same = sum(
        together[n].ids[place] == token
        for n, ids in alone.items()
        for place, token in enumerate(ids)
    )
    # A random model is chaotic, and a batch rounds in another way than a single row.
    assert same >= 0.7 * sum(map(len, alone.values()))
    assert all(len(outcome.ids) == 24 for outcome in together.values())


def test_jobs_run_side_by_side(engine: Any) -> None:
    order: list[int] = []
    jobs = [job(n, prompt(30, n)) for n in range(3)]
    run(engine, jobs, on_event=lambda e: order.append(e.job) if isinstance(e, Tokens) else None)
    assert order.index(2) < len(order) - 1 - order[::-1].index(0)


def test_a_seed_repeats_and_another_differs(engine: Any) -> None:
    def said(seed: int) -> list[int]:
        sampling = Sampling(temperature=1.0, top_p=0.95, top_k=100, min_p=0.01, seed=seed)
        return one(engine, job(1, prompt(50), sampling=sampling)).ids

    assert said(5) == said(5)
    assert said(5) != said(6)


def test_log_probabilities_are_the_models(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine._resident.model.config, "max_output_len", None)
    ids = prompt(30)
    outcome = one(engine, job(1, ids, logprobs=True, max_tokens=8))
    with torch.inference_mode():
        logits = engine._resident.model.forward(torch.tensor([ids + outcome.ids]))[0]
    wanted = logits[len(ids) - 1 : -1, : random_gpt_oss.VOCABULARY].float().log_softmax(-1)
    for place, (token, logprob) in enumerate(zip(outcome.ids, outcome.logprobs, strict=True)):
        assert logprob == pytest.approx(float(wanted[place, token]), abs=0.1)
    assert not one(engine, job(1, ids)).logprobs


# --- the cache ----------------------------------------------------------------------------


def test_whole_and_partial_pages_are_reused(engine: Any) -> None:
    ids = prompt(700, seed=11)
    first = one(engine, job(1, ids))
    again = one(engine, job(2, ids))
    assert first.finished.cached_tokens == 0
    assert again.finished.cached_tokens == 699
    assert again.ids == first.ids
    longer = one(engine, job(3, ids[:600] + prompt(50, seed=12)))
    assert 512 <= longer.finished.cached_tokens <= 600
    assert longer.finished.prompt_tokens == 650


@pytest.mark.parametrize("protected", [True, False])
@pytest.mark.parametrize(("mine", "other"), [("infill:d", "chat:"), ("chat:c", "infill:")])
def test_chats_do_not_evict_the_document_nor_the_reverse(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mine: str, other: str, protected: bool
) -> None:
    from ingled.engines.exllamav2.pages import PrefixPages

    if not protected:
        # What the library would do by itself.
        monkeypatch.setattr(PrefixPages, "protect", lambda *_: None)
    engine = load(folder, slots=2)
    kept = job(1, prompt(600, seed=1), max_tokens=4, affinity=mine)
    one(engine, kept)
    for number in range(4):
        long = prompt(900, seed=10 + number)
        one(engine, job(10 + number, long, max_tokens=4, affinity=f"{other}{number}"))
    names = [held.affinity for held in engine.kept()]
    again = one(engine, replace(kept, id=2)).finished
    assert (again.cached_tokens >= 512) == protected
    assert (mine in names) == protected
    assert names[0] == f"{other}3"
    engine.unload()


def test_prefill_is_told_in_chunks(engine: Any) -> None:
    outcome = one(engine, job(1, prompt(900, seed=21)))
    assert [event.total for event in outcome.prefill] == [900] * len(outcome.prefill)
    processed = [event.processed for event in outcome.prefill]
    assert processed == [513, 900]
    assert outcome.finished.prefill_ms > 0
    assert outcome.finished.decode_ms > 0


# --- stopping -----------------------------------------------------------------------------


def test_a_stop_id_ends_the_answer_and_is_reported(engine: Any) -> None:
    ids = prompt(40)
    said = one(engine, job(1, ids)).ids
    stop = said[5]
    outcome = one(engine, job(2, ids, stop_ids=[stop]))
    assert outcome.ids == said[: said.index(stop) + 1]
    assert outcome.finished.reason == "stop"
    assert outcome.finished.completion_tokens == len(outcome.ids)


def test_the_models_own_end_stops_too(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = prompt(40)
    said = one(engine, job(1, ids)).ids
    monkeypatch.setattr(engine, "_stop_ids", [said[3]])
    assert one(engine, job(2, ids)).finished.reason == "stop"


def test_a_stop_text_across_tokens_is_cut(engine: Any) -> None:
    ids = prompt(40)
    whole = one(engine, job(1, ids)).text
    middle = len(whole) // 2
    stop = whole[middle : middle + 5]
    outcome = one(engine, job(2, ids, stop_texts=[stop]))
    assert outcome.text == whole[: whole.index(stop)]
    assert outcome.finished.reason == "stop"
    assert one(engine, job(3, ids, stop_texts=["never said"])).text == whole


def test_max_tokens_and_the_context_end_an_answer(engine: Any) -> None:
    outcome = one(engine, job(1, prompt(30), max_tokens=7))
    assert (len(outcome.ids), outcome.finished.reason) == (7, "length")
    long = one(engine, job(2, prompt(1020), max_tokens=100))
    assert (len(long.ids), long.finished.reason) == (4, "length")


@pytest.mark.parametrize("fixture", ["engine", "unpaged"])
@pytest.mark.parametrize("after", [Prefill, Tokens])
def test_a_cancel_acts_after_one_step(
    fixture: str, after: type[EngineEvent], request: pytest.FixtureRequest
) -> None:
    engine = request.getfixturevalue(fixture)
    engine.submit(job(1, prompt(900, seed=31), max_tokens=100))
    deadline = time.monotonic() + 30
    while not any(isinstance(event, after) for event in engine.step(0.1)):
        assert time.monotonic() < deadline
    engine.cancel(1)
    (end,) = engine.step(0.1)
    assert isinstance(end, Finished)
    assert end.reason == "cancelled"
    assert not engine.step(0.0)
    engine.cancel(1)
    assert not engine.step(0.0)
    assert one(engine, job(2, prompt(30))).finished.reason == "length"


def test_a_cancelled_prompt_is_kept_in_the_cache(engine: Any) -> None:
    ids = prompt(900, seed=41)
    engine.submit(job(1, ids))
    while not any(isinstance(event, Prefill) for event in engine.step(0.1)):
        pass
    engine.cancel(1)
    engine.step(0.0)
    assert one(engine, job(2, ids)).finished.cached_tokens >= 512


# --- text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [False, True])
def test_a_job_that_is_preempted_goes_on_where_it_was(engine: Any, stops: bool) -> None:
    """At every token: in the middle of characters, and of a text that ends the answer."""
    ids = prompt(20)
    free = one(engine, job(1, ids, max_tokens=12))
    wanted = job(2, ids, max_tokens=12, stop_texts=[free.text[-6:-2]] if stops else [])
    whole = one(engine, wanted)
    assert (whole.finished.reason == "stop") == stops
    for kept in range(1, len(whole.ids)):
        name = 100 + kept
        seen: list[int] = []

        def cancel_at(
            event: EngineEvent, name: int = name, kept: int = kept, seen: list[int] = seen
        ) -> None:
            if isinstance(event, Tokens):
                seen.extend(event.ids)
                if len(seen) >= kept:
                    engine.cancel(name)

        first = run(engine, [replace(wanted, id=name)], on_event=cancel_at)[name]
        assert first.finished.reason == "cancelled"
        assert first.ids == whole.ids[:kept]
        rest = one(engine, resumed_job(replace(wanted, id=200 + kept), first.ids))
        assert first.ids + rest.ids == whole.ids
        assert first.text + rest.text == whole.text
        assert rest.finished.reason == whole.finished.reason


def test_text_comes_in_whole_characters(engine: Any) -> None:
    stream = engine.tokenizer.stream()
    text = "naïve 漢字 🙂 done"
    pieces = [stream.feed(token) for token in engine.tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert "" in pieces
    assert not any("�" in piece for piece in pieces)


def test_control_tokens_in_text_are_text(engine: Any) -> None:
    tokenizer = engine.tokenizer
    assert tokenizer.special("<eos>") == 2
    assert 2 not in tokenizer.encode("a <eos> b")
    assert tokenizer.decode(tokenizer.encode("a <eos> b")) == "a <eos> b"
    assert tokenizer.decode([2]) == "<eos>"
    assert tokenizer.stream().feed(2) == ""
    assert tokenizer.special("<nothing>") is None
    tokenizer.encode("\ud800 lone surrogate")


# --- limits -------------------------------------------------------------------------------


def test_without_flash_attention_it_says_its_limits_and_works(unpaged: Any) -> None:
    assert unpaged.capabilities.slots == 1
    assert len(unpaged.capabilities.limits) == 2
    ids = prompt(600, seed=51)
    first = one(unpaged, job(1, ids))
    again = one(unpaged, job(2, ids))
    assert again.finished.cached_tokens == 599
    assert again.ids == first.ids


def test_with_flash_attention_there_are_no_limits(engine: Any) -> None:
    assert engine.capabilities.slots == 4
    assert engine.capabilities.limits == ()
    assert engine.capabilities.device == "CPU stand-in, no CUDA"


@pytest.mark.parametrize("flash", [True, False])
def test_guessing_ahead_changes_no_greedy_token(folder: Path, flash: bool) -> None:
    with nullcontext() if flash else without_flash_attention():
        plain = load(folder)
        guessing = load(folder, options={"draft_tokens": 3})
        try:
            # A random model ends by chance.
            plain._stop_ids = guessing._stop_ids = []
            ids = prompt(30) * 3
            wanted = one(plain, job(1, ids, max_tokens=40))
            found = one(guessing, job(1, ids, max_tokens=40))
            assert found.finished.completion_tokens == len(found.ids) == 40
            agreed = sum(a == b for a, b in zip(wanted.ids, found.ids, strict=True))
            assert agreed >= 30
            assert one(guessing, job(2, prompt(1020), max_tokens=50)).finished.reason == "length"
        finally:
            plain.unload()
            guessing.unload()


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Job(id=1, prompt=[5], max_tokens=4, grammar="root ::= [a-z]"), "unsupported"),
        (Job(id=1, prompt=[], max_tokens=4), "invalid_request"),
        (Job(id=1, prompt=[5] * 1024, max_tokens=4), "context_overflow"),
    ],
)
def test_a_job_that_can_not_run_fails_alone(engine: Any, wanted: Job, code: str) -> None:
    outcomes = run(engine, [wanted, job(2, prompt(20))])
    end = outcomes[1].end
    assert isinstance(end, Failed)
    assert end.code == code
    assert outcomes[2].finished.reason == "length"


# --- running out of memory ------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_out_of_memory_costs_one_request(
    engine: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    ids = prompt(300, seed=61)
    wanted = one(engine, job(1, ids, max_tokens=40)).ids
    generator = engine._generator
    generator.reset_page_table()
    forward = generator.model.forward_chunk
    failing = True

    def short(*args: Any, **kwargs: Any) -> Any:
        nonlocal failing
        several = len(generator.active_jobs) == 2
        prefilling = kwargs.get("preprocess_only", False)
        if failing and several and prefilling == (stage == "prefill"):
            failing = False
            raise torch.cuda.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(generator.model, "forward_chunk", short)
    ends: dict[int, Outcome] = {1: Outcome(), 2: Outcome()}
    engine.submit(job(1, ids, max_tokens=40))
    started = False
    deadline = time.monotonic() + 60
    while any(outcome.end is None for outcome in ends.values()):
        assert time.monotonic() < deadline
        for event in engine.step(0.1):
            if isinstance(event, Tokens):
                ends[event.job].ids += event.ids
                if not started:
                    engine.submit(job(2, prompt(500, seed=62)))
                    started = True
            elif isinstance(event, Finished | Failed):
                ends[event.job].end = event
    failed = ends[2].end
    assert isinstance(failed, Failed)
    assert failed.code == "out_of_memory"
    assert ends[1].ids == wanted
    # The cache that is left is sound: the same prompt again says the same.
    assert one(engine, job(3, ids, max_tokens=40)).ids == wanted


def test_pages_of_a_failed_step_are_not_taken_for_computed(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = engine._generator
    generator.reset_page_table()
    engine.submit(job(1, prompt(100, seed=71)))
    while not any(isinstance(event, Tokens) for event in engine.step(0.1)):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(
            generator.model,
            "forward_chunk",
            lambda *_, **__: (_ for _ in ()).throw(torch.cuda.OutOfMemoryError("full")),
        )
        (end,) = engine.step(0.1)
    assert isinstance(end, Failed)
    computed = max(page.kv_position for page in generator.all_pages)
    assert computed == 100


# --- loading --------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_with_the_numbers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGLE_STAND_IN_VRAM", str(400 * 2**20))
    with pytest.raises(LoadFailed, match=r"needs .* GB, the card has 0\.\d GB free for it"):
        load(folder, context=100_000)


def test_auto_takes_the_best_cache_that_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingled.engines.exllamav2 import loading

    options = loading.read_options({}, 65_536, 4, ())

    def chosen(vram: int) -> Any:
        monkeypatch.setenv("INGLE_STAND_IN_VRAM", str(vram))
        return loading.choose_fit(folder, options, paged=True)

    vram = 8 * 2**30
    kinds = []
    for _ in range(3):
        fit = chosen(vram)
        kinds.append(fit.plan.cache)
        # One byte less than it needs.
        vram -= fit.left + 1
    assert kinds == ["fp16", "q8", "q6"]
    with pytest.raises(LoadFailed, match="q4 cache"):
        chosen(vram)


def test_no_card_no_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LoadFailed, match="is a build for CPUs"):
        load(folder)


def damaged(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_bad_folders_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    cases: list[tuple[str, Any, type[Exception], str]] = [
        (
            "another",
            lambda f: (f / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}'),
            Unsupported,
            "LlamaForCausalLM",
        ),
        (
            "truncated",
            lambda f: (f / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-100]
            ),
            ModelInvalid,
            "truncated",
        ),
        ("no config", lambda f: (f / "config.json").unlink(), ModelNotFound, "config.json"),
        ("no tokenizer", lambda f: (f / "tokenizer.json").unlink(), ModelInvalid, "tokenizer.json"),
        (
            "bad tokenizer",
            lambda f: (f / "tokenizer.json").write_text("{}"),
            ModelInvalid,
            "tokenizer.json is damaged",
        ),
    ]
    for name, damage, kind, said in cases:
        copy = damaged(folder, tmp_path / name)
        damage(copy)
        with pytest.raises(kind) as refused:
            load(copy)
        assert said in str(refused.value), name
        assert "\n" not in str(refused.value)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(LoadFailed, match="no folder of safetensors"):
        load(folder / "model.safetensors")


def test_a_missing_tensor_is_named(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = damaged(folder, tmp_path / "missing")
    tensors = load_file(copy / "model.safetensors")
    tensors.pop("model.layers.1.self_attn.sinks")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(ModelInvalid, match=r"layers\.1\.self_attn\.sinks"):
        load(copy)


# --- life -----------------------------------------------------------------------------------


def test_a_waiting_step_is_woken(engine: Any) -> None:
    waited: list[float] = []

    def wait() -> None:
        begun = time.monotonic()
        engine.step(30)
        waited.append(time.monotonic() - begun)

    thread = threading.Thread(target=wait)
    thread.start()
    engine.wake()
    thread.join(10)
    assert waited
    assert waited[0] < 10


def test_unloading_frees_the_kernels_objects(folder: Path, tmp_path: Path) -> None:
    from support import exl2_rounding

    exl2_rounding.quantize(
        random_gpt_oss.build(tmp_path / "plain", layers=2), tmp_path / "exl2", tmp_path / "ref"
    )
    import exllamav2_ext

    before = exllamav2_ext.alive()
    made = load(tmp_path / "exl2")
    one(made, job(1, prompt(40)))
    assert exllamav2_ext.alive() > before
    made.unload()
    assert exllamav2_ext.alive() == before
