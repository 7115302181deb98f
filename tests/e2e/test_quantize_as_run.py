"""`ingle quantize` as a user has it, on a stand-in for the card: convert, interrupt, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ingled.engines.engine import Job, ModelSpec
from support import random_gpt_oss
from support.engine_jobs import run
from support.exllamav2_stand_in import environment, install
from support.trained_gpt_oss import models
from support.trained_gpt_oss.cases import cases
from support.trained_gpt_oss.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

QUICK = ("--rows", "6", "--tokens", "64")


def command(*arguments: str | Path) -> list[str]:
    return [str(Path(sys.executable).with_name("ingle")), "quantize", *map(str, arguments)]


def variables() -> dict[str, str]:
    return os.environ | environment(converter=True) | {"OMP_NUM_THREADS": "1"}


def quantize(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=variables(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def whole(*arguments: str | Path) -> list[dict[str, Any]]:
    """Its reports, after it went well."""
    done = quantize(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "tiny"
    return random_gpt_oss.build(folder, experts=2, active=2, layers=2)


@pytest.fixture(scope="module")
def four_bits(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "four"
    whole(source, "-o", target, "--bpw", "4", *QUICK)
    return target


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    install()
    from ingled.engines.exllamav2.library import install as teach

    teach()


# --- what comes out -------------------------------------------------------------------------------


def test_the_result_says_what_its_weights_mean(source: Path, four_bits: Path) -> None:
    """Against transformers with the dequantized weights, without ingle's own check."""
    from exllamav2 import ExLlamaV2, ExLlamaV2Config

    model = ExLlamaV2(ExLlamaV2Config(str(four_bits)))
    model.load()
    reference = random_gpt_oss.reference(source)
    reference.load_state_dict(dequantized(model, reference.state_dict()))
    ids = torch.randint(3, random_gpt_oss.VOCABULARY, (1, 80), generator=seeded())
    found = model.forward(ids)[..., : random_gpt_oss.VOCABULARY]
    with torch.no_grad():
        divergence = random_gpt_oss.divergence(found, reference(ids).logits)
    assert divergence.mean() <= 1.5e-3
    assert divergence.max() <= 3e-2


def dequantized(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' weights with the quantized ones in the place of the original."""
    found = dict(weights)
    for module in model.modules:
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            linear = getattr(module, name, None)
            if linear is not None:
                found[f"{linear.key}.weight"] = linear.get_weight_tensor_dq().T.float()
        if hasattr(module, "w1"):
            key = f"{module.key}.mlp.experts"
            for expert in range(module.num_experts):
                gate, up, down = (
                    part[expert].get_weight_tensor_dq().float()
                    for part in (module.w1, module.w3, module.w2)
                )
                found[f"{key}.gate_up_proj"][expert, :, 0::2] = gate
                found[f"{key}.gate_up_proj"][expert, :, 1::2] = up
                found[f"{key}.down_proj"][expert] = down
        if module.key == "lm_head":
            found["lm_head.weight"] = module.get_weight_tensor_dq().T.float()[
                : len(weights["lm_head.weight"])
            ]
    return found


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_its_size_and_config_are_what_was_asked_for(source: Path, four_bits: Path) -> None:
    config = json.loads((four_bits / "config.json").read_text())
    quantization = config["quantization_config"]
    assert (quantization["quant_method"], quantization["bits"]) == ("exl2", 4.0)
    assert quantization["head_bits"] == 6
    assert config["num_hidden_layers"] == 2
    tensors = load_file(four_bits / "output.safetensors")
    original = load_file(source / "model.safetensors")
    for name in ("model.layers.1.self_attn.sinks", "model.layers.0.mlp.router.bias"):
        assert torch.equal(tensors[name].half(), original[name].half())
    assert sorted(file.name for file in four_bits.iterdir()) == [
        "config.json",
        "generation_config.json",
        "measurement.json",
        "output.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not four_bits.with_name("four.partial").exists()


def test_a_measurement_serves_another_number_of_bits(
    source: Path, four_bits: Path, tmp_path: Path
) -> None:
    measurement = four_bits / "measurement.json"
    target = tmp_path / "six"
    reports = whole(source, "-o", target, "--bpw", "6", *QUICK, "--measurement", measurement)
    assert "measuring" not in {report.get("stage") for report in reports}
    assert reports[-1]["bits_per_weight"] > 5
    other = random_gpt_oss.build(tmp_path / "other", experts=2, active=2, layers=4)
    refused = quantize(other, "-o", tmp_path / "x", "--bpw", "4", "--measurement", measurement)
    assert refused.returncode == 1
    assert "another model" in refused.stderr
    assert not (tmp_path / "x.partial").exists()


def test_progress_never_goes_back_and_ends_at_the_end(source: Path, tmp_path: Path) -> None:
    reports = whole(source, "-o", tmp_path / "m", "--bpw", "3", *QUICK)
    stages = list(dict.fromkeys(report["stage"] for report in reports if "stage" in report))
    assert stages == [
        "reading",
        "calibrating",
        "measuring",
        "choosing bits",
        "quantizing",
        "writing",
        "checking",
    ]
    shares = [
        report["done"] / report["total"]
        for report in reports
        if report.get("total") and report["stage"] != "checking"
    ]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    checked = reports[-1]
    assert checked["type"] == "checked"
    assert checked["divergence_mean"] <= 1.5e-3
    assert checked["exact"] is None


# --- interrupted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["measuring", "quantizing", "checking"])
def test_a_killed_run_goes_on_and_makes_the_same(
    source: Path, four_bits: Path, tmp_path: Path, stage: str
) -> None:
    target = tmp_path / "killed"
    _until(stage, lambda process: process.kill(), source, "-o", target, "--bpw", "4", *QUICK)
    assert not target.exists()
    reports = whole(source, "-o", target, "--bpw", "4", *QUICK)
    stages = [report.get("stage") for report in reports]
    assert ("measuring" in stages) == (stage == "measuring")
    found, wanted = (load_file(one / "output.safetensors") for one in (target, four_bits))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_ctrl_c_leaves_no_child_and_can_be_resumed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "m"
    arguments = (source, "-o", target, "--bpw", "4", *QUICK)
    code, errors = _until(
        "measuring", lambda process: process.send_signal(signal.SIGINT), *arguments
    )
    assert code == 130
    assert "the same command goes on with it" in errors
    assert not _children_of(target)
    refused = quantize(source, "-o", target, "--bpw", "5", *QUICK)
    assert refused.returncode == 1
    assert "other options" in refused.stderr
    whole(*arguments)


def test_a_job_that_was_killed_while_saving_starts_its_pass_again(
    source: Path, four_bits: Path, tmp_path: Path
) -> None:
    target = tmp_path / "m"
    arguments = (source, "-o", target, "--bpw", "4", *QUICK)
    _until("quantizing", lambda process: process.kill(), *arguments)
    file = tmp_path / "m.partial" / "job.json"
    job = json.loads(file.read_text())
    file.write_text(json.dumps(job | {"invalid": True, "q_last_module_idx": 3}))
    whole(*arguments)
    found, wanted = (load_file(one / "output.safetensors") for one in (target, four_bits))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def _until(
    stage: str, act: Callable[[subprocess.Popen[str]], None], *arguments: str | Path
) -> tuple[int, str]:
    """Run it until it reports `stage`, act on the process; exit code and standard error."""
    with subprocess.Popen(
        command(*arguments, "--json"),
        env=variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("stage") == stage:
                act(process)
                break
        _, errors = process.communicate(timeout=60)
    # A killed parent can't end its child, which ends when it next reports.
    return process.returncode, errors


def _children_of(target: Path) -> list[str]:
    found = subprocess.run(
        ["pgrep", "-f", f"{target}.partial"], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


# --- the trained model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [("--lossless",), ("--bpw", "6", "--rows", "16", "--tokens", "256")]
)
@pytest.mark.timeout(300)
def test_the_trained_model_still_says_every_case(tmp_path: Path, how: tuple[str, ...]) -> None:
    from ingled.engines.exllamav2.engine import ExLlamaV2Engine

    # Its vocabulary is no multiple of 32, and its control tokens have other numbers than o200k's.
    source = models.stored(tmp_path / "source")
    small = Vocabulary.read(models.STORED)
    assert small.size % 32
    reports = whole(source, "-o", tmp_path / "m", *how)
    assert reports[-1]["exact"] == (True if how == ("--lossless",) else None)
    engine = ExLlamaV2Engine()
    engine.load(ModelSpec(name="m", path=tmp_path / "m", context=1024, slots=4), lambda *_: None)
    ends = small.small([200_002, 200_012])
    jobs = [
        Job(id=n, prompt=small.small(one.prompt()), max_tokens=120, stop_ids=ends)
        for n, one in enumerate(cases())
    ]
    said = {n: outcome.ids for n, outcome in run(engine, jobs, seconds=100).items()}
    assert said == {n: small.small(one.answer()) for n, one in enumerate(cases())}
    engine.unload()


def test_gpt_oss_is_calibrated_with_harmony(tmp_path: Path) -> None:
    source = models.expanded(tmp_path / "source")
    target = tmp_path / "m"
    _until("measuring", lambda process: process.kill(), source, "-o", target, "--bpw", "4", *QUICK)
    ids = load_file(tmp_path / "m.partial" / "cal_data.safetensors")["input_ids"]
    assert ids.shape == (6, 64)
    # <|start|>
    assert (ids == 200_006).any()


# --- what can't be done ---------------------------------------------------------------------------


def test_exponents_too_far_apart_for_lossless(tmp_path: Path) -> None:
    source = random_gpt_oss.build(tmp_path / "s", experts=2, active=2, layers=2, layout="mxfp4")
    file = source / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.mlp.experts.down_proj"
    tensors[f"{name}_scales"][1, 5, 1] = 90
    tensors[f"{name}_blocks"][1, 5, 1] = 0x11
    save_file(tensors, file)
    refused = quantize(source, "-o", tmp_path / "x", "--lossless")
    assert refused.returncode == 1
    line = refused.stderr.splitlines()[-1]
    assert name in line
    assert "expert 1" in line
    assert "from 2**-37 to" in line
    assert "--bpw" in line
    assert not (tmp_path / "x.partial").exists()


def test_lossless_is_for_mxfp4(source: Path, tmp_path: Path) -> None:
    refused = quantize(source, "-o", tmp_path / "x", "--lossless")
    assert refused.returncode == 1
    assert "no experts in MXFP4" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--bpw", "1"), "EXL2 has from"),
        (("--bpw", "nan"), "EXL2 has from"),
        ((), "give either --bpw"),
        (("--bpw", "4", "--lossless"), "give either --bpw"),
        (("--lossless", "--measurement", "m.json"), "measures nothing"),
        (("--bpw", "4", "--head-bits", "5"), "'5' is not one of"),
        (("--bpw", "4", "--tokens", "9"), "not in the range"),
    ],
)
def test_wrong_options(
    source: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = quantize(source, "-o", tmp_path / "x", *arguments)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_wrong_places(source: Path, four_bits: Path, tmp_path: Path) -> None:
    def refused(*arguments: str | Path) -> str:
        done = quantize(*arguments, "--bpw", "4", *QUICK)
        assert done.returncode in (1, 2)
        assert done.stderr.count("\n") == 1 + (not done.stderr.startswith("ingle:"))
        return done.stderr

    assert "quantized already" in refused(four_bits, "-o", tmp_path / "x")
    assert "is there already" in refused(source, "-o", four_bits)
    assert "config.json is missing" in refused(tmp_path, "-o", tmp_path / "x")
    (tmp_path / "y.partial").mkdir()
    assert "not of an interrupted run" in refused(source, "-o", tmp_path / "y")
    llama = tmp_path / "llama"
    llama.mkdir()
    (llama / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert "LlamaForCausalLM" in refused(llama, "-o", tmp_path / "x")
    broken = tmp_path / "broken"
    random_gpt_oss.build(broken, experts=2, active=2, layers=2)
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[:-1000])
    assert "truncated" in refused(broken, "-o", tmp_path / "x")
