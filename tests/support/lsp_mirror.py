"""The documents as a language server has them, by what an editor sent."""

from __future__ import annotations

from collections.abc import Iterable

from ingle_lsp.documents import Documents, Edit
from ingle_lsp.positions import Encoding
from support.lsp_proxy import Recorded


def mirrored(messages: Iterable[Recorded], encoding: Encoding = "utf-8") -> dict[str, str]:
    """URI → text of every document that is open after these messages of the editor."""
    documents = Documents()
    open_ones: set[str] = set()
    for item in messages:
        params = item.message.get("params")
        if item.side != "editor" or not isinstance(params, dict):
            continue
        if item.method == "textDocument/didOpen":
            document = params["textDocument"]
            documents.open(document["uri"], document["text"], document["languageId"], encoding)
            open_ones.add(document["uri"])
        elif item.method == "textDocument/didClose":
            uri = params["textDocument"]["uri"]
            documents.close(uri)
            open_ones.remove(uri)
        elif item.method == "textDocument/didChange":
            edits = [_edit(change) for change in params["contentChanges"]]
            assert documents.change(params["textDocument"]["uri"], edits)
    texts = {}
    for uri in open_ones:
        document = documents.get(uri)
        assert document is not None
        texts[uri] = document.text
    return texts


def _edit(change: dict[str, object]) -> Edit | str:
    span, text = change.get("range"), str(change["text"])
    if span is None:
        return text
    assert isinstance(span, dict)
    start, end = span["start"], span["end"]
    return Edit(start["line"], start["character"], end["line"], end["character"], text)
