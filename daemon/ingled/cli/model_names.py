"""Model names on the command line: what a shell offers, and paths as the daemon wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


def complete_installed(context: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Names of installed models, for the shell."""
    del context, param
    return _names(text, installed=True)


def complete_pullable(context: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Names that can be pulled, for the shell."""
    del context, param
    return _names(text, installed=False)


def absolute(model: str) -> str:
    """A name as it is; a path made absolute, since the daemon runs in another folder."""
    from ingled.models.local_model import is_path

    return str(Path(model).expanduser().absolute()) if is_path(model) else model


def _names(text: str, *, installed: bool) -> list[str]:
    from ingled.models.store import Store

    return [
        info.name
        for info in Store().list()
        if info.installed == installed and info.name.startswith(text)
    ]
