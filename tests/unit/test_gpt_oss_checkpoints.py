"""Reading gpt-oss checkpoints: YaRN by its formula, MXFP4 by hand, damaged and foreign files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ingle.errors import LoadFailed, ModelInvalid
from support import random_gpt_oss
from support.exllamav2_stand_in import install

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    install()
    from ingled.engines.exllamav2.library import install as teach

    teach()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return random_gpt_oss.build(tmp_path / "model", layers=2, experts=4, active=2, layout="mxfp4")


def configured(folder: Path) -> Any:
    from exllamav2 import ExLlamaV2Config

    return ExLlamaV2Config(str(folder))


def edit_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = folder / "config.json"
    read = json.loads(file.read_text())
    change(read)
    file.write_text(json.dumps(read))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


# --- YaRN -------------------------------------------------------------------------------------


@pytest.mark.parametrize("truncate", [True, False])
@pytest.mark.parametrize("factor", [4.0, 32.0])
def test_yarn_is_that_of_transformers(truncate: bool, factor: float) -> None:
    from transformers import GptOssConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    from ingled.engines.exllamav2.rope import inverse_frequencies, read_yarn

    given = random_gpt_oss.YARN | {"truncate": truncate, "factor": factor}
    config = GptOssConfig(head_dim=64, rope_parameters=given | {"rope_theta": 150_000.0})
    wanted, wanted_scale = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    yarn, theta = read_yarn({"rope_scaling": given, "rope_theta": 150_000}, Path("config.json"))
    assert yarn is not None
    torch.testing.assert_close(
        inverse_frequencies(yarn, 64, theta, "cpu"), wanted, rtol=1e-5, atol=0
    )
    assert yarn.attention_factor == pytest.approx(wanted_scale)


def test_both_ways_to_write_yarn_mean_the_same() -> None:
    from ingled.engines.exllamav2.rope import read_yarn

    old = {"rope_scaling": random_gpt_oss.YARN, "rope_theta": 150_000.0}
    new = {"rope_parameters": random_gpt_oss.YARN | {"rope_theta": 150_000.0}}
    assert read_yarn(old, Path()) == read_yarn(new, Path())
    assert read_yarn({"rope_theta": 500_000}, Path()) == (None, 500_000.0)


# --- MXFP4 ------------------------------------------------------------------------------------


def test_mxfp4_by_hand() -> None:
    from ingled.engines.exllamav2.mxfp4 import decode

    blocks = torch.zeros((1, 16), dtype=torch.uint8)
    blocks[0, 0] = 0x72  # low nibble 2 → 1.0, high nibble 7 → 6.0
    blocks[0, 15] = 0x9F  # low 15 → -6.0, high 9 → -0.5
    values = decode(blocks, torch.tensor([128], dtype=torch.uint8))
    assert values[:2].tolist() == [2.0, 12.0]
    assert values[-2:].tolist() == [-12.0, -1.0]
    assert not values[2:-2].any()


@given(st.integers(0, 255), st.integers(110, 140))
def test_mxfp4_is_exact_for_every_byte_and_scale(byte: int, scale: int) -> None:
    from ingled.engines.exllamav2.mxfp4 import VALUES, decode

    blocks = torch.full((1, 16), byte, dtype=torch.uint8)
    values = decode(blocks, torch.tensor([scale], dtype=torch.uint8))
    for at, nibble in ((0, byte & 15), (1, byte >> 4)):
        assert float(values[at]) == math.ldexp(VALUES[nibble], scale - 127)


def test_experts_are_those_of_transformers(checkpoint: Path) -> None:
    from ingled.engines.exllamav2.mxfp4 import expert_weight

    experts = random_gpt_oss.reference(checkpoint).model.layers[1].mlp.experts
    config = configured(checkpoint)
    for expert in range(4):
        for part, fused, rows in (
            ("gate", experts.gate_up_proj, slice(0, None, 2)),
            ("up", experts.gate_up_proj, slice(1, None, 2)),
            ("down", experts.down_proj, slice(None)),
        ):
            weight, _ = expert_weight(config, "model.layers.1", part, expert, "cpu")  # type: ignore[arg-type]
            assert torch.equal(weight.float(), fused[expert].T[rows])


# --- bad input --------------------------------------------------------------------------------


def drop(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: tensors.pop(name)


GATE = "model.layers.1.mlp.experts.gate_up_proj"
TENSORS = {
    "blocks of another shape": (
        lambda t: t.update({f"{GATE}_blocks": t[f"{GATE}_blocks"][:, :-2]}),
        f"{GATE}_blocks",
    ),
    "scales of another shape": (
        lambda t: t.update({f"{GATE}_scales": t[f"{GATE}_scales"][:3]}),
        f"{GATE}_scales",
    ),
    "blocks of another type": (
        lambda t: t.update({f"{GATE}_blocks": t[f"{GATE}_blocks"].int()}),
        f"{GATE}_blocks",
    ),
    "no scales": (drop(f"{GATE}_scales"), f"{GATE}_scales"),
    "no bias": (drop(f"{GATE}_bias"), f"{GATE}_bias"),
}


@pytest.mark.parametrize("damage", TENSORS)
def test_tensors_that_do_not_fit_are_named(checkpoint: Path, damage: str) -> None:
    change, named = TENSORS[damage]
    edit_tensors(checkpoint, change)
    with pytest.raises(ModelInvalid) as refused:
        configured(checkpoint)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_scale_beyond_half_precision_is_refused(checkpoint: Path) -> None:
    from ingled.engines.exllamav2.mxfp4 import expert_weight

    edit_tensors(checkpoint, lambda t: t[f"{GATE}_scales"][2, 0].fill_(200))
    config = configured(checkpoint)
    expert_weight(config, "model.layers.1", "gate", 1, "cpu")
    with pytest.raises(ModelInvalid, match=r"expert 2 has a scale of 2\*\*73"):
        expert_weight(config, "model.layers.1", "gate", 2, "cpu")


CONFIGS = {
    "another rope": (
        lambda c: c.update(rope_scaling={"rope_type": "linear", "factor": 2}),
        "'linear'",
    ),
    "yarn without a factor": (lambda c: c["rope_scaling"].pop("factor"), "factor"),
    "too few layer types": (lambda c: c.update(layer_types=["full_attention"]), "layer_types"),
    "strange layer types": (lambda c: c.update(layer_types=["lazy_attention"] * 2), "layer_types"),
    "no experts": (lambda c: c.pop("num_local_experts"), "num_local_experts"),
    "no architecture": (lambda c: c.pop("architectures"), "damaged"),
}


@pytest.mark.parametrize("damage", CONFIGS)
def test_a_config_that_makes_no_sense_is_refused(checkpoint: Path, damage: str) -> None:
    change, named = CONFIGS[damage]
    edit_config(checkpoint, change)
    with pytest.raises(ModelInvalid) as refused:
        configured(checkpoint)
    assert named in str(refused.value)
    assert str(checkpoint / "config.json") in str(refused.value)


def test_without_layer_types_windows_alternate(checkpoint: Path) -> None:
    edit_config(checkpoint, lambda c: c.pop("layer_types"))
    assert configured(checkpoint).layer_types == ["sliding_attention", "full_attention"]


# --- the guard --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"exllamav2": "0.3.3", "torch": "2.13.0"}, "exllamav2 0.3.3 is installed"),
        ({"exllamav2": None, "torch": "2.13.0"}, "exllamav2 is not installed"),
        ({"exllamav2": "0.3.2", "torch": "2.1.0+cu118"}, "torch 2.1.0+cu118 is too old"),
        ({"exllamav2": "0.3.2", "torch": None}, "torch is not installed"),
    ],
)
def test_other_versions_are_refused(
    versions: dict[str, str | None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingled.engines.exllamav2 import library

    monkeypatch.setattr(library, "_version", versions.get)
    with pytest.raises(LoadFailed) as refused:
        library.check_versions()
    assert said in str(refused.value)
    assert "pip install" in str(refused.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("CUDA_HOME environment variable is not set."), "no CUDA toolkit"),
        (RuntimeError("Ninja is required to load C++ extensions"), "pip install ninja"),
        (ImportError("undefined symbol: _ZN3c10"), "prebuilt exllamav2 0.3.2 wheel"),
    ],
)
def test_an_extension_that_can_not_be_built_says_what_is_missing(
    error: Exception, said: str
) -> None:
    from ingled.engines.exllamav2.library import _import_failure

    assert said in _import_failure(error)
    assert "\n" not in _import_failure(error)


def test_teaching_twice_wraps_once() -> None:
    from exllamav2 import rope

    from ingled.engines.exllamav2.library import install as teach

    before = rope.get_rope_params_yarn
    teach()
    assert rope.get_rope_params_yarn is before


def test_an_old_flash_attention_is_refused() -> None:
    from ingled.engines.exllamav2.library import _check_flash_attention

    def old(q: Any, k_cache: Any, v_cache: Any) -> Any: ...

    with pytest.raises(LoadFailed, match="too old for attention sinks"):
        _check_flash_attention(old)
