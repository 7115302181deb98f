"""What a key costs in a very long document, beside one in a short document."""

from __future__ import annotations

import time

from .editor import Editor
from .figures import Figure, Result
from .stage import Stage

#: Lines of the short document.
SHORT = 100
_BARRIER = "untitled:empty.py"


def measure(stage: Stage) -> list[Result]:
    """Keys in the middle of both documents, in turns."""
    long, short = "untitled:long.py", "untitled:short.py"
    lines = {long: stage.sizes.document_lines, short: SHORT}
    keys: dict[str, list[float]] = {long: [], short: []}
    barriers: list[float] = []
    editor = Editor(stage.daemon.env, stage.folder / "keys.log")
    try:
        editor.open(_BARRIER, "")
        opened: dict[str, float] = {}
        for uri, count in lines.items():
            started = time.perf_counter()
            editor.open(uri, _code(count))
            _wait(editor)
            opened[uri] = (time.perf_counter() - started) * 1000
        for number in range(stage.sizes.keys):
            barriers.append(_key(editor, None, 0, 0))
            for uri, count in lines.items():
                keys[uri].append(_key(editor, uri, number + 2, count // 2))
    finally:
        editor.close()
    return [
        Figure(
            name="language_server.key",
            what=f"one key in a document of {lines[long]:,} lines, and an answer",
            unit="ms",
            samples=keys[long],
        ),
        Figure(
            name="language_server.key_ratio",
            what=f"÷ one key in a document of {SHORT} lines",
            unit="",
            samples=[a / b for a, b in zip(keys[long], keys[short], strict=True)],
        ),
        Figure(
            name="language_server.answer",
            what="of that: the answer alone",
            unit="ms",
            samples=barriers,
        ),
        Figure(
            name="language_server.open",
            what="opening the long document",
            unit="ms",
            samples=[opened[long]],
        ),
    ]


def _key(editor: Editor, uri: str | None, version: int, line: int) -> float:
    """Milliseconds until the server has taken a key, if one is typed, and answered the next."""
    started = time.perf_counter()
    if uri is not None:
        editor.type(uri, version, line, 0, "x")
    _wait(editor)
    return (time.perf_counter() - started) * 1000


def _wait(editor: Editor) -> None:
    """Messages are taken in order: an answer means that all before it is done."""
    editor.complete(_BARRIER, 0, 0)


def _code(lines: int) -> str:
    return "".join(f"value_{number} = compute({number})\n" for number in range(lines))
