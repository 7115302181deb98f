"""The benchmark runs, and reports every figure. How good they are is not a test's affair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FIGURES = {
    "throughput.ratio",
    "throughput.decode_ratio",
    "throughput.daemon",
    "throughput.engine",
    "first_token.warm_added",
    "first_token.warm_added_net",
    "first_token.warm_daemon",
    "first_token.warm_engine",
    "first_token.warm_computed",
    "first_token.cold_added",
    "first_token.cold_added_net",
    "first_token.cold_daemon",
    "first_token.cold_engine",
    "first_token.cold_computed",
    "first_token.cold_prefill_ratio",
    "first_token.dialect",
    "cancel.decode_beyond_step",
    "cancel.decode",
    "cancel.decode_step",
    "cancel.prefill_beyond_step",
    "cancel.prefill",
    "cancel.prefill_step",
    "cancel.engine_beyond_step",
    "cancel.next_request",
    "memory.broker",
    "memory.language_server",
    "memory.language_server_used",
    "memory.worker",
    "idle.cpu",
    "idle.broker_cpu",
    "idle.worker_cpu",
    "idle.language_server_cpu",
    "language_server.key",
    "language_server.key_ratio",
    "language_server.answer",
    "language_server.open",
    "load.daemon",
    "load.model",
    "startup.ask",
    "startup.ratio",
    "startup.python",
    "startup.unwanted",
}
#: What the project promises to reach.
TARGETS = {
    "throughput.ratio": ("at_least", 0.95),
    "first_token.warm_added": ("at_most", 5.0),
    "first_token.warm_added_net": ("at_most", 5.0),
    "first_token.cold_added_net": ("at_most", 5.0),
    "cancel.decode_beyond_step": ("at_most", 10.0),
    "cancel.prefill_beyond_step": ("at_most", 10.0),
    "cancel.engine_beyond_step": ("at_most", 10.0),
    "memory.broker": ("at_most", 60.0),
    "memory.language_server": ("at_most", 70.0),
    "memory.language_server_used": ("at_most", 70.0),
    "idle.cpu": ("at_most", 1.0),
    "startup.ask": ("at_most", 150.0),
    "startup.unwanted": ("at_most", 0),
}


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quick_run_reports_every_figure(tmp_path: Path) -> None:
    file = tmp_path / "results" / "bench.json"

    finished = _bench("--quick", "--json", str(file))

    assert finished.returncode == 0, finished.stderr
    results = json.loads(file.read_text(encoding="utf-8"))
    figures = results["figures"]
    assert figures.keys() == FIGURES
    for name, figure in figures.items():
        assert figure["samples"], name
        assert figure["low"] <= figure["value"] <= figure["high"], name
        assert name in finished.stdout
    promised = {
        name: (bound, figure[bound])
        for name, figure in figures.items()
        for bound in ("at_least", "at_most")
        if figure[bound] is not None
    }
    assert promised == TARGETS
    assert {name for name, figure in figures.items() if figure["met"] is not None} == set(TARGETS)
    assert len(results["listings"]["startup.imports"]["rows"]) == 10
    assert results["quick"] is True


def test_an_unknown_measurement_is_a_usage_error() -> None:
    finished = _bench("--only", "velocity")

    assert finished.returncode == 2
    assert "velocity" in finished.stderr
    assert "throughput" in finished.stderr
