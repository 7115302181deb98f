"""`ingle threads`: the chats that the editors and `ingle ask --thread` share. Needs no daemon."""

from __future__ import annotations

import click

from ingle.conversation import shown_lines, shown_path
from ingle.threads import Excerpt, ThreadStore, Turn

from .output import full, table, write_json, write_text
from .thread_names import complete_threads, resolved


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
@click.pass_context
def threads(context: click.Context, as_json: bool) -> None:
    """List the chat threads, show one, delete some.

    `ingle ask --thread NAME` begins and continues them; so do the editors' chats. NAME may be
    `last`: the newest.
    """
    if context.invoked_subcommand is not None:
        return
    listing = ThreadStore().listing()
    for problem in listing.problems:
        click.echo(f"ingle: {problem}", err=True)
    if as_json:
        for thread in listing.threads:
            write_json(full(thread))
    elif listing.threads:
        rows = [("NAME", "CONTINUED", "TURNS", "TITLE")]
        rows += [
            (
                thread.name,
                thread.updated.astimezone().strftime("%Y-%m-%d %H:%M"),
                str(thread.turns),
                thread.title,
            )
            for thread in listing.threads
        ]
        write_text(table(rows) + "\n")
    elif not listing.problems:
        click.echo("there is no thread yet: begin one with `ingle ask --thread NAME`", err=True)


@threads.command()
@click.argument("name", shell_complete=complete_threads)
@click.option("--show-thinking", is_flag=True, help="Show what the model thought, too.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, with everything.")
def show(name: str, show_thinking: bool, as_json: bool) -> None:
    """Print a thread: questions after `>`, then their answers."""
    store = ThreadStore()
    thread = store.read(resolved(store, name))
    if as_json:
        write_json(full(thread))
        return
    write_text("\n\n".join(_turn_text(turn, show_thinking) for turn in thread.turns) + "\n")


@threads.command()
@click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_threads
)
def rm(names: tuple[str, ...]) -> None:
    """Delete threads.

    One that answers a question at the moment is not deleted.
    """
    store = ThreadStore()
    for name in dict.fromkeys(resolved(store, name) for name in names):
        store.delete(name)
        click.echo(f"{name} is deleted")


def _turn_text(turn: Turn, show_thinking: bool) -> str:
    if turn.role == "user":
        text = "\n".join([*map(_place, turn.context), turn.text.strip()])
        return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
    thoughts = [f"[thinking]\n{turn.analysis.strip()}\n[/thinking]"]
    parts = [*(thoughts if show_thinking and turn.analysis else []), turn.text.strip()]
    if turn.finish != "stop":
        parts.append(f"[{_ENDS.get(turn.finish, turn.finish)}]")
    return "\n\n".join(filter(None, parts))


#: How an answer that is not whole ended.
_ENDS = {
    "": "ended with its process",
    "error": "broke off",
    "length": "cut at its longest",
    "deadline": "cut at its time limit",
}


def _place(excerpt: Excerpt) -> str:
    lines = f", {shown_lines(excerpt.range)}" if excerpt.range else ""
    return f"[{shown_path(excerpt.uri)}{lines}]"
