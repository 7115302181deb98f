"""The tiny gpt-oss that has something to say, on three engines and through the whole product.

Whatever any of them gets wrong in sinks, windows, rotary embeddings, experts, tokenizers, prompts
or the reading of answers, it says something else than what was learned.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ingle.messages import Chat, ChatMessage, Delta, Done, Infill
from ingle.results import Gathered
from ingled.engines.engine import Job, ModelSpec
from support import random_gpt_oss
from support.daemons import DaemonUnderTest
from support.engine_jobs import run
from support.exllamav2_stand_in import environment, install, without_flash_attention
from support.trained_gpt_oss import models
from support.trained_gpt_oss.cases import READ_FILE, Case, case, cases
from support.trained_gpt_oss.vocabulary import Vocabulary
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.model]

CASES = cases()
NAMES = [one.name for one in CASES]


@pytest.fixture(scope="module")
def small() -> Vocabulary:
    return Vocabulary.read(models.STORED)


@pytest.fixture(scope="module")
def transformers() -> Any:
    return random_gpt_oss.reference(models.STORED)


def learned(model: Any, small: Vocabulary) -> list[str]:
    """Names of the cases whose every token is the likeliest."""
    names = []
    for one in CASES:
        prompt, answer = small.small(one.prompt()), small.small(one.answer())
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer[:-1]])).logits[0, len(prompt) - 1 :]
        if logits.argmax(-1).tolist() == answer:
            names.append(one.name)
    return names


# --- the weights ----------------------------------------------------------------------------


def test_transformers_says_every_case(transformers: Any, small: Vocabulary) -> None:
    assert learned(transformers, small) == NAMES


@pytest.mark.parametrize("mistake", ["no sinks", "no windows", "wider windows", "no YaRN"])
@torch.no_grad()
def test_an_engine_with_a_mistake_would_not(mistake: str, small: Vocabulary) -> None:
    model = random_gpt_oss.reference(models.STORED)
    texts = [torch.tensor([small.small(one.prompt() + one.answer())]) for one in CASES]
    right = [model(text).logits for text in texts]
    for layer in model.model.layers:
        if mistake == "no sinks":
            layer.self_attn.sinks.data -= 100
    if mistake == "no windows":
        model.config.sliding_window = 100_000
    if mistake == "wider windows":
        model.config.sliding_window += 8
    if mistake == "no YaRN":
        rotary = model.model.rotary_emb
        rotary.inv_freq = 150_000.0 ** -(torch.arange(0, 32, 2).float() / 32)
        rotary.attention_scaling = 1.0
    worst = max(
        random_gpt_oss.divergence(model(text).logits, logits).max()
        for text, logits in zip(texts, right, strict=True)
    )
    assert worst > 10 * 3e-2


def test_the_stored_model_is_small_and_in_the_published_form() -> None:
    assert sum(file.stat().st_size for file in models.STORED.iterdir()) < 4_000_000
    config = json.loads((models.STORED / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "mxfp4"
    assert config["rope_scaling"]["truncate"] is False


# --- engines, by ids ------------------------------------------------------------------------


@pytest.mark.parametrize("flash", [True, False], ids=["flash-attn", "torch"])
@pytest.mark.parametrize("cache", ["fp16", "q8"])
def test_exllamav2_says_every_case(
    tmp_path: Path, small: Vocabulary, flash: bool, cache: str
) -> None:
    install()
    from ingled.engines.exllamav2.engine import ExLlamaV2Engine

    engine = ExLlamaV2Engine()
    spec = ModelSpec(
        name="tiny",
        path=models.stored(tmp_path / "m"),
        context=1024,
        slots=4,
        options={"cache": cache},
    )
    if flash:
        engine.load(spec, lambda *_: None)
    else:
        with without_flash_attention():
            engine.load(spec, lambda *_: None)
    jobs = [
        Job(id=n, prompt=small.small(one.prompt()), max_tokens=120, stop_ids=_ends(small))
        for n, one in enumerate(CASES)
    ]
    outcomes = run(engine, jobs, seconds=110)
    said = {CASES[n].name: outcome.ids for n, outcome in outcomes.items()}
    assert said == {one.name: small.small(one.answer()) for one in CASES}
    engine.unload()


def _ends(small: Vocabulary) -> list[int]:
    return small.small([200_002, 200_012])


# --- the whole product ----------------------------------------------------------------------


def started(
    model: Path, environ: dict[str, str], *, ready: bool = True, **settings: Any
) -> DaemonUnderTest:
    home = Path(tempfile.mkdtemp(prefix="ingle-t-"))
    wanted = {"name": str(model), "slots": 2, "context": 1024}
    daemon = DaemonUnderTest(home, model=wanted, **settings)
    daemon.env |= environ
    return daemon.start(ready=ready)


@pytest.fixture(scope="module")
def exllamav2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonUnderTest]:
    model = models.expanded(tmp_path_factory.mktemp("trained") / "tiny-gpt-oss")
    daemon = started(model, environment())
    yield daemon
    daemon.close()
    shutil.rmtree(daemon.home, ignore_errors=True)


@pytest.fixture(scope="module")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonUnderTest]:
    model = models.gguf_file(tmp_path_factory.mktemp("trained") / "tiny-gpt-oss.gguf")
    daemon = started(model, {})
    yield daemon
    daemon.close()
    shutil.rmtree(daemon.home, ignore_errors=True)


@pytest.fixture(params=["exllamav2", "llamacpp"])
def daemon(request: pytest.FixtureRequest) -> DaemonUnderTest:
    found: DaemonUnderTest = request.getfixturevalue(request.param)
    return found


def ask(daemon: DaemonUnderTest, one: Case) -> tuple[Gathered, Done]:
    fields = {
        name: getattr(one.request, name)
        for name in one.request.__struct_fields__
        if name not in ("id", "temperature", "deadline_ms", "max_tokens")
    }
    gathered = Gathered()
    with daemon.client() as client:
        call = client.call(
            type(one.request), temperature=0.0, deadline_ms=60_000, max_tokens=160, **fields
        )
        for event in call:
            gathered.add(event)
    assert isinstance(event, Done)
    return gathered, event


@pytest.mark.parametrize("name", [one.name for one in CASES if isinstance(one.request, Chat)])
def test_a_question_gets_its_thoughts_and_its_answer(daemon: DaemonUnderTest, name: str) -> None:
    one = case(name)
    gathered, done = ask(daemon, one)
    answer = gathered.answer()
    assert (answer.analysis, answer.text) == (one.analysis, one.final)
    assert done.finish == ("tool_call" if one.call else "stop")
    if one.call:
        assert answer.call is not None
        assert (answer.call.tool, answer.call.arguments) == one.call


@pytest.mark.parametrize("name", [one.name for one in CASES if isinstance(one.request, Infill)])
def test_a_completion_gets_its_line(daemon: DaemonUnderTest, name: str) -> None:
    one = case(name)
    gathered, done = ask(daemon, one)
    assert gathered.completion().text == one.final
    assert done.finish == "stop"


def test_efforts_differ(daemon: DaemonUnderTest) -> None:
    answers = [
        ask(daemon, case(f"effort {effort}"))[0].answer() for effort in ("low", "medium", "high")
    ]
    lengths = [len(answer.analysis) for answer in answers]
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert len({answer.text for answer in answers}) == 3


def test_a_tool_call_streams_on_its_channel(daemon: DaemonUnderTest) -> None:
    one = case("tool call")
    with daemon.client() as client:
        events = list(
            client.call(
                Chat,
                messages=one.request.messages,  # type: ignore[union-attr]
                tools=[READ_FILE],
                effort="low",
                temperature=0.0,
            )
        )
    deltas = [event for event in events if isinstance(event, Delta) and event.channel == "tool"]
    assert {event.tool for event in deltas} == {"read_file"}
    assert json.loads("".join(event.text for event in deltas)) == {"path": "setup.cfg"}


def test_what_it_says_of_itself(exllamav2: DaemonUnderTest) -> None:
    with exllamav2.client() as client:
        status = client.status().models[0]
    assert (status.engine, status.dialect, status.state) == ("exllamav2", "harmony", "ready")
    assert status.slots == 2
    assert status.limits == []
    assert list((exllamav2.home / "cache").rglob("o200k_base.tiktoken"))


def test_a_long_prompt_is_cached(exllamav2: DaemonUnderTest) -> None:
    messages = [ChatMessage(role="user", content="word " * 400)]
    with exllamav2.client() as client:
        usages = [
            client.call(Chat, messages=messages, max_tokens=1, temperature=0.0).wait().usage
            for _ in range(2)
        ]
    assert usages[0].cached_tokens < 100
    assert usages[1].cached_tokens >= usages[1].prompt_tokens - 2


def test_limits_and_refusals_reach_the_user(tmp_path: Path) -> None:
    model = models.expanded(tmp_path / "tiny")
    unpaged = started(model, environment(flash_attention=False))
    try:
        with unpaged.client() as client:
            status = client.status().models[0]
        assert status.slots == 1
        assert "no flash-attn" in status.limits[0]
    finally:
        unpaged.close()
    full = started(model, environment(vram_bytes=330 * 2**20), ready=False)
    try:
        with full.client() as client:
            wait_until(
                lambda: any(one.state == "failed" for one in client.status().models),
                timeout=60,
                what="a refusal",
            )
            status = client.status().models[0]
        assert "the card has 0." in status.detail
        assert "\n" not in status.detail
    finally:
        full.close()
