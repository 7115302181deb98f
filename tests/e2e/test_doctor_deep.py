"""`ingle doctor --deep` as a user has it: without a card, and on one that tests pretend.

The checks themselves are tested in `test_selfcheck.py`. Here they run in their own process, with
small sizes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import random_gpt_oss
from support.daemons import DaemonUnderTest
from support.exllamav2_stand_in import PATH, environment

# Another process's work may be beside it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: What Python imports at its start. In the process of the checks it makes them small.
SITE = """
import contextlib, sys
{card}
if "ingled.engines.exllamav2.selfcheck" in sys.orig_argv:
  with contextlib.redirect_stdout(sys.stderr):
    from ingled.engines.exllamav2.selfcheck import setup
    setup.Setup.__init__.__kwdefaults__["sizes"] = setup.Sizes(
        hidden=192, heads=4, kv_heads=2, inner=192, vocabulary=256, window=16, tokens=60,
        decoded=20, calls=8, cached=(300,), rows=(1, 33), copied=2**16,
    )
    {defect}
"""
CARD = "import cpu_device; cpu_device.install()"
WRONG_KERNEL = """
    import exllamav2_ext
    right = exllamav2_ext.gemm_half_q_half
    def gemm_half_q_half(a, handle, c, force):
        right(a, handle, c, force)
        c *= 1.2
    exllamav2_ext.gemm_half_q_half = gemm_half_q_half
"""


def wrong_check(action: str) -> str:
    """A defect: what the second check calls does something else."""
    return f"""
    import os, signal, sys
    from ingled.engines.exllamav2 import mxfp4
    def decode(*_):
        {action}
    mxfp4.decode = decode
"""


class Machine:
    """Where the command is run."""

    def __init__(self, folder: Path) -> None:
        self._site = folder / "site"
        self._site.mkdir()
        self.env = os.environ | {"INGLE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "2"}

    def with_card(self, defect: str = "pass", card: str = CARD) -> Machine:
        """Give it a card, and perhaps a defect."""
        (self._site / "sitecustomize.py").write_text(
            SITE.format(card=card, defect=defect), encoding="utf-8"
        )
        given = environment()
        given["PYTHONPATH"] = os.pathsep.join([str(self._site), given["PYTHONPATH"]])
        self.env |= given
        return self

    def doctor(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("ingle"), "doctor", "--deep", *map(str, arguments)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=280,
        )

    def findings(self, *arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
        """Of the checks on the card; those of every machine come before."""
        done = self.doctor("--json", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return found[[one["check"] for one in found].index("disk") + 1 :]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- without a card -------------------------------------------------------------------------------


def test_without_a_card_it_says_so_in_one_line(machine: Machine) -> None:
    import torch

    if torch.version.cuda or torch.version.hip:
        pytest.skip("this build of torch may find a card")
    done = machine.doctor()
    assert done.returncode == 0, done.stdout
    (line,) = [one for one in done.stdout.splitlines() if one.split()[1] == "card"]
    assert line == done.stdout.splitlines()[-1]
    assert line.startswith("skip  card      no CUDA or ROCm device: torch ")
    assert "use a GGUF model on the llamacpp engine" in line
    (found,) = machine.findings()
    assert (found["check"], found["grade"]) == ("card", "skip")


# --- with one -------------------------------------------------------------------------------------


def test_the_report(machine: Machine, tmp_path: Path) -> None:
    folder = random_gpt_oss.build(tmp_path / "tiny", experts=4, active=2, layers=2)
    found = machine.with_card().findings("--model", folder)
    assert list(dict.fromkeys(one["check"] for one in found)) == [
        *("card", "library", "exl2", "mxfp4", "flash", "speed"),
        *("graphs", "sinks", "headroom", "model"),
    ]
    for one in found:
        assert set(one) == {"check", "grade", "text", "remedy", "figures"}
        assert (one["grade"], one["remedy"]) == ("ok", ""), one
    speed = [one for one in found if one["check"] == "speed"]
    for words, figure in (
        ("GB a second", "bandwidth_bytes_per_s"),
        ("one EXL2 attention layer", "of_bound_1"),
        ("one MXFP4 mixture layer", "of_bound_4"),
        ("tiny is loaded in", "load_s"),
        ("first token after", "first_token_s"),
        ("of what memory allows", "decode_tokens_per_s"),
        ("at most, computed", "computed_bytes"),
    ):
        assert any(words in one["text"] and one["figures"].get(figure) for one in speed), words


def test_a_wrong_kernel_fails_with_what_to_do(machine: Machine) -> None:
    done = machine.with_card(WRONG_KERNEL).doctor()
    assert done.returncode == 1, done.stdout + done.stderr
    wrong = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert {line.split()[1] for line in wrong} == {"exl2", "headroom", "model"}
    assert "products are off by 20" in wrong[0]
    assert all("report it with the output of" in line for line in wrong)
    assert "tokens a second need a model" in done.stdout.splitlines()[-1]


def test_a_daemon_that_holds_a_model_is_told(
    machine: Machine, scripted_daemon: DaemonUnderTest
) -> None:
    machine.env = scripted_daemon.env
    machine.with_card(wrong_check("os._exit(0)"))
    (beside,) = [one for one in machine.findings() if "beside it" in one["text"]]
    assert "the daemon holds scripted" in beside["text"]
    assert "ingle unload" in beside["remedy"]


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "(SIGKILL) while checking MXFP4"),
        ("os._exit(3)", "(exit code 3) while checking MXFP4"),
        ("sys.stderr.write('driver gone\\n'); sys.stderr.flush(); os.abort()", ": driver gone"),
    ],
    ids=["killed", "ended", "aborted"],
)
def test_checks_that_end_early(machine: Machine, action: str, how: str) -> None:
    *_, last = machine.with_card(wrong_check(action)).findings(code=1)
    assert (last["check"], last["grade"]) == ("deep", "fail")
    assert how in last["text"]
    assert "run it again" in last["remedy"]


def test_no_toolkit_to_build_the_kernels_with(machine: Machine) -> None:
    # A card as torch sees it, and the library's own extension, which must be built.
    card = f"sys.path.append({str(PATH)!r}); import cpu_device; cpu_device.install()"
    machine.with_card(card=f"{card}; sys.path.pop()")
    machine.env["PYTHONPATH"] = machine.env["PYTHONPATH"].split(os.pathsep)[0]
    machine.env.pop("CUDA_HOME", None)
    machine.env["PATH"] = str(Path(sys.executable).parent)
    *_, last = machine.findings(code=1)
    assert (last["check"], last["grade"]) == ("library", "fail")
    assert "finds no CUDA toolkit" in last["text"]


def test_a_model_that_is_not_there(machine: Machine) -> None:
    (found,) = machine.findings("--model", "nothing", code=1)
    assert found["grade"] == "fail"
    assert "nothing" in found["text"]


def test_a_model_without_deep_is_refused(machine: Machine) -> None:
    program = Path(sys.executable).with_name("ingle")
    done = subprocess.run(
        [program, "doctor", "--model", "x"], env=machine.env, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--model is for --deep" in done.stderr
