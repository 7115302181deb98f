"""gpt-oss on ExLlamaV2 against transformers in float32, on every path, and with known mistakes.

The library runs on the CPU stand-in. Bounds are in nats per token; a mistake in the architecture
must be at least ten times worse than the bound, so a pass means something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from support import exl2_rounding, random_gpt_oss
from support.exllamav2_stand_in import install, without_flash_attention
from support.exllamav2_stand_in.sync_counter import SyncCounter
from support.random_gpt_oss import VOCABULARY, divergence

pytestmark = pytest.mark.slow

MEAN, MAX = 1.5e-3, 3e-2
TOKENS = 100
SOURCES = {
    "bf16, rope_scaling": {},
    "bf16, rope_parameters": {"modern_rope": True},
    "MXFP4": {"layout": "mxfp4"},
    "EXL2": {},
}


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    install()
    from ingled.engines.exllamav2.library import install as teach

    teach()


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, VOCABULARY, (1, TOKENS), generator=generator)


@pytest.fixture(scope="module", params=SOURCES, ids=str)
def checkpoint(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and what transformers is to load for it."""
    folder = tmp_path_factory.mktemp("gpt-oss")
    built = random_gpt_oss.build(folder / "built", **SOURCES[request.param])
    if request.param != "EXL2":
        return built, built
    exl2_rounding.quantize(built, folder / "exl2", folder / "dequantized")
    return folder / "exl2", folder / "dequantized"


@pytest.fixture(scope="module")
def source(checkpoint: tuple[Path, Path]) -> Path:
    return checkpoint[0]


@pytest.fixture(scope="module")
def transformers_source(checkpoint: tuple[Path, Path]) -> Path:
    return checkpoint[1]


@pytest.fixture(scope="module")
def wanted(transformers_source: Path, ids: torch.Tensor) -> torch.Tensor:
    return transformers_logits(transformers_source, ids)


@pytest.fixture(params=["flash-attn", "torch"])
def attention(request: Any) -> Iterator[None]:
    with nullcontext() if request.param == "flash-attn" else without_flash_attention():
        yield


def transformers_logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = random_gpt_oss.reference(folder)(ids).logits
    return logits


def loaded(folder: Path, *, context: int = 256) -> Any:
    from exllamav2 import ExLlamaV2, ExLlamaV2Config

    config = ExLlamaV2Config(str(folder))
    config.max_seq_len, config.max_input_len = context, 128
    model = ExLlamaV2(config)
    model.load()
    return model


def chunked(model: Any, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits of a prompt that comes in pieces, through a cache."""
    from exllamav2 import ExLlamaV2Cache

    cache = ExLlamaV2Cache(model, max_seq_len=256)
    return torch.cat([model.forward(part, cache=cache) for part in ids.split(sizes, dim=1)], dim=1)


WAYS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "without a cache": lambda model, ids: model.forward(ids),
    "prefill": lambda model, ids: chunked(model, ids, [TOKENS]),
    "prefill in chunks": lambda model, ids: chunked(model, ids, [23, 23, 23, 23, 8]),
    "decode past the window": lambda model, ids: chunked(model, ids, [5] + [1] * (TOKENS - 5)),
}


@pytest.mark.parametrize("way", WAYS)
def test_logits_are_those_of_transformers(
    source: Path, wanted: torch.Tensor, ids: torch.Tensor, attention: None, way: str
) -> None:
    with torch.inference_mode():
        found = divergence(WAYS[way](loaded(source), ids), wanted)
    assert found.mean() <= MEAN
    assert found.max() <= MAX


def test_a_batch_with_padding_is_as_its_rows_alone(
    source: Path,
    transformers_source: Path,
    wanted: torch.Tensor,
    ids: torch.Tensor,
    attention: None,
) -> None:
    from exllamav2 import ExLlamaV2Cache

    model = loaded(source)
    model.config.max_batch_size = 2
    padded = torch.cat([torch.zeros((1, 10), dtype=torch.long), ids[:, :60]], dim=1)
    mask = torch.zeros((2, 70), dtype=torch.half)
    mask[0, :10] = -65504.0
    with torch.inference_mode():
        logits = model.forward(
            torch.cat([padded, ids[:, 30:100]]),
            cache=ExLlamaV2Cache(model, batch_size=2, max_seq_len=128),
            input_mask=mask,
            position_offsets=torch.tensor([[-10], [0]], dtype=torch.int),
        )
    for found in (
        divergence(logits[:1, 10:], wanted[:, :60]),
        divergence(logits[1:], transformers_logits(transformers_source, ids[:, 30:100])),
    ):
        assert found.mean() <= MEAN
        assert found.max() <= MAX


# --- known mistakes ---------------------------------------------------------------------------


def of_kind(model: Any, kind: str) -> list[Any]:
    return [module for module in model.modules if type(module).__name__ == kind]


def wider(model: Any) -> None:
    for layer in of_kind(model, "GptOssAttention"):
        layer.sliding_window += bool(layer.sliding_window)


def narrower(model: Any) -> None:
    for layer in of_kind(model, "GptOssAttention"):
        layer.sliding_window -= bool(layer.sliding_window)


def without_sinks(model: Any) -> None:
    for layer in of_kind(model, "GptOssAttention"):
        layer.sinks -= 100


def without_router_bias(model: Any) -> None:
    for layer in of_kind(model, "GptOssMixture"):
        layer._router[1].zero_()


def without_clamp(model: Any) -> None:
    for layer in of_kind(model, "GptOssMixture"):
        layer.limit = 0.5


def gate_and_up_exchanged(model: Any) -> None:
    for layer in of_kind(model, "GptOssMixture"):
        layer.w1, layer.w3 = layer.w3, layer.w1


def every_layer_full(model: Any) -> None:
    for layer in of_kind(model, "GptOssAttention"):
        layer.sliding_window = 0


MISTAKES = [
    wider,
    narrower,
    without_sinks,
    without_router_bias,
    without_clamp,
    gate_and_up_exchanged,
    every_layer_full,
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_gpt_oss.build(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_ten_times_worse(
    plain: Path, ids: torch.Tensor, attention: None, mistake: Callable[[Any], None]
) -> None:
    model = loaded(plain)
    wanted = transformers_logits(plain, ids)
    with torch.inference_mode():
        right = divergence(model.forward(ids), wanted).mean()
        mistake(model)
        wrong = divergence(model.forward(ids), wanted).mean()
    assert wrong >= 10 * max(right, MEAN)


@pytest.mark.parametrize("context", [256, 8192, 131_072])
def test_the_librarys_own_yarn_would_be_wrong_at_every_length(
    plain: Path, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch, context: int
) -> None:
    from exllamav2 import rope

    wanted = transformers_logits(plain, ids)
    with torch.inference_mode():
        right = divergence(loaded(plain, context=context).forward(ids), wanted).mean()
    librarys = rope.get_rope_params_yarn.__wrapped__

    def own(device: Any, cfg: Any, base: float) -> Any:
        cfg.yarn_rope_factor = 32.0
        cfg.yarn_rope_original_max_position_embeddings = 4096
        return librarys(device, cfg, base)

    monkeypatch.setattr(rope, "get_rope_params_yarn", own)
    with torch.inference_mode():
        wrong = divergence(loaded(plain, context=context).forward(ids), wanted).mean()
    assert right <= MEAN
    assert wrong >= 10 * right


# --- what must not happen ---------------------------------------------------------------------


@pytest.mark.parametrize("experts", [8, 32, 128])
@pytest.mark.parametrize("tokens", [1, 4, 64])
def test_one_synchronization_a_layer(
    tmp_path_factory: pytest.TempPathFactory, experts: int, tokens: int
) -> None:
    folder = tmp_path_factory.mktemp("experts")
    model = loaded(random_gpt_oss.build(folder, experts=experts, active=4, layers=2))
    (layer, _) = of_kind(model, "GptOssMixture")
    states = torch.randn(1, tokens, 64)
    with torch.inference_mode(), SyncCounter() as counter:
        layer.forward(states)
    assert counter.device_to_host == 1
    assert counter.host_to_device == 0


def test_a_whole_decode_step_waits_once_a_layer(plain: Path, ids: torch.Tensor) -> None:
    from exllamav2 import ExLlamaV2Cache

    model = loaded(plain)
    with torch.inference_mode():
        cache = ExLlamaV2Cache(model, max_seq_len=256)
        model.forward(ids[:, :20], cache=cache)
        with SyncCounter() as counter:
            model.forward(ids[:, 20:21], cache=cache)
    assert counter.device_to_host <= model.config.num_hidden_layers


def test_a_residual_beyond_half_precision_stays_finite(plain: Path, ids: torch.Tensor) -> None:
    reference = random_gpt_oss.reference(plain)
    peak = 0.0

    def watch(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal peak
        states = output[0] if isinstance(output, tuple) else output
        peak = max(peak, float(states.abs().max()))

    model = loaded(plain)
    (_, second, *_) = of_kind(model, "GptOssMixture")
    with torch.inference_mode():
        second.w2[3].linear.weight.data.mul_(2000)
    with torch.no_grad():
        reference.model.layers[1].mlp.experts.down_proj[3] *= 2000
        reference.model.layers[1].register_forward_hook(watch)
        wanted = reference(ids).logits
    assert peak > 50_000
    with torch.inference_mode():
        logits = model.forward(ids)
    assert logits.isfinite().all()
    assert divergence(logits, wanted).mean() <= 10 * MEAN


def test_without_headroom_it_overflows(
    plain: Path, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingled.engines.exllamav2 import linear, mixture

    monkeypatch.setattr(linear, "HEADROOM", 1.0)
    monkeypatch.setattr(mixture, "HEADROOM", 1.0)
    model = loaded(plain)
    (_, second, *_) = of_kind(model, "GptOssMixture")
    with torch.inference_mode():
        second.w2[3].linear.weight.data.mul_(2000)
        assert not model.forward(ids).isfinite().all()


def test_scores_are_computed_in_steps_when_memory_is_short(
    plain: Path, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingled.engines.exllamav2 import attention as module

    model = loaded(plain)
    with torch.inference_mode(), without_flash_attention():
        whole = model.forward(ids)
        # 4 heads, 100 keys, 4 bytes: three queries at a time.
        monkeypatch.setattr(module, "SCORES_BYTES", 4 * 4 * 100 * 3)
        stepwise = model.forward(ids)
    assert divergence(stepwise, whole).max() < 1e-4


def test_unloading_frees_every_layer(plain: Path) -> None:
    model = loaded(plain)
    model.unload()
    for layer in of_kind(model, "GptOssAttention"):
        assert layer.sinks is None
        assert layer.q_proj.linear is None
    for layer in of_kind(model, "GptOssMixture"):
        assert layer.w1[0].linear is None
        assert layer._router is None
