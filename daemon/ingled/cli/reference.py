"""Writes `daemon/CLI.md`, `daemon/SETTINGS.md` and README's table of what fits where.

`python -m ingled.cli.reference` writes them; with `--check` it only says whether they are up to
date. Both need a checkout of the sources.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ingled.models.recommend import readme_table
from ingled.settings import settings_table

from .exit_codes import MEANINGS
from .main import COMMANDS, PROGRAM, ingle

FOLDER = Path(__file__).parents[2]
README = "../README.md"
#: What is between these lines of README is written; all else there is people's.
FIT_BEGIN = "<!-- What fits: written by `python -m ingled.cli.reference`; don't edit. -->\n"
FIT_END = "<!-- End of what fits. -->\n"
_MADE = "<!-- Written by `python -m ingled.cli.reference`; don't edit. -->\n\n"


def pages() -> dict[str, str]:
    """File name → what should be in it."""
    return {"CLI.md": _commands_page(), "SETTINGS.md": _settings_page(), README: _readme()}


def stale() -> list[str]:
    """Names of the files that are not what they should be."""
    return [
        name
        for name, text in pages().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]


def _readme() -> str:
    text = (FOLDER / README).read_text(encoding="utf-8")
    before, begin, rest = text.partition(FIT_BEGIN)
    _, end, after = rest.partition(FIT_END)
    if not begin or not end:
        raise RuntimeError("README.md lacks the lines between which its table of fits belongs")
    return f"{before}{begin}\n{readme_table()}\n\n{end}{after}"


def _settings_page() -> str:
    return (
        "# Settings\n\n" + _MADE + "One file, `config.toml`; `ingle config path` says where, and "
        "`ingle config init` writes one with every setting in it. A missing file means the "
        "defaults. The daemon reads it again when it changes. A wrong setting is refused with "
        "file, line and a suggestion; `ingle config check` does so without a daemon.\n\n"
        + settings_table()
    )


def _commands_page() -> str:
    parts = ["# The command line\n", _MADE + _paragraph(ingle.help or "")]
    parts.append("## Exit codes\n\n| Code | Meaning |\n| --- | --- |")
    parts[-1] += "".join(f"\n| {code} | {meaning} |" for code, meaning in MEANINGS.items()) + "\n"
    root = click.Context(ingle, info_name=PROGRAM)
    for name in COMMANDS:
        command = ingle.get_command(root, name)
        if command is None:
            raise RuntimeError(f"the command {name} has no function")
        parts += _command(command, root, name)
    return "\n".join(parts)


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"## `{context.command_path}`\n\n    {usage}\n"
    yield _paragraph(command.help or "")
    records = [
        record
        for param in command.params
        if isinstance(param, click.Option) and (record := param.get_help_record(context))
    ]
    if records:
        cells = [[cell.replace("|", r"\|") for cell in record] for record in records]
        rows = [f"| `{option}` | {meaning} |" for option, meaning in cells]
        yield "\n".join(["| Option | Meaning |", "| --- | --- |", *rows]) + "\n"
    if isinstance(command, click.Group):
        for child_name, child in command.commands.items():
            yield from _command(child, context, child_name)


def _paragraph(text: str) -> str:
    """click's help text as Markdown: what follows a `\\b` line is kept as it is, indented."""
    blocks = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("\b\n"):
            blocks.append("\n".join(f"    {line}" for line in block.split("\n")[1:]))
        else:
            blocks.append(" ".join(block.split("\n")))
    return "\n\n".join(blocks) + "\n"


@click.command()
@click.option("--check", is_flag=True, help="Only say whether the files are up to date.")
def main(check: bool) -> None:
    """Write the reference pages."""
    old = stale()
    if check:
        for name in old:
            click.echo(f"{name} is out of date: run `python -m ingled.cli.reference`", err=True)
        sys.exit(1 if old else 0)
    for name in old:
        (FOLDER / name).write_text(pages()[name], encoding="utf-8")
        click.echo(f"{name} is written")


if __name__ == "__main__":
    main()
