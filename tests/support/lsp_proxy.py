"""A proxy between an editor and `ingle-lsp` that records the messages, both ways, as JSON lines.

    python lsp_proxy.py RECORD [--announce VERSION|none] [ARGUMENTS OF ingle-lsp]

Owns the copying and its record; starts `python -m ingle_lsp.server` with the same environment.
Messages pass as they are, but for `--announce`: what the server says of its version for plugins,
so that a plugin can meet a newer server or an old one. Runs as a file of its own, so it imports
nothing of the tests; they use `proxy_command`, `install_proxy` and `recorded`.

A line is `{"at": SECONDS, "from": "editor" or "server", "message": {…}}`; `at` is the monotonic
clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Recorded:
    """One message that passed. `side` sent it: "editor" or "server"."""

    at: float
    side: str
    message: dict[str, Any]

    @property
    def method(self) -> str:
        """Its method; "" for a response."""
        return str(self.message.get("method", ""))


def proxy_command(record: Path, *, announce: int | str | None = "") -> list[str]:
    """The command to start in the place of `ingle-lsp`.

    `announce`: the version for plugins that the server claims; None: an old server, without one.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(record)]
    if announce != "":
        command += ["--announce", "none" if announce is None else str(announce)]
    return command


def install_proxy(folder: Path, record: Path) -> Path:
    """Write an executable `ingle-lsp` into a folder, for editors that look for it on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "ingle-lsp"
    command = " ".join(map(shlex.quote, proxy_command(record)))
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    return script


def recorded(record: Path, method: str | None = None, side: str | None = None) -> list[Recorded]:
    """What passed so far, in order; of one method, from one side, if they are given."""
    if not record.exists():
        return []
    lines = record.read_text().split("\n")[:-1]
    found = []
    for line in lines:
        fields = json.loads(line)
        found.append(Recorded(fields["at"], fields["from"], fields["message"]))
    return [
        item
        for item in found
        if (method is None or item.method == method) and (side is None or item.side == side)
    ]


class _Record:
    """The file; whole lines, from two threads."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a")
        self._lock = threading.Lock()

    def add(self, side: str, message: Any) -> None:
        line = json.dumps({"at": time.monotonic(), "from": side, "message": message})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    """The body of the next message; None at the end."""
    length = 0
    while (line := stream.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if not line:
        return None
    body = stream.read(length)
    return body if len(body) == length else None


def _write(stream: IO[bytes], body: bytes) -> None:
    stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    stream.flush()


def _copy(source: IO[bytes], sink: IO[bytes], side: str, record: _Record, announce: str) -> None:
    try:
        while (body := _read(source)) is not None:
            message = json.loads(body)
            capabilities = announce and _capabilities(message)
            if capabilities:
                capabilities["experimental"] = (
                    None if announce == "none" else {"ingle": {"version": int(announce)}}
                )
                body = json.dumps(message).encode()
            record.add(side, message)
            _write(sink, body)
    except (BrokenPipeError, ValueError):
        # The other end is gone; the rest follows from that.
        pass
    finally:
        sink.close()


def _capabilities(message: dict[str, Any]) -> dict[str, Any] | None:
    """The server's capabilities in the answer to `initialize`."""
    result = message.get("result")
    found = result.get("capabilities") if isinstance(result, dict) else None
    return found if isinstance(found, dict) else None


def main(arguments: list[str]) -> int:
    """Copy until the server ends; returns its exit status."""
    file, *rest = arguments
    announce = ""
    if rest[:1] == ["--announce"]:
        announce, rest = rest[1], rest[2:]
    server = subprocess.Popen(
        [sys.executable, "-m", "ingle_lsp.server", *rest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if "--version" in rest:
        sys.stdout.buffer.write(server.communicate()[0])
        return server.returncode
    assert server.stdin is not None
    assert server.stdout is not None
    record = _Record(Path(file))
    editor = sys.stdin.buffer, server.stdin, "editor", record, ""
    threading.Thread(target=_copy, args=editor, daemon=True).start()
    _copy(server.stdout, sys.stdout.buffer, "server", record, announce)
    # The thread still waits for the editor; only the end of the process ends that.
    os._exit(server.wait() % 256)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
