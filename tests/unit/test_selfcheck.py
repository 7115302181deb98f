"""The checks of `ingle doctor --deep`: each passes where all is right, and fails on its defect.

On the CPU stand-in and with small sizes. Defects are planted in the stand-in's kernels, as a card
or a driver would have them, and in ingle's own layers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from support import random_gpt_oss
from support.exllamav2_stand_in import install, without_flash_attention

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@pytest.fixture(scope="module", autouse=True)
def library() -> Iterator[None]:
    install()
    from ingled.engines.exllamav2.library import install as teach

    teach()
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def setup(library: None) -> Any:
    """Small, with a last group that is cut short, and prompts longer than the window."""
    from exllamav2 import device

    from ingled.engines.exllamav2.selfcheck.setup import Setup, Sizes

    sizes = Sizes(
        hidden=192,
        heads=4,
        kv_heads=2,
        head_dim=64,
        inner=192,
        vocabulary=256,
        window=16,
        # Two pages.
        tokens=300,
        decoded=30,
        calls=12,
        cached=(300, 700),
        rows=(1, 4, 33),
        copied=2**16,
    )
    return Setup(device=device._torch_device(0), sizes=sizes)


@pytest.fixture(scope="module")
def models(setup: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from ingled.engines.exllamav2.selfcheck import synthetic

    folder = tmp_path_factory.mktemp("synthetic")
    return {kind: synthetic.write(setup, folder / kind, kind) for kind in synthetic.KINDS}


def grades(findings: Iterator[Any]) -> dict[str, str]:
    """Text → grade. What is wrong says what to do about it."""
    found = list(findings)
    for one in found:
        assert "\n" not in one.text
        assert one.remedy or one.grade in ("ok", "info", "skip")
    assert found
    return {one.text: one.grade for one in found}


def failed(findings: Iterator[Any]) -> list[str]:
    return [text for text, grade in grades(findings).items() if grade == "fail"]


# --- all is right ---------------------------------------------------------------------------------


def test_a_whole_run_is_right_and_leaves_nothing(
    setup: Any, tmp_path: Path, monkeypatch: Patch
) -> None:
    from ingled.engines.exllamav2.selfcheck import run

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = random_gpt_oss.build(tmp_path / "timed", experts=4, active=2, layers=2)
    steps: list[str] = []
    found = list(run.findings(setup, quick=True, report=steps.append))
    assert [one.text for one in found if one.grade != "ok"] == []
    checks = list(dict.fromkeys(one.check for one in found))
    assert checks == ["exl2", "mxfp4", "flash", "graphs", "sinks", "headroom", "model"]
    # Both kinds of weights, on seven ways each.
    assert sum(one.check == "model" for one in found) == 14
    assert steps[0] == "checking EXL2 matrices"
    assert [path.name for path in tmp_path.iterdir()] == [model.name]


def test_without_flash_attention_it_is_not_checked(setup: Any, models: dict[str, Any]) -> None:
    from ingled.engines.exllamav2.selfcheck import flash, layers, whole

    with without_flash_attention():
        assert set(grades(flash.check(setup)).values()) == {"skip"}
        assert list(grades(layers.check_sinks(setup, models["EXL2"])).values()) == ["ok"]
        assert list(grades(whole.check(setup, models["EXL2"])).values()) == ["ok"] * 3


def test_the_reference_is_transformers(tmp_path: Path) -> None:
    from ingled.engines.exllamav2.selfcheck import reference

    folder = random_gpt_oss.build(tmp_path / "m", experts=8, active=3)
    config = json.loads((folder / "config.json").read_text())
    ids = torch.randint(3, random_gpt_oss.VOCABULARY, (1, 50))
    found = reference.logits(config, load_file(folder / "model.safetensors"), ids)
    wanted = random_gpt_oss.reference(folder)(ids).logits
    assert random_gpt_oss.divergence(found, wanted).max() < 1e-6


def test_synthetic_models_mean_what_transformers_makes_of_them(
    setup: Any, models: dict[str, Any]
) -> None:
    from transformers import GptOssConfig, GptOssForCausalLM

    from ingled.engines.exllamav2.selfcheck import reference

    ids = torch.randint(0, setup.sizes.vocabulary, (1, setup.sizes.tokens))
    for model in models.values():
        config = {name: one for name, one in model.config.items() if name != "quantization_config"}
        transformer = GptOssForCausalLM._from_config(
            GptOssConfig(**config), attn_implementation="eager", dtype=torch.float32
        )
        transformer.load_state_dict({name: one.float() for name, one in model.weights.items()})
        wanted = transformer.eval()(ids).logits
        found = reference.logits(model.config, model.weights, ids)
        assert random_gpt_oss.divergence(found, wanted).max() < 1e-6


# --- EXL2 matrices and MXFP4 ----------------------------------------------------------------------


def _product(change: Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]) -> Plant:
    """Plant: what becomes of a matrix's product, given the matrix and its input."""

    def plant(patch: Patch) -> None:
        from exllamav2_ext.matrices import Matrix

        product = Matrix.product
        patch.setattr(Matrix, "product", lambda self, x: change(self, x, product(self, x)))

    return plant


def _without_last_group(matrix: Any, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """A kernel that only walks whole groups of 128 inputs."""
    whole = x.shape[1] // 128 * 128
    return output - x[:, whole:].float() @ matrix.weight[whole:].float()


def _without_bias(matrix: Any, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    return output if matrix.bias is None else output - matrix.bias.float()


def _one_value_not_finite(matrix: Any, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    output[0, 3] = float("nan")
    return output


def _last_row_of_many_missing(matrix: Any, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """A tile of rows that is cut short."""
    if len(output) > 32:
        output[-1] = 0
    return output


@pytest.mark.parametrize(
    "defect",
    [_without_last_group, _without_bias, _one_value_not_finite, _last_row_of_many_missing],
    ids=lambda one: one.__name__.strip("_"),
)
def test_wrong_products(setup: Any, monkeypatch: Patch, defect: Any) -> None:
    from ingled.engines.exllamav2.selfcheck import products

    _product(defect)(monkeypatch)
    wrong = failed(products.check(setup))
    # The matrix of 256 inputs has no group that is cut short.
    rows = {"192"} if defect is _without_last_group else {"192", "256"}
    assert {text.split()[0] for text in wrong} == rows
    assert all("products are off" in text for text in wrong)


@pytest.mark.parametrize(
    ("change", "grade", "words"),
    [(0.5, "fail", "dequantized wrong"), (1 + 2**-11, "warn", "rounded another way")],
)
def test_wrong_dequantization(
    setup: Any, monkeypatch: Patch, change: float, grade: str, words: str
) -> None:
    import exllamav2_ext

    from ingled.engines.exllamav2.selfcheck import products

    right = exllamav2_ext.reconstruct

    def reconstruct(handle: int, output: torch.Tensor) -> None:
        right(handle, output)
        # The last row of a matrix, in the group that is cut short or not.
        output[-1] = (output[-1].float() * change).half()

    monkeypatch.setattr(exllamav2_ext, "reconstruct", reconstruct)
    found = grades(products.check(setup))
    assert set(found.values()) == {grade}
    assert all(words in text for text in found)


@pytest.mark.parametrize("where", ["on the card", "everywhere"])
def test_wrong_mxfp4(setup: Any, monkeypatch: Patch, where: str) -> None:
    from ingled.engines.exllamav2 import mxfp4
    from ingled.engines.exllamav2.selfcheck import decoding

    right, calls = mxfp4.decode, 0

    def decode(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        values = right(blocks, scales)
        # The card comes first. It flushes what is too small for a normal number.
        flushed = values.masked_fill(values.abs() < 2.0**-14, 0.0)
        return flushed if where == "everywhere" or calls == 1 else values

    monkeypatch.setattr(mxfp4, "decode", decode)
    (text,) = failed(decoding.check(setup))
    assert ("the CPU's" in text) == (where == "on the card")


# --- flash-attn -----------------------------------------------------------------------------------


def _attend(change: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> Plant:
    """Plant: `change(right, q, k, v, lengths, causal, scale, window, softcap)`."""

    def plant(patch: Patch) -> None:
        import flash_attn

        right = flash_attn.attend
        patch.setattr(flash_attn, "attend", lambda *args: change(right, *args))

    return plant


def _binary_logarithm(right: Any, *args: Any) -> Any:
    output, lse = right(*args)
    return output, lse / math.log(2)


def _wider_window(right: Any, *args: Any) -> Any:
    (left, side), softcap = args[6:]
    return right(*args[:6], (left + (left >= 0), side), softcap)


def _a_part_of_the_keys(right: Any, q: Any, k: Any, v: Any, lengths: Any, *rest: Any) -> Any:
    """The last of several blocks that share a long cache is not combined."""
    if q.shape[1] == 1 and k.shape[1] > 500:
        return right(q, k[:, 256:], v[:, 256:], lengths - 256, *rest)
    return right(q, k, v, lengths, *rest)


def _lse_of_the_last_block(right: Any, q: Any, k: Any, v: Any, lengths: Any, *rest: Any) -> Any:
    output, lse = right(q, k, v, lengths, *rest)
    if q.shape[1] == 1 and k.shape[1] > 500:
        _, lse = right(q, k[:, 256:], v[:, 256:], lengths - 256, *rest)
    return output, lse


def _pages_in_order(patch: Patch) -> None:
    from exllamav2 import attn

    right = attn.flash_attn_with_kvcache

    def in_order(**given: Any) -> Any:
        table = given["block_table"]
        return right(**given | {"block_table": table.flatten().sort().values.view(table.shape)})

    patch.setattr(attn, "flash_attn_with_kvcache", in_order)


@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (_attend(_binary_logarithm), ["of 300", "of 700", "without pages"]),
        (_attend(_wider_window), ["of 300", "of 700", "without pages"]),
        (_attend(_a_part_of_the_keys), ["of 700"]),
        (_attend(_lse_of_the_last_block), ["of 700"]),
        (_pages_in_order, ["of 300", "of 700"]),
    ],
    ids=["binary lse", "window", "split keys", "split lse", "pages"],
)
def test_wrong_flash_attention(
    setup: Any, monkeypatch: Patch, plant: Plant, wrong: list[str]
) -> None:
    from ingled.engines.exllamav2.selfcheck import flash

    plant(monkeypatch)
    found = failed(flash.check(setup))
    assert len(found) == len(wrong)
    for words, text in zip(wrong, found, strict=True):
        assert words in text


# --- the fused projections ------------------------------------------------------------------------


def test_a_graph_that_is_replayed_with_old_inputs(
    setup: Any, models: dict[str, Any], monkeypatch: Patch
) -> None:
    import exllamav2_ext

    from ingled.engines.exllamav2.selfcheck import projections

    make, forward = exllamav2_ext.make_q_attn, exllamav2_ext.q_attn_forward_1
    recorded: dict[int, bool] = {}
    first: dict[tuple[int, torch.Size], torch.Tensor] = {}

    def make_q_attn(*args: Any) -> int:
        handle: int = make(*args)
        recorded[handle] = args[-1]
        return handle

    def q_attn_forward_1(handle: int, x: torch.Tensor, *args: Any) -> None:
        if recorded[handle] and x.shape[0] * x.shape[1] <= 32:
            x = first.setdefault((handle, x.shape), x.clone())
        forward(handle, x, *args)

    monkeypatch.setattr(exllamav2_ext, "make_q_attn", make_q_attn)
    monkeypatch.setattr(exllamav2_ext, "q_attn_forward_1", q_attn_forward_1)
    with_graphs, without = grades(projections.check(setup, models["EXL2"])).items()
    assert with_graphs[0].startswith("with CUDA graphs: 22 of 30 projections are wrong")
    assert with_graphs[1] == "fail"
    assert without[1] == "ok"


def _positions_of_the_first_row(patch: Patch) -> None:
    import exllamav2_ext

    forward = exllamav2_ext.q_attn_forward_1

    def wrong(handle: int, x: Any, batch: int, tokens: int, past: int, at: Any, *rest: Any) -> None:
        forward(handle, x, batch, tokens, past, at[:1].expand(batch), *rest)

    patch.setattr(exllamav2_ext, "q_attn_forward_1", wrong)


def _float_read_as_half(patch: Patch) -> None:
    """Beyond what half precision holds it is clamped: the norm is of another row then."""
    import exllamav2_ext.attention as stand_in

    norm = stand_in.rms_norm
    patch.setattr(
        stand_in, "rms_norm", lambda x, *rest: norm(x.clamp(-500, 500).contiguous(), *rest)
    )


@pytest.mark.parametrize("plant", [_positions_of_the_first_row, _float_read_as_half])
def test_wrong_projections(
    setup: Any, models: dict[str, Any], monkeypatch: Patch, plant: Plant
) -> None:
    from ingled.engines.exllamav2.selfcheck import projections

    plant(monkeypatch)
    assert len(failed(projections.check(setup, models["EXL2"]))) == 2


# --- ingle's layers -------------------------------------------------------------------------------


def _no_sinks(patch: Patch) -> None:
    from ingled.engines.exllamav2.attention import GptOssAttention

    patch.setattr(GptOssAttention, "_sinks", property(lambda layer: layer.sinks - 100))


def _sinks_of_other_heads(patch: Patch) -> None:
    from ingled.engines.exllamav2.attention import GptOssAttention

    patch.setattr(GptOssAttention, "_sinks", property(lambda layer: layer.sinks.roll(1)))


def _window(change: int) -> Plant:
    """As the library has it: flash-attn is told the window, and sees one token more."""

    def plant(patch: Patch) -> None:
        from ingled.engines.exllamav2.attention import GptOssAttention

        right = GptOssAttention._window.fget
        patch.setattr(
            GptOssAttention,
            "_window",
            property(lambda layer: (right(layer)[0] + change * bool(layer.sliding_window), 0)),
        )

    return plant


@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (_no_sinks, ["torch", "flash-attn"]),
        (_sinks_of_other_heads, ["torch", "flash-attn"]),
        (_window(1), ["flash-attn"]),
        (_window(-1), ["flash-attn"]),
        (_attend(_binary_logarithm), ["flash-attn"]),
    ],
    ids=["no sinks", "other heads", "wider", "narrower", "binary lse"],
)
def test_wrong_sinks_and_windows(
    setup: Any, models: dict[str, Any], monkeypatch: Patch, plant: Plant, wrong: list[str]
) -> None:
    from ingled.engines.exllamav2.selfcheck import layers

    plant(monkeypatch)
    found = failed(layers.check_sinks(setup, models["EXL2"]))
    assert [text.split()[4].rstrip(":") for text in found] == wrong


@pytest.mark.parametrize("kind", ["EXL2", "MXFP4"])
def test_without_headroom(models: dict[str, Any], monkeypatch: Patch, kind: str) -> None:
    from ingled.engines.exllamav2 import linear
    from ingled.engines.exllamav2.selfcheck import layers

    assert not failed(layers.check_headroom(models[kind]))
    monkeypatch.setattr(linear, "HEADROOM", 1.0)
    (text,) = failed(layers.check_headroom(models[kind]))
    assert "overflow" in text


# --- a whole model --------------------------------------------------------------------------------


def _after_load(kind: str, change: Callable[[Any], None]) -> Plant:
    """Plant a change into every layer of ingle's, after it was loaded."""

    def plant(patch: Patch) -> None:
        from ingled.engines.exllamav2.attention import GptOssAttention
        from ingled.engines.exllamav2.mixture import GptOssMixture

        owner = {"attention": GptOssAttention, "mixture": GptOssMixture}[kind]
        load = owner.load

        def load_and_change(layer: Any, *args: Any) -> None:
            load(layer, *args)
            change(layer)

        patch.setattr(owner, "load", load_and_change)

    return plant


def _wider(layer: Any) -> None:
    layer.sliding_window += bool(layer.sliding_window)


def _narrower(layer: Any) -> None:
    layer.sliding_window -= bool(layer.sliding_window)


def _unbiased(layer: Any) -> None:
    layer._router[1].zero_()


def _exchanged(layer: Any) -> None:
    layer.w1, layer.w3 = layer.w3, layer.w1


def _no_yarn(patch: Patch) -> None:
    from ingled.engines.exllamav2 import rope

    patch.setattr(
        rope,
        "inverse_frequencies",
        lambda _, dimensions, theta, __: theta ** (-torch.arange(0, dimensions, 2) / dimensions),
    )


def _forgets_what_it_decoded(patch: Patch) -> None:
    """What the last steps write does not reach the cache."""
    from exllamav2 import ExLlamaV2Cache

    right = ExLlamaV2Cache.get_kv_state

    def state(cache: Any, layer: int, *args: Any) -> Any:
        keys, values = right(cache, layer, *args)
        return (keys.clone(), values.clone()) if cache.current_seq_len > 280 else (keys, values)

    patch.setattr(ExLlamaV2Cache, "get_kv_state", state)


ALL_WAYS = [
    "two requests in pages",
    "prefill, flash-attn",
    "prefill in chunks, flash-attn",
    "30 tokens decoded, flash-attn",
    "prefill, torch",
    "prefill in chunks, torch",
    "30 tokens decoded, torch",
]


@pytest.mark.parametrize(
    ("plant", "kind", "wrong"),
    [
        pytest.param(_no_sinks, "EXL2", ALL_WAYS, id="no sinks"),
        pytest.param(_after_load("attention", _wider), "MXFP4", ALL_WAYS, id="wider"),
        pytest.param(_after_load("attention", _narrower), "EXL2", ALL_WAYS, id="narrower"),
        pytest.param(_after_load("mixture", _unbiased), "EXL2", ALL_WAYS, id="router's bias"),
        pytest.param(_after_load("mixture", _exchanged), "MXFP4", ALL_WAYS, id="gate for up"),
        pytest.param(_no_yarn, "MXFP4", ALL_WAYS, id="no YaRN"),
        pytest.param(_product(_without_last_group), "EXL2", ALL_WAYS, id="last group"),
        pytest.param(_window(1), "EXL2", ALL_WAYS[:4], id="wider in flash-attn"),
        pytest.param(_attend(_binary_logarithm), "MXFP4", ALL_WAYS[:4], id="binary lse"),
        pytest.param(_pages_in_order, "EXL2", ALL_WAYS[:1], id="pages"),
        pytest.param(_forgets_what_it_decoded, "MXFP4", ALL_WAYS[::3], id="decoded keys"),
    ],
)
def test_a_wrong_model(
    setup: Any,
    models: dict[str, Any],
    monkeypatch: Patch,
    plant: Plant,
    kind: str,
    wrong: list[str],
) -> None:
    from ingled.engines.exllamav2.selfcheck import whole

    plant(monkeypatch)
    found = failed(whole.check(setup, models[kind]))
    assert [text.split(":")[0] for text in found] == [f"{kind}, {way}" for way in wrong]


# --- speed ----------------------------------------------------------------------------------------


def test_the_bound_counts_what_a_step_reads(tmp_path: Path) -> None:
    from ingled.engines.exllamav2.selfcheck import bound
    from ingled.engines.exllamav2.selfcheck.resident import resident

    folder = random_gpt_oss.build(tmp_path / "m", experts=8, active=2, layers=2)
    hidden, vocabulary, key_width = 64, random_gpt_oss.VOCABULARY, 2 * 32
    query_width = 4 * 32
    projections = 2 * hidden * (query_width + 2 * key_width) + 2 * query_width + 4 * key_width
    projections += 2 * query_width * hidden + 2 * hidden
    norm = 2 * hidden
    expert = 2 * (3 * hidden * hidden + 3 * hidden)
    router = 4 * hidden * 8
    head = 2 * hidden * vocabulary
    with resident(folder, tokens=256, chunk=64) as model:
        for context in (4, 100):
            cached = sum(2 * key_width * 2 * min(context, limit) for limit in (8, context))
            wanted = 2 * (projections + norm + 2 * expert + router) + cached + norm + head
            assert bound.step_bytes(model, context=context) == pytest.approx(wanted)
        one, many = (bound.step_bytes(model, context=0, sequences=n) for n in (1, 4))
        # Of eight experts two are chosen by each.
        more = 8 * (1 - (3 / 4) ** 4) - 2
        assert many - one == pytest.approx(2 * more * expert)


def test_layers_and_memory_are_timed(setup: Any, models: dict[str, Any]) -> None:
    from ingled.engines.exllamav2.selfcheck import speed

    rate, finding = speed.bandwidth(setup)
    assert rate > 0
    assert finding.figures["bandwidth_bytes_per_s"] == rate
    attention, mixture = speed.check_layers(setup, models["EXL2"], rate)
    for found, name in ((attention, "attention"), (mixture, "mixture")):
        assert name in found.text
        assert found.figures["seconds_1"] > 0
        assert found.figures["of_bound_4"] > 0


def test_an_installed_model_is_timed_by_its_engine(tmp_path: Path) -> None:
    from ingled.engines.exllamav2.selfcheck import speed

    folder = random_gpt_oss.build(tmp_path / "m", experts=4, active=2, layers=2)
    # It has nothing that ends an answer early.
    (folder / "generation_config.json").write_text('{"eos_token_id": [511]}')
    found = list(speed.check_model(folder, 1e9, answer=6, prompts=(40, 90)))
    assert {one.grade for one in found} == {"ok"}
    figures = [one.figures for one in found]
    assert figures[0]["load_s"] > 0
    assert [one.get("prompt_tokens") for one in figures[1:3]] == [40, 90]
    assert [one.get("sequences") for one in figures[3:5]] == [1, 4]
    assert all(one["decode_tokens_per_s"] > 0 for one in figures[3:5])
    assert figures[5]["peak_reserved_bytes"] <= figures[5]["computed_bytes"]


def test_more_memory_than_computed_is_a_warning(tmp_path: Path, monkeypatch: Patch) -> None:
    from ingled.engines.exllamav2.selfcheck import speed

    folder = random_gpt_oss.build(tmp_path / "m", experts=4, active=2, layers=2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 2**40)
    *_, memory = speed.check_model(folder, 1e9, answer=6, prompts=(40,))
    assert memory.grade == "warn"
    assert "computes too little" in memory.remedy


def test_a_model_that_does_not_fit_is_skipped(tmp_path: Path, monkeypatch: Patch) -> None:
    from ingled.engines.exllamav2.selfcheck import speed

    folder = random_gpt_oss.build(tmp_path / "m", experts=2, active=2, layers=2)
    monkeypatch.setenv("INGLE_STAND_IN_VRAM", str(2**20))
    (found,) = speed.check_model(folder, 1e9, answer=6, prompts=(40,))
    assert found.grade == "skip"
    assert "GB free for it" in found.text


# --- what breaks ----------------------------------------------------------------------------------


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(
    setup: Any, monkeypatch: Patch
) -> None:
    from ingled.engines.exllamav2.selfcheck import decoding, products, run

    def broken(_: Any) -> Iterator[Any]:
        raise ValueError("two\n  lines")
        yield

    def full(_: Any) -> Iterator[Any]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(products, "check", broken)
    monkeypatch.setattr(decoding, "check", full)
    monkeypatch.setattr(run, "KINDS", ())
    first, second, *others = run.findings(setup, quick=True, report=lambda _: None)
    assert (first.check, first.grade) == ("exl2", "fail")
    assert first.text == "the check broke off: ValueError: two lines"
    assert (second.check, second.grade) == ("mxfp4", "skip")
    assert "too little memory: 16.0 GB of 16.0 GB" in second.text
    assert {one.check for one in others} == {"flash"}
    assert {one.grade for one in others} == {"ok"}


def test_after_an_error_of_the_card_nothing_more_is_run(setup: Any, monkeypatch: Patch) -> None:
    from ingled.engines.exllamav2.selfcheck import decoding, run

    def lost(_: Any) -> Iterator[Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield

    monkeypatch.setattr(decoding, "check", lost)
    found = list(run.findings(setup, report=lambda _: None))
    assert [one.check for one in found[-2:]] == ["mxfp4", "card"]
    assert [one.grade for one in found[-2:]] == ["fail", "skip"]
    assert "were not run" in found[-1].text


# --- measures -------------------------------------------------------------------------------------


def test_measures() -> None:
    from ingled.engines.exllamav2.selfcheck import measure

    wanted = torch.tensor([3.0, -4.0])
    assert measure.relative(wanted, wanted) == (0, 0)
    rms, largest = measure.relative(wanted + torch.tensor([0.0, 0.5]), wanted)
    assert rms == pytest.approx(0.1)
    assert largest == pytest.approx(0.5 / math.sqrt(12.5))
    for bad in (float("nan"), float("inf")):
        found = measure.relative(torch.tensor([3.0, bad]), wanted)
        assert found == (math.inf, math.inf)
    logits = torch.randn(2, 5, 30)
    assert measure.divergence(logits, logits).abs().max() < 1e-6
    assert measure.divergence(logits + 1, logits).abs().max() < 1e-6
    assert measure.divergence(logits.roll(1, -1), logits).min() > 0
    calls: list[int] = []
    seconds = measure.median_seconds(lambda: calls.append(1), times=5, inside=3, warm_up=2)
    assert len(calls) == 2 + 15
    assert seconds > 0
    calls.clear()
    measure.median_seconds(lambda: calls.append(1), times=5, warm_up=0, limit=0.0)
    assert len(calls) == 1
