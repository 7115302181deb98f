"""gpt-oss on a card whose memory is not the host's: no tensor is in the wrong one.

The stand-in of the other tests takes the CPU for the card, so it can't tell. Here a kernel that is
given the host's memory raises, as the real one would read wild memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import on_a_card, random_gpt_oss, separate_card

pytestmark = pytest.mark.slow


# --- the pretended card itself --------------------------------------------------------------------

MEMORIES = """
from exllamav2.ext import exllamav2_ext as extension
here, there = torch.ones(4, 4), torch.ones(4, 4, device="cuda:0")
refused = []
def refuse(function):
    try:
        function()
    except (RuntimeError, TypeError) as error:
        refused.append(str(error))
refuse(lambda: here + there)
refuse(lambda: there.index_add_(0, torch.zeros(4, dtype=torch.long), there))
refuse(there.numpy)
packed = torch.zeros(1, 4, dtype=torch.int)
refuse(lambda: extension.pack_columns(torch.zeros(8, 4, dtype=torch.short), packed, 4))
moved = here.to(0)
moved += 1
there.copy_(here)
there[0] = here[0]
there[torch.tensor([1])] = 5.0
double = torch.nn.Parameter(there, requires_grad=False)
double.data = (there * 2).half()
told = {
    "refused": refused,
    "devices": [str(one.device) for one in (here, there, moved, moved.cpu(), there.sum(), double)],
    "values": [here.sum().item(), moved.sum().item(), double.cpu().sum().item()],
    "card": memory.card,
}
del moved, there, double
told["left"] = memory.card
print(json.dumps(told))
"""


def test_the_card_tells_the_memories_apart() -> None:
    told = separate_card.run(MEMORIES)
    assert len(told["refused"]) == 4, told["refused"]
    for words in ("same device", "same device", "numpy", "host's memory"):
        assert any(words in error for error in told["refused"]), told["refused"]
    assert told["devices"] == ["cpu", "cuda:0", "cuda:0", "cpu", "cuda:0", "cuda:0"]
    assert told["values"] == [16, 32, 2 * (12 + 4 * 5)]
    # Two of float32 and one in half precision.
    assert told["card"] == 64 + 64 + 32
    assert told["left"] == 0


# --- the product on it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "how"),
    [("bf16", ("--bpw", "4", "--rows", "6", "--tokens", "64")), ("mxfp4", ("--lossless",))],
    ids=["bits", "lossless"],
)
def test_quantizing(tmp_path: Path, layout: random_gpt_oss.Layout, how: tuple[str, ...]) -> None:
    source = random_gpt_oss.build(tmp_path / "source", experts=2, active=2, layers=2, layout=layout)
    program = Path(sys.executable).with_name("ingle")
    done = subprocess.run(
        [program, "quantize", source, "-o", tmp_path / "out", *how, "--json"],
        env=os.environ | separate_card.environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["divergence_mean"] <= 1.5e-3


PROMPTS = [[(7 * n + 3 * place) % 500 + 3 for place in range(40 + 130 * n)] for n in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_gpt_oss.build(
        tmp_path_factory.mktemp("card") / "m", experts=4, active=2, layers=2, layout="mxfp4"
    )


def environment() -> dict[str, str]:
    return os.environ | separate_card.environment()


@pytest.mark.parametrize(("cache", "draft"), [("fp16", 0), ("q6", 3)])
def test_the_engine(folder: Path, cache: str, draft: int) -> None:
    options = {"cache": cache, "draft_tokens": draft}
    told = on_a_card.run("generate", folder, environment(), prompts=PROMPTS, **options)
    assert told["slots"] == told["most_at_once"] == 4
    for alone, together in zip(told["alone"], told["together"], strict=True):
        # The keys of a cache in six bits differ by more than rounding does.
        assert on_a_card.same(alone, together, within=0.25 if cache == "fp16" else 2.0)


def test_a_full_card_costs_one_request(folder: Path) -> None:
    told = on_a_card.run("short_of_memory", folder, environment(), prompts=PROMPTS[1:3])
    assert told["code"] == "out_of_memory", told["message"]
    assert told["first_ended"]
    assert told["beside"] == told["alone"] == told["after"]
    assert told["second"]


def test_the_card_is_empty_after_unloading(folder: Path) -> None:
    told = on_a_card.run("load_and_unload", folder, environment(), prompts=PROMPTS)
    weights = (folder / "model.safetensors").stat().st_size
    assert all(size > weights for size in told["loaded"])
    assert told["left"] == [0, 0, 0]
