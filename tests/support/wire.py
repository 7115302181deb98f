"""The language server in this process, message by message, with a stand-in for the daemon."""

from __future__ import annotations

import json
from typing import Any

from ingle_lsp.server import create_server
from support.fake_engine import FakeEngine
from support.waiting import eventually

URI = "file:///project/main.py"
INLINE: dict[str, Any] = {"textDocument": {"inlineCompletion": {}}}


class Wire:
    """Both ends of the server's connection."""

    def __init__(self) -> None:
        self.engine = FakeEngine("a + b")
        self.sent: list[dict[str, Any]] = []
        self.server = create_server(lambda server: self.engine.connection(server.tell))
        self.server.protocol.set_writer(self, include_headers=False)

    def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data))

    def close(self) -> None:
        pass

    def receive(self, **message: Any) -> None:
        """A message of the editor."""
        protocol = self.server.protocol
        body = json.dumps({"jsonrpc": "2.0", **message})
        protocol.handle_message(json.loads(body, object_hook=protocol.structure_message))

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Wait for a message with these fields."""
        found = await eventually(lambda: self.matching(**wanted), f"a message with {wanted}")
        return found[0]

    def matching(self, **wanted: Any) -> list[dict[str, Any]]:
        """The messages so far with these fields."""
        return [
            message
            for message in self.sent
            if all(message.get(name) == value for name, value in wanted.items())
        ]

    async def request(self, number: int, method: str, params: Any) -> dict[str, Any]:
        self.receive(id=number, method=method, params=params)
        return await self.until(id=number)

    async def initialize(self, capabilities: Any = INLINE, **options: Any) -> dict[str, Any]:
        params = {
            "processId": None,
            "rootUri": None,
            "capabilities": capabilities,
            "initializationOptions": {"debounceMs": 0, **options},
        }
        answer = await self.request(1, "initialize", params)
        self.receive(method="initialized", params={})
        found: dict[str, Any] = answer["result"]["capabilities"]
        return found

    def open(self, text: str, uri: str = URI) -> None:
        item = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.receive(method="textDocument/didOpen", params={"textDocument": item})

    def change(self, *changes: Any, uri: str = URI) -> None:
        document = {"uri": uri, "version": 2}
        self.receive(
            method="textDocument/didChange",
            params={"textDocument": document, "contentChanges": list(changes)},
        )

    def place(self, line: int, character: int, uri: str = URI) -> dict[str, Any]:
        position = {"line": line, "character": character}
        return {"textDocument": {"uri": uri}, "position": position}

    async def ghost(self, number: int, line: int, character: int, **more: Any) -> Any:
        params = self.place(line, character, **more) | {"context": {"triggerKind": 2}}
        return await self.request(number, "textDocument/inlineCompletion", params)

    @property
    def shown(self) -> list[str]:
        """What the user was shown."""
        return [
            message["params"]["message"]
            for message in self.sent
            if message.get("method") == "window/showMessage"
        ]
