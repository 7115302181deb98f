"""The command `ingle`: finds a command's module when it is asked for, and ends the process well.

Only the module of the command that runs is imported, so that `ingle ask` starts quickly. What the
commands do is in their modules.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click

from ingle.errors import IngleError
from ingle.version import __version__

from .exit_codes import FAILURE, INTERRUPTED, MEANINGS, OK, USAGE, exit_code

PROGRAM = "ingle"
COMPLETION_VARIABLE = "_INGLE_COMPLETE"

#: Command → its module in this package and its line in the help. The module has a function of the
#: command's name.
COMMANDS = {
    "up": ("lifecycle", "Start the daemon in the background."),
    "down": ("lifecycle", "Stop the daemon."),
    "status": ("status", "Show what the daemon is doing."),
    "ask": ("ask", "Ask the model a question."),
    "threads": ("threads", "List the chat threads, show one, delete some."),
    "complete": ("complete", "Complete code at a place in a file."),
    "models": ("models", "List the models that can be used."),
    "pull": ("models", "Download a model."),
    "rm": ("models", "Delete downloaded models."),
    "fit": (
        "fit",
        "Compute what of a model fits on a GPU, and what to choose.",
    ),
    "quantize": ("quantize", "Quantize a gpt-oss for ExLlamaV2."),
    "load": ("residency", "Make a model resident."),
    "unload": ("residency", "Give a model's memory back."),
    "logs": ("logs", "Show the daemon's log."),
    "metrics": ("metrics", "Print counts and times for Prometheus."),
    "doctor": ("doctor", "Check every layer and say what to do."),
    "config": ("config", "Show, check and write the settings."),
    "editor": ("editor", "Set an editor up for ingle, or list the editors."),
    "completion": ("completion", "Print a shell's completion script."),
}

_EXIT_CODES = "\b\nExit codes:\n" + "\n".join(
    f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items()
)


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {close[0]!r}?" if close else "see `ingle --help`"
            ctx.fail(f"there is no command {name!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(PROGRAM, cls=_LazyGroup, epilog=_EXIT_CODES)
@click.version_option(__version__, message="%(prog)s %(version)s")
def ingle() -> None:
    """A reasoning model kept burning in your own GPU, for your shell, editor and shortcuts."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors become one line on standard error."""
    debug = os.environ.get("INGLE_DEBUG") == "1"
    try:
        # Not `ingle.main()`: it has its own ideas of exit codes for a closed pipe and Ctrl-C.
        with ingle.make_context(PROGRAM, list(arguments)) as context:
            ingle.invoke(context)
        if sys.stdout:
            sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return OK
    except IngleError as error:
        if debug:
            raise
        return _failed(str(error), exit_code(error))
    except OSError as error:
        if debug:
            raise
        _abandon_output()
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", FAILURE)
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}"
        return _failed(f"{what}. This is a bug; INGLE_DEBUG=1 shows where", FAILURE)
    return OK


def main() -> NoReturn:
    """Entry point of the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that can't show a character must not end an answer.
            stream.reconfigure(errors="replace")
    if COMPLETION_VARIABLE in os.environ:
        ingle.main(prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE)
    sys.exit(run(sys.argv[1:]))


def _failed(message: str, code: int) -> int:
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return code


def _abandon_output() -> None:
    # Python flushes standard output once more at its end; that must not fail again.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
