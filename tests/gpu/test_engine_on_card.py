"""gpt-oss on this machine's card from end to end: quantized, loaded, asked, short of memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support import on_a_card, random_gpt_oss
from support.trained_gpt_oss import models
from support.trained_gpt_oss.cases import cases
from support.trained_gpt_oss.vocabulary import Vocabulary

#: The library may build its kernels first, for minutes.
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]

Card = Mapping[str, str]

HOW = {
    "lossless": ("--lossless",),
    "bits": ("--bpw", "6", "--rows", "16", "--tokens", "256"),
}
#: Ids that are ordinary in every vocabulary here.
PROMPTS = [[(7 * n + 3 * place) % 300 + 3 for place in range(40 + 130 * n)] for n in range(4)]


def quantize(card: Card, source: Path, target: Path, *how: str) -> list[dict[str, Any]]:
    """Its reports."""
    program = Path(sys.executable).with_name("ingle")
    done = subprocess.run(
        [program, "quantize", source, "-o", target, *how, "--json"],
        env=card,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def random_models(card: Card, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model as it is, and quantized both ways."""
    folder = tmp_path_factory.mktemp("random")
    made = {"MXFP4": folder / "mxfp4", "bf16": folder / "bf16"}
    random_gpt_oss.build(made["MXFP4"], experts=4, active=4, layers=2, layout="mxfp4")
    random_gpt_oss.build(made["bf16"], experts=4, active=4, layers=2)
    for name, source in (("lossless", "MXFP4"), ("bits", "bf16")):
        reports = quantize(card, made[source], folder / name, *HOW[name])
        checked = reports[-1]
        assert checked["divergence_mean"] <= 1.5e-3
        assert checked["divergence_max"] <= 3e-2
        assert checked["exact"] == (True if name == "lossless" else None)
        made[name] = folder / name
    return made


@pytest.fixture(scope="module")
def trained_models(card: Card, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model that has something to say, in the same forms."""
    folder = tmp_path_factory.mktemp("trained")
    made = {"MXFP4": models.stored(folder / "mxfp4")}
    for name, how in HOW.items():
        quantize(card, made["MXFP4"], folder / name, *how)
        made[name] = folder / name
    return made


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["fp16", "q8"])
@pytest.mark.parametrize("form", ["MXFP4", "lossless", "bits"])
def test_the_trained_model_says_every_case(
    card: Card, trained_models: dict[str, Path], form: str, cache: str
) -> None:
    small = Vocabulary.read(models.STORED)
    ends = small.small([200_002, 200_012])
    told = on_a_card.run(
        "generate",
        trained_models[form],
        card,
        timeout=1700,
        prompts=[small.small(one.prompt()) for one in cases()],
        max_tokens=120,
        stop_ids=ends,
        cache=cache,
    )
    wanted = {one.name: small.small(one.answer()) for one in cases()}
    for when in ("alone", "together"):
        said = {one.name: answer["ids"] for one, answer in zip(cases(), told[when], strict=True)}
        assert said == wanted, when


@pytest.mark.parametrize("form", ["MXFP4", "bf16", "lossless", "bits"])
def test_jobs_together_say_what_each_says_alone(
    card: Card, random_models: dict[str, Path], form: str
) -> None:
    told = on_a_card.run("generate", random_models[form], card, timeout=1700, prompts=PROMPTS)
    # Without flash-attn they run one at a time.
    assert told["most_at_once"] == min(told["slots"], len(PROMPTS))
    for alone, together in zip(told["alone"], told["together"], strict=True):
        assert on_a_card.same(alone, together), (alone, together)
    # The whole prompt but its last token is in the cache by then.
    assert told["cached"] == len(PROMPTS[-1]) - 1
    assert on_a_card.same(told["alone"][-1], told["again"])


# --- memory ---------------------------------------------------------------------------------------


def test_out_of_memory_costs_one_request(card: Card, trained_models: dict[str, Path]) -> None:
    small = Vocabulary.read(models.STORED)
    longest = sorted(cases(), key=lambda one: len(one.answer()))[-2:]
    told = on_a_card.run(
        "short_of_memory",
        trained_models["bits"],
        card,
        timeout=1700,
        prompts=[small.small(one.prompt()) for one in longest],
        stop_ids=small.small([200_002, 200_012]),
    )
    first, second = (small.small(one.answer()) for one in longest)
    assert told["code"] == "out_of_memory", told["message"]
    assert told["first_ended"], "the other request failed too"
    assert told["beside"] == told["alone"] == told["after"] == first
    assert told["second"] == second


@pytest.mark.parametrize("form", ["MXFP4", "bits"])
def test_memory_comes_back_after_unloading(
    card: Card, random_models: dict[str, Path], form: str
) -> None:
    told = on_a_card.run(
        "load_and_unload", random_models[form], card, timeout=1700, prompts=PROMPTS
    )
    # cuBLAS keeps a workspace for itself from its first product on.
    first, *others = told["left"]
    assert first < 2**27
    assert max(others) <= first + 2**20, "every load leaves something behind"
    size = sum(file.stat().st_size for file in random_models[form].glob("*.safetensors"))
    assert min(told["loaded"]) - first > size
