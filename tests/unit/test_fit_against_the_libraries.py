"""The fit's figures against real tensors: transformers' model, and ExLlamaV2's own allocations.

Tensors are made on torch's meta device, in a process of their own: ExLlamaV2's extension can't be
built here, and what stands in for it must not reach other tests.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingled.models.checkpoint import weights_on_disk
from ingled.models.fit import (
    CACHE_TYPES,
    SCORES_BYTES,
    Memory,
    Plan,
    activation_bytes,
    dequantization_limit,
    fits,
    rotary_blocks,
    scratch_bytes,
)
from ingled.models.model_shape import (
    GPT_OSS_20B,
    GPT_OSS_120B,
    Matrix,
    ModelShape,
    matrices,
    tensors,
)
from ingled.models.weights import (
    HEAD_BITS,
    LEAST_BITS,
    MOST_BITS,
    TensorInfo,
    exl2_weights,
    weights_of,
)
from support.safetensors_headers import exl2_matrix, exl2_tensors, write_headers

pytestmark = pytest.mark.slow

TINY = msgspec.structs.replace(
    GPT_OSS_20B,
    name="tiny",
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    experts=4,
    intermediate=96,
    vocabulary=320,
    layer_types=("sliding_attention", "full_attention"),
)
SHAPES = pytest.mark.parametrize("shape", [GPT_OSS_20B, GPT_OSS_120B], ids=lambda one: one.name)
PLAN = Plan(tokens=1024, chunk=512)


def run_script(script: str, *arguments: str, env: dict[str, str] | None = None) -> Any:
    """What a script writes as JSON in its last line."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env=env,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def config_of(shape: ModelShape) -> dict[str, Any]:
    return {
        "architectures": ["GptOssForCausalLM"],
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "num_local_experts": shape.experts,
        "num_experts_per_tok": shape.experts_per_token,
        "intermediate_size": shape.intermediate,
        "vocab_size": shape.vocabulary,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150_000,
    }


# --- transformers ----------------------------------------------------------------------------

TRANSFORMERS = """
import json, sys, torch
from transformers import GptOssConfig, GptOssForCausalLM
told = {}
for text in sys.argv[1:]:
    with torch.device("meta"):
        model = GptOssForCausalLM(GptOssConfig(**json.loads(text)))
    told[text] = {name: list(one.shape) for name, one in model.named_parameters()}
print(json.dumps(list(told.values())))
"""


def test_tensors_are_those_of_transformers() -> None:
    shapes = [GPT_OSS_20B, GPT_OSS_120B, TINY]
    configs = [json.dumps(config_of(shape) | {"architectures": None}) for shape in shapes]
    for shape, real in zip(shapes, run_script(TRANSFORMERS, *configs), strict=True):
        assert {tensor.name: list(tensor.shape) for tensor in tensors(shape)} == real


# --- ExLlamaV2 -------------------------------------------------------------------------------

#: Only what must exist for the library to be imported, and the two calls that allocate.
EXLLAMA = """
import importlib.machinery, json, sys, types
from types import SimpleNamespace
import torch

extension = types.ModuleType("exllamav2_ext")
extension.__spec__ = importlib.machinery.ModuleSpec("exllamav2_ext", None)
extension.make_group_map = lambda groups, rows: torch.zeros(2 * int(sys.argv[2]), dtype=torch.short)
extension.make_q_matrix = lambda *_: 1
sys.modules["exllamav2_ext"] = extension
from ingled.engines.exllamav2.library import install
install()
from exllamav2 import ExLlamaV2, ExLlamaV2Cache, ExLlamaV2Config, ext
from exllamav2 import ExLlamaV2Cache_Q4, ExLlamaV2Cache_Q6, ExLlamaV2Cache_Q8
from exllamav2.device import ExLlamaV2DeviceContext

def model_of(folder, **changes):
    config = ExLlamaV2Config()
    config.model_dir = folder
    config.prepare(no_tensors=changes.pop("no_tensors", False))
    for name, value in changes.items():
        assert hasattr(config, name), name
        setattr(config, name, value)
    return ExLlamaV2(config)
"""

SIZES = (
    EXLLAMA
    + """
told = []
for folder, limit in zip(sys.argv[3::2], sys.argv[4::2]):
    model = model_of(
        folder, no_tensors=True, max_input_len=512, max_dq_size=int(limit), max_seq_len=1024
    )
    config = model.config
    model.cache_map = {n: "meta" for n in range(config.num_hidden_layers)}
    sizes = {"scratch": max(m.scratch_space_fixed() for m in model.modules[1:])}
    kinds = (ExLlamaV2Cache, ExLlamaV2Cache_Q8, ExLlamaV2Cache_Q6, ExLlamaV2Cache_Q4)
    for kind, make in zip(("fp16", "q8", "q6", "q4"), kinds):
        cache = make(model, batch_size=1, max_seq_len=1024)
        resident = sum(tensor.nbytes for tensor in cache.all_tensors())
        copies = getattr(cache, "temp_tensors", {}).values()
        working = sum(tensor.nbytes for pair in copies for tensor in pair)
        pages = {
            (t.dtype, t.shape[2:]): t[:, :256].numel() * t.element_size()
            for t in cache.all_tensors()
        }
        sizes[kind] = [resident, working, sum(pages.values())]
    context = SimpleNamespace(
        model=model, device_idx=-1, archparams=config.arch.lm, sin=None, cos=None
    )
    ExLlamaV2DeviceContext.prepare_sincos(context)
    sizes["rotary"] = sum(tensor.nbytes for tensor in context.sin + context.cos)
    told.append(sizes)
print(json.dumps(told))
"""
)


def test_cache_scratch_and_rotary_tables_are_what_the_library_allocates(tmp_path: Path) -> None:
    shapes, arguments = [GPT_OSS_20B, GPT_OSS_120B, TINY], []
    for shape in shapes:
        folder = tmp_path / shape.name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config_of(shape)), encoding="utf-8")
        arguments += [str(folder), str(dequantization_limit(shape))]
    for shape, real in zip(shapes, run_script(SIZES, "", "0", *arguments), strict=True):
        assert scratch_bytes(shape, PLAN) == real["scratch"]
        assert (
            sum(block.bytes * block.copies for block in rotary_blocks(shape, PLAN))
            == (real["rotary"])
        )
        for kind in CACHE_TYPES:
            plan = msgspec.structs.replace(PLAN, cache=kind)
            fit = fits(shape, exl2_weights(shape, 4), plan, Memory(total=1))
            parts = [fit.part(name) for name in ("KV cache", "working copy", "page buffer")]
            assert parts == real[kind], kind


LOADED = (
    EXLLAMA
    + """
types_ = {"I32": torch.int32, "I16": torch.int16, "F16": torch.float16}
tensors = {
    name.rpartition(".")[2]: torch.zeros(shape, dtype=types_[kind])
    for name, (kind, shape) in json.loads(sys.argv[1]).items()
}
# As `ExLlamaV2Module.load_weight`.
tensors["q_perm"] = torch.argsort(tensors["q_invperm"]).to(torch.int)
ext.make_q_matrix(tensors, torch.zeros(1))
print(json.dumps(sorted(tensor.nbytes for tensor in tensors.values())))
"""
)


@pytest.mark.parametrize(("bits", "group"), [(4, 128), (6, 32)])
def test_a_loaded_matrix_has_the_tensors_that_the_library_keeps(bits: int, group: int) -> None:
    found = exl2_matrix("model.layers.0.self_attn.q_proj", 2880, 4096, bits=bits, group=group)
    real = run_script(LOADED, json.dumps(found), "2880")
    entries = [(name, TensorInfo(kind, shape)) for name, (kind, shape) in found.items()]
    head = [("lm_head.bias", TensorInfo("F16", (0,)))]
    blocks = weights_of(GPT_OSS_20B, [*entries, *head], "x").blocks
    mine = [block.bytes for block in blocks for _ in range(block.copies) if block.bytes]
    assert sorted(mine) == real


FOOTPRINT = (
    EXLLAMA
    + """
model = model_of(sys.argv[1])
print(json.dumps(sum(module.weight_footprint() for module in model.modules[1:])))
"""
)


def test_an_exl2_folder_is_as_large_as_the_library_says(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(TINY)), encoding="utf-8")
    found = exl2_tensors(TINY, bits=4, group=32)
    write_headers(tmp_path / "model.safetensors", found)
    footprint = run_script(FOOTPRINT, str(tmp_path), "0")
    rows = sum(shape[0] for name, (_, shape) in found.items() if name.endswith("q_invperm"))
    # What the library leaves out: the groups' map, and what ingle keeps in float32.
    router_and_sinks = 2 * (4 * (4 * 64 + 4) + 4 * 4)
    assert weights_on_disk(tmp_path, TINY).bytes == footprint + 4 * rows + router_and_sinks


# --- ingle's own layers ----------------------------------------------------------------------

#: One layer with weights of zero; the router sends every token to the same experts.
STEP = (
    EXLLAMA
    + """
from exllamav2 import attn as attention
from exllamav2.attn import ExLlamaV2Attention
from support.live_bytes import LiveBytes

extension.rms_norm = lambda *_: None
extension.rope_ = lambda *_: None
attention.flash_attn_func = lambda q, k, v, **_: (
    torch.zeros_like(q), torch.zeros(q.shape[0], q.shape[2], q.shape[1]), None
)

@torch.inference_mode()
def fill(module):
    config = module.model.config
    for part in module.submodules:
        part.set_device_idx(-1)
        if hasattr(part, "in_features"):
            part.linear = torch.nn.Linear(part.in_features, part.out_features, dtype=torch.half)
            part.linear.weight.zero_()
            part.linear.bias.zero_()
        else:
            part.weight = torch.ones(config.hidden_size, dtype=torch.half)

model = model_of(sys.argv[1], no_tensors=True)
config, tokens = model.config, int(sys.argv[3])
cos = torch.zeros(1, 1, tokens, config.head_dim, dtype=torch.half)
model.get_device_context = lambda *_, **__: SimpleNamespace(sin=[cos], cos=[cos])
self_attention, mixture = model.modules[1:3]
for module in (self_attention, mixture):
    module.device_idx = -1
    fill(module)
self_attention.sinks = torch.zeros(config.num_attention_heads)
bias = torch.arange(config.num_experts, 0, -1.0)
mixture._router = (mixture.gate.linear.weight.float(), bias)

@torch.inference_mode()
def peak(module):
    live = LiveBytes()
    params = ExLlamaV2Attention.Params(1, tokens, 0, None, None)
    state = torch.zeros(1, tokens, config.hidden_size)
    with live:
        module.forward(state, None, params, 0)
    return live.peak + state.nbytes

told = {"mixture": peak(mixture)}
for name, flash in (("flash", True), ("torch", False)):
    attention.has_flash_attn = flash
    told[name] = peak(self_attention)
print(json.dumps(told))
"""
)
WIDE_EXPERTS = msgspec.structs.replace(TINY, hidden=256, intermediate=256, heads=2, kv_heads=1)
WIDE_ATTENTION = msgspec.structs.replace(TINY, hidden=128, intermediate=32, heads=16, kv_heads=2)


@pytest.mark.parametrize(
    ("shape", "part"),
    [(WIDE_EXPERTS, "mixture"), (WIDE_ATTENTION, "flash")],
    ids=["mixture", "attention"],
)
def test_activations_are_no_less_than_a_layer_needs(
    tmp_path: Path, shape: ModelShape, part: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(shape)), encoding="utf-8")
    tokens = 512
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    real = run_script(STEP, str(tmp_path), "0", str(tokens), env=environment)
    plan = Plan(tokens=tokens, chunk=tokens)
    computed = activation_bytes(shape, plan)
    assert max(real["mixture"], real["flash"]) == real[part]
    # No less, and not so much more that a card would be refused for nothing.
    assert real[part] <= computed <= 1.2 * real[part]
    without = msgspec.structs.replace(plan, paged=False)
    assert real["torch"] <= activation_bytes(shape, without)


def test_the_engine_keeps_the_limit_that_is_counted_with() -> None:
    script = EXLLAMA + "from ingled.engines.exllamav2.attention import SCORES_BYTES as told\n"
    assert run_script(f"{script}print(told)", "", "0") == SCORES_BYTES


# --- the converter's options -----------------------------------------------------------------


@functools.cache
def converter_options() -> Any:
    """`exllamav2.conversion.qparams`, which imports nothing of the library."""
    package = importlib.util.find_spec("exllamav2")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "conversion" / "qparams.py"
    spec = importlib.util.spec_from_file_location("qparams", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@SHAPES
def test_bits_are_counted_as_the_converter_counts_them(shape: ModelShape) -> None:
    options = converter_options()
    half = options.QParams(128, [4], [1], 4)
    found = matrices(shape)
    on_disk = sum(half.total_bits((one.inputs, one.outputs)) / 8 * one.copies for one in found)
    bits = 8 * on_disk / sum(one.inputs * one.outputs * one.copies for one in found)
    weights = exl2_weights(shape, bits, head_bits=bits)
    without = exl2_weights(shape, bits - 1, head_bits=bits - 1)
    # A bit more is a bit more for each; the absolute size is off by the small tensors alone.
    assert weights.bytes - without.bytes == pytest.approx(
        sum(one.inputs * one.outputs * one.copies for one in found) / 8
    )
    extra = sum(_beyond_disk(one) for one in found)
    small = sum(
        (6 if tensor.group == "router" else 4 if tensor.name.endswith("sinks") else 2)
        * tensor.elements
        for tensor in tensors(shape)
        if tensor.group in ("router", "norms") or tensor.name.endswith("sinks")
    )
    assert weights.bytes == pytest.approx(on_disk + extra + small, rel=1e-6)


def _beyond_disk(matrix: Matrix) -> int:
    """The groups' map, and the bias, which the converter's bits leave out."""
    return (4 * matrix.inputs + (2 * matrix.outputs if matrix.has_bias else 0)) * matrix.copies


def test_the_range_of_bits_is_what_the_converter_can_do() -> None:
    averages = [
        sum(option.bpw((2880, 2880)) for option in choice) / len(choice)
        for choice in converter_options().qparams_mlp
    ]
    assert min(averages) <= LEAST_BITS
    assert max(averages) >= MOST_BITS
    # And no more than that.
    assert LEAST_BITS - min(averages) < 0.1
    assert max(averages) - MOST_BITS < 0.1


def test_the_heads_bits_are_what_the_converter_makes_of_six() -> None:
    made = converter_options().qparams_headoptions[6].bpw((2880, 201_088))
    assert made == pytest.approx(HEAD_BITS, abs=0.01)
