"""`ingle doctor`: a health check of every layer, each with what to do about it.

The checks look; they change nothing and start nothing.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ingle import paths
from ingle.blocking_client import Client
from ingle.endpoint import endpoint_file
from ingle.errors import ConnectionFailed, IngleError
from ingle.threads import ThreadStore
from ingle.version import __version__
from ingled import settings
from ingled.engines import registry
from ingled.finding import Finding, Grade
from ingled.gpu_stack import read_gpu_stack
from ingled.lock import running_pid
from ingled.models.store import Store
from ingled.models.transfer import size_text

from .daemon_process import find_daemon
from .deep import deep as deep_findings
from .model_names import complete_installed
from .output import NO_MODEL, StatusLine, full, percent, usage_error, write_json

_LITTLE_SPACE = 200_000_000
#: gpt-oss-20b fits.
_ENOUGH_SPACE = 15_000_000_000


@click.command()
@click.option("--deep", is_flag=True, help="Check the card's kernels too, and time them: minutes.")
@click.option(
    "--model",
    metavar="NAME_OR_FOLDER",
    shell_complete=complete_installed,
    help="With --deep: model to be timed; else an installed one, if ExLlamaV2 runs it.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a check.")
@click.pass_context
def doctor(context: click.Context, deep: bool, model: str | None, as_json: bool) -> None:
    """Check every layer and say what to do.

    With --deep the kernels of ExLlamaV2 and flash-attn are compared with references on this
    machine's card, then memory, prefill and decode are timed. Best with no model resident.

    Ends with exit code 1 when something fails.
    """
    if model is not None and not deep:
        usage_error("--model is for --deep")
    failed = False
    with StatusLine() as line:
        for finding in findings(line, deep=deep, model=model):
            failed = failed or finding.grade == "fail"
            line.clear()
            if as_json:
                write_json(full(finding))
            else:
                remedy = f": {finding.remedy}" if finding.remedy else ""
                click.echo(f"{finding.grade:<4}  {finding.check:<8}  {finding.text}{remedy}")
    if failed:
        context.exit(1)


def findings(
    line: StatusLine, *, deep: bool = False, model: str | None = None
) -> Iterator[Finding]:
    """Every check, in order. A check that breaks is itself a finding."""
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": _python,
        "settings": _settings,
        "folders": _folders,
        "daemon": _daemon,
        "models": lambda: _models(line),
        "engines": _engines,
        "gpu": _gpu,
        "threads": _threads,
        "disk": _disk,
    }
    if deep:
        checks["deep"] = lambda: deep_findings(line, model)
    for name, check in checks.items():
        line.show(f"checking {name}")
        try:
            yield from check()
        except (IngleError, OSError) as error:
            yield Finding(check=name, grade="fail", text=str(error))


def _python() -> Iterator[Finding]:
    text = f"ingle {__version__}, Python {platform.python_version()} at {sys.executable}"
    yield Finding(check="python", grade="ok", text=text)


def _settings() -> Iterator[Finding]:
    file = settings.settings_file()
    settings.load_settings(file)
    text = f"{file} is right" if file.exists() else "no settings file: the defaults are used"
    yield Finding(check="settings", grade="ok", text=text)


def _folders() -> Iterator[Finding]:
    folder = paths.runtime_dir()
    if not folder.exists():
        text = f"{folder} is not there yet: the daemon makes it"
        yield Finding(check="folders", grade="ok", text=text)
        return
    for path in (folder, endpoint_file()):
        if path.exists():
            yield _is_private(path)


def _is_private(path: Path, check: str = "folders") -> Finding:
    facts = path.lstat()
    if sys.platform != "win32":
        if facts.st_uid != os.getuid() or stat.S_ISLNK(facts.st_mode):
            remedy = "remove it, or set INGLE_HOME to a folder of yours"
            text = f"{path} belongs to another user"
            return Finding(check=check, grade="fail", text=text, remedy=remedy)
        if facts.st_mode & 0o077:
            mode = stat.S_IMODE(facts.st_mode)
            text = f"{path} is open to other users (mode {mode:04o})"
            remedy = f"run `chmod go= {path}`"
            return Finding(check=check, grade="fail", text=text, remedy=remedy)
    return Finding(check=check, grade="ok", text=f"{path} is yours alone")


def _daemon() -> Iterator[Finding]:
    try:
        client = find_daemon("doctor")
    except ConnectionFailed as error:
        pid = running_pid()
        text = f"process {pid} holds the lock but does not answer" if pid else str(error)
        remedy = "run `ingle down --force && ingle up`"
        yield Finding(check="daemon", grade="fail", text=text, remedy=remedy)
        return
    if client is None:
        pid = running_pid()
        text = f"process {pid} does not listen yet" if pid else "ingled is not running"
        yield Finding(
            check="daemon", grade="warn", text=text, remedy="" if pid else "run `ingle up`"
        )
        return
    with client:
        yield from _running_daemon(client)


def _running_daemon(client: Client) -> Iterator[Finding]:
    report = client.status()
    text = f"ingled {report.version}, process {report.pid}, at {client.endpoint.url}"
    if report.version == __version__:
        yield Finding(check="daemon", grade="ok", text=text)
    else:
        remedy = "restart it with `ingle down && ingle up`"
        yield Finding(check="daemon", grade="warn", text=text, remedy=remedy)
    for model in report.models:
        grade: Grade = {"failed": "fail", "backoff": "warn"}.get(model.state, "ok")  # type: ignore[assignment]
        detail = f": {model.detail}" if model.detail else ""
        yield Finding(check="daemon", grade=grade, text=f"{model.name} is {model.state}{detail}")
        for limit in model.limits:
            yield Finding(check="daemon", grade="info", text=f"{model.name}: {limit}")
    for notice in report.notices:
        yield Finding(check="daemon", grade="info", text=notice)


def _models(line: StatusLine) -> Iterator[Finding]:
    store = Store()
    infos = store.list()
    for info in infos:
        if not info.installed:
            if info.reason and (store.root / info.name).is_dir():
                remedy = f"run `ingle pull {info.name}`"
                yield Finding(check="models", grade="fail", text=info.reason, remedy=remedy)
            continue
        name = info.name
        try:
            model = store.resolve(
                name,
                lambda progress, name=name: line.show(  # type: ignore[misc]
                    f"verifying {name}{percent(progress.done / (progress.total or 1))}"
                ),
            )
        except IngleError as error:
            yield Finding(check="models", grade="fail", text=str(error))
            continue
        text = f"{name} is whole ({size_text(model.bytes)})"
        if info.engine:
            yield Finding(check="models", grade="ok", text=f"{text} and runs on {info.engine}")
        else:
            yield Finding(check="models", grade="warn", text=f"{text}, but {info.reason}")
    if not any(info.installed for info in infos):
        yield Finding(check="models", grade="warn", text=NO_MODEL)


def _engines() -> Iterator[Finding]:
    for name in registry.NAMES:
        remedy = registry.missing(name)
        if remedy:
            text = f"{name} is not installed"
            yield Finding(check="engines", grade="warn", text=text, remedy=f"run `{remedy}`")
        else:
            yield (
                _exllamav2()
                if name == "exllamav2"
                else Finding(check="engines", grade="ok", text=f"{name} is installed")
            )
    if importlib.util.find_spec("openai_harmony") is None:
        yield Finding(
            check="engines",
            grade="warn",
            text="openai-harmony is not installed, which gpt-oss needs",
            remedy="run `pip install 'ingle[cpu]'`",
        )
    else:
        yield Finding(check="engines", grade="ok", text="openai-harmony is installed")


def _exllamav2() -> Finding:
    """Which combination of versions is there; whether it works on this card, --deep finds out."""
    stack = read_gpu_stack()
    if not stack.platform:
        remedy = "for a card install torch for CUDA or ROCm; GGUF models need none of it"
        return Finding(check="engines", grade="warn", text=str(stack), remedy=remedy)
    return Finding(check="engines", grade="ok", text=str(stack))


#: A driver's own program, and what it is asked for.
_NVIDIA = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
_AMD = ("rocm-smi", "--showproductname", "--showdriverversion", "--csv")


def _gpu() -> Iterator[Finding]:
    found = False
    for program, *arguments in (_NVIDIA, _AMD):
        if shutil.which(program) is None:
            continue
        found = True
        try:
            answer = subprocess.run(
                [program, *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            remedy = f"run `{program}` and follow what it says"
            text = f"{program} fails ({type(error).__name__})"
            yield Finding(check="gpu", grade="warn", text=text, remedy=remedy)
            continue
        for line in answer.stdout.splitlines():
            # rocm-smi's first line names the columns.
            if line.strip() and not line.startswith("device,"):
                yield Finding(check="gpu", grade="ok", text=line.strip())
    if not found:
        text = "no driver of NVIDIA or AMD found: models run on what else their engine can use"
        yield Finding(check="gpu", grade="info", text=text)


def _threads() -> Iterator[Finding]:
    store = ThreadStore()
    listing = store.listing()
    for problem in listing.problems:
        text, _, remedy = problem.rpartition(": ")
        yield Finding(check="threads", grade="warn", text=text, remedy=remedy)
    if store.folder.exists():
        if not os.access(store.folder, os.W_OK):
            remedy = "chats are answered, but not kept: give yourself the right to write there"
            text = f"{store.folder} is read-only"
            yield Finding(check="threads", grade="warn", text=text, remedy=remedy)
        yield _is_private(store.folder, "threads")
    text = f"{len(listing.threads)} chat threads in {store.folder}"
    yield Finding(check="threads", grade="ok", text=text)


def _disk() -> Iterator[Finding]:
    folder = paths.data_dir()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    text = f"{size_text(free)} free for models in {folder}"
    if free >= _ENOUGH_SPACE:
        yield Finding(check="disk", grade="ok", text=text)
        return
    remedy = "free some space, or set INGLE_HOME to a folder on another disk"
    if free < _LITTLE_SPACE:
        yield Finding(check="disk", grade="fail", text=text, remedy=remedy)
    else:
        yield Finding(check="disk", grade="info", text=f"{text}, too little for gpt-oss-20b")
