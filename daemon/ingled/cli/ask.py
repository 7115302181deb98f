"""`ingle ask`: a question from the arguments and a pipe, the answer as it comes.

With `--thread` it belongs to a chat thread (`ingle.threads`), which editors may continue.
"""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import click

from ingle.blocking_client import GRACE, Client
from ingle.codec import MAX_MESSAGE_BYTES
from ingle.errors import ContextOverflow, DeadlineExceeded, IngleError, RequestError
from ingle.messages import Chat, Delta, Done, Message, Progress, Started
from ingle.results import chat_fields

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
from .thread_names import complete_threads, resolved

if TYPE_CHECKING:
    from ingle.exchange import Exchange


@click.command()
@click.argument("prompt", nargs=-1)
@click.option(
    "--effort", type=click.Choice(["low", "medium", "high"]), help="How much the model thinks."
)
@click.option(
    "--show-thinking",
    is_flag=True,
    help="Write the model's thinking to standard error, or as `analysis` deltas with --json.",
)
@click.option(
    "--thread",
    metavar="NAME",
    shell_complete=complete_threads,
    help="Continue a chat thread, or begin it; `last` is the newest. See `ingle threads`.",
)
@click.option(
    "--system",
    metavar="TEXT",
    help="Instructions that come before the question; a thread keeps them.",
)
@click.option("--model", shell_complete=complete_installed, help="Model that answers.")
@click.option("--max-tokens", type=click.IntRange(1, 2**31), help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="Randomness; 0 for none.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Makes an answer repeatable.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400, min_open=True),
    metavar="SECONDS",
    help="End the answer after so long, with exit code 4.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
def ask(
    prompt: tuple[str, ...],
    effort: str | None,
    show_thinking: bool,
    thread: str | None,
    system: str | None,
    model: str | None,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Ask the model a question.

    The question is PROMPT, what is piped in, or both: then the piped text follows PROMPT. The
    answer is written as it comes. Ctrl-C stops the model, too.

    \b
    ingle ask "What is a monad?"
    git diff | ingle ask "Review this."
    ingle ask --thread last "Why?"
    """
    question = "\n\n".join(part for part in (" ".join(prompt).strip(), _piped()) if part)
    if not question:
        usage_error("there is no question: write one after `ingle ask`, or pipe one in")
    fields = chat_fields(
        question,
        system,
        timeout,
        model=model,
        effort=effort,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    show = _Json(show_thinking) if as_json else _Text(show_thinking)
    interrupt_on_terminate()
    wait = None if timeout is None else timeout + GRACE
    going_on: Exchange | None = None
    try:
        with (
            show,
            _exchange(thread, question, system, max_tokens) as going_on,
            connect("ask") as client,
        ):
            _answer(client, fields, wait, show, going_on)
    finally:
        if going_on and going_on.note:
            click.echo(f"ingle: {going_on.note}", err=True)
    show.finish()


def _exchange(
    thread: str | None, question: str, system: str | None, max_tokens: int | None
) -> AbstractContextManager[Exchange | None]:
    if thread is None:
        return nullcontext()
    # A question without a thread shall not wait for these.
    from ingle.exchange import exchange
    from ingle.threads import ThreadStore, Turn

    store = ThreadStore()
    turn = Turn(role="user", text=question)
    name = resolved(store, thread)
    return exchange(store, name, turn, create=True, system=system, max_tokens=max_tokens)


def _answer(
    client: Client,
    fields: dict[str, Any],
    wait: float | None,
    show: _Text | _Json,
    going_on: Exchange | None,
) -> None:
    """Ask and show the answer; a thread that is too long is asked without its oldest turns."""
    while True:
        of_thread = going_on.fields() if going_on else {}
        call = client.call(Chat, wait=wait, **fields | of_thread)
        try:
            with cancelled_when_left(client, call):
                for event in call:
                    if going_on:
                        going_on.add(event)
                    show.event(event)
        except ContextOverflow:
            if going_on is None or not going_on.shorten():
                raise
        else:
            return


class _Text:
    """An answer for people and pipes."""

    def __init__(self, show_thinking: bool) -> None:
        self._show_thinking = show_thinking
        self._line = StatusLine()
        #: Last character of what was written to each stream; set first, since Ctrl-C may come
        #: between the two.
        self._ends = {"final": "\n", "analysis": "\n"}
        self._done: Done | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._line.clear()
        if not isinstance(error, BrokenPipeError):
            self._end_line("analysis")
            self._end_line("final")

    def event(self, event: Message) -> None:
        match event:
            case Progress():
                self._line.show(progress_text(event))
            case Started():
                self._line.show("thinking")
            case Delta(channel="final", text=text) if text:
                self._line.clear()
                self._end_line("analysis")
                self._ends["final"] = text[-1]
                write_text(text)
            case Delta(channel="analysis", text=text) if text and self._show_thinking:
                self._line.clear()
                self._ends["analysis"] = text[-1]
                write_text(text, err=True, dim=is_terminal(sys.stderr))
            case Done():
                self._done = event

    def finish(self) -> None:
        if self._done and self._done.finish == "length":
            click.echo("ingle: the answer was cut at its longest: see --max-tokens", err=True)
        _raise_unless_whole(self._done)

    def _end_line(self, channel: str) -> None:
        if self._ends[channel] != "\n":
            click.echo("", err=channel == "analysis")
            self._ends[channel] = "\n"


class _Json:
    """An answer for programs: the events, and an `error` object if it fails."""

    def __init__(self, show_thinking: bool) -> None:
        self._show_thinking = show_thinking
        self._done: Done | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, IngleError):
            # Errors that never travel have no code; their class has a name.
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
            write_json(
                {
                    "type": "error",
                    "code": error.code or name,
                    "message": str(error),
                    "retryable": error.retryable,
                    "retry_after_ms": error.retry_after_ms,
                }
            )

    def event(self, event: Message) -> None:
        if isinstance(event, Delta) and event.channel == "analysis" and not self._show_thinking:
            return
        write_json(full(event))
        if isinstance(event, Done):
            self._done = event

    def finish(self) -> None:
        _raise_unless_whole(self._done)


def _raise_unless_whole(done: Done | None) -> None:
    if done and done.finish == "deadline":
        raise DeadlineExceeded("the answer was not finished in time: see --timeout")
    if done and done.finish in ("cancelled", "superseded"):
        raise RequestError("the daemon ended the answer early: ask again, or see `ingle logs`")


def _piped() -> str:
    """What was piped in; "" if that is nothing but white space."""
    if sys.stdin is None or sys.stdin.closed or is_terminal(sys.stdin):
        return ""
    data: Any = sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1)
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadInput(f"more than {MAX_MESSAGE_BYTES // 2**20} MB are piped in: send less")
    try:
        text: str = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"what is piped in is not UTF-8 text (byte {error.start + 1}): convert it first"
        ) from error
    if "\0" in text:
        raise BadInput("what is piped in is binary: pipe text")
    # Indentation of the first line is part of it.
    return text.rstrip() if text.strip() else ""
