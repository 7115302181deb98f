"""An editor in tests: `ingle-lsp` as a child process, driven by pytest-lsp over stdio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

SERVER = [sys.executable, "-m", "ingle_lsp.server"]
#: Longest wait for anything, in seconds.
PATIENCE = 30.0


class Editor:
    """What a person does in an editor. Positions are (line, character) in the editor's units."""

    def __init__(self, client: LanguageClient) -> None:
        self.client = client
        #: The server's, once it has answered.
        self.capabilities = types.ServerCapabilities()
        self._version = 1
        #: What `ingle/status` said, newest last.
        self.statuses: list[dict[str, Any]] = []
        client.feature("ingle/status")(lambda params: self.statuses.append(params._asdict()))

    def open(self, text: str, uri: str = "untitled:Untitled-1", language: str = "python") -> None:
        """Show a document."""
        item = types.TextDocumentItem(uri=uri, language_id=language, version=1, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))

    def type(self, at: tuple[int, int], text: str, uri: str = "untitled:Untitled-1") -> None:
        """Insert text."""
        self._version += 1
        here = types.Position(*at)
        change = types.TextDocumentContentChangePartial(range=types.Range(here, here), text=text)
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(self._version, uri),
                content_changes=[change],
            )
        )

    def request(
        self,
        at: tuple[int, int],
        uri: str = "untitled:Untitled-1",
        *,
        invoked: bool = True,
        number: int | None = None,
    ) -> asyncio.Future[types.InlineCompletionList | None]:
        """Ask for ghost text without waiting for it."""
        kind = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(kind.Invoked if invoked else kind.Automatic),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(*at),
        )
        # Sent at once, so that what is sent next comes later; pytest-lsp's own method waits.
        return asyncio.wrap_future(
            self.client.protocol.send_request(
                types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id=number
            )
        )

    async def ghost(
        self, at: tuple[int, int], uri: str = "untitled:Untitled-1", *, invoked: bool = True
    ) -> str | None:
        """The ghost text, or None."""
        async with asyncio.timeout(PATIENCE):
            return ghost_text(await self.request(at, uri, invoked=invoked))

    async def command(self, name: str, *arguments: Any, **params: Any) -> Any:
        """Run one of our commands; raises `JsonRpcException` with what the user would be told."""
        async with asyncio.timeout(PATIENCE):
            return await self.client.workspace_execute_command_async(
                types.ExecuteCommandParams(command=name, arguments=arguments, **params)
            )

    @property
    def messages(self) -> list[str]:
        """What the user was shown."""
        return [message.message for message in self.client.messages]

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The language server's process."""
        process: asyncio.subprocess.Process | None = self.client._server
        assert process is not None
        return process


def ghost_text(answer: types.InlineCompletionList | None) -> str | None:
    """The first text of a response, None if it has none."""
    if answer is None:
        return None
    assert answer.items
    return str(answer.items[0].insert_text)


@asynccontextmanager
async def an_editor(
    env: dict[str, str],
    *,
    inline: bool = True,
    encoding: str | None = None,
    announced: dict[str, Any] | None = None,
    more: Callable[[types.ClientCapabilities], None] = lambda capabilities: None,
    **options: Any,
) -> AsyncIterator[Editor]:
    """An editor session; `options` are the settings of section `ingle`.

    `announced` is what a plugin says of itself in the capability `experimental.ingle`; `more` adds
    to what the editor can do.
    """
    client = await ClientServerConfig(server_command=SERVER, server_env=env).start()
    assert isinstance(client, LanguageClient)
    text_document = types.TextDocumentClientCapabilities()
    if inline:
        text_document.inline_completion = types.InlineCompletionClientCapabilities()
    capabilities = types.ClientCapabilities(text_document=text_document)
    if announced is not None:
        capabilities.experimental = {"ingle": announced}
    if encoding:
        capabilities.general = types.GeneralClientCapabilities(position_encodings=[encoding])
    more(capabilities)
    try:
        editor = Editor(client)
        answer = await client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities,
                initialization_options={"debounceMs": 0, "deadlineMs": 20_000, **options},
            )
        )
        editor.capabilities = answer.capabilities
        yield editor
        if client._server is not None and client._server.returncode is None:
            await client.shutdown_session()
    finally:
        # After a failed test: it would be waited for in vain.
        if client._server is not None and client._server.returncode is None:
            client._server.kill()
        await client.stop()  # type: ignore[no-untyped-call]
