"""`ingle models`, `pull` and `rm`: the model store. They work without a daemon."""

from __future__ import annotations

import click

from ingle.errors import ConnectionFailed, StoreError
from ingle.messages import ModelInfo
from ingled.models.store import Store
from ingled.models.transfer import PullProgress, size_text

from .calls import connect
from .model_names import complete_installed, complete_pullable
from .output import StatusLine, full, percent, table, write_json

#: States of a model whose worker holds its files open, or is about to.
_IN_USE = ("starting", "loading", "ready", "stopping", "backoff")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
def models(as_json: bool) -> None:
    """List the models that can be used: what is installed, and what can be pulled."""
    resident = _in_use()
    infos = Store().list()
    if as_json:
        for info in infos:
            write_json(full(info) | {"resident": info.name in resident})
        return
    rows = [("NAME", "STATE", "SIZE", "LICENCE", "RUNS HERE WITH", "SOURCE")]
    rows += [_row(info, info.name in resident) for info in infos]
    click.echo(table(rows))
    for info in infos:
        if info.reason:
            click.echo(f"{info.name}: {info.reason}")


def _row(info: ModelInfo, resident: bool) -> tuple[str, str, str, str, str, str]:
    state = "resident" if resident else "installed" if info.installed else "can be pulled"
    size = size_text(info.bytes) if info.bytes else "?"
    return (info.name, state, size, info.licence, info.engine or "-", info.source)


@click.command()
@click.argument("name", shell_complete=complete_pullable)
def pull(name: str) -> None:
    """Download a model and verify it.

    An interrupted download goes on where it was. This is the only command that uses the network.
    """
    with StatusLine() as line:
        try:
            model = Store().pull(name, lambda progress: _show_pull(line, name, progress))
        except KeyboardInterrupt:
            line.clear()
            click.echo(f"interrupted: `ingle pull {name}` goes on with it", err=True)
            raise
    click.echo(f"{name} is installed: {size_text(model.bytes)}, {model.licence}")


def _show_pull(line: StatusLine, name: str, progress: PullProgress) -> None:
    step = f"{name}: {progress.phase}"
    if progress.total:
        amount = f"{size_text(progress.done)} of {size_text(progress.total)}"
        line.step(step, f"{step}{percent(progress.done / progress.total)}, {amount}")
    else:
        line.step(step, f"{step} {progress.detail}".rstrip())


@click.command()
@click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_installed
)
def rm(names: tuple[str, ...]) -> None:
    """Delete downloaded models.

    A model that is resident is not deleted.
    """
    store, used = Store(), _in_use()
    for name in names:
        if name in used:
            raise StoreError(f"{name} is resident: run `ingle unload {name}` first")
    for name in names:
        click.echo(f"{name} is deleted: {size_text(store.remove(name))} are free again")


def _in_use() -> set[str]:
    """Names of the models that a running daemon uses."""
    try:
        with connect("models", timeout=2.0) as client:
            return {model.name for model in client.status().models if model.state in _IN_USE}
    except ConnectionFailed:
        return set()
