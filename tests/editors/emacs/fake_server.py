"""A language server for tests that only keeps documents: `fake/text` returns one."""

from __future__ import annotations

import json
import sys
from typing import Any


def read() -> dict[str, Any] | None:
    """The next message; None at the end."""
    length = 0
    while (line := sys.stdin.buffer.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = sys.stdin.buffer.read(length)
    message: dict[str, Any] | None = json.loads(body) if body else None
    return message


def answer(number: int, result: Any) -> None:
    """Send a response."""
    body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    sys.stdout.buffer.flush()


def main() -> None:
    """Serve until `exit`. Documents are synchronized as wholes."""
    texts: dict[str, str] = {}
    while (message := read()) is not None and message.get("method") != "exit":
        params = message.get("params") or {}
        match message.get("method"):
            case "initialize":
                answer(message["id"], {"capabilities": {"textDocumentSync": 1}})
            case "textDocument/didOpen":
                texts[params["textDocument"]["uri"]] = params["textDocument"]["text"]
            case "textDocument/didChange":
                texts[params["textDocument"]["uri"]] = params["contentChanges"][-1]["text"]
            case "fake/text":
                answer(message["id"], {"text": texts.get(params["uri"])})
            case _ if "id" in message:
                answer(message["id"], None)


if __name__ == "__main__":
    main()
