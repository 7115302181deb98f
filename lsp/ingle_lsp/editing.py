"""From a wish to change code to a `WorkspaceEdit`: fix, document, refactor, write tests.

Owns the order of things: what is asked, whether the answer may still be used when it has come, and
the proof that its edits give the text they should. What an answer must look like is `answers`,
where tests go `conventional_tests`, what is sent `about_part` and `prompts`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from lsprotocol import types
from msgspec import Meta, Struct
from pygls.exceptions import JsonRpcInvalidParams

from ingle.conversation import shown_path
from ingle.results import Answer
from ingle.threads import Range

from . import prompts
from .about_part import ask_about, excerpt_of, part_of, refusal
from .answers import Refused, code_of, fitted, indentation
from .block_place import Stretch, defined_beside
from .conventional_tests import TestPlace, is_program, is_test_file, place_for, shown
from .documents import Document, Mark, Place
from .edits import proven_edits
from .enclosing import Part, around, definitions, enclosing
from .privacy import path_of
from .progress import Work
from .prompts import Excerpt
from .requests import failure
from .sources import Sources, check_text
from .workspace_edits import Support, support, workspace_edit

if TYPE_CHECKING:
    from .server import IngleServer

Action = Literal["fix", "tests", "document", "refactor"]

#: Longest instruction, and message of a tool, in characters; most of these messages.
MAX_INSTRUCTION = 8_000
MAX_MESSAGE = 1_000
MAX_PROBLEMS = 20
#: Characters of a file of tests that are shown to the model: its beginning and its end.
_HEAD, _TAIL = 1_500, 3_000
_RUST_TESTS = re.compile(r"\s*(?:pub(?:\([\w\s]+\))?\s+)?mod\s+tests\s*\{")


class Markup(Struct, kw_only=True, frozen=True):
    """A message in Markdown."""

    value: str


class Problem(Struct, kw_only=True, frozen=True):
    """A diagnostic, as LSP has it."""

    range: Range
    message: str | Markup
    source: str | None = None
    code: str | int | None = None

    @property
    def text(self) -> str:
        """One line: the message, and who says so."""
        message = self.message if isinstance(self.message, str) else self.message.value
        line = " ".join(message.split())[:MAX_MESSAGE]
        whose = " ".join(str(part) for part in (self.source, self.code) if part not in (None, ""))
        return f"{line} ({whose})" if whose else line


class Wish(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The argument of `ingle.edit`, and the data of a code action."""

    action: Action
    uri: str
    range: Range
    version: int | None = None
    instruction: Annotated[str, Meta(max_length=MAX_INSTRUCTION)] = ""
    diagnostics: list[Problem] = []
    #: Whether the user is told why there is no edit; editors drop a command's result.
    tell: bool = False

    def check(self) -> None:
        """Raises what the editor is answered if the parts don't go together."""
        if self.action == "refactor" and not self.instruction.strip():
            raise JsonRpcInvalidParams("ingle.edit: a refactoring needs an `instruction`")
        if self.action == "fix" and not self.diagnostics:
            raise JsonRpcInvalidParams("ingle.edit: a fix needs `diagnostics`")


class Editing:
    """Makes edits. Every `Refused` that it raises is a line for the user."""

    def __init__(self, server: IngleServer) -> None:
        self._server = server
        self._sources = Sources(server.documents, server.privacy)

    async def edit(self, wish: Wish, work: Work) -> types.WorkspaceEdit:
        """The edit that grants a wish: minimal, and proven to apply to the document as it is.

        Raises `Refused`, an `IngleError`, or what the editor is answered.
        """
        wish.check()
        document = self._server.documents.get(wish.uri)
        name = shown_path(wish.uri)
        if document is None:
            raise Refused(f"{name or 'the document'} is not open in the editor")
        refused = await refusal(self._server, document)
        if refused is not None:
            raise failure(refused)
        if wish.version is not None and wish.version != document.version:
            raise Refused(f"{name} has changed meanwhile: try again")
        part = part_of(document, wish.range)
        if wish.action == "tests":
            return await self._tests(document, part, work)
        return await self._rewritten(document, part, wish, work)

    # --- lines in place of others --------------------------------------------------------

    async def _rewritten(
        self, document: Document, part: Part, wish: Wish, work: Work
    ) -> types.WorkspaceEdit:
        start, end = _places(document, part)
        old = document.between(start, end)
        excerpt = excerpt_of(document, part)
        task = _task(excerpt, wish)
        with document.marked(start, end) as mark:
            answer = await ask_about(self._server, document, excerpt, task, work)
            self._check_untouched(document, mark, old)
            new = code_of(answer, excerpt.code)
            start, end = mark.start, mark.end
        if new == excerpt.code.rstrip("\n"):
            raise Refused("the model would change nothing")
        self._check_definitions(document, wish.action, start, end, new)
        if new:
            new = fitted(new, old, document.lines, _line_end(old) or document.line_end)
            if new == old:
                raise Refused("the model would change nothing but indentation")
        elif wish.action == "document":
            raise Refused("the model answered without code: try again")
        elif end.line + 1 < document.line_count:
            # Lines that are gone leave no blank one.
            end = Place(end.line + 1, 0)
        return self._proven(document, start, end, new)

    def _check_untouched(self, document: Document, mark: Mark, old: str) -> None:
        name = shown_path(document.uri)
        if self._server.documents.get(document.uri) is not document:
            raise Refused(f"{name} was closed meanwhile: nothing was changed")
        # It began with a line and ended with one: text beside it on these lines is new.
        rest = "" if mark.touched else document.line(mark.end.line)[mark.end.column :]
        if (
            mark.touched
            or mark.start.column
            or rest.strip("\r\n")
            or document.between(mark.start, mark.end) != old
        ):
            raise Refused(f"these lines of {name} have changed meanwhile: try again")

    def _check_definitions(
        self, document: Document, action: Action, start: Place, end: Place, code: str
    ) -> None:
        """Refuse code that brings along what stands around its place, or loses what it had."""
        lines, own = document.lines, code.split("\n")
        names = definitions(own, 0, len(own) - 1)
        known = definitions(lines, start.line, end.line)
        twice = defined_beside(lines, code, document.language, Stretch(start, end))
        twice = twice or next(iter(sorted((names - known) & around(lines, start.line))), "")
        if twice:
            raise Refused(f"the answer has {twice} in it, which is not part of the task: try again")
        lost = sorted(known - names)
        if lost and action == "document":
            raise Refused(f"the answer leaves out {lost[0]}: select less, or try again")

    def _proven(
        self, document: Document, start: Place, end: Place, new: str, *, created: bool = False
    ) -> types.WorkspaceEdit:
        """The edit that puts `new` in place of a stretch, once it is sure that it does."""
        edits = proven_edits(document, start, end, new)
        return workspace_edit(document, edits, self._support, new=created)

    @property
    def _support(self) -> Support:
        return support(self._server)

    # --- tests ---------------------------------------------------------------------------

    async def _tests(self, document: Document, part: Part, work: Work) -> types.WorkspaceEdit:
        start, end = _places(document, part)
        old = document.between(start, end)
        excerpt = excerpt_of(document, part)
        with document.marked(start, end) as mark:
            path, place = await tests_place(document.uri)
            if place.path is None:
                task = prompts.inline_tests(excerpt, place.framework)
                answer = await ask_about(self._server, document, excerpt, task, work)
                self._check_untouched(document, mark, old)
                return self._inside(document, answer)
            uri = self._uri_of(place.path, document.uri)
            existing = await self._existing(place.path, uri, document)
            self._check_creation(place.path, exists=existing is not None)
            task = prompts.tests(
                excerpt,
                shown(place.path, path),
                place.framework,
                place.reach,
                _ends_of(existing) if existing is not None else None,
            )
            answer = await ask_about(self._server, document, excerpt, task, work)
            self._check_untouched(document, mark, old)
        return await self._beside(document, place.path, uri, existing is not None, answer)

    def _uri_of(self, path: Path, beside: str) -> str:
        """The URI of a file of tests: as the editor writes it, where that is known."""
        for document in self._server.documents:
            if path_of(document.uri) == path:
                return document.uri
        own = path_of(beside)
        if own is not None and own.parent == path.parent:
            return beside.rpartition("/")[0] + "/" + path.as_uri().rpartition("/")[2]
        return path.as_uri()

    async def _existing(self, path: Path, uri: str, document: Document) -> Document | None:
        """The file of tests as it is now; None if there is none."""
        if self._server.documents.get(uri) is None and not await asyncio.to_thread(path.exists):
            return None
        existing = await self._sources.document(uri, document.encoding)
        check_text(_ends_of(existing), shown_path(uri))
        return existing

    def _check_creation(self, path: Path, *, exists: bool) -> None:
        if not exists and not self._support.creation:
            raise Refused(f"this editor can't create files: create {path.name} first")

    async def _beside(
        self, document: Document, path: Path, uri: str, existed: bool, answer: Answer
    ) -> types.WorkspaceEdit:
        """The tests in a file of their own: a new one, or behind what it has."""
        code = code_of(answer)
        if not code:
            raise Refused("the model wrote no tests")
        target = await self._existing(path, uri, document)
        if existed != (target is not None):
            raise Refused(f"{path.name} has come or gone meanwhile: try again")
        if target is None:
            target = Document(uri, "", document.language, document.encoding)
            text = (code + "\n").replace("\n", document.line_end)
            return self._proven(target, Place(0, 0), target.end, text, created=True)
        if path.suffix == ".go" and re.search(r"^(?:package|import)\b", code, re.MULTILINE):
            raise Refused(f"the answer is a whole file, and {path.name} has a beginning already")
        return self._appended(target, code, blank_lines=2 if path.suffix == ".py" else 1)

    def _appended(self, document: Document, code: str, blank_lines: int = 1) -> types.WorkspaceEdit:
        """The code behind the last line that is not blank."""
        start = _behind_text(document, document.line_count - 1)
        between = "\n" * (1 + blank_lines) if start > Place(0, 0) else ""
        text = f"{between}{code}\n".replace("\n", document.line_end)
        return self._proven(document, start, document.end, text)

    def _inside(self, document: Document, answer: Answer) -> types.WorkspaceEdit:
        """The tests in `mod tests` of a Rust file, which is written if there is none."""
        code = _without_module(code_of(answer))
        if not code:
            raise Refused("the model wrote no tests")
        lines = document.lines
        step = indentation(lines)
        begin = next((at for at, line in enumerate(lines) if _RUST_TESTS.match(line)), None)
        if begin is None:
            body = fitted(code, step, lines, "\n")
            module = f"#[cfg(test)]\nmod tests {{\n{step}use super::*;\n\n{body}\n}}"
            return self._appended(document, module)
        part = enclosing(lines, begin, "rust")
        if part is None or part.last <= begin or not lines[part.last].strip().startswith("}"):
            raise Refused("the end of `mod tests` was not found")
        margin = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        start = _behind_text(document, part.last - 1)
        text = f"\n\n{fitted(code, margin + step, lines, chr(10))}\n"
        return self._proven(
            document, start, Place(part.last, 0), text.replace("\n", document.line_end)
        )


async def tests_place(uri: str) -> tuple[Path, TestPlace]:
    """A document's path, and where its tests go. Raises `Refused` where they can't be written."""
    path = path_of(uri)
    if path is None:
        raise Refused("tests go beside a file: save this one first")
    if is_test_file(path):
        raise Refused(f"{path.name} has tests in it already")
    if not is_program(path):
        raise Refused(f"{path.name} is no program: there is nothing to test")
    return path, await asyncio.to_thread(place_for, path)


def _places(document: Document, part: Part) -> tuple[Place, Place]:
    """Where a part begins, and where its last line ends, without the line end."""
    content = document.line(part.last).rstrip("\r\n")
    return Place(part.first, 0), Place(part.last, len(content))


def _task(excerpt: Excerpt, wish: Wish) -> str:
    if wish.action == "refactor":
        return prompts.refactor(excerpt, wish.instruction.strip())
    if wish.action == "document":
        return prompts.document(excerpt)
    problems = [(each.range.start.line, each.text) for each in wish.diagnostics[:MAX_PROBLEMS]]
    return prompts.fix(excerpt, problems)


def _line_end(text: str) -> str:
    found = re.search(r"\r\n|\r|\n", text)
    return found.group() if found else ""


def _behind_text(document: Document, last: int) -> Place:
    """The end of the last line up to `last` that is not blank; the very beginning if all are."""
    for number in range(last, -1, -1):
        content = document.line(number).rstrip("\r\n")
        if content.strip():
            return Place(number, len(content))
    return Place(0, 0)


def _ends_of(document: Document) -> str:
    """The beginning and the end of a file of tests: its imports, its style."""
    text = document.text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) <= _HEAD + _TAIL:
        return text
    head = text[:_HEAD].rpartition("\n")[0]
    tail = text[-_TAIL:].partition("\n")[2]
    return f"{head}\n[…]\n{tail}"


def _without_module(code: str) -> str:
    """Test functions alone, of an answer that has the module around them."""
    lines: Sequence[str] = code.split("\n")
    begin = next((at for at, line in enumerate(lines) if _RUST_TESTS.match(line)), None)
    if begin is not None:
        end = next((at for at in range(len(lines) - 1, begin, -1) if lines[at].strip()), begin)
        lines = lines[begin + 1 : end]
    kept = [line for line in lines if line.strip() != "use super::*;"]
    while kept and not kept[0].strip():
        kept.pop(0)
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join(kept)
