"""`ingle complete`: what the model would write at a place in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ingle.blocking_client import GRACE
from ingle.codec import MAX_MESSAGE_BYTES
from ingle.errors import DeadlineExceeded
from ingle.messages import Infill, Progress
from ingle.results import Gathered

from .calls import cancelled_when_left, connect, interrupt_on_terminate
from .model_names import complete_installed
from .output import (
    BadInput,
    StatusLine,
    full,
    is_terminal,
    progress_text,
    usage_error,
    write_json,
    write_text,
)


@click.command()
@click.argument("place", metavar="FILE:LINE:COL")
@click.option("--multiline", is_flag=True, help="Allow several lines.")
@click.option("--model", shell_complete=complete_installed, help="Model that answers.")
@click.option("--max-tokens", type=click.IntRange(1, 2**31), help="Longest completion.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400, min_open=True),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after so long, with exit code 4.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def complete(
    place: str,
    multiline: bool,
    model: str | None,
    max_tokens: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Complete code at a place in a file.

    LINE and COL count from 1, as editors show them; COL counts characters and names the one that
    the completion goes before. The text to insert is written as it is, so it may be empty; on a
    terminal a line feed follows.

    \b
    ingle complete src/main.py:12:9
    """
    file, line, column = _parse(place)
    text = _read(file)
    offset = _offset(file, text, line, column)
    fields: dict[str, object] = {"deadline_ms": max(1, round(timeout * 1000))}
    if model is not None:
        fields["model"] = model
    if max_tokens is not None:
        fields["max_tokens"] = max_tokens
    gathered = Gathered()
    interrupt_on_terminate()
    with StatusLine() as status, connect("complete") as client:
        call = client.call(
            Infill,
            wait=timeout + GRACE,
            prefix=text[:offset],
            suffix=text[offset:],
            path=str(file),
            multiline=multiline,
            **fields,
        )
        with cancelled_when_left(client, call):
            for event in call:
                if isinstance(event, Progress):
                    status.show(progress_text(event))
                gathered.add(event)
    completion = gathered.completion()
    if as_json:
        write_json(full(completion))
    else:
        write_text(completion.text + ("\n" if is_terminal(sys.stdout) else ""))
    if completion.finish == "deadline":
        raise DeadlineExceeded("the completion was not finished in time: see --timeout")


def _parse(place: str) -> tuple[Path, int, int]:
    parts = place.rsplit(":", 2)
    if len(parts) != 3 or not parts[0] or not all(_is_number(part) for part in parts[1:]):
        usage_error(f"{place!r} is not a place: write FILE:LINE:COL, for example main.py:12:9")
    return Path(parts[0]), int(parts[1]), int(parts[2])


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20


def _read(file: Path) -> str:
    if not file.exists():
        raise BadInput(f"there is no file {file}: check the path")
    if not file.is_file():
        raise BadInput(f"{file} is not a file: name a text file")
    size = file.stat().st_size
    if size > MAX_MESSAGE_BYTES:
        raise BadInput(
            f"{file} has {size / 1e6:.1f} MB, the limit is {MAX_MESSAGE_BYTES / 1e6:.1f} MB: "
            "complete in a smaller file"
        )
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{file} is not UTF-8 text (byte {error.start + 1}): convert it first"
        ) from error
    except OSError as error:
        raise BadInput(f"{file} can't be read: {error.strerror or error}") from error
    if "\0" in text:
        raise BadInput(f"{file} is binary: name a text file")
    return text


def _offset(file: Path, text: str, line: int, column: int) -> int:
    """Characters before a place that counts from 1."""
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        raise BadInput(f"there is no line {line} in {file}: it has lines 1 to {len(lines)}")
    # A CR belongs to the line's end only where an LF follows.
    width = len(lines[line - 1] if line == len(lines) else lines[line - 1].removesuffix("\r"))
    if not 1 <= column <= width + 1:
        raise BadInput(
            f"there is no column {column} in line {line} of {file}: it has columns 1 to {width + 1}"
        )
    return sum(len(before) + 1 for before in lines[: line - 1]) + column - 1
