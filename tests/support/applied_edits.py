"""Edits as an editor applies them, by the protocol's text and with nothing of ours.

It works on the code units of the session's encoding, finds lines by walking over them, and applies
all edits of a document at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

#: Python's codec of each encoding, and the bytes of one code unit.
CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


def apply_edits(text: str, edits: Sequence[Any], encoding: str) -> str:
    """The text after edits (`TextEdit`s as JSON).

    Fails when one names no place, stands in the middle of a character, changes nothing, or touches
    another one.
    """
    codec, size = CODECS[encoding]
    data = text.encode(codec)
    newline, carriage = "\n".encode(codec), "\r".encode(codec)
    starts, ends, at = [0], [], 0
    while at < len(data):
        unit = data[at : at + size]
        if unit in (newline, carriage):
            ends.append(at)
            if unit == carriage and data[at + size : at + 2 * size] == newline:
                at += size
            starts.append(at + size)
        at += size
    ends.append(len(data))

    def place(position: Any) -> int:
        found: int = starts[position["line"]] + position["character"] * size
        assert position["character"] >= 0
        assert found <= ends[position["line"]]
        data[:found].decode(codec)
        return found

    result, reached = b"", -1
    for edit in sorted(edits, key=lambda edit: place(edit["range"]["start"])):
        start, end = place(edit["range"]["start"]), place(edit["range"]["end"])
        assert reached < start <= end
        assert start < end or edit["newText"]
        result += data[max(reached, 0) : start] + edit["newText"].encode(codec)
        reached = end
    return (result + data[max(reached, 0) :]).decode(codec)


def apply_workspace_edit(
    files: dict[str, str],
    edit: Any,
    encoding: str = "utf-16",
    versions: Mapping[str, int | None] = MappingProxyType({}),
) -> dict[str, str]:
    """The files after a `WorkspaceEdit` (as JSON), by URI; `versions` has those of open ones."""
    files = dict(files)
    for uri, edits in edit.get("changes", {}).items():
        files[uri] = apply_edits(files[uri], edits, encoding)
    for change in edit.get("documentChanges", []):
        if change.get("kind") == "create":
            assert change["uri"] not in files, "a file is created that is there"
            files[change["uri"]] = ""
        else:
            document = change["textDocument"]
            assert document["version"] == versions.get(document["uri"])
            files[document["uri"]] = apply_edits(files[document["uri"]], change["edits"], encoding)
    return files
