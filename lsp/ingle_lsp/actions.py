"""Code actions, and `ingle.edit`: what is offered at a place, and what is made when it is chosen.

Owns which actions there are and why one can't be done. Offering never asks the model and costs
next to nothing; what an action does is `editing` and `explain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from lsprotocol import types

from ingle.threads import Position, Range

from .about_part import reason_against, refusal
from .answers import Refused
from .documents import Document
from .editing import Action, Editing, Problem, Wish, tests_place
from .privacy import path_of
from .progress import work_done
from .requests import add_command, failure, parameters, told
from .workspace_edits import apply_edit, support

if TYPE_CHECKING:
    from .server import IngleServer

FIX = "quickfix.ingle"
TESTS = "refactor.ingle.tests"
DOCUMENT = "refactor.rewrite.ingle.document"
EXPLAIN = "ingle.explain"

#: Diagnostics at one place that get an action.
MAX_FIXES = 5
#: Longest part of a message in a title.
MAX_TITLE = 60

_TITLES: dict[Action, str] = {
    "fix": "Fix the problem",
    "tests": "Write tests",
    "document": "Document",
    "refactor": "Refactor",
}


def add_features(server: IngleServer) -> None:
    """Register the requests and the command."""
    editing = Editing(server)

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(
            code_action_kinds=[FIX, TESTS, DOCUMENT, EXPLAIN], resolve_provider=True
        ),
    )
    @told
    async def code_action(
        params: types.CodeActionParams,
    ) -> list[types.CodeAction | types.Command]:
        return await Offer(server, params).actions()

    @server.feature(types.CODE_ACTION_RESOLVE)
    @told
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        if action.data is None:
            # Editors resolve whatever has no edit, the explanation's command, too.
            return action
        wish = parameters(action.data, Wish, "codeAction/resolve")
        async with work_done(server, None, _TITLES[wish.action]) as work:
            try:
                action.edit = await editing.edit(wish, work)
            except Refused as reason:
                raise failure(str(reason)) from reason
        return action

    async def edit(argument: Mapping[str, Any], token: types.ProgressToken | None) -> Any:
        wish = parameters(argument, Wish, "ingle.edit")
        title = _TITLES[wish.action]
        async with work_done(server, token, title) as work:
            try:
                made = await editing.edit(wish, work)
                message = await apply_edit(server, made, f"ingle: {title}")
            except Refused as reason:
                message = str(reason)
        if message and wish.tell:
            server.tell(message)
        return {"applied": not message, "message": message}

    add_command(server, "ingle.edit", edit)


class Offer:
    """The actions for one request."""

    def __init__(self, server: IngleServer, params: types.CodeActionParams) -> None:
        self._server = server
        self._params = params
        self._uri = params.text_document.uri
        self._range = _range(params.range)
        self._document = server.documents.get(self._uri)
        client = server.client_capabilities.text_document
        self._client = (
            client.code_action if client is not None else None
        ) or types.CodeActionClientCapabilities()

    async def actions(self) -> list[types.CodeAction | types.Command]:
        """What can be done here, and why what can't be done can't."""
        document = self._document
        if document is None:
            return []
        offered: list[types.CodeAction] = []
        refused = await refusal(self._server, document)
        for diagnostic in self._params.context.diagnostics[:MAX_FIXES]:
            if self._wants(FIX):
                offered.append(self._fix(document, diagnostic, refused))
        # A light bulb at every place of the cursor says nothing.
        by_itself = self._params.context.trigger_kind is types.CodeActionTriggerKind.Automatic
        if not by_itself or self._range.start != self._range.end:
            offered += await self._about_code(document, refused)
        if self._client.code_action_literal_support is None:
            return [action.command for action in map(self._with_command, offered) if action.command]
        return [
            action for action in offered if action.disabled is None or self._client.disabled_support
        ]

    async def _about_code(self, document: Document, refused: str | None) -> list[types.CodeAction]:
        refused = refused or reason_against(document, self._range)
        found = []
        if self._wants(TESTS):
            reason = refused or await self._no_tests()
            found.append(self._action("Write tests", TESTS, self._wish("tests"), reason))
        if self._wants(DOCUMENT):
            found.append(self._action("Document", DOCUMENT, self._wish("document"), refused))
        if self._wants(EXPLAIN):
            action = self._action("Explain", EXPLAIN, None, refused)
            argument = {"uri": self._uri, "range": msgspec.to_builtins(self._range)}
            action.command = types.Command("Explain", "ingle.explain", arguments=[argument])
            found.append(action)
        return found

    async def _no_tests(self) -> str | None:
        """Why no tests can be written; None if they can."""
        try:
            _, place = await tests_place(self._uri)
        except Refused as reason:
            return str(reason)
        path = place.path
        if path is None or support(self._server).creation or path.exists():
            return None
        if any(path_of(document.uri) == path for document in self._server.documents):
            return None
        return f"this editor can't create files: create {path.name} first"

    def _fix(
        self, document: Document, diagnostic: types.Diagnostic, refused: str | None
    ) -> types.CodeAction:
        problem = _problem(diagnostic)
        # Around the problem, not only where it shows.
        start = problem.range.start
        wish = self._wish("fix", Range(start=start, end=start), [problem])
        refused = refused or reason_against(document, wish.range)
        message = problem.text
        title = message if len(message) <= MAX_TITLE else message[: MAX_TITLE - 1] + "…"
        action = self._action(f"Fix: {title}", FIX, wish, refused)
        action.diagnostics = [diagnostic]
        return action

    def _wish(
        self,
        action: Action,
        span: Range | None = None,
        diagnostics: Sequence[Problem] = (),
    ) -> Wish:
        assert self._document is not None
        return Wish(
            action=action,
            uri=self._uri,
            range=span or self._range,
            version=self._document.version,
            diagnostics=list(diagnostics),
        )

    def _action(
        self, title: str, kind: str, wish: Wish | None, refused: str | None
    ) -> types.CodeAction:
        action = types.CodeAction(title=title, kind=kind)
        if refused is not None:
            action.disabled = types.CodeActionDisabled(reason=refused)
        if wish is not None:
            action.data = msgspec.to_builtins(wish)
            if not self._resolves:
                return self._with_command(action)
        return action

    @property
    def _resolves(self) -> bool:
        """Whether the editor asks for `edit` when an action is chosen, and then sends its data."""
        properties = self._client.resolve_support
        return bool(
            self._client.data_support and properties is not None and "edit" in properties.properties
        )

    def _with_command(self, action: types.CodeAction) -> types.CodeAction:
        """The action for an editor that resolves nothing. A disabled one does nothing."""
        if action.disabled is None and action.command is None and action.data is not None:
            argument = action.data | {"tell": True}
            action.command = types.Command(action.title, "ingle.edit", arguments=[argument])
        action.data = None
        return action

    def _wants(self, kind: str) -> bool:
        only = self._params.context.only
        return only is None or any(
            not wanted or kind == wanted or kind.startswith(f"{wanted}.") for wanted in only
        )


def _problem(diagnostic: types.Diagnostic) -> Problem:
    return Problem(
        range=_range(diagnostic.range),
        message=getattr(diagnostic.message, "value", diagnostic.message),
        source=diagnostic.source,
        code=diagnostic.code,
    )


def _range(span: types.Range) -> Range:
    return Range(start=_position(span.start), end=_position(span.end))


def _position(position: types.Position) -> Position:
    return Position(line=position.line, character=position.character)
