"""The fit's formulas: figures that were published, figures worked out by hand, and bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from ingle.errors import ModelInvalid, ModelNotFound, Unsupported
from ingled.cli import reference
from ingled.models import recommend
from ingled.models.checkpoint import read_shape, weights_on_disk
from ingled.models.fit import (
    GIB,
    MIB,
    Memory,
    Plan,
    activation_bytes,
    cache_bytes_per_token,
    dequantization_limit,
    fits,
    logits_bytes,
    reserved,
    scratch_bytes,
)
from ingled.models.gpu_memory import read_cards
from ingled.models.model_shape import (
    GPT_OSS_20B,
    GPT_OSS_120B,
    ModelShape,
    active_parameters,
    from_config,
    parameters,
    tensors,
)
from ingled.models.weights import Block, exl2_weights, half_weights, lossless_weights
from support.safetensors_headers import exl2_tensors, write_headers

CONFIG: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "num_hidden_layers": 24,
    "hidden_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "intermediate_size": 2880,
    "vocab_size": 201_088,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131_072,
}
#: Small enough to be worked out by hand.
SMALL = ModelShape(
    name="small",
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=32,
    experts=4,
    experts_per_token=2,
    intermediate=96,
    vocabulary=320,
    longest=4096,
)


# --- parameters and tensors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "total", "active"),
    [(GPT_OSS_20B, "20.91", "3.61"), (GPT_OSS_120B, "116.83", "5.13")],
)
def test_parameters_are_those_of_the_model_card(shape: ModelShape, total: str, active: str) -> None:
    assert f"{sum(parameters(shape).values()) / 1e9:.2f}" == total
    assert f"{active_parameters(shape) / 1e9:.2f}" == active


def test_groups_are_those_of_the_model_card() -> None:
    groups = parameters(GPT_OSS_20B)
    # Its MLP includes the router, its attention the sinks.
    assert f"{(groups['experts'] + groups['router']) / 1e9:.2f}" == "19.12"
    assert f"{groups['attention'] / 1e9:.2f}" == "0.64"
    assert f"{(groups['embedding'] + groups['head']) / 1e9:.2f}" == "1.16"


def test_exact_counts() -> None:
    assert sum(parameters(GPT_OSS_20B).values()) == 20_914_757_184
    assert sum(parameters(GPT_OSS_120B).values()) == 116_829_156_672


@pytest.mark.parametrize(
    ("shape", "gib"), [(GPT_OSS_20B, "12.8"), (GPT_OSS_120B, "60.8")], ids=["20b", "120b"]
)
def test_checkpoint_sizes_are_those_of_the_model_card(shape: ModelShape, gib: str) -> None:
    size = sum(tensor.bytes for tensor in tensors(shape, mxfp4=True))
    assert f"{size / GIB:.1f}" == gib


def test_a_small_model_by_hand() -> None:
    groups = parameters(SMALL)
    attention = (64 * 128 + 128) + 2 * (64 * 64 + 64) + (128 * 64 + 64) + 4
    experts = 4 * (64 * 192 + 192 + 96 * 64 + 64)
    assert groups == {
        "embedding": 320 * 64,
        "norms": 2 * 2 * 64 + 64,
        "attention": 2 * attention,
        "router": 2 * (4 * 64 + 4),
        "experts": 2 * experts,
        "head": 320 * 64,
    }


def test_a_tied_model_has_no_head_of_its_own_on_disk_and_one_on_the_gpu() -> None:
    tied = msgspec.structs.replace(SMALL, tied=True)
    assert "lm_head.weight" not in {tensor.name for tensor in tensors(tied)}
    assert half_weights(tied).bytes == half_weights(SMALL).bytes


# --- weights ---------------------------------------------------------------------------------


def test_the_embedding_stays_in_the_hosts_memory() -> None:
    weights = half_weights(GPT_OSS_20B)
    embedding = 201_088 * 2880 * 2
    assert weights.host_bytes == embedding
    # All other parameters at two bytes; router (also) and sinks (only) in float32.
    in_float32 = 24 * (4 * (32 * 2880 + 32) + 2 * 64)
    assert weights.bytes == 2 * 20_914_757_184 - embedding + in_float32


def test_lossless_takes_about_6_13_bits() -> None:
    expert = 2880 * 2880
    packed = lossless_weights(GPT_OSS_20B).bytes - (
        half_weights(GPT_OSS_20B).bytes - 2 * 24 * 32 * 3 * expert
    )
    assert 8 * packed / (24 * 32 * 3 * expert) == pytest.approx(6.137, abs=0.02)


def test_bits_are_paid_for_by_all_quantized_matrices() -> None:
    four, five = exl2_weights(GPT_OSS_20B, 4), exl2_weights(GPT_OSS_20B, 5)
    matrices = 24 * (2 * 2880 * 4096 + 2 * 2880 * 512 + 32 * 3 * 2880 * 2880)
    assert five.bytes - four.bytes == matrices / 8
    assert (four.label, four.bits) == ("4.0 bpw", 4)


# --- cache, buffers, activations -------------------------------------------------------------


def test_bytes_of_the_cache_per_token() -> None:
    # 8 heads of 64: 512 values each for keys and values, a scale of 2 bytes for 32 of them.
    by_hand = {
        "fp16": 512 * 2 * 2,
        "q8": 512 + 512 + 2 * 32,
        "q6": 512 + 256 + 2 * 32,
        "q4": 256 + 256 + 2 * 32,
    }
    for kind, size in by_hand.items():
        assert cache_bytes_per_token(GPT_OSS_20B, kind) == 24 * size  # type: ignore[arg-type]
        assert cache_bytes_per_token(GPT_OSS_120B, kind) == 36 * size  # type: ignore[arg-type]


def test_windows_save_no_cache() -> None:
    narrow = msgspec.structs.replace(GPT_OSS_20B, sliding_window=1)
    plan, memory, weights = Plan(), Memory(total=16 * GIB), exl2_weights(GPT_OSS_20B, 4)
    assert (
        fits(narrow, weights, plan, memory).parts == fits(GPT_OSS_20B, weights, plan, memory).parts
    )


def test_the_cache_is_allocated_in_pages() -> None:
    memory, weights = Memory(total=16 * GIB), exl2_weights(SMALL, 4)
    sizes = {
        tokens: fits(SMALL, weights, Plan(tokens=tokens), memory).part("KV cache")
        for tokens in (1, 256, 257, 512)
    }
    assert sizes[1] == sizes[256] < sizes[257] == sizes[512]


def test_half_precision_needs_no_working_copy() -> None:
    memory, weights = Memory(total=16 * GIB), exl2_weights(GPT_OSS_20B, 4)
    half = fits(GPT_OSS_20B, weights, Plan(cache="fp16"), memory)
    eight = fits(GPT_OSS_20B, weights, Plan(cache="q8"), memory)
    assert half.part("working copy") == 0
    assert eight.part("working copy") == 16_384 * 512 * 2 * 2


def test_the_limit_leaves_attention_and_experts_dequantizable_and_saves_a_gigabyte() -> None:
    limit = dequantization_limit(GPT_OSS_20B)
    for inputs, outputs in ((2880, 4096), (4096, 2880), (2880, 2880), (2880, 512)):
        # The rule of `gemm_half_q_half_cuda`.
        assert inputs <= limit // outputs // 128 * 128
    assert scratch_bytes(GPT_OSS_20B, Plan()) < 48 * MIB
    # What the library reserves by itself, for its head: min(elements, 512 Mi) of two bytes.
    assert 2 * min(2880 * 201_088, 512 * MIB) == GIB


def test_logits_are_for_the_tokens_of_one_step() -> None:
    assert logits_bytes(GPT_OSS_20B, Plan(slots=4)) == 4 * 201_088 * 2
    assert logits_bytes(GPT_OSS_20B, Plan(slots=1, tokens_per_step=3)) == 3 * 201_088 * 2


def test_without_flash_attn_scores_take_a_bounded_share() -> None:
    paged = activation_bytes(GPT_OSS_20B, Plan(tokens=16_384))
    torch = activation_bytes(GPT_OSS_20B, Plan(tokens=16_384, paged=False))
    keys_and_values = 16_384 * 512 * 2 * 2
    assert torch - paged == 3.5 * 128 * MIB + keys_and_values


def test_only_quantized_weights_need_scratch() -> None:
    memory = Memory(total=80 * GIB)
    assert fits(GPT_OSS_20B, half_weights(GPT_OSS_20B), Plan(), memory).part("scratch") == 0
    assert fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 4), Plan(), memory).part("scratch") > 0


# --- PyTorch's allocator ---------------------------------------------------------------------


def test_small_allocations_are_rounded_to_512_bytes() -> None:
    assert reserved([Block(1, 4096)], expandable=False) == 4096 * 512 + 2 * MIB


def test_without_expandable_segments_matrices_of_6_bits_waste_a_tenth() -> None:
    matrix = 2880 * 2880 * 6 // 8
    apart = reserved([Block(matrix, 3000)], expandable=False)
    packed = reserved([Block(matrix, 3000)], expandable=True)
    # Three of 5.9 MiB in a segment of 20 MiB.
    assert apart == 1000 * 20 * MIB + 2 * MIB
    assert packed == 3000 * matrix + 22 * MIB


def test_blocks_of_one_size_share_segments_wherever_they_come_from() -> None:
    one_by_one = [Block(4 * MIB)] * 5
    assert reserved(one_by_one, expandable=False) == reserved([Block(4 * MIB, 5)], expandable=False)
    assert reserved(one_by_one, expandable=False) == 22 * MIB


def test_large_allocations_are_rounded_to_2_mib() -> None:
    assert reserved([Block(11 * MIB)], expandable=False) == 12 * MIB + 2 * MIB


# --- the answer ------------------------------------------------------------------------------


def test_the_parts_add_up() -> None:
    fit = fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 4), Plan(), Memory(total=16 * GIB))
    assert fit.needed == sum(part.bytes for part in fit.parts)
    assert fit.available == 16 * GIB - 900 * MIB
    assert fit.left == fit.available - fit.needed
    assert fit.ok


def test_the_last_byte_decides() -> None:
    weights, plan = exl2_weights(GPT_OSS_20B, 4), Plan()
    needed = fits(GPT_OSS_20B, weights, plan, Memory(total=16 * GIB)).needed
    assert fits(GPT_OSS_20B, weights, plan, Memory(total=needed, used=0, headroom=0)).ok
    assert not fits(GPT_OSS_20B, weights, plan, Memory(total=needed - 1, used=0, headroom=0)).ok


def test_a_context_that_was_counted_is_not_counted_again() -> None:
    weights, plan = exl2_weights(GPT_OSS_20B, 4), Plan()
    outside = fits(GPT_OSS_20B, weights, plan, Memory(total=16 * GIB))
    inside = fits(GPT_OSS_20B, weights, plan, Memory(total=16 * GIB, has_context=True))
    assert outside.needed - inside.needed == 500 * MIB


def test_an_answer_of_one_line_has_the_numbers() -> None:
    fit = fits(
        GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 4), Plan(tokens=65_536), Memory(total=12 * GIB)
    )
    assert fit.explain() == (
        "gpt-oss-20b at 4.0 bpw with 65,536 tokens of q8 cache needs 12.2 GB, "
        "the card has 11.1 GB free for it"
    )


def test_an_answer_never_shows_a_need_below_what_is_free_when_it_refuses() -> None:
    weights, plan = exl2_weights(GPT_OSS_20B, 4), Plan()
    needed = fits(GPT_OSS_20B, weights, plan, Memory(total=16 * GIB)).needed
    refused = fits(GPT_OSS_20B, weights, plan, Memory(total=needed - 1, used=0, headroom=0))
    needs, has = (
        float(part.split(" GB")[0].split()[-1]) for part in refused.explain().split(", the card")
    )
    assert needs > has


def test_a_card_that_is_full_already_has_nothing_free() -> None:
    memory = Memory(total=8 * GIB, used=9 * GIB)
    fit = fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 4), Plan(), memory)
    assert fit.available == 0
    assert "has 0.0 GB free" in fit.explain()


# --- advice ----------------------------------------------------------------------------------


def _refused(total: int, **plan: Any) -> Any:
    return fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 4), Plan(**plan), Memory(total=total * GIB))


def test_advice_is_the_smallest_change_first() -> None:
    refused = _refused(12, tokens=28_672)
    tokens = recommend.most_tokens(refused)
    assert recommend.advice(refused) == (
        f"choose {tokens:,} tokens of cache or fewer, a q6 cache, or weights at 3.5 bpw "
        "(`ingle quantize --bpw 3.5`)"
    )


def test_advice_is_true() -> None:
    tokens = recommend.most_tokens(_refused(12, tokens=28_672))
    assert 16_384 < tokens < 28_672
    assert _refused(12, tokens=tokens).ok
    assert not _refused(12, tokens=tokens + 256).ok
    assert _refused(12, tokens=28_672, cache="q6").ok


def test_advice_where_no_single_change_helps() -> None:
    assert recommend.advice(_refused(8, tokens=65_536)).startswith("choose 2.5 bpw, 8,192 tokens")


def test_advice_never_is_what_was_refused() -> None:
    # 8 GB are just enough with flash-attn.
    plan = Plan(paged=False, tokens=recommend.LEAST_TOKENS, cache="q4")
    refused = fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 2.5), plan, Memory(total=8 * GIB))
    assert not refused.ok
    assert recommend.advice(refused).startswith("use the llamacpp engine")


def test_advice_keeps_the_headroom_that_was_asked_for() -> None:
    weights = exl2_weights(GPT_OSS_20B, 4)
    generous = Memory(total=12 * GIB, headroom=0)
    careful = Memory(total=12 * GIB, headroom=GIB)
    tokens = [
        recommend.most_tokens(fits(GPT_OSS_20B, weights, Plan(tokens=65_536), memory))
        for memory in (generous, careful)
    ]
    assert tokens[0] > tokens[1]


def test_advice_where_nothing_helps() -> None:
    memory = Memory(total=24 * GIB)
    fit = fits(GPT_OSS_120B, exl2_weights(GPT_OSS_120B, 4), Plan(), memory)
    assert recommend.advice(fit).startswith("use gpt-oss-20b, or the llamacpp engine")
    tiny = fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, 4), Plan(), Memory(total=4 * GIB))
    assert recommend.advice(tiny).startswith("use the llamacpp engine")


# --- recommendations -------------------------------------------------------------------------


def _best(gigabytes: int, **given: Any) -> Any:
    return recommend.recommend(GPT_OSS_20B, recommend.card(gigabytes), **given)


def test_recommendations_for_common_cards() -> None:
    bits = {size: fit and fit.weights.bits for size in recommend.CARDS if (fit := _best(size))}
    # A card of 8 GB holds the model, but hardly more.
    assert bits == {8: 2.5, 12: 4.0, 16: 5.0, 24: 6.0, 48: 6.0, 80: 6.0}
    assert _best(6) is None
    assert recommend.recommend(GPT_OSS_120B, recommend.card(24)) is None
    large = recommend.recommend(GPT_OSS_120B, recommend.card(80))
    assert large is not None
    assert large.weights.bits == 5.0


def test_what_is_given_is_kept() -> None:
    fit = _best(16, weights=exl2_weights(GPT_OSS_20B, 3), tokens=10_000, cache="q4")
    assert (fit.weights.label, fit.plan.tokens, fit.plan.cache) == ("3.0 bpw", 10_000, "q4")


def test_a_longer_cache_never_costs_its_quality() -> None:
    assert _best(12).plan.cache == "q8"


def test_a_card_in_use_gets_less() -> None:
    busy = Memory(total=16 * GIB, used=6 * GIB, measured=True)
    fit = recommend.recommend(GPT_OSS_20B, busy)
    assert fit is not None
    assert fit.weights.bits is not None
    assert fit.weights.bits < _best(16).weights.bits


def test_readmes_table_is_what_is_computed() -> None:
    readme = (reference.FOLDER / reference.README).read_text(encoding="utf-8")
    block = readme.split(reference.FIT_BEGIN)[1].split(reference.FIT_END)[0]
    assert block.strip() == recommend.readme_table()
    assert "Computed, not yet confirmed on a card" in readme.split(reference.FIT_BEGIN)[0]


# --- config.json -----------------------------------------------------------------------------


def test_the_published_config_gives_the_published_shape() -> None:
    assert from_config(CONFIG, name="gpt-oss-20b") == GPT_OSS_20B


def test_openais_own_config_is_understood() -> None:
    config = CONFIG | {"model_type": "gpt_oss", "num_experts": 32, "experts_per_token": 4}
    for key in ("architectures", "num_local_experts", "num_experts_per_tok", "layer_types"):
        del config[key]
    assert from_config(config, name="gpt-oss-20b") == GPT_OSS_20B


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, Unsupported, "LlamaForCausalLM"),
        ({"architectures": []}, Unsupported, "unnamed"),
        ({"architectures": 7}, Unsupported, "unnamed"),
        ({"hidden_size": None}, ModelInvalid, "lacks hidden_size"),
        ({"num_local_experts": None}, ModelInvalid, "lacks num_local_experts"),
        ({"num_hidden_layers": 0}, ModelInvalid, "num_hidden_layers is '0'"),
        ({"num_hidden_layers": 100_000}, ModelInvalid, "100000 layers"),
        ({"vocab_size": -1}, ModelInvalid, "vocab_size is '-1'"),
        ({"vocab_size": 10**30}, ModelInvalid, "vocab_size"),
        ({"head_dim": 64.5}, ModelInvalid, "head_dim is '64.5'"),
        ({"head_dim": True}, ModelInvalid, "head_dim is 'True'"),
        ({"head_dim": "64" * 1000}, ModelInvalid, "head_dim"),
        ({"num_key_value_heads": 7}, ModelInvalid, "64 attention heads can't share 7"),
        ({"num_experts_per_tok": 33}, ModelInvalid, "33 experts per token of 32"),
        ({"hidden_size": 2881}, ModelInvalid, "not a multiple of 32"),
        ({"layer_types": ["full_attention"]}, ModelInvalid, "layer_types"),
        ({"layer_types": [["x"]] * 24}, ModelInvalid, "layer_types"),
        ({"layer_types": "sliding"}, ModelInvalid, "layer_types"),
        ({"sliding_window": -5}, ModelInvalid, "sliding_window"),
    ],
)
def test_a_wrong_config_is_one_line(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        from_config(CONFIG | change, name="x", where="somewhere/config.json")
    assert text in str(raised.value)
    assert "somewhere/config.json" in str(raised.value)
    assert len(str(raised.value)) < 250


# --- folders ---------------------------------------------------------------------------------


def _folder(path: Path, config: Any) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    (path / "config.json").write_text(text, encoding="utf-8")
    return path


def test_a_folder_gives_its_shape_and_its_name(tmp_path: Path) -> None:
    shape = read_shape(_folder(tmp_path, CONFIG))
    assert shape == msgspec.structs.replace(GPT_OSS_20B, name=tmp_path.name)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, "\udc00"])
def test_a_damaged_config_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelInvalid, match="no JSON object"):
        read_shape(tmp_path)


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json is missing"):
        read_shape(tmp_path)


@pytest.mark.parametrize("shape", [GPT_OSS_20B, GPT_OSS_120B], ids=["20b", "120b"])
@pytest.mark.parametrize("mxfp4", [True, False], ids=["mxfp4", "bf16"])
def test_checkpoints_of_the_real_shapes_become_half_precision(
    tmp_path: Path, shape: ModelShape, mxfp4: bool
) -> None:
    found = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors(shape, mxfp4=mxfp4)}
    write_headers(tmp_path / "model.safetensors", found)
    weights = weights_on_disk(_folder(tmp_path, CONFIG), shape)
    expected = half_weights(shape)
    assert (weights.bytes, weights.host_bytes) == (expected.bytes, expected.host_bytes)
    assert (weights.label, weights.quantized) == ("16 bits", False)
    # Experts are loaded one by one, whichever way they are stored.
    for expandable in (True, False):
        assert reserved(weights.blocks, expandable=expandable) == reserved(
            expected.blocks, expandable=expandable
        )


def test_an_exl2_folder_is_computed_from_its_tensors(tmp_path: Path) -> None:
    found = exl2_tensors(SMALL, bits=4, group=32)
    names = list(found)
    write_headers(tmp_path / "a.safetensors", {name: found[name] for name in names[::2]})
    write_headers(tmp_path / "b.safetensors", {name: found[name] for name in names[1::2]})
    weights = weights_on_disk(_folder(tmp_path, CONFIG), SMALL)
    assert weights.quantized
    assert weights.host_bytes == 320 * 64 * 2
    width = {"I32": 4, "I16": 2, "F16": 2}
    on_disk = 0
    for name, (dtype, dimensions) in found.items():
        size = width[dtype]
        for dimension in dimensions:
            size *= dimension
        on_disk += 0 if "embed" in name else size
    rows = sum(shape[0] for name, (_, shape) in found.items() if name.endswith("q_invperm"))
    router = 2 * 4 * (4 * 64 + 4)
    sinks = 2 * 2 * 4
    # The map of groups comes on top, and what ingle keeps in float32.
    assert weights.bytes == on_disk + 4 * rows + router + sinks


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_headers(file, {"model.norm.weight": ("BF16", (64,))})
    with file.open("r+b") as data:
        data.truncate(file.stat().st_size - 1)
    with pytest.raises(ModelInvalid, match=r"model\.safetensors is truncated"):
        weights_on_disk(_folder(tmp_path, CONFIG), SMALL)


@pytest.mark.parametrize("shape", [["x"], None, 7, [-1]])
def test_a_header_with_a_wrong_shape_is_damaged(tmp_path: Path, shape: Any) -> None:
    entry = {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}
    header = json.dumps({"model.norm.weight": entry}).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelInvalid, match="damaged header"):
        weights_on_disk(_folder(tmp_path, CONFIG), SMALL)


# --- the driver ------------------------------------------------------------------------------


class _NVMLError(Exception):
    pass


def _driver(monkeypatch: pytest.MonkeyPatch, cards: list[Any], *, works: bool = True) -> list[str]:
    calls: list[str] = []

    def initialize() -> None:
        if not works:
            raise _NVMLError("driver not loaded")
        calls.append("init")

    def memory(handle: Any) -> Any:
        if handle is None:
            raise _NVMLError("not supported")
        return handle

    module = ModuleType("pynvml")
    functions = {
        "NVMLError": _NVMLError,
        "nvmlInit": initialize,
        "nvmlShutdown": lambda: calls.append("shutdown"),
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": lambda index: cards[index],
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetName": lambda _: b"NVIDIA GeForce RTX",
        "nvmlDeviceGetUUID": lambda _: "GPU-1",
    }
    for name, function in functions.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return calls


def test_a_card_tells_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(total=16 * GIB, free=15 * GIB, used=GIB // 2)
    calls = _driver(monkeypatch, [info, None])
    assert read_cards() == [
        Memory(total=16 * GIB, used=GIB, measured=True, name="NVIDIA GeForce RTX", uuid="GPU-1")
    ]
    assert calls == ["init", "shutdown"]


def test_without_a_driver_there_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _driver(monkeypatch, [], works=False) == []
    assert read_cards() == []


def test_without_the_package_there_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_cards() == []
