"""`ingle doctor --deep`: the checks on the card, which run in a process of their own.

Owns that process: what it is asked for, its findings as they come, and its death. The checks are
`ingled.engines.exllamav2.selfcheck`'s; nothing of them is imported here.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from ingle.errors import ConnectionFailed, ModelInvalid
from ingled.finding import Finding
from ingled.models.store import Store

from .daemon_process import find_daemon
from .output import StatusLine

COMMAND = (sys.executable, "-m", "ingled.engines.exllamav2.selfcheck")
#: Seconds without a word after which the process is ended; the library's kernels take minutes to
#: build.
SILENCE_S = 1200.0

_ON_THE_CARD = ("loading", "ready")


def deep(line: StatusLine, model: str | None) -> Iterator[Finding]:
    """Findings of the process. `model` is a name or a folder; else an installed one is timed.

    Raises `ModelNotFound`, `ModelInvalid`, `StoreError`.
    """
    folder = _folder(model) if model else _installed()
    arguments = [f"--model={folder}"] if folder else []
    arguments += [f"--beside={name}" for name in _resident()]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            yield from _talk(process, errors, line)
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def _talk(
    process: subprocess.Popen[bytes], errors: IO[bytes], line: StatusLine
) -> Iterator[Finding]:
    step, failed = "starting", False
    for message in _messages(process):
        if "step" in message:
            step = str(message["step"])
            line.step(step)
        else:
            finding = msgspec.convert(message, Finding)
            failed = failed or finding.grade == "fail"
            yield finding
    code = process.wait()
    if code == 0 or (code == 1 and failed):
        return
    words = _last_line(errors)
    yield Finding(
        check="deep",
        grade="fail",
        text=f"the checks ended ({_how(code)}) while {step}" + (f": {words}" if words else ""),
        remedy="run it again; if it ends there again, report it with the output of --json",
    )


def _messages(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Lines of the process until it ends; it is ended when nothing comes for too long."""
    assert process.stdout is not None
    while True:
        watchdog = threading.Timer(SILENCE_S, process.kill)
        watchdog.start()
        try:
            text = process.stdout.readline()
        finally:
            watchdog.cancel()
        if not text:
            return
        yield msgspec.json.decode(text, type=dict[str, Any])


def _folder(model: str) -> Path:
    """The folder of a name of the store, or of a path."""
    stored = Store().resolve(model)
    if stored.format != "safetensors":
        raise ModelInvalid(f"{model} is a GGUF: --deep times models in safetensors, give one")
    return stored.path


def _installed() -> Path | None:
    """An installed model that ExLlamaV2 runs."""
    store = Store()
    for info in store.list():
        if info.installed and info.engine == "exllamav2":
            return store.resolve(info.name).path
    return None


def _resident() -> list[str]:
    """Models that a running daemon holds: they may be on the card too."""
    try:
        client = find_daemon("doctor")
    except ConnectionFailed:
        return []
    if client is None:
        return []
    with client:
        return [one.name for one in client.status().models if one.state in _ON_THE_CARD]


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
