"""`ingle.explain`: what a piece of code does, in Markdown, and how the editor shows it.

Plugins that asked for it get `ingle/showMarkdown`. Other editors open a file that only the user can
read, and that goes with the server; the rest show a message.
"""

from __future__ import annotations

import asyncio
import atexit
import re
import shutil
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from msgspec import Struct
from pygls.exceptions import JsonRpcException

from ingle.conversation import shown_path
from ingle.threads import Range

from . import prompts
from .about_part import ask_about, excerpt_of, part_of, refusal
from .answers import Refused
from .progress import work_done
from .requests import add_command, failure, parameters

if TYPE_CHECKING:
    from .server import IngleServer

CUT_OFF = "*The answer was cut off here: it did not fit into the model's context.*"


class Question(Struct, kw_only=True, frozen=True):
    """The argument of `ingle.explain`."""

    uri: str
    range: Range


def add_features(server: IngleServer) -> None:
    """Register the command."""
    pages = Pages()

    async def explain(argument: Mapping[str, Any], token: types.ProgressToken | None) -> Any:
        question = parameters(argument, Question, "ingle.explain")
        try:
            title, markdown = await _explanation(server, question, token)
        except Refused as reason:
            raise failure(str(reason)) from reason
        await _show(server, pages, title, markdown, question.uri)
        return {"title": title, "markdown": markdown}

    add_command(server, "ingle.explain", explain)


async def _explanation(
    server: IngleServer, question: Question, token: types.ProgressToken | None
) -> tuple[str, str]:
    """Title and text. Raises `Refused`, an `IngleError`, or what the editor is answered."""
    document = server.documents.get(question.uri)
    if document is None:
        raise Refused(f"{shown_path(question.uri) or 'the document'} is not open in the editor")
    refused = await refusal(server, document)
    if refused is not None:
        raise Refused(refused)
    part = part_of(document, question.range)
    excerpt = excerpt_of(document, part)
    async with work_done(server, token, "Explain") as work:
        answer = await ask_about(server, document, excerpt, prompts.explain(excerpt), work)
    text = answer.text.strip()
    if answer.finish == "length":
        text = f"{text}\n\n{CUT_OFF}".strip()
    elif answer.finish != "stop":
        raise Refused("the answer was cut off: try again")
    elif not text:
        raise Refused("the model had nothing to say: try again")
    return f"Explain: {part.name or excerpt.where}", text


async def _show(server: IngleServer, pages: Pages, title: str, markdown: str, uri: str) -> None:
    if server.extension.show_markdown:
        server.protocol.notify(
            "ingle/showMarkdown", {"title": title, "markdown": markdown, "uri": uri}
        )
        return
    window = server.client_capabilities.window
    if window is not None and window.show_document is not None and window.show_document.support:
        page = await asyncio.to_thread(pages.write, title, markdown)
        try:
            # The editor answers even if nobody waits for it any more.
            shown = await asyncio.shield(
                server.window_show_document_async(
                    types.ShowDocumentParams(uri=page.as_uri(), take_focus=True)
                )
            )
        except JsonRpcException:
            pass
        else:
            if shown.success:
                return
    server.window_show_message(
        types.ShowMessageParams(type=types.MessageType.Info, message=f"{title}\n\n{markdown}")
    )


class Pages:
    """Files for editors that can open nothing else. The folder is made when it is needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._numbers = count(1)

    def write(self, title: str, markdown: str) -> Path:
        """A new file with an explanation. Blocks."""
        if self._folder is None:
            # The user's alone, as are the files in it.
            self._folder = Path(tempfile.mkdtemp(prefix="ingle-explain-"))
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        name = re.sub(r"\W+", "-", title).strip("-").lower()[:60]
        page = self._folder / f"{next(self._numbers)}-{name}.md"
        page.write_text(f"# {title}\n\n{markdown}\n", encoding="utf-8")
        return page
