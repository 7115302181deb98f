"""A model's own Jinja chat template, rendered so that user text can't become mark-up.

Owns the Jinja environment and the sentinels: every message's text is replaced by a private mark
before rendering, so the template never sees it, and the rendered text falls into parts that are
the template's and parts that are data. Tokenizing those parts is the dialect's affair.

Environment: https://huggingface.co/docs/transformers/chat_templating_writing
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ingle.errors import InvalidRequest, ModelInvalid

#: White space that templates strip where they strip, and that nothing else uses: it shows
#: whether the template trims a message.
_PAD = "\u2003"
_OPEN, _CLOSE = "\ue000", "\ue001"
_BOS = "\ue002"
_MARK = re.compile(f"({_PAD}?){_OPEN}(\\d+){_CLOSE}({_PAD}?)")


@dataclass(frozen=True)
class Turn:
    """One message: a role and its text."""

    role: str
    content: str


@dataclass(frozen=True)
class Part:
    """A stretch of a rendered conversation: the template's own text, or a message's."""

    text: str
    data: bool


class Refused(Exception):
    """The template can't render this conversation. The text is its reason."""


class ChatTemplate:
    """One compiled template. Raises `ModelInvalid` when it does not compile."""

    def __init__(
        self,
        source: str,
        *,
        bos: str = "",
        eos: str = "",
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._bos = bos
        self._eos = eos
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ModelInvalid(
                f"the model's chat template has an error in line {error.lineno} "
                f"({error.message}): take the model from another source"
            ) from error

    def render(
        self, turns: Sequence[Turn], *, generation_prompt: bool = True, effort: str = "medium"
    ) -> list[Part]:
        """The conversation in parts. Raises `Refused`; an omitted text counts as refused."""
        marked = [
            # An empty text stays empty: templates test for that.
            f"{_PAD}{_OPEN}{number}{_CLOSE}{_PAD}" if turn.content else ""
            for number, turn in enumerate(turns)
        ]
        text = self._rendered(turns, marked, generation_prompt, effort, self._bos)
        parts: list[Part] = []
        seen: set[int] = set()
        end = 0
        for found in _MARK.finditer(text):
            parts.append(Part(text[end : found.start()], data=False))
            number = int(found[2])
            seen.add(number)
            content = turns[number].content
            content = content if found[1] else content.lstrip()
            parts.append(Part(content if found[3] else content.rstrip(), data=True))
            end = found.end()
        parts.append(Part(text[end:], data=False))
        for number, mark in enumerate(marked):
            if mark and number not in seen:
                raise Refused(f"it leaves out message {number + 1} ({turns[number].role})")
        if any(mark in part.text for part in parts if not part.data for mark in (_OPEN, _CLOSE)):
            raise Refused("it cuts messages in pieces")
        return [part for part in parts if part.text]

    def begins_with_bos(self) -> bool:
        """Whether the template itself puts the start-of-text token in front."""
        try:
            text = self._rendered([Turn("user", "x")], ["x"], True, "medium", _BOS)
        except Refused:
            return False
        return text.lstrip().startswith(_BOS)

    def _rendered(
        self,
        turns: Sequence[Turn],
        contents: Sequence[str],
        generation_prompt: bool,
        effort: str,
        bos: str,
    ) -> str:
        messages = [
            {"role": turn.role, "content": content}
            for turn, content in zip(turns, contents, strict=True)
        ]
        try:
            return self._template.render(
                messages=messages,
                add_generation_prompt=generation_prompt,
                bos_token=bos,
                eos_token=self._eos,
                tools=None,
                documents=None,
                reasoning_effort=effort,
                # Hybrid models: low effort means no thinking at all.
                enable_thinking=effort != "low",
            )
        except SecurityError as error:
            raise ModelInvalid(
                "the model's chat template does what no template may do: "
                "don't use this model, or take it from another source"
            ) from error
        # A template is a program: it may fail in any way, and that concerns this request only.
        except Exception as error:
            raise Refused(str(error) or type(error).__name__) from error


def split_refusal(error: Refused) -> InvalidRequest:
    """What the client is told."""
    return InvalidRequest(
        f"the model's chat template refuses this conversation: {error}: "
        "change the order of the messages, or use another model"
    )


class _Generation(Extension):
    """`{% generation %}` marks the assistant's part for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012  (Jinja's own interface)

    def parse(self, parser: Parser) -> Node | list[Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _tojson(value: Any, indent: int | None = None, **_options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
