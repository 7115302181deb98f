"""The checks of `ingle doctor --deep` on this machine's card: every finding is right.

Kernels against plain float32: a last group that is cut short, CUDA graphs with a float32 residual,
flash-attn's log-sum-exp over long caches, sums in half precision; then what is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from support import random_gpt_oss

#: The library may build its kernels first, for minutes.
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]

CHECKS = ("library", "exl2", "mxfp4", "flash", "graphs", "sinks", "headroom", "model", "speed")


@pytest.fixture(scope="module")
def findings(card: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """All of one run, with a tiny model that is timed too."""
    folder = random_gpt_oss.build(tmp_path_factory.mktemp("timed") / "tiny", experts=4, active=2)
    # Nothing ends its answers early.
    last = random_gpt_oss.VOCABULARY - 1
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [last]}))
    done = subprocess.run(
        [sys.executable, "-m", "ingled.engines.exllamav2.selfcheck", "--model", folder],
        env=card,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode in (0, 1), done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = [line for line in lines if "check" in line]
    for one in found:
        print(f"{one['grade']:<4}  {one['check']:<8}  {one['text']}")
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_every_finding_is_right(findings: list[Any], check: str) -> None:
    found = [one for one in findings if one["check"] == check]
    assert found, f"nothing was found by {check}"
    wrong = [f"{one['text']}: {one['remedy']}" for one in found if one["grade"] in ("fail", "warn")]
    assert not wrong, "\n".join(wrong)
    # A machine without flash-attn, or with too little memory for a check.
    skipped = [one["text"] for one in found if one["grade"] == "skip"]
    if skipped:
        pytest.skip("; ".join(skipped))
    assert {one["grade"] for one in found} <= {"ok", "info"}


def test_the_card_is_described(findings: list[Any]) -> None:
    cards = [one for one in findings if one["check"] == "card"]
    assert cards
    assert not [one["text"] for one in cards if one["grade"] == "fail"]
    assert any(one["figures"].get("memory_total_bytes") for one in cards)


def test_speed_is_told_as_a_share_of_what_memory_allows(findings: list[Any]) -> None:
    figures = [one["figures"] for one in findings if one["check"] == "speed"]
    shares = [
        value for each in figures for name, value in each.items() if name.startswith("of_bound")
    ]
    assert shares
    # Nothing is faster than the bandwidth that was measured; a timer's grain aside.
    assert all(0 < share < 1.2 for share in shares), shares
    assert any(each.get("decode_tokens_per_s") for each in figures)
    assert any(each.get("first_token_s") for each in figures)
