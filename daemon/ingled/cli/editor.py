"""`ingle editor`: set an editor up for ingle, show how that would be, take it away again.

What goes where is in `ingled.editors`; here is what the user sees.
"""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path
from typing import Any

import click

from ingle.errors import SettingsError
from ingled.editors import places, setup
from ingled.editors.known import ALIASES, EDITORS, Editor, Extension, Template

from .output import table, usage_error, write_json

_EXTENSION_ID = "ingle.ingle"
_STATES = {"no": "no", "yes": "yes", "outdated": "yes, outdated", "by hand": "by hand"}


def _complete(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    del context, parameter
    names = [name for name in EDITORS if name.startswith(incomplete)]
    return [click.shell_completion.CompletionItem(name) for name in names]


@click.command()
@click.argument("name", required=False, shell_complete=_complete)
@click.option(
    "--print", "only_print", is_flag=True, help="Print the configuration, change nothing."
)
@click.option("--dry-run", is_flag=True, help="Show what would change, as a diff; change nothing.")
@click.option("--remove", is_flag=True, help="Take away what was installed, and nothing else.")
@click.option(
    "--vsix",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The extension's package, for VS Code and its kin.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON objects.")
def editor(
    name: str | None,
    only_print: bool,
    dry_run: bool,
    remove: bool,
    vsix: Path | None,
    as_json: bool,
) -> None:
    """Set an editor up for ingle, or list the editors.

    Without NAME, lists the editors that it knows, which of them are on this machine, and whether
    ingle is configured there. A file that is changed keeps everything else in it, and what it was
    stays beside it as `*.ingle-backup`.
    """
    if name is None:
        if only_print or dry_run or remove or vsix:
            usage_error("which editor? Give its NAME")
        _list(as_json)
        return
    chosen = _chosen(name)
    if only_print and remove:
        usage_error("--print and --remove exclude each other")
    if vsix and not isinstance(chosen.recipe, Extension):
        usage_error(f"--vsix is for VS Code and its kin, not for {chosen.title}")
    if isinstance(chosen.recipe, Template):
        _template(chosen, chosen.recipe, only_print, remove, as_json)
    elif isinstance(chosen.recipe, Extension):
        _extension(chosen, chosen.recipe, vsix, only_print or dry_run, remove, as_json)
    elif only_print:
        click.echo(setup.configuration(chosen), nl=False)
    else:
        _file(chosen, dry_run, remove, as_json)


def _chosen(name: str) -> Editor:
    found = EDITORS.get(ALIASES.get(name.lower(), name.lower()))
    if found is None:
        close = difflib.get_close_matches(name.lower(), [*EDITORS, *ALIASES], 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(EDITORS)}"
        usage_error(f"there is no editor {name!r}: {hint}")
    return found


# --- the list ---------------------------------------------------------------------------------


def _list(as_json: bool) -> None:
    rows = [_entry(known) for known in EDITORS.values()]
    if as_json:
        for row in rows:
            write_json(row)
        return
    cells = [("NAME", "EDITOR", "INSTALLED", "INGLE", "FILE")]
    cells += [
        (
            row["name"],
            row["title"],
            "yes" if row["installed"] else "no",
            "?" if row["problem"] else _STATES.get(row["configured"], "by import"),
            row["file"],
        )
        for row in rows
    ]
    click.echo(table(cells))
    for row in rows:
        if row["problem"]:
            click.echo(f"ingle: {row['problem']}", err=True)


def _entry(known: Editor) -> dict[str, Any]:
    """A row; `configured` is null where ingle can't know."""
    configured: str | None = None
    problem = file = ""
    if isinstance(known.recipe, Extension):
        folder = setup.extension_folder(known.recipe, places.home())
        configured, file = ("yes", str(folder)) if folder else ("no", "")
    elif known.file is not None:
        file = str(known.file())
        try:
            configured = setup.installing(known).state
        except SettingsError as error:
            problem = str(error)
    return {
        "name": known.name,
        "title": known.title,
        "installed": known.is_installed(),
        "configured": configured,
        "file": file,
        "problem": problem,
    }


# --- one editor -------------------------------------------------------------------------------


def _file(known: Editor, dry_run: bool, remove: bool, as_json: bool) -> None:
    plan = setup.removing(known) if remove else setup.installing(known)
    difference = plan.difference()
    # Asked before a file of ours makes its folder look like the editor's.
    installed = known.is_installed()
    backup = plan.apply() if plan.changes and not dry_run else None
    if as_json:
        write_json(
            {
                "name": known.name,
                "file": str(plan.file.path),
                "configured": plan.state,
                "changed": plan.changes and not dry_run,
                "backup": str(backup) if backup else "",
                "diff": difference,
            }
        )
        return
    if dry_run and plan.changes:
        click.echo(difference, nl=False)
        return
    click.echo(_said(known, plan, backup, remove))
    if not remove:
        for note in known.notes:
            click.echo(f"note: {_filled(known, note)}", err=True)
        if not installed:
            click.echo(f"note: {known.title} was not found on this machine", err=True)


def _said(known: Editor, plan: setup.Plan, backup: Path | None, remove: bool) -> str:
    path = plan.file.path
    if plan.state == "by hand":
        todo = "remove it by hand" if remove else "nothing is changed"
        return f"{path}:{plan.line}: ingle is configured by hand: {todo}"
    if not plan.changes:
        return f"{known.title} has nothing of ingle" if remove else f"{path} is up to date"
    kept = f"; what it was is in {backup.name}" if backup else ""
    if remove:
        gone = f"{path} is deleted" if plan.new is None else f"{path} is as if ingle never was"
        return f"{gone}{kept}"
    return f"{path} sets ingle up{kept}"


def _template(
    known: Editor, recipe: Template, only_print: bool, remove: bool, as_json: bool
) -> None:
    folder = places.plugin(known.name)
    how = _filled(known, recipe.how)
    template = (folder / "template.json").read_text(encoding="utf-8")
    if as_json:
        write_json({"name": known.name, "folder": str(folder), "how": how, "template": template})
    elif remove:
        click.echo(f"ingle has written nothing for {known.title}: remove the server in the IDE")
    elif only_print:
        click.echo(template, nl=False)
    else:
        click.echo(f"{template}\n{how}")


def _filled(known: Editor, text: str) -> str:
    return text.replace("{plugin}", str(places.plugin(known.name))) if "{plugin}" in text else text


def _extension(
    known: Editor,
    recipe: Extension,
    vsix: Path | None,
    only_show: bool,
    remove: bool,
    as_json: bool,
) -> None:
    program = known.program()
    package = vsix or _built_package()
    argument = _EXTENSION_ID if remove else str(package) if package else "ingle.vsix"
    option = "--uninstall-extension" if remove else "--install-extension"
    command = [program or known.programs[0], option, argument]
    ready = program is not None and (remove or package is not None)
    nothing = remove and setup.extension_folder(recipe, places.home()) is None
    run = ready and not only_show and not nothing
    if run:
        _run(command)
    if as_json:
        write_json({"name": known.name, "command": command, "changed": run})
    elif nothing:
        click.echo(f"{known.title} has nothing of ingle")
    elif run:
        click.echo(f"{known.title} has {'lost' if remove else 'got'} the extension {_EXTENSION_ID}")
    else:
        click.echo(" ".join(command))
        if program is None:
            looked = ", ".join(known.programs)
            click.echo(f"note: {known.title} was not found on PATH ({looked})", err=True)
        if package is None and not remove:
            click.echo(
                "note: there is no ingle.vsix here: build it in editor-plugins/vscode with "
                "`npm ci && npm run package`, then give it with --vsix",
                err=True,
            )
    if not remove and not as_json and places.language_server() != "ingle-lsp":
        server = places.language_server()
        click.echo(f'note: set "ingle.serverPath" to {server}: it is not on PATH', err=True)


def _built_package() -> Path | None:
    """The package that was built in this checkout, if there is one."""
    try:
        package = places.plugin("vscode") / "ingle.vsix"
    except SettingsError:
        return None
    return package if package.is_file() else None


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{command[0]} could not be run: {error}") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise SettingsError(f"`{' '.join(command)}` failed: {words[-1] if words else 'no reason'}")
