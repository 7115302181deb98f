"""How commands write: answers, JSON lines, a line that says what is going on, plain tables.

Standard output carries results and nothing else; everything that passes goes to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, Self

import click
import msgspec

from ingle.messages import Progress

NO_MODEL = (
    "no model is installed: get one with `ingle pull gpt-oss-20b`, "
    "or a small one to try with `ingle pull smollm2-135m`"
)

_PHASES = {
    "queued": "waiting for a free slot",
    "loading": "loading the model",
    "restarting": "restarting the model's process",
    "prefill": "reading the prompt",
    "draining": "finishing what runs",
}
#: C0 and C1 controls but tab and line feed: a model's answer must not steer a terminal.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


class BadInput(click.ClickException):
    """The command line is well-formed, but what it points to can't be used."""

    exit_code = 2


def usage_error(message: str) -> NoReturn:
    """End the command with its usage line, `message` and exit code 2."""
    raise click.UsageError(message, click.get_current_context(silent=True))


def is_terminal(stream: Any) -> bool:
    """Whether somebody looks at `stream`; a stream that was closed has nobody."""
    return stream is not None and not stream.closed and stream.isatty()


def write_text(text: str, *, err: bool = False, dim: bool = False) -> None:
    """Write text of a model as it comes, harmless for a terminal."""
    if is_terminal(sys.stderr if err else sys.stdout):
        text = text.translate(_CONTROLS)
    click.echo(click.style(text, dim=True) if dim else text, nl=False, err=err)


def write_json(value: Any) -> None:
    """Write one JSON object on a line of its own."""
    click.echo(msgspec.json.encode(value))


def full(value: Any) -> Any:
    """A struct as plain data with every field; on the wire those with default values are left out.

    Messages get their `type` first and lose the id, which means nothing outside a connection.
    """
    if isinstance(value, msgspec.Struct):
        fields = {name: full(getattr(value, name)) for name in value.__struct_fields__}
        tag = value.__struct_config__.tag
        if tag:
            fields.pop("id", None)
            return {"type": tag} | fields
        return fields
    if isinstance(value, list):
        return [full(item) for item in value]
    return value


def percent(fraction: float | None) -> str:
    """` 43 %`, or nothing when unknown."""
    return "" if fraction is None else f" {min(max(fraction, 0.0), 1.0):.0%}".replace("%", " %")


def progress_text(event: Progress) -> str:
    """A `progress` event for a person."""
    detail = f" ({event.detail})" if event.detail else ""
    return f"{_PHASES[event.phase]}{percent(event.fraction)}{detail}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Columns, two spaces apart, as wide as their widest cell."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


class StatusLine:
    """One line on standard error that is written over and over, and taken away at the end.

    Without a terminal nothing is written over: `step` then writes a line of its own.
    """

    def __init__(self) -> None:
        self._live = is_terminal(sys.stderr)
        self._shown = False
        self._last_step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Replace the line, on a terminal."""
        if self._live:
            width = _terminal_width() - 1
            click.echo(f"\r\x1b[K{text[:width]}", nl=False, err=True)
            self._shown = True

    def step(self, name: str, text: str = "") -> None:
        """As `show`, for work with few steps: without a terminal, `name` is written when new."""
        if self._live:
            self.show(text or name)
        elif name != self._last_step:
            click.echo(name, err=True)
        self._last_step = name

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._shown = False


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
