"""The dialect of models that bring a chat template: template for chat, `infill` for completions.

Owns which conversation the template gets (templates differ in the roles they take), how its parts
become tokens, and which tokens end a turn. A model without a template is spoken to in a plain
form: the system text, then "User: …" and "Assistant: …" lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from ingle.errors import InvalidRequest, Unsupported
from ingle.messages import Chat, Infill
from ingled.engines.engine import Capabilities, Job, Tokenizer

from .chat_stream import END_THINK, THINK, ChatStream, Phase
from .dialect import Budget, Defaults, Dialect, Plan, answer_tokens, chat_sampling, check_length
from .infill import InfillForm
from .template_text import ChatTemplate, Part, Refused, Turn, split_refusal

#: Tokens that end a turn in the vocabularies that have them.
TURN_ENDS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    "</s>",
)
#: Start-of-text tokens that a model without a template was trained with.
TEXT_STARTS = frozenset({"<s>", "<bos>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>"})

#: What a control token may look like. The vocabulary decides whether it is one.
_CANDIDATE = re.compile(
    r"<\|[^|<>\s]+\|>|<｜[^｜<>\s]+｜>|</?[A-Za-z_][\w.:-]*>|\[/?[A-Z][A-Z_]*\]|<<?/?SYS>>"
)
_JOIN = "\n\n"


class ChatTemplateDialect(Dialect):
    """See the module."""

    name = "chat_template"

    def __init__(
        self,
        tokenizer: Tokenizer,
        capabilities: Capabilities,
        *,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Raises `ModelInvalid` when the template does not compile."""
        self._tokenizer = tokenizer
        self._special = lru_cache(maxsize=1024)(tokenizer.special)
        self._capabilities = capabilities
        self._template = (
            ChatTemplate(
                capabilities.chat_template,
                bos=capabilities.bos_token,
                eos=capabilities.eos_token,
                now=now,
            )
            if capabilities.chat_template
            else None
        )
        names = [text for text in (capabilities.bos_token, capabilities.eos_token) if text]
        self._control = re.compile(
            "|".join([*map(re.escape, sorted(names, key=len, reverse=True)), _CANDIDATE.pattern])
        )
        self._bos = self._text_start()
        self._thinks = THINK in capabilities.chat_template
        self._stop_ids, self._stop_texts = self._turn_ends()
        self._infill = InfillForm(tokenizer, capabilities, bos=self._bos)

    def chat(self, job_id: int, request: Chat, budget: Budget, defaults: Defaults) -> Plan:
        check_length(sum(len(message.content) for message in request.messages), budget.context)
        if "" in request.stop:
            raise InvalidRequest("a stop text is empty: leave it out")
        if request.tools or any(turn.tool or turn.role == "tool" for turn in request.messages):
            raise Unsupported("this model can't call tools through ingle: load gpt-oss for that")
        turns = [Turn(message.role, message.content) for message in request.messages]
        parts = self._render(turns, request.effort or defaults.effort)
        prompt = self._encode(parts)
        wanted = request.max_tokens or defaults.chat_max_tokens
        job = Job(
            id=job_id,
            prompt=prompt,
            max_tokens=answer_tokens(len(prompt), budget.context, wanted),
            sampling=chat_sampling(request, defaults),
            stop_ids=self._stop_ids,
            # Thoughts may hold a stop text; then only the stream knows which one counts.
            stop_texts=[*self._stop_texts, *([] if self._thinks else request.stop)],
            affinity=f"chat:{request.conversation}" if request.conversation else "",
        )
        phase = self._phase("".join(part.text for part in parts[-1:] if not part.data))
        return Plan(job=job, stream=ChatStream(self._tokenizer, phase=phase, stop=request.stop))

    def infill(self, job_id: int, request: Infill, budget: Budget, defaults: Defaults) -> Plan:
        return self._infill.plan(job_id, request, budget, defaults)

    # --- rendering -----------------------------------------------------------------------

    def _render(self, turns: list[Turn], effort: str) -> list[Part]:
        if self._template is None:
            return plain_form(turns)
        refused: Refused | None = None
        for attempt in _attempts(turns):
            try:
                return self._template.render(attempt, effort=effort)
            except Refused as error:
                refused = refused or error
        assert refused is not None
        raise split_refusal(refused)

    def _encode(self, parts: Sequence[Part]) -> list[int]:
        """Ids of a rendered conversation: control tokens only where the template wrote them.

        Plain text between two control tokens is encoded in one go, whoever wrote it, because
        that is how the model saw it in training.
        """
        ids: list[int] = list(self._bos) if self._template is None else []
        plain = ""
        for part in parts:
            end = 0
            for found in () if part.data else self._control.finditer(part.text):
                token = self._special(found.group())
                if token is None:
                    continue
                plain += part.text[end : found.start()]
                ids += [*self._tokenizer.encode(plain), token] if plain else [token]
                plain, end = "", found.end()
            plain += part.text[end:]
        return ids + self._tokenizer.encode(plain) if plain else ids

    def _phase(self, tail: str) -> Phase:
        """Where the rendered prompt leaves the model: thinking, allowed to think, or answering."""
        if not self._thinks:
            return Phase.FINAL
        if tail.rstrip().endswith(THINK):
            return Phase.ANALYSIS
        return Phase.FINAL if tail.rstrip().endswith(END_THINK) else Phase.OPEN

    # --- facts of the model --------------------------------------------------------------

    def _text_start(self) -> list[int]:
        """Ids that start every text of this model, as far as can be told."""
        text = self._capabilities.bos_token
        token = self._special(text) if text else None
        wanted = self._template.begins_with_bos() if self._template else text in TEXT_STARTS
        return [token] if token is not None and wanted else []

    def _turn_ends(self) -> tuple[list[int], list[str]]:
        """What ends the assistant's turn: ids, and texts where the template has no such token."""
        known = [self._special(text) for text in (self._capabilities.eos_token, *TURN_ENDS) if text]
        ids = [token for token in known if token is not None]
        after = self._after_assistant()
        token = next(
            (
                token
                for found in self._control.finditer(after)
                if (token := self._special(found.group())) is not None
            ),
            None,
        )
        if token is not None and token not in self._bos:
            return list(dict.fromkeys([*ids, token])), []
        # The first line that the template writes there, with the newline before it.
        line = re.search(r"\n?[^\s][^\n]{2,}", after)
        return list(dict.fromkeys(ids)), [line.group().rstrip()] if line else []

    def _after_assistant(self) -> str:
        """What the template writes between an answer and the next question."""
        turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")]
        try:
            parts = (
                self._template.render(turns, generation_prompt=False)
                if self._template
                else plain_form(turns)
            )
        except Refused:
            return ""
        after, passed = "", False
        for part in parts:
            if part.data and passed:
                break
            after += part.text if passed else ""
            passed = passed or (part.data and part.text == "b")
        return after


def plain_form(turns: Sequence[Turn]) -> list[Part]:
    """The form for models without a template."""
    parts: list[Part] = []
    for turn in turns:
        label = {"user": "User: ", "assistant": "Assistant: "}.get(turn.role, "")
        parts += [Part(label, data=False)] if label else []
        parts += [
            Part(turn.content.strip(), data=True),
            Part("\n" if label else "\n\n", data=False),
        ]
    return [*parts, Part("Assistant:", data=False)]


def _attempts(turns: list[Turn]) -> list[list[Turn]]:
    """The conversation as it is, then in the forms that stricter templates take."""
    folded = _fold_system(turns)
    merged = _merge(folded)
    attempts = [turns]
    for other in (folded, merged):
        if other and other != attempts[-1]:
            attempts.append(other)
    return attempts


def _fold_system(turns: list[Turn]) -> list[Turn]:
    """System texts become the beginning of the first user message after them."""
    folded: list[Turn] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system":
            waiting.append(turn.content)
        elif turn.role == "user" and waiting:
            folded.append(Turn("user", _JOIN.join([*waiting, turn.content])))
            waiting = []
        else:
            folded.append(turn)
    if waiting:
        folded.append(Turn("user", _JOIN.join(waiting)))
    return folded


def _merge(turns: list[Turn]) -> list[Turn]:
    """Neighbours of one role become one message, for templates that want strict turns."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, _JOIN.join([merged[-1].content, turn.content]))
        else:
            merged.append(turn)
    return merged
