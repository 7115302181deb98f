"""The language server `ingle-lsp`: LSP over standard input and output.

Owns the features that an editor sees and their translation from and to LSP's types. Handlers are
coroutines, all of them: pygls runs plain functions to the end before it reads the next message.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.exceptions import FeatureNotificationError, JsonRpcException
from pygls.lsp.server import LanguageServer

from ingle.async_client import AsyncClient
from ingle.endpoint import endpoint_file
from ingle.errors import ConnectionLost, DaemonNotRunning, VersionMismatch
from ingle.launch import start_daemon
from ingle.version import __version__

from . import actions, chat, commit_message, control, explain, extension, logs
from .connection import DaemonClient, DaemonConnection
from .documents import Document, Documents, Place
from .extension import Extension
from .inline_completion import InlineCompletion, Selected, Suggestion
from .language_protocol import IngleProtocol, converter, serve
from .pause import Pause
from .privacy import Privacy
from .settings import SECTION, Settings, updated
from .status import message
from .status_stream import StatusStream

# Not `__name__`: this module also runs as `python -m ingle_lsp.server`.
log = logging.getLogger("ingle_lsp.server")

#: Seconds that the daemon may take to answer the first message.
CONNECT_TIMEOUT = 2.0
#: Characters at which a client without inline completion should ask, besides letters.
TRIGGER_CHARACTERS = (".", "(", "[", "{", "=", ",", ":", " ")
#: Longest label in a completion menu.
LABEL_CHARACTERS = 60

_WORD = re.compile(r"\w+\Z")


class IngleServer(LanguageServer):
    """The server's state; `create_server` gives it its features."""

    def __init__(self, connection: Callable[[IngleServer], DaemonConnection]) -> None:
        super().__init__(
            "ingle-lsp",
            __version__,
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
            protocol_cls=IngleProtocol,
            converter_factory=converter,
            max_workers=1,
        )
        #: What the editor announced in `initialize`.
        self.extension = Extension()
        self.settings = Settings()
        self.documents = Documents()
        self.privacy = Privacy(time.monotonic)
        self.connection = connection(self)
        self.pause = Pause(time.monotonic)
        self.status = StatusStream(
            connection=self.connection,
            describe=lambda status: message(status, self.settings, paused=self.pause.active),
            send=lambda parameters: self.protocol.notify("ingle/status", parameters),
        )
        self.completion = InlineCompletion(
            documents=self.documents,
            connection=self.connection,
            privacy=self.privacy,
            settings=lambda: self.settings,
            is_paused=lambda: self.pause.active,
            first_at_once=lambda: self.extension.candidates,
            tell=self.tell,
        )

    def tell(self, message: str) -> None:
        """Show the user a sentence."""
        self.window_show_message(
            types.ShowMessageParams(type=types.MessageType.Warning, message=f"ingle: {message}")
        )

    def apply_settings(self, given: Any) -> None:
        """Take settings from the editor; what is wrong with them is told in one message."""
        self.settings, problems = updated(self.settings, given)
        self.status.refresh()
        if problems:
            self.tell("; ".join(problems))

    def document_closed(self, uri: str) -> None:
        """Forget a document."""
        self.documents.close(uri)
        self.completion.document_closed(uri)
        self.privacy.forget(uri)

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """An error that pygls caught; the user could do nothing about it. Others are logged."""
        if source is FeatureNotificationError:
            log.error("a notification of the editor failed: %s", type(error).__name__)


def create_server(
    connection: Callable[[IngleServer], DaemonConnection] | None = None,
) -> IngleServer:
    """A server with all features; `connection` makes its way to the daemon."""
    server = IngleServer(connection or _connection)
    _add_session_features(server)
    _add_completion_features(server)
    control.add_features(server)
    chat.add_features(server)
    actions.add_features(server)
    explain.add_features(server)
    commit_message.add_features(server)
    return server


def _connection(server: IngleServer) -> DaemonConnection:
    async def connect() -> DaemonClient:
        try:
            return await AsyncClient.connect(name="ingle-lsp", timeout=CONNECT_TIMEOUT)
        except DaemonNotRunning as error:
            raise DaemonNotRunning(server.extension.not_running) from error
        except ConnectionLost as error:
            # Bytes of another version are nothing that the client library can talk to.
            if isinstance(error.__cause__, VersionMismatch):
                raise VersionMismatch(str(error.__cause__)) from error
            raise

    return DaemonConnection(
        connect=connect,
        start=start_daemon,
        may_start=lambda: server.settings.start_daemon,
        tell=server.tell,
        clock=time.monotonic,
        look=_endpoint_file_mark,
    )


def _endpoint_file_mark() -> object:
    """Changes when a daemon begins or ends to listen."""
    try:
        facts = endpoint_file().stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _add_session_features(server: IngleServer) -> None:
    @server.feature(types.INITIALIZE)
    async def initialize(params: types.InitializeParams) -> None:
        server.extension = extension.announced(params.capabilities.experimental)
        plugin = params.client_info.name if params.client_info else ""
        if complaint := extension.too_old(server.extension, plugin):
            server.tell(complaint)
        server.apply_settings(params.initialization_options)
        text_document = params.capabilities.text_document
        if text_document is None or text_document.inline_completion is None:
            _add_menu_completion(server)

    @server.feature(types.INITIALIZED)
    async def initialized(_params: types.InitializedParams) -> None:
        await _follow_settings(server)
        if server.extension.status:
            server.status.start()
        if server.settings.enabled:
            # Now rather than at the first key; and the user learns at once what is missing.
            await server.connection.client()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if params.settings is None:
            await _pull_settings(server)
        elif not isinstance(params.settings, dict) or SECTION in params.settings:
            server.apply_settings(params.settings)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def did_save(params: types.DidSaveTextDocumentParams) -> None:
        if PurePosixPath(params.text_document.uri).name in (".gitignore", "exclude"):
            server.privacy.forget()


async def _follow_settings(server: IngleServer) -> None:
    """Ask for the settings, and to be told of changes, where the editor can do that."""
    workspace = server.client_capabilities.workspace
    if workspace is None:
        return
    changes = workspace.did_change_configuration
    if changes is not None and changes.dynamic_registration:
        registration = types.Registration(
            id="ingle-settings",
            method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
            register_options={"section": SECTION},
        )
        try:
            await server.client_register_capability_async(
                types.RegistrationParams(registrations=[registration])
            )
        except JsonRpcException:
            log.warning("the editor will not tell of changed settings")
    if workspace.configuration:
        await _pull_settings(server)


async def _pull_settings(server: IngleServer) -> None:
    items = [types.ConfigurationItem(section=SECTION)]
    try:
        found = await server.workspace_configuration_async(types.ConfigurationParams(items=items))
    except JsonRpcException:
        log.warning("the editor has no settings to give")
        return
    if found:
        server.apply_settings({SECTION: found[0]})


def _add_completion_features(server: IngleServer) -> None:
    # Without options pygls does not advertise it; an empty object reads as nil in Emacs.
    @server.feature(
        types.TEXT_DOCUMENT_INLINE_COMPLETION,
        types.InlineCompletionOptions(work_done_progress=False),
    )
    async def inline_completion(
        params: types.InlineCompletionParams,
    ) -> types.InlineCompletionList | None:
        invoked = params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked
        selected = _selected(params.context.selected_completion_info)
        suggestion = await _suggestion(server, params, invoked=invoked, selected=selected)
        if suggestion is None:
            return None
        where = _range(suggestion.document, suggestion.start, suggestion.place)
        items = [
            types.InlineCompletionItem(insert_text=text, range=where) for text in suggestion.texts
        ]
        return types.InlineCompletionList(items=items)


def _add_menu_completion(server: IngleServer) -> None:
    """`textDocument/completion`, for editors without inline completion."""

    @server.feature(
        types.TEXT_DOCUMENT_COMPLETION,
        types.CompletionOptions(
            trigger_characters=TRIGGER_CHARACTERS, resolve_provider=False, work_done_progress=False
        ),
    )
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        # Editors ask for menus while typing, and say "invoked" then, too.
        suggestion = await _suggestion(server, params, invoked=False)
        items = [_menu_item(suggestion)] if suggestion else []
        # Incomplete: the next letter makes another text.
        return types.CompletionList(is_incomplete=True, items=items)


async def _suggestion(
    server: IngleServer,
    params: types.InlineCompletionParams | types.CompletionParams,
    *,
    invoked: bool,
    selected: Selected | None = None,
) -> Suggestion | None:
    try:
        return await server.completion.suggest(
            params.text_document.uri,
            params.position.line,
            params.position.character,
            invoked=invoked,
            selected=selected,
        )
    except Exception:
        # A defect of ours; the editor gets an empty answer, the log its place.
        log.exception("a completion failed")
        return None


def _selected(info: types.SelectedCompletionInfo | None) -> Selected | None:
    if info is None:
        return None
    start, end = info.range.start, info.range.end
    return Selected(start.line, start.character, end.line, end.character, info.text)


def _range(document: Document, start: Place, end: Place) -> types.Range:
    return types.Range(
        types.Position(start.line, document.units(start)),
        types.Position(end.line, document.units(end)),
    )


def _menu_item(suggestion: Suggestion) -> types.CompletionItem:
    """The suggestion as a menu entry. Menus filter by the word at the cursor, so it is included."""
    document, place = suggestion.document, suggestion.place
    word = _WORD.search(document.before(place, LABEL_CHARACTERS))
    typed = word.group() if word else ""
    start = Place(place.line, place.column - len(typed))
    insert = suggestion.texts[0]
    text = typed + insert
    label, *more = text.strip().split("\n")
    if more or len(label) > LABEL_CHARACTERS:
        label = label[: LABEL_CHARACTERS - 1] + "…"
    return types.CompletionItem(
        label=label,
        kind=types.CompletionItemKind.Text,
        detail="ingle",
        documentation=insert if more else None,
        filter_text=typed + insert.split("\n")[0],
        insert_text_format=types.InsertTextFormat.PlainText,
        preselect=False,
        text_edit=types.TextEdit(
            range=_range(document, start, place),
            new_text=text,
        ),
    )


async def _run(server: IngleServer, stdin: BinaryIO, stdout: BinaryIO) -> int:
    try:
        return await serve(server, stdin, stdout)
    finally:
        await server.status.close()
        await server.connection.close()


def _take_standard_output() -> BinaryIO:
    """The editor's end of standard output, for messages only: a stray print goes to the log."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return messages


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `ingle-lsp`. Returns the exit status: 0 only after a proper `shutdown`."""
    parser = argparse.ArgumentParser(
        prog="ingle-lsp",
        description="ingle's language server. Your editor starts it; it speaks LSP on standard "
        "input and output.",
    )
    parser.add_argument("--version", action="version", version=f"ingle-lsp {__version__}")
    parser.add_argument("--stdio", action="store_true", help="the only way, and the default")
    parser.add_argument("--clientProcessId", help=argparse.SUPPRESS)
    parser.parse_args(arguments)
    logs.configure()
    server = create_server()
    try:
        # The selector loop, because ZeroMQ's sockets need it (Windows has another by default).
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(_run(server, sys.stdin.buffer, _take_standard_output()))
    except KeyboardInterrupt:
        # A thread still waits for standard input; nothing but the end of the process ends that.
        os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
