"""What an editor does, in fifty lines: start `ingle-lsp`, open a file, ask for ghost text.

`python lsp/demo/complete.py FILE` completes at the end of the file and prints the result.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lsprotocol import types
from pygls.lsp.client import LanguageClient

from ingle.version import __version__


async def complete(file: Path) -> str:
    """The language server's first suggestion at the end of `file`; "" if it has none."""
    text = file.read_text(encoding="utf-8")
    lines = text.split("\n")
    client = LanguageClient("ingle-demo", __version__)
    await client.start_io(sys.executable, "-m", "ingle_lsp.server")
    try:
        await client.initialize_async(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(
                    text_document=types.TextDocumentClientCapabilities(
                        inline_completion=types.InlineCompletionClientCapabilities()
                    )
                ),
                root_uri=file.parent.as_uri(),
                initialization_options={
                    "minConfidence": 0.0,
                    "deadlineMs": 30_000,
                    "candidates": 1,
                },
            )
        )
        client.initialized(types.InitializedParams())
        document = types.TextDocumentItem(
            uri=file.as_uri(), language_id="python", version=1, text=text
        )
        client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=document))
        answer = await client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                text_document=types.TextDocumentIdentifier(uri=file.as_uri()),
                position=types.Position(line=len(lines) - 1, character=len(lines[-1])),
                context=types.InlineCompletionContext(
                    trigger_kind=types.InlineCompletionTriggerKind.Invoked
                ),
            )
        )
        await client.shutdown_async(None)
        client.exit(None)
    finally:
        await client.stop()
    items = getattr(answer, "items", answer) or []
    return str(items[0].insert_text) if items else ""


def main() -> None:
    """Print the file's last lines with the suggestion behind the cursor."""
    file = Path(sys.argv[1]).absolute()
    suggestion = asyncio.run(asyncio.wait_for(complete(file), timeout=60))
    for line in file.read_text(encoding="utf-8").split("\n")[-4:-1]:
        print(f"    {line}")
    last = file.read_text(encoding="utf-8").split("\n")[-1]
    print(f"    {last}\033[2m{suggestion}\033[0m" if suggestion else f"    {last}")
    if not suggestion:
        raise SystemExit("the language server had no suggestion")


if __name__ == "__main__":
    main()
