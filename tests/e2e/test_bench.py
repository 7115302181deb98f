"""The benchmark runs, and reports every figure. How good they are is not a test's affair."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.editors import EDITORS
from bench.traces import LONGEST, SHORTEST, traces
from bench.typist import Document

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
PEERS = ("llama_vim", "llama_vscode", "fifo")
FIGURES |= {
    "typing.p95_beside_chat",
    "typing.p50_ratio",
    "typing.wasted_ratio",
    "typing.chat_lost",
    "typing.bare",
}
FIGURES |= {f"typing.p95_beside_chat_{name}" for name in PEERS}
for _name in ("ingle", *PEERS):
    for _kind in ("p50", "p95", "answered", "nothing", "generated", "wasted"):
        FIGURES |= {f"typing.{_name}.{chats}_chats.{_kind}" for chats in (0, 1)}
    FIGURES |= {f"typing.{_name}.1_chats.{kind}" for kind in ("chat_rate", "chat_first_token")}
for _name in ("ingle", "llama_vim", "fifo"):
    FIGURES |= {f"typing.{_name}.{kind}" for kind in ("memory", "idle_cpu", "cancel")}
FIGURES |= {
    "growth.idle_clients",
    "growth.idle_clients_cpu",
    "growth.idle_clients_memory",
    "growth.key",
}
for _count in (1, 64):
    FIGURES |= {f"growth.{name}_{_count}" for name in ("idle", "typing")}
    FIGURES.add(f"growth.typing_{_count}_answered")
FIGURES |= {f"growth.key_{lines}" for lines in (1_000, 10_000)}
FIGURES |= {f"growth.context_1024.{name}" for name in ("prefill", "first_token", "step", "memory")}
PICTURES = ("typing-latency", "typing-by-chats", "growth-clients", "growth-documents")
#: What the project promises to reach.
TARGETS: dict[str, tuple[str, float]] = {
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
    "typing.p95_beside_chat": ("at_most", 1.5),
    "typing.p50_ratio": ("at_most", 0.7),
    "typing.wasted_ratio": ("at_most", 0.3),
    "typing.chat_lost": ("at_most", 10.0),
    "growth.idle_clients": ("at_most", 1.1),
    "growth.idle_clients_cpu": ("at_most", 1.0),
    "growth.key": ("at_most", 3.0),
}
# The plugins, in the editors that are there.
for _editor in EDITORS:
    if _editor.is_installed():
        FIGURES |= {f"{_editor.figure}.{kind}" for kind in ("key_to_ghost", "start")}
        for _kind, _bound in (
            ("key_to_ghost", _editor.ghost_at_most),
            ("start", _editor.start_at_most),
        ):
            if _bound is not None:
                TARGETS[f"{_editor.figure}.{_kind}"] = ("at_most", _bound)


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(900)
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
    for name in PICTURES:
        assert (file.parent / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_traces_are_typing_that_gives_the_code() -> None:
    made = traces(4, 5_000, seed=7)

    assert made == traces(4, 5_000, seed=7)
    assert made != traces(4, 5_000, seed=8)
    assert len({trace.language for trace in made}) >= 2
    for trace in made:
        document = Document(trace.language, trace.document)
        for stroke in trace.strokes:
            assert SHORTEST <= stroke.wait_s <= LONGEST
            document.apply(stroke)
        lines = document.text.splitlines()
        # Nothing of the first document is lost or out of order, and there is more now.
        rest = iter(lines)
        assert all(line in rest for line in trace.document.splitlines())
        assert len(lines) > len(trace.document.splitlines())
    kinds = Counter(stroke.kind for trace in made for stroke in trace.strokes)
    assert kinds["type"] > 10 * kinds["erase"] > 0
    assert kinds["jump"] >= len(made)


def test_traces_of_a_git_history_type_what_its_commits_added(tmp_path: Path) -> None:
    before = "".join(f"line_{number} = {number}\n" for number in range(40))
    added = "def area(width, height):\n    size = width * height\n    return size\n"
    after = before.replace("line_20 = 20\n", f"line_20 = 20\n{added}")
    _commit(tmp_path, before, "first")
    _commit(tmp_path, after, "second")

    (trace,) = traces(1, 5_000, repo=tmp_path)

    document = Document(trace.language, trace.document)
    for stroke in trace.strokes:
        document.apply(stroke)
    assert document.language == "python"
    assert trace.document in before.replace(added, "")
    assert document.text in after
    assert added in document.text


def test_a_folder_without_history_has_nothing_to_type(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no code to type"):
        traces(1, 100, repo=tmp_path)


def _commit(repo: Path, text: str, message: str) -> None:
    (repo / "code.py").write_text(text, encoding="utf-8")
    if not (repo / ".git").exists():
        subprocess.run(["git", "init", "-q", str(repo)], check=True)
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    for command in (("add", "code.py"), (*who, "commit", "-q", "-m", message)):
        subprocess.run(["git", "-C", str(repo), *command], check=True)


def test_an_unknown_measurement_is_a_usage_error() -> None:
    finished = _bench("--only", "velocity")

    assert finished.returncode == 2
    assert "velocity" in finished.stderr
    assert "throughput" in finished.stderr
