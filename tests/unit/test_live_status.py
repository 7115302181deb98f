"""The live view: what is drawn of a report, at any width, whatever is in it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ingle.messages import ActiveRequest, CachedPrefix, ModelStatus, Report, Totals
from ingled.cli.live_status import Memory, drawing
from ingled.cli.memories import memories

REPORT = Report(
    id=1,
    version="0.1.0",
    pid=1,
    uptime_s=4000.0,
    clients=3,
    models=[
        ModelStatus(
            name="gpt-oss-20b",
            engine="exllamav2",
            state="ready",
            device="RTX 4090",
            slots=4,
            busy_slots=2,
            decode_tokens_per_second=150.0,
            cached=[CachedPrefix(kind="document", name="file:///a.py", tokens=1700)],
        )
    ],
    queue={"inline": 1, "batch": 2},
    active=[
        ActiveRequest(client="vim", kind="chat", priority="interactive", model="g", state="paused")
    ],
    totals=Totals(requests=10, wasted_tokens=7, preemptions=3, rides=2),
    notices=["`context` changed: reload the model"],
)


def drawn(report: Report, held: list[Memory], width: int = 100) -> str:
    output = io.StringIO()
    Console(file=output, width=width, color_system=None).print(drawing(report, held))
    return output.getvalue()


def test_everything_that_happens_is_in_the_picture() -> None:
    text = drawn(REPORT, [Memory("VRAM", 24 * 10**9, 12 * 10**9)])
    for words in (
        "gpt-oss-20b",
        "decode 150 tokens/s",
        "2 of 4",
        "12.0 GB of 24.0 GB",
        "inline 1   batch 2",
        "paused",
        "file:///a.py",
        "1700 tokens",
        "7 of them for nobody",
        "3 paused for typing, 2 rode along",
        "reload the model",
    ):
        assert words in text
    bar = next(line for line in text.splitlines() if line.startswith("VRAM"))
    assert bar.count("█") == 15


@pytest.mark.parametrize("state", ["absent", "loading", "failed", "backoff", "stopping"])
def test_a_model_that_is_not_ready(state: str) -> None:
    model = ModelStatus(name="m", engine="e", state=state, detail="why", progress=0.5)  # type: ignore[arg-type]
    text = drawn(Report(id=1, version="x", pid=1, uptime_s=1.0, models=[model]), [])
    assert state in text
    assert "why" in text
    assert "no model" in drawn(Report(id=1, version="x", pid=1, uptime_s=1.0), [])


@given(width=st.integers(20, 200), used=st.integers(0, 10**12), total=st.integers(0, 10**12))
def test_no_width_and_no_figure_breaks_it(width: int, used: int, total: int) -> None:
    assert drawn(REPORT, [Memory("RAM", total, used)], width)


def test_this_machines_memory_is_read() -> None:
    held = {memory.name: memory for memory in memories()}
    assert 0 < held["RAM"].used < held["RAM"].total
