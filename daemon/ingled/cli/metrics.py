"""`ingle metrics`: the daemon's counts and times, for Prometheus."""

from __future__ import annotations

import click

from .calls import connect


@click.command()
def metrics() -> None:
    """Print counts and times for Prometheus.

    Its text format, for a textfile collector or to look at once. Ends with exit code 3 when the
    daemon is not running.
    """
    with connect("metrics") as client:
        click.echo(client.metrics(), nl=False)
