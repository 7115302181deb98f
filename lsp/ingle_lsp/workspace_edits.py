"""Changes of documents as editors get them: a `WorkspaceEdit` of a version, `workspace/applyEdit`.

Which changes there are is somebody else's affair; an editor that knows versions refuses them if its
document has another one by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from .documents import Document, Edit


@dataclass(frozen=True)
class Support:
    """What an editor takes of a `WorkspaceEdit`."""

    #: Edits of a version of a document (`documentChanges`); all take plain `changes`.
    versions: bool = False
    #: New files.
    creation: bool = False


def support(server: LanguageServer) -> Support:
    """What this session's editor takes."""
    workspace = server.client_capabilities.workspace
    edits = workspace.workspace_edit if workspace is not None else None
    if edits is None or not edits.document_changes:
        # A new file is a document change, too.
        return Support()
    operations = edits.resource_operations or ()
    return Support(versions=True, creation=types.ResourceOperationKind.Create in operations)


def workspace_edit(
    document: Document, edits: Sequence[Edit], support: Support, *, new: bool = False
) -> types.WorkspaceEdit:
    """The edits, all of the document's text of now, for its version of now.

    `new`: the document is a file that there is not yet, and is created; the editor must support it.
    """
    changes = [
        types.TextEdit(
            range=types.Range(
                types.Position(edit.start_line, edit.start_units),
                types.Position(edit.end_line, edit.end_units),
            ),
            new_text=edit.text,
        )
        for edit in edits
    ]
    if not support.versions:
        return types.WorkspaceEdit(changes={document.uri: changes})
    identifier = types.OptionalVersionedTextDocumentIdentifier(document.uri, document.version)
    created = [types.CreateFile(uri=document.uri)] if new else []
    return types.WorkspaceEdit(
        document_changes=[*created, types.TextDocumentEdit(identifier, changes)]
    )


async def apply_edit(server: LanguageServer, edit: types.WorkspaceEdit, label: str) -> str:
    """Have the editor apply an edit → "" when it did, else a line that says why it did not."""
    workspace = server.client_capabilities.workspace
    if workspace is None or not workspace.apply_edit:
        return "this editor can't apply edits that it has not asked for"
    try:
        # The editor answers even if nobody waits for it any more.
        result = await asyncio.shield(
            server.workspace_apply_edit_async(
                types.ApplyWorkspaceEditParams(edit=edit, label=label)
            )
        )
    except JsonRpcException as error:
        return f"the editor did not apply it: {' '.join(error.message.split())}"
    if result.applied:
        return ""
    reason = " ".join((result.failure_reason or "").split())
    return f"the editor did not apply it: {reason or 'the document has changed'}"
