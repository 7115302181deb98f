"""Thread names on the command line: what a shell offers, and the word for the newest thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from ingle.threads import ThreadStore


def complete_threads(context: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Names of threads, for the shell."""
    del context, param
    from ingle.errors import ThreadError
    from ingle.thread_names import LAST
    from ingle.threads import ThreadStore

    try:
        names = ThreadStore().names()
    except ThreadError:
        # A shell that completes has no place for a message.
        return []
    return [name for name in [*names, *([LAST] if names else [])] if name.startswith(text)]


def resolved(store: ThreadStore, name: str) -> str:
    """A thread's name; `last` is the newest one's. Raises `ThreadError` if there is none."""
    from ingle.errors import ThreadError
    from ingle.thread_names import LAST

    if name != LAST:
        return name
    newest = store.newest()
    if newest is None:
        raise ThreadError("there is no thread yet: begin one with `ingle ask --thread NAME`")
    return newest
