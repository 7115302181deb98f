"""An editor as the language server sees one: its process and the messages, nothing between.

A client library would add its own time to what is measured, and its threads to the machine's load.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

COMPLETION = "textDocument/inlineCompletion"
INVOKED, AUTOMATIC = 1, 2


def completion_at(uri: str, line: int, column: int, trigger: int) -> dict[str, Any]:
    """Parameters of `COMPLETION`."""
    return {
        "textDocument": {"uri": uri},
        "position": {"line": line, "character": column},
        "context": {"triggerKind": trigger},
    }


class Editor:
    """A running language server; one request at a time. `settings` are in place of ours."""

    def __init__(self, env: dict[str, str], log: Path, **settings: Any) -> None:
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ingle_lsp.server"],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self._log = log
        self._ids = itertools.count(1)
        self.server = psutil.Process(self._process.pid)
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": None,
                "capabilities": {"textDocument": {"inlineCompletion": {}}},
                # Slow machines and small models are to be measured, too; and one completion each.
                "initializationOptions": {
                    "minConfidence": 0.0,
                    "deadlineMs": 30_000,
                    "candidates": 1,
                }
                | settings,
            },
        )
        self.notify("initialized", {})

    def request(self, method: str, params: Any) -> Any:
        """Ask and wait for the result."""
        return self.result(method, self.ask(method, params))

    def ask(self, method: str, params: Any) -> int:
        """Ask; the number is for `result`."""
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": params})
        return number

    def result(self, method: str, number: int) -> Any:
        """Wait for the result of what was asked last."""
        while True:
            message = self._receive()
            if "method" in message:
                if "id" in message:
                    self._send({"id": message["id"], "result": None})
            elif message["id"] == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def notify(self, method: str, params: Any) -> None:
        """Tell, without an answer."""
        self._send({"method": method, "params": params})

    def open(self, uri: str, text: str) -> None:
        """Show a Python document."""
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def type(self, uri: str, version: int, line: int, column: int, text: str) -> None:
        """Insert text."""
        here = {"line": line, "character": column}
        self.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": uri, "version": version},
                "contentChanges": [{"range": {"start": here, "end": here}, "text": text}],
            },
        )

    def complete(self, uri: str, line: int, column: int) -> Any:
        """Ask for ghost text by key."""
        return self.request(COMPLETION, completion_at(uri, line, column, INVOKED))

    def close(self) -> None:
        """Leave as editors do."""
        self.request("shutdown", None)
        self.notify("exit", None)
        self._process.wait(timeout=30)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0"} | message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while (line := self._process.stdout.readline()) != b"\r\n":
            if not line:
                raise RuntimeError(f"the language server ended: {self._log.read_text()[-2000:]}")
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message
