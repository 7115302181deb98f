"""`ingle up` and `ingle down`: the daemon's life, with every step said."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import click

from ingle import launch
from ingle.blocking_client import Client
from ingle.endpoint import endpoint_file
from ingle.errors import (
    ConnectionFailed,
    ConnectionLost,
    IngleError,
    LoadFailed,
    LocalError,
    ProtocolError,
    ResponseTimeout,
)
from ingle.messages import Report
from ingled.lock import running_pid
from ingled.settings import Settings, load_settings

from .daemon_process import find_daemon, last_words
from .output import NO_MODEL, StatusLine, percent

_LOOK_S = 0.05
_WATCH_S = 0.2
#: What is left to do after the drain: the workers end, the lock is released.
_EXIT_S = 15.0
_ON_THE_WAY = ("starting", "loading", "stopping", "backoff")


@click.command()
@click.option(
    "--no-wait", is_flag=True, help="Return once it listens, without waiting for the model."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait; then exit code 4, and the daemon goes on.",
)
def up(no_wait: bool, timeout: float) -> None:
    """Start the daemon in the background and wait until its model is resident.

    A daemon that runs already is left as it is.
    """
    deadline = time.monotonic() + timeout
    with StatusLine() as line:
        client = find_daemon("up")
        expected = False
        if client:
            click.echo("ingled is already running")
        else:
            click.echo("starting ingled")
            process = launch.start_daemon()
            client = _wait_listening(process, deadline)
            expected = load_settings().model.load_at_start
        with client:
            if not no_wait:
                _wait_ready(client, deadline, line, expected=expected)


def _wait_listening(process: subprocess.Popen[bytes], deadline: float) -> Client:
    while True:
        # Asked first: a process that ended after it was found alive would be missed.
        code = process.poll()
        client = find_daemon("up")
        if client:
            return client
        # Somebody else's `ingle up` may have been faster; then that daemon counts.
        if code is not None and running_pid() is None:
            raise LocalError(last_words() or f"ingled ended at once with exit code {code}")
        if time.monotonic() > deadline:
            raise ResponseTimeout("ingled has not come up in time: see `ingle logs`")
        time.sleep(_LOOK_S)


def _wait_ready(client: Client, deadline: float, line: StatusLine, *, expected: bool) -> None:
    """Return when no model is on its way.

    `expected`: the daemon has just started and will load one, or say in a notice why it can't.
    """
    try:
        for report in client.watch(_WATCH_S):
            waiting = [model for model in report.models if model.state in _ON_THE_WAY]
            failed = [model for model in report.models if model.state == "failed"]
            if failed:
                raise LoadFailed(f"{failed[0].name} was not loaded: {failed[0].detail}")
            coming = expected and not report.models and not report.notices
            if not waiting and not coming:
                line.clear()
                _tell_ready(client, report)
                return
            if time.monotonic() > deadline:
                raise ResponseTimeout("the model is not resident in time: see `ingle status`")
            if not waiting:
                line.step("looking for the model")
                continue
            model = waiting[0]
            doing = {"backoff": "restarting", "stopping": "unloading"}.get(model.state, "loading")
            detail = f" ({model.detail})" if model.detail else ""
            line.step(
                f"{doing} {model.name}", f"{doing} {model.name}{percent(model.progress)}{detail}"
            )
    except ConnectionLost:
        raise LocalError(
            f"ingled ended while it started: {last_words() or 'see `ingle logs`'}"
        ) from (None)


def _tell_ready(client: Client, report: Report) -> None:
    resident = [model for model in report.models if model.state == "ready"]
    for model in resident:
        where = f"{model.engine} on {model.device}" if model.device else model.engine
        click.echo(f"ready: {model.name} is resident ({where})")
    if not resident and not report.notices:
        if report.models or any(info.installed for info in client.models()):
            click.echo("ready: the first request loads the model")
        else:
            click.echo(f"ready, but {NO_MODEL}")
    for notice in report.notices:
        click.echo(f"ready, but {notice}")


@click.command()
@click.option(
    "--drain",
    type=click.FloatRange(0, 600),
    metavar="SECONDS",
    help="Time for running requests to finish; `daemon.drain_ms` of the settings otherwise.",
)
@click.option("--force", is_flag=True, help="Kill the process instead of asking it.")
def down(drain: float | None, force: bool) -> None:
    """Stop the daemon and wait until it is gone. Fine, too, when it is not running."""
    pid = running_pid()
    if pid is None:
        click.echo("ingled is not running")
        return
    if force:
        _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        _wait_gone(pid, 0.0)
        endpoint_file().unlink(missing_ok=True)
        click.echo(f"ingled (process {pid}) was killed")
        return
    seconds = _drain_setting() if drain is None else drain
    _ask_to_stop(pid, seconds)
    with StatusLine() as line:
        line.step("stopping ingled")
        _wait_gone(pid, seconds)
    click.echo("ingled has stopped")


def _ask_to_stop(pid: int, drain: float) -> None:
    try:
        client = find_daemon("down")
    except (LocalError, ProtocolError):
        # Of another version, or its endpoint file is spoilt; but it knows what SIGTERM means.
        _signal(pid, signal.SIGTERM)
        return
    except ResponseTimeout:
        raise ResponseTimeout(
            f"ingled (process {pid}) does not answer: stop it with `ingle down --force`"
        ) from None
    if client is None:
        # It holds the lock without listening: on its way up, or on its way down.
        _signal(pid, signal.SIGTERM)
        return
    with client:
        try:
            client.shutdown(drain)
        except ConnectionFailed:
            # It left before its answer arrived; whether it is gone is looked at next.
            return


def _signal(pid: int, number: int) -> None:
    if not pid:
        raise LocalError("ingled runs, but its process id can't be read: end it by hand")
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait_gone(pid: int, drain: float) -> None:
    deadline = time.monotonic() + drain + _EXIT_S
    while running_pid() is not None:
        if time.monotonic() > deadline:
            raise LocalError(f"ingled (process {pid}) is still there: use `ingle down --force`")
        time.sleep(_LOOK_S)


def _drain_setting() -> float:
    try:
        settings = load_settings()
    except IngleError as error:
        # A wrong setting must not keep the daemon from being stopped.
        click.echo(f"ingle: {error}", err=True)
        settings = Settings()
    return settings.daemon.drain_ms / 1000
