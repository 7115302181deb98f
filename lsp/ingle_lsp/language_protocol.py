"""pygls' protocol, with our documents instead of its own, and its sharp edges covered.

Owns what happens to a message before a feature sees it: text synchronization, messages that don't
fit the protocol's types, and the end of the session.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.io_ import StdinAsyncReader, run_async
from pygls.lsp.server import LanguageServer
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    LanguageServerProtocol,
    default_converter,
    lsp_method,
)

from . import extension
from .documents import Documents, Edit
from .positions import Encoding

if TYPE_CHECKING:
    from cattrs import Converter

log = logging.getLogger(__name__)


class HasDocuments(Protocol):
    """What the protocol needs of the server."""

    documents: Documents

    def document_closed(self, uri: str) -> None: ...


@dataclass(frozen=True)
class Unreadable:
    """A message that does not fit its method's types. `id` is None for a notification."""

    jsonrpc: str
    id: int | str | None


def converter() -> Converter:
    """pygls' converter, but parameters of our own methods stay plain JSON, and may be left out.

    pygls makes named tuples of them, with other names for what is no identifier.
    """
    made: Converter = default_converter()  # type: ignore[no-untyped-call]
    for kind in (JsonRPCRequestMessage, JsonRPCNotification):
        made.register_structure_hook(kind, _plain)
    return made


def _plain(message: dict[str, Any], kind: type[Any]) -> Any:
    names = [field.name for field in kind.__attrs_attrs__]
    return kind(**{"params": None} | {name: message[name] for name in names if name in message})


class IngleProtocol(LanguageServerProtocol):
    """See the module."""

    @property
    def _owner(self) -> HasDocuments:
        return cast(HasDocuments, self._server)

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(
        self, params: types.InitializeParams
    ) -> Generator[Any, Any, types.InitializeResult]:
        """Answer with the capabilities, ours included."""
        result = yield from super().lsp_initialize(params)
        result.capabilities.experimental = extension.answer()
        commands = result.capabilities.execute_command_provider
        if commands is not None:
            # pygls has no way to say that they take a progress token.
            commands.work_done_progress = True
        return result

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Take a document."""
        item = params.text_document
        # pygls chose it among these three; it is a string or a member of an enumeration.
        chosen = self.workspace.position_encoding
        encoding = cast(Encoding, str(getattr(chosen, "value", chosen)))
        self._owner.documents.open(item.uri, item.text, item.language_id, encoding, item.version)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Keep a document in step."""
        edits = [_edit(change) for change in params.content_changes]
        document = params.text_document
        if not self._owner.documents.change(document.uri, edits, document.version):
            log.info("a document that is not open was changed")

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """Forget a document."""
        self._owner.document_closed(params.text_document.uri)

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(  # type: ignore[override]
        self, params: types.ExecuteCommandParams
    ) -> Any:
        """Run a command (see `requests.add_command`) in the request's own task.

        pygls starts a task of its own for it, which `$/cancelRequest` does not reach, and keeps the
        progress token to itself.
        """
        handler = self.fm.commands.get(params.command)
        if handler is None:
            raise JsonRpcInvalidParams("there is no such command")
        return await handler(params)

    def structure_message(self, data: dict[str, Any]) -> Any:
        """JSON → typed message. pygls drops a request that it can't read; we answer it."""
        try:
            return super().structure_message(data)
        except JsonRpcException:
            if "method" not in data:
                raise
            request_id = data.get("id")
            return Unreadable(
                str(data["jsonrpc"]), request_id if isinstance(request_id, int | str) else None
            )

    def handle_message(self, message: Any) -> None:
        """Dispatch a message."""
        if not isinstance(message, Unreadable):
            super().handle_message(message)
        elif message.id is not None:
            error = JsonRpcInvalidParams("the parameters don't fit the method")
            self._send_response(message.id, error=error.to_response_error())


def _edit(change: types.TextDocumentContentChangeEvent) -> Edit | str:
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return change.text
    start, end = change.range.start, change.range.end
    return Edit(start.line, start.character, end.line, end.character, change.text)


class _Output:
    """Standard output; when the editor is gone, writing ends the session instead of raising."""

    def __init__(self, stream: BinaryIO, stop: threading.Event) -> None:
        self._stream = stream
        self._stop = stop

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except (BrokenPipeError, ConnectionResetError, ValueError):
            self._stop.set()

    def close(self) -> None:
        self._stream.close()


async def serve(server: LanguageServer, stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Read messages until the editor says `exit` or is gone.

    Returns the exit status that the protocol wants: 0 after a `shutdown`, 1 without.
    """
    protocol = server.protocol
    stop = threading.Event()
    protocol.set_writer(_Output(stdout, stop))
    reader = StdinAsyncReader(stdin, server.thread_pool)
    try:
        await run_async(
            stop_event=stop,
            reader=reader,
            protocol=protocol,
            error_handler=server.report_server_error,
        )
    except SystemExit as exit_message:
        return 0 if exit_message.code == 0 else 1
    return 1
