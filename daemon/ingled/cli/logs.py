"""`ingle logs`: the daemon's log, for people or as it is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from ingle.errors import LocalError
from ingled.logs import log_file

_BLOCK = 64 * 1024
_LOOK_S = 0.2
#: Fields of a log line that have a place of their own; the others follow as name=value.
_PLACED = ("time", "level", "logger", "message")


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 1_000_000),
    default=50,
    show_default=True,
    help="Lines from the end.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the lines as they are: JSON.")
def logs(follow: bool, lines: int, as_json: bool) -> None:
    """Show the daemon's log. It never holds prompts or source text."""
    file = log_file()
    if not file.exists() and not follow:
        raise LocalError(f"there is no log yet ({file}): the daemon writes it, see `ingle up`")
    last, offset = _tail(file, lines)
    for line in last:
        click.echo(line if as_json else readable(line))
    if follow:
        for line in _new_lines(file, offset):
            click.echo(line if as_json else readable(line))


def readable(line: str) -> str:
    """A log line for a person; what is not one of ours stays as it is."""
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    parts = [
        str(entry.get("time", "")),
        str(entry.get("level", "")).upper().ljust(7),
        f"{str(entry.get('logger', '')).removeprefix('ingled.')}:",
        str(entry.get("message", "")),
    ]
    parts += [f"{name}={value}" for name, value in entry.items() if name not in _PLACED]
    return " ".join(part for part in parts if part.strip(" :"))


def _tail(file: Path, count: int) -> tuple[list[str], int]:
    """The last whole lines of a file, and where they end. A missing file has none."""
    try:
        with file.open("rb") as stream:
            position = stream.seek(0, os.SEEK_END)
            data = b""
            while position and data.count(b"\n") <= count:
                step = min(_BLOCK, position)
                position = stream.seek(position - step)
                data = stream.read(step) + data
                stream.seek(position)
            end = position + data.rfind(b"\n") + 1
    except FileNotFoundError:
        return [], 0
    lines = _decode(data[: end - position])
    return lines[len(lines) - min(count, len(lines)) :], end


def _decode(data: bytes) -> list[str]:
    return data.decode("utf-8", errors="replace").removesuffix("\n").split("\n") if data else []


def _new_lines(file: Path, offset: int) -> Iterator[str]:
    """Lines as they are written, for ever; goes on in the new file when the log is rotated."""
    stream: BinaryIO | None = None
    rest = b""
    try:
        while True:
            if stream is None:
                try:
                    stream = file.open("rb")
                except FileNotFoundError:
                    time.sleep(_LOOK_S)
                    continue
                stream.seek(offset)
            # Asked before reading: what was written before the rotation is read first.
            replaced = _is_replaced(file, stream)
            rest += stream.read()
            *whole, rest = rest.split(b"\n")
            yield from (line.decode("utf-8", errors="replace") for line in whole)
            if replaced:
                stream.close()
                stream, offset, rest = None, 0, b""
            else:
                time.sleep(_LOOK_S)
    finally:
        if stream:
            stream.close()


def _is_replaced(file: Path, stream: BinaryIO) -> bool:
    try:
        now = file.stat()
    except FileNotFoundError:
        return True
    mine = os.fstat(stream.fileno())
    # Shorter than what was read: truncated in place.
    return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino) or now.st_size < stream.tell()
