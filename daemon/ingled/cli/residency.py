"""`ingle load` and `unload`: which models are resident."""

from __future__ import annotations

import click

from .calls import connect
from .model_names import absolute, complete_installed
from .output import StatusLine, progress_text


@click.command()
@click.argument("model", shell_complete=complete_installed)
@click.option("--engine", help="Engine that runs it; chosen by the model's format otherwise.")
def load(model: str, engine: str | None) -> None:
    """Make a model resident: one of `ingle models`, or a path to a GGUF file."""
    name = absolute(model)
    with connect("load") as client, StatusLine() as line:
        client.load(name, engine, lambda event: line.step(_step(name), progress_text(event)))
    click.echo(f"{name} is resident")


@click.command()
@click.argument("model", required=False, shell_complete=complete_installed)
def unload(model: str | None) -> None:
    """Give a model's memory back, or that of all models."""
    name = absolute(model) if model else None
    with connect("unload") as client:
        client.unload(name)
    click.echo(f"{name} is not resident any more" if name else "no model is resident any more")


def _step(name: str) -> str:
    return f"loading {name}"
