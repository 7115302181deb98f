"""`ingle completion`: the scripts that let a shell complete `ingle` on Tab."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script.

    \b
    bash   add to ~/.bashrc:  eval "$(ingle completion bash)"
    zsh    add to ~/.zshrc:   eval "$(ingle completion zsh)"
    fish   ingle completion fish > ~/.config/fish/completions/ingle.fish
    """
    from .main import COMPLETION_VARIABLE, PROGRAM, ingle

    script = get_completion_class(shell)
    if script is None:
        raise RuntimeError(f"click knows no {shell}")
    click.echo(script(ingle, {}, PROGRAM, COMPLETION_VARIABLE).source())
