"""Quantizing gpt-oss, piece by piece: transcoder, head, calibration, the mixture's streams."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingled.cli.time_left import TimeLeft
from support import random_gpt_oss
from support.exllamav2_stand_in import converting, install
from support.o200k import encoding


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    install()
    from ingled.engines.exllamav2.library import install as teach

    teach()


def reconstructed(tensors: dict[str, torch.Tensor], inputs: int, outputs: int) -> torch.Tensor:
    """What the library's kernel makes of EXL2 tensors: float16 (in, out)."""
    from exllamav2 import ext

    packed = dict(tensors)
    packed["q_perm"] = packed["q_invperm"].argsort().int()
    handle = ext.make_q_matrix(packed, ext.none_tensor)
    found = torch.empty((inputs, outputs), dtype=torch.half)
    ext.exllamav2_ext.reconstruct(handle, found)
    ext.exllamav2_ext.free_q_matrix(handle)
    return found


# --- MXFP4 → EXL2 -------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(100, 130), st.integers(0, 9), st.sampled_from([32, 64, 320])
)
def test_ten_neighbouring_exponents_are_kept_bit_by_bit(
    seed: int, lowest: int, span: int, inputs: int
) -> None:
    from ingled.engines.exllamav2 import mxfp4
    from ingled.engines.exllamav2.quantize import transcode

    generator = torch.Generator().manual_seed(seed)
    shape = (64, inputs // 32)
    blocks = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(lowest, lowest + span + 1, shape, generator=generator).to(torch.uint8)
    wanted = mxfp4.decode(blocks, scales)
    try:
        packed = transcode.pack(blocks, scales)
    except transcode.TooWide:
        # Half precision itself ends there.
        assert lowest < 127 + transcode._LEAST_EXPONENT + 1
        return
    assert torch.equal(reconstructed(packed, inputs, 64).T, wanted)


def test_groups_of_zeros_and_even_integers_may_lie_further_apart() -> None:
    from ingled.engines.exllamav2 import mxfp4
    from ingled.engines.exllamav2.quantize import transcode

    blocks = torch.randint(0, 256, (32, 2, 16), dtype=torch.uint8)
    scales = torch.full((32, 2), 125, dtype=torch.uint8)
    # Zeros and negative zeros.
    blocks[3], scales[3] = 0x80, 90
    # 4 and −6, which are even: one step below the range.
    blocks[4], scales[4] = 0x6F, 115
    packed = transcode.pack(blocks, scales)
    found = reconstructed(packed, 64, 32).T
    assert torch.equal(found, mxfp4.decode(blocks, scales))


@pytest.mark.parametrize(("low", "high"), [(112, 127), (100, 120), (90, 125)])
def test_a_span_that_is_too_wide_is_refused_with_its_ends(low: int, high: int) -> None:
    from ingled.engines.exllamav2.quantize import transcode

    blocks = torch.full((32, 3, 16), 0x11, dtype=torch.uint8)
    scales = torch.full((32, 3), high, dtype=torch.uint8)
    scales[5, 1] = low
    with pytest.raises(transcode.TooWide) as refused:
        transcode.pack(blocks, scales)
    assert refused.value.args == (low - 127, high - 127)


# --- the output layer ---------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [6, 8])
@pytest.mark.parametrize("inputs", [64, 96, 288])
def test_the_head_means_what_was_packed(bits: int, inputs: int) -> None:
    from exllamav2.conversion.qparams import qparams_headoptions

    from ingled.engines.exllamav2.quantize import head

    weight = torch.randn(128, inputs).half()
    original = weight.clone()
    permutation = torch.randperm(inputs)
    packed = head.pack(weight, permutation, qparams_headoptions[bits])
    assert torch.equal(reconstructed(packed, inputs, 128).T, weight)
    error = torch.linalg.norm((weight - original).float()) / torch.linalg.norm(original.float())
    assert error < 2.0 ** (1 - bits)


# --- a mixture, one expert at a time --------------------------------------------------------------


@pytest.mark.slow
def test_the_streamed_measure_is_the_librarys(tmp_path: Path) -> None:
    """The same accuracies and bits as `measure_moe_mlp`, which holds everything at once."""
    from exllamav2.conversion import measure as theirs
    from exllamav2.conversion.adaptivegptq import AdaptiveGPTQ

    from ingled.engines.exllamav2.quantize import experts as ours

    folder = random_gpt_oss.build(tmp_path / "m", experts=2, active=2, layers=2)
    streams = torch.randn(2, 1, 48, 64) * 3
    results: list[list[dict[str, Any]]] = []
    with converting(), torch.inference_mode():
        for measure in (theirs.measure_moe_mlp, ours.measure):
            module = _mixture(folder)
            quantizers = {
                f"{part}.{expert}": AdaptiveGPTQ(getattr(module, part)[expert].linear)
                for part in ours.PARTS
                for expert in range(2)
            }
            targets = []
            for states in streams:
                outputs = module.forward(states, None, None, intermediates=True)
                quantizers["w1.0"].add_batch(outputs["post_norm"])
                for expert in range(2):
                    quantizers[f"w2.{expert}"].add_batch(outputs[f"pre_down.{expert}"])
                targets.append(outputs["hidden_states"])
            results.append(measure(module, list(streams), targets, quantizers, None, None))
            module.unload()
    for wanted, found in zip(*results, strict=True):
        assert found["accuracy"] == pytest.approx(wanted["accuracy"], abs=2e-4)
        assert {name: found[name] for name in found if name != "accuracy"} == {
            name: wanted[name] for name in wanted if name != "accuracy"
        }


def _mixture(folder: Path) -> Any:
    from exllamav2 import ExLlamaV2, ExLlamaV2Config

    model = ExLlamaV2(ExLlamaV2Config(str(folder)))
    model.load(lazy=True)
    module = model.modules[2]
    module.load()
    return module


# --- calibration ----------------------------------------------------------------------------------


def test_half_of_the_calibration_is_harmony(tmp_path: Path) -> None:
    from ingled.engines.exllamav2.quantize import calibration

    harmony = encoding()
    tokenizer = SimpleNamespace(encode=lambda text: harmony.encode(text, disallowed_special=()))
    ids = calibration.sequences(tokenizer, harmony, 8, 512)  # type: ignore[arg-type]
    assert ids.shape == (8, 512)
    texts = [harmony.decode(row.tolist()) for row in ids]
    assert sum("<|start|>assistant" in text for text in texts) == 4
    assert len(set(texts)) == 8
    again = calibration.sequences(tokenizer, harmony, 8, 512)  # type: ignore[arg-type]
    assert torch.equal(ids, again)


def test_code_work_has_every_kind_of_message() -> None:
    from ingled.engines.exllamav2.quantize import calibration

    harmony = encoding()
    documents = list(itertools.islice(calibration.code_work(harmony), 24))
    texts = [harmony.decode(document) for document in documents]
    everything = "".join(texts)
    for piece in (
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
        "to=functions.read_file",
        "<|call|>",
        "Reasoning: low",
        "Reasoning: high",
        "The code before the cursor:",
    ):
        assert piece in everything
    assert all(text.endswith(("<|return|>", "<|call|>")) for text in texts)


def test_a_vocabulary_without_harmony_gets_plain_text(tmp_path: Path) -> None:
    from ingled.engines.exllamav2.quantize import calibration
    from ingled.engines.exllamav2.tokenizer import JsonTokenizer

    folder = random_gpt_oss.build(tmp_path / "m", experts=2, active=2, layers=2)
    ids = calibration.sequences(JsonTokenizer(folder), None, 3, 100)
    assert ids.shape == (3, 100)
    assert int(ids.max()) < random_gpt_oss.VOCABULARY


# --- the time left --------------------------------------------------------------------------------


def test_the_time_left() -> None:
    clock = TimeLeft(0.0)
    assert clock.text(1.0, "a", 100, 1000) == ""
    assert clock.text(11.0, "a", 200, 1000) == ", about 80 s left"
    assert clock.text(101.0, "a", 200, 1000) == ", about 13 min left"
    assert clock.text(10_001.0, "a", 200, 1000) == ", about 22.2 h left"
    # Another part counts anew.
    assert clock.text(10_010.0, "b", 1, 10) == ""
    assert clock.text(10_020.0, "b", 2, 10) == ", about 80 s left"
