"""`ingle config`: where the settings are, what they are, whether they are right."""

from __future__ import annotations

import click
import msgspec

from ingle.errors import SettingsError
from ingled import settings as settings_module

from .output import write_json


@click.group()
def config() -> None:
    """Show, check and write the settings."""


@config.command()
def path() -> None:
    """Print where the settings file is, or would be."""
    click.echo(settings_module.settings_file())


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def show(as_json: bool) -> None:
    """Print all settings as they are now, defaults included."""
    settings = settings_module.load_settings()
    values = msgspec.to_builtins(settings)
    if as_json:
        write_json(values)
        return
    blocks = []
    for section, keys in values.items():
        lines = [f"{key} = {settings_module.toml_value(value)}" for key, value in keys.items()]
        blocks.append("\n".join([f"[{section}]", *lines]))
    click.echo("\n\n".join(blocks))


@config.command()
def init() -> None:
    """Write a settings file with every setting in it, commented out."""
    file = settings_module.settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(settings_module.default_toml())
    except FileExistsError:
        raise SettingsError(f"{file} is there already: edit it, or move it away first") from None
    click.echo(f"{file} is written: uncomment a line to change a setting")


@config.command()
def check() -> None:
    """Say whether the settings file is right, and what is wrong with it."""
    file = settings_module.settings_file()
    settings_module.load_settings(file)
    click.echo(f"{file} is right" if file.exists() else f"{file} is missing: the defaults are used")


@config.command()
def table() -> None:
    """Print all settings with their defaults and meanings, in Markdown."""
    click.echo(settings_module.settings_table().rstrip())
