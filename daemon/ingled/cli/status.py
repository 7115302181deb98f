"""`ingle status`: what the daemon is doing, once or live."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from ingle.messages import ModelStatus, Report

from .calls import connect
from .output import full, is_terminal, percent, table, write_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write JSON, one object a line.")
@click.option("--watch", is_flag=True, help="Show it live until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often --watch looks.",
)
def status(as_json: bool, watch: bool, interval: float) -> None:
    """Show what the daemon is doing.

    Ends with exit code 3 when the daemon is not running.
    """
    with connect("status") as client:
        if not watch:
            report = client.status()
            write_json(full(report)) if as_json else click.echo(report_text(report))
        elif as_json:
            for report in client.watch(interval):
                write_json(full(report))
        elif is_terminal(sys.stdout):
            _live(client.watch(interval))
        else:
            for report in client.watch(interval):
                click.echo(report_text(report) + "\n")


def _live(reports: Iterator[Report]) -> None:
    from .live_status import show
    from .memories import memories

    show(reports, memories)


def report_text(report: Report) -> str:
    """A report for a person."""
    head = (
        f"ingled {report.version}: process {report.pid}, up {duration(report.uptime_s)}, "
        f"{megabytes(report.memory_bytes)}, {count(report.clients, 'client')}"
    )
    lines = [head]
    if report.models:
        lines += ["", table([_model_row(model) for model in report.models])]
    else:
        lines += ["", "no model is resident"]
    if report.active:
        rows = [
            (
                request.kind,
                request.priority,
                request.state,
                request.client,
                duration(request.age_ms / 1000),
                count(request.completion_tokens, "token"),
            )
            for request in report.active
        ]
        lines += ["", table(rows)]
    totals = report.totals
    requests = (
        f"requests: {totals.requests} in all, {totals.finished} finished, "
        f"{totals.cancelled} cancelled, {totals.superseded} superseded, {totals.failed} failed; "
        f"waiting: {sum(report.queue.values())}"
    )
    tokens = (
        f"tokens: {totals.prompt_tokens} of prompts ({totals.cached_tokens} from the cache), "
        f"{totals.completion_tokens} of answers ({totals.wasted_tokens} for nobody)"
    )
    if totals.preemptions or totals.rides:
        tokens += f"\npaused for typing: {totals.preemptions}; rode along: {totals.rides}"
    lines += ["", requests, tokens]
    lines += [
        f"cached: {count(prefix.tokens, 'token')} of the {prefix.kind} {prefix.name}"
        for model in report.models
        for prefix in model.cached
    ]
    lines += [f"limit: {model.name}: {line}" for model in report.models for line in model.limits]
    lines += [f"note: {notice}" for notice in report.notices]
    return "\n".join(lines)


def _model_row(model: ModelStatus) -> tuple[str, ...]:
    if model.state != "ready":
        return (model.name, model.state + percent(model.progress), model.engine, model.detail)
    speed = (
        f"prefill {model.prefill_tokens_per_second:.0f}, "
        f"decode {model.decode_tokens_per_second:.0f} tokens/s"
        if model.decode_tokens_per_second
        else ""
    )
    return (
        model.name,
        model.state,
        f"{model.engine} on {model.device}" if model.device else model.engine,
        f"slots {model.busy_slots}/{model.slots}, context {model.context}, "
        f"{megabytes(model.memory_bytes)}" + (f", {speed}" if speed else ""),
    )


def duration(seconds: float) -> str:
    """A time for a person, in its two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def megabytes(size: int) -> str:
    """Bytes of memory for a person."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def count(number: int, what: str) -> str:
    """A number and what it is of."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
