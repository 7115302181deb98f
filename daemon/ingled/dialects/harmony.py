"""The dialect of gpt-oss: OpenAI's Harmony format, through openai-harmony.

Chat: the system message carries the effort; system texts and tools of the client become a
developer message (`harmony_messages`).

Completion: the document is put to the model as a question whose stable text comes first and whose
changing tail comes last, so that the prefix cache hits. The prompt then opens the answer itself:
an empty analysis, so that no thinking is paid for, and a `final` message that already holds the
last lines before the cursor, so that the model can only go on from there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from openai_harmony import (
    Conversation,
    HarmonyEncoding,
    HarmonyError,
    Message,
    ReasoningEffort,
    Role,
)

from ingle.errors import InvalidRequest
from ingle.messages import Chat, Infill
from ingled.engines.engine import Job

from .completion_text import CompletionText
from .context_window import ContextWindows, Layout, Limits, Window
from .dialect import Budget, Defaults, Dialect, Plan, answer_tokens, chat_sampling, check_length
from .harmony_messages import conversation, developer, system
from .harmony_stream import HarmonyChatStream, HarmonyInfillStream
from .infill import MARKERS, infill_job, infill_tokens, unless_in

#: Control tokens by which a vocabulary is known to be gpt-oss's.
CONTROL_IDS = {
    "<|return|>": 200002,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
}

#: Characters before the cursor's line that the answer begins with, at least: a shorter beginning
#: lets the model start over instead of going on.
HELD_BACK = 50
#: A held-back line longer than this is split at multiples of it, so that the split seldom moves.
MAX_LINE = 512

INSTRUCTIONS = """\
You complete source code at a cursor. Reply with one code block that holds only the text that \
comes next in the file: it goes on directly from the last line shown, keeps the style of the \
file, and stops where the code after the cursor takes over. Never explain, never repeat code \
from before the cursor."""

_OPEN_FINAL = (
    "<|start|>assistant<|channel|>analysis<|message|><|end|>"
    "<|start|>assistant<|channel|>final<|message|>"
)
_HARMONY_MARKERS = tuple(CONTROL_IDS)
_BACKTICKS = re.compile(r"`{3,}")


class HarmonyDialect(Dialect):
    """See the module."""

    name = "harmony"

    def __init__(self, encoding: HarmonyEncoding) -> None:
        self._encoding = encoding
        self._windows = ContextWindows(Layout(suffix_first=True))
        self._opening = encoding.encode(_OPEN_FINAL, allowed_special="all")
        self._ends = sorted(encoding.stop_tokens_for_assistant_actions())
        self._message_ends = sorted(encoding.stop_tokens())
        self._fixed = len(self._infill_prompt("", "", "")) + 16

    def chat(self, job_id: int, request: Chat, budget: Budget, defaults: Defaults) -> Plan:
        check_length(
            sum(len(turn.content) + len(turn.analysis) for turn in request.messages),
            budget.context,
        )
        if "" in request.stop:
            raise InvalidRequest("a stop text is empty: leave it out")
        effort = request.effort or defaults.effort
        prompt = self._render_for_answer(conversation(request.messages, request.tools, effort))
        wanted = request.max_tokens or defaults.chat_max_tokens
        job = Job(
            id=job_id,
            prompt=prompt,
            max_tokens=answer_tokens(len(prompt), budget.context, wanted),
            sampling=chat_sampling(request, defaults),
            stop_ids=self._ends,
            affinity=f"chat:{request.conversation}" if request.conversation else "",
        )
        # Stop texts count in the answer only, not in the analysis: the stream applies them.
        tools = {tool.name for tool in request.tools}
        return Plan(job=job, stream=HarmonyChatStream(self._encoding, request.stop, tools))

    def infill(self, job_id: int, request: Infill, budget: Budget, defaults: Defaults) -> Plan:
        max_tokens = infill_tokens(request, budget, defaults)
        limits = Limits(
            uncached=budget.uncached_tokens,
            prompt=budget.context - max_tokens,
            fixed=self._fixed,
        )
        fence = ""

        def render(window: Window) -> list[int]:
            nonlocal fence
            fence = _fence(window)
            question, held = _question(request, window, fence)
            return self._infill_prompt(question, f"{fence}{request.language}\n", held)

        # A space belongs to the token after it: the model says it again, the stream drops it.
        typed = " " if request.prefix.endswith(" ") else ""
        window, prompt = self._windows.fit(
            request.document,
            request.prefix.removesuffix(typed),
            request.suffix,
            [f"{snippet.path}\n{snippet.text}" for snippet in request.context],
            limits,
            render,
        )
        line = request.prefix.rpartition("\n")[2]
        text = CompletionText(
            line=line,
            multiline=request.multiline,
            typed=typed,
            markers=[
                f"\n{fence}",
                *([fence] if not line else []),
                *unless_in(window.prefix + window.suffix, (*MARKERS, *_HARMONY_MARKERS)),
            ],
            any_length=request.max_tokens is not None,
        )
        job = infill_job(
            job_id, request, prompt, max_tokens, stop_ids=self._message_ends, stop_texts=[]
        )
        return Plan(job=job, stream=HarmonyInfillStream(self._encoding, text))

    # --- rendering -----------------------------------------------------------------------

    def _infill_prompt(self, question: str, code_block: str, held: str) -> list[int]:
        messages = [
            system(ReasoningEffort.LOW),
            developer(INSTRUCTIONS),
            Message.from_role_and_content(Role.USER, question),
        ]
        try:
            ids: list[int] = self._encoding.render_conversation(
                Conversation.from_messages(messages)
            )
            return [*ids, *self._opening, *self._plain(code_block + held)]
        except (HarmonyError, ValueError) as error:
            raise _unreadable() from error

    def _render_for_answer(self, messages: Sequence[Message]) -> list[int]:
        try:
            ids: list[int] = self._encoding.render_conversation_for_completion(
                Conversation.from_messages(messages), Role.ASSISTANT
            )
            return ids
        except (HarmonyError, ValueError) as error:
            raise _unreadable() from error

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode(text, disallowed_special=())
        return ids


def _question(request: Infill, window: Window, fence: str) -> tuple[str, str]:
    """The user message, and the last lines before the cursor, which it leaves to the answer."""
    held = len(window.prefix) - held_back(window.prefix)
    block = f"{fence}{request.language}\n"
    before = window.prefix[:held]
    if before and not before.endswith("\n"):
        before += "\n"
    parts = [f"File: {request.path or 'untitled'}\n"]
    parts += [f"From another file:\n{fence}\n{snippet}\n{fence}\n" for snippet in window.snippets]
    if window.suffix:
        parts.append(f"The code after the cursor:\n{block}{window.suffix}\n{fence}\n")
    parts.append(f"The code before the cursor:\n{block}{before}{fence}")
    return "\n".join(parts), window.prefix[held:]


def held_back(prefix: str) -> int:
    """Characters at the end of `prefix` that the answer begins with.

    The cursor's line and as many whole lines before it as make `HELD_BACK` characters: it does
    not depend on what is typed on the line, so the question stays the same meanwhile.
    """
    line = prefix.rfind("\n") + 1
    if len(prefix) - line > MAX_LINE:
        return len(prefix) - line - (len(prefix) - line - HELD_BACK) // MAX_LINE * MAX_LINE
    start = line
    while start > 0 and line - start < HELD_BACK:
        start = prefix.rfind("\n", 0, start - 1) + 1
    return len(prefix) - max(start, line - MAX_LINE)


def _fence(window: Window) -> str:
    """A fence longer than any in the texts."""
    texts = (window.prefix, window.suffix, *window.snippets)
    longest = max((len(run) for text in texts for run in _BACKTICKS.findall(text)), default=2)
    return "`" * (longest + 1)


def _unreadable() -> InvalidRequest:
    return InvalidRequest("the text has a lone surrogate: it is not valid Unicode")
