"""A language server that says what a test wants, for what the real one says seldom or never.

    python fake_language_server.py RECORD PLAY

PLAY is a JSON file, read anew for each message, so that a test can change it meanwhile:

- `capabilities`: of the answer to `initialize`, over those that `ingle-lsp` has
- `answers`: method → result; a request without one gets null. `"<silence>"` is never answered,
  `"<exit N>"` ends the process, `"<error TEXT>"` is an error
- `first`: method → messages to send before the answer
- `raw`: method → text to write to standard output as it is, before the answer

RECORD gets what came from the editor, as `support.lsp_proxy` writes it. Runs as a file of its own,
so it imports nothing of the tests; they use `Play`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

_CAPABILITIES = {
    "positionEncoding": "utf-8",
    "textDocumentSync": {"openClose": True, "change": 2, "save": True},
    "inlineCompletionProvider": {},
    "experimental": {"ingle": {"version": 1}},
}


class Play:
    """The file that says what the server does, and its command."""

    def __init__(self, folder: Path, record: Path, **parts: Any) -> None:
        self._file = folder / "play.json"
        self._parts: dict[str, Any] = {}
        self.command = [sys.executable, str(Path(__file__).resolve()), str(record), str(self._file)]
        self.change(**parts)

    def change(self, **parts: Any) -> None:
        """Play so from the next message on; parts that are not named stay as they are."""
        self._parts |= parts
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._parts))
        temporary.replace(self._file)

    def suggest(self, *texts: str) -> None:
        """Suggest these texts at every place."""
        items = [{"insertText": text} for text in texts]
        self.change(answers={"textDocument/inlineCompletion": {"items": items}})


def _send(message: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0"} | message).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    sys.stdout.buffer.flush()


def _receive() -> dict[str, Any] | None:
    length = 0
    while (line := sys.stdin.buffer.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    message: dict[str, Any] | None = json.loads(sys.stdin.buffer.read(length)) if length else None
    return message


def _answer(message: dict[str, Any], play: dict[str, Any]) -> None:
    method = message.get("method", "")
    if raw := play.get("raw", {}).get(method):
        sys.stdout.buffer.write(raw.encode())
        sys.stdout.buffer.flush()
    for item in play.get("first", {}).get(method, []):
        _send(item)
    if "id" not in message or not method:
        return
    result = play.get("answers", {}).get(method)
    if method == "initialize":
        capabilities = _CAPABILITIES | play.get("capabilities", {})
        result = result or {
            "capabilities": capabilities,
            "serverInfo": {"name": "fake-lsp", "version": "0"},
        }
    if isinstance(result, str) and result.startswith("<"):
        kind, _, rest = result.strip("<>").partition(" ")
        if kind == "exit":
            sys.exit(int(rest))
        if kind == "error":
            _send({"id": message["id"], "error": {"code": -32803, "message": rest}})
    else:
        _send({"id": message["id"], "result": result})


def main(record: str, play: str, *options: str) -> None:
    """Serve until the editor says `exit` or is gone."""
    if "--version" in options:
        print("fake-lsp 0")
        return
    with Path(record).open("a") as file:
        while (message := _receive()) is not None:
            line = {"at": time.monotonic(), "from": "editor", "message": message}
            file.write(json.dumps(line) + "\n")
            file.flush()
            if message.get("method") == "exit":
                return
            _answer(message, json.loads(Path(play).read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:])
