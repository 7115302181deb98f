"""`ingle status --watch` on a terminal: the model, its memory, its speed, who waits, who is served.

Owns the drawing. `ingle.messages.Report` has all that is drawn, but for the size of the machine's
memory and of the cards, which are the bars' ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ingle.messages import ModelStatus, Report

from .status import count, duration, megabytes

_STATES = {"ready": "green", "failed": "red", "backoff": "yellow", "paused": "yellow"}
#: Cells of a bar.
_WIDTH = 30


@dataclass(frozen=True)
class Memory:
    """A memory that a model may be in, in bytes. `used` is by everything on the machine."""

    name: str
    total: int
    used: int


def show(reports: Iterator[Report], memories: Callable[[], list[Memory]]) -> None:
    """Draw until the reports end. `memories()` → what is there now."""
    with Live(auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        for report in reports:
            live.update(drawing(report, memories()), refresh=True)


def drawing(report: Report, memories: list[Memory]) -> RenderableType:
    """One picture."""
    head = Text.assemble(
        ("ingled ", "bold"),
        f"{report.version}   up {duration(report.uptime_s)}   {megabytes(report.memory_bytes)}   "
        f"{count(report.clients, 'client')}",
    )
    parts: list[RenderableType] = [head, Text()]
    if not report.models:
        parts.append(Text("no model is resident", style="dim"))
    for model in report.models:
        parts.append(_model(model))
    parts += [Text(), _bars(report, memories), Text(), _queue(report)]
    if report.active:
        parts += [Text(), _active(report)]
    cached = [prefix for model in report.models for prefix in model.cached]
    if cached:
        rows = Table.grid(padding=(0, 2))
        for prefix in cached[:6]:
            rows.add_row(Text("in the cache", style="dim"), prefix.kind, prefix.name[-60:],
                         count(prefix.tokens, "token"))  # fmt: skip
        parts += [Text(), rows]
    parts += [Text(), _totals(report)]
    for notice in [*report.notices, *(line for m in report.models for line in m.limits)]:
        parts.append(Text(f"note: {notice}", style="yellow"))
    return Group(*parts)


def _model(model: ModelStatus) -> RenderableType:
    line = Text.assemble(
        (model.name, "bold"),
        "  ",
        (model.state, _STATES.get(model.state, "cyan")),
        f"  {model.engine}" + (f" on {model.device}" if model.device else ""),
    )
    if model.detail:
        line.append(f"  {model.detail}")
    if model.state == "loading":
        return Group(line, _bar("loading", model.progress or 0.0, 1.0, ""))
    if model.state != "ready":
        return line
    speed = Text.assemble(
        "decode ", (f"{model.decode_tokens_per_second:.0f}", "bold"), " tokens/s   prefill ",
        (f"{model.prefill_tokens_per_second:.0f}", "bold"), " tokens/s   "
        f"context {model.context}",
    )  # fmt: skip
    slots = _bar("slots", model.busy_slots, model.slots, f"{model.busy_slots} of {model.slots}")
    return Group(line, speed, slots)


def _bars(report: Report, memories: list[Memory]) -> RenderableType:
    rows: list[RenderableType] = []
    held = sum(model.memory_bytes for model in report.models)
    for memory in memories:
        text = f"{megabytes(memory.used)} of {megabytes(memory.total)}"
        if memory.name == "RAM" and held:
            text += f", the model's process {megabytes(held)}"
        rows.append(_bar(memory.name, memory.used, memory.total, text))
    return Group(*rows)


def _bar(name: str, value: float, whole: float, text: str) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_column(width=8)
    row.add_column(width=_WIDTH)
    row.add_column()
    share = min(value / whole, 1.0) if whole else 0.0
    color = "red" if share > 0.95 else "cyan"
    row.add_row(name, Bar(1.0, 0.0, share, width=_WIDTH, color=color, bgcolor="grey30"), text)
    return row


def _queue(report: Report) -> RenderableType:
    waiting = "   ".join(f"{name} {number}" for name, number in report.queue.items())
    return Text.assemble(("waiting  ", "dim"), waiting or "nothing")


def _active(report: Report) -> RenderableType:
    rows = Table.grid(padding=(0, 2))
    for request in report.active:
        rows.add_row(
            Text(request.state, style=_STATES.get(request.state, "green")),
            request.kind,
            request.priority,
            request.client,
            duration(request.age_ms / 1000),
            count(request.completion_tokens, "token"),
        )
    return rows


def _totals(report: Report) -> RenderableType:
    totals = report.totals
    return Text(
        f"{count(totals.requests, 'request')}: {totals.finished} finished, "
        f"{totals.cancelled} cancelled, {totals.superseded} superseded, {totals.failed} failed\n"
        f"{totals.cached_tokens} of {totals.prompt_tokens} prompt tokens from the cache, "
        f"{totals.completion_tokens} generated, {totals.wasted_tokens} of them for nobody\n"
        f"{totals.preemptions} paused for typing, {totals.rides} rode along",
        style="dim",
    )
