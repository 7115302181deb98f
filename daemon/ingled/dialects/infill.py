"""Completions at a cursor: fill-in-the-middle tokens where the vocabulary has them, else the text.

Without such tokens the model continues the raw text before the cursor. The word that is being
typed is then taken off the prompt and required back by a grammar (token healing), because half a
word is seldom a token; the stream drops it again. Of a name like `find_longest_m` that is only its
last part: tokenizers split there, and what is said again costs a step a token. Without grammars
only a last space is taken off.
Text after the cursor and snippets stay out of that form: they helped small models little, and they
cost the prefix cache at every edit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingle.messages import Infill
from ingled.engines.engine import Capabilities, Job, Sampling, Tokenizer

from .completion_text import CompletionText
from .context_window import ContextWindows, Layout, Limits, Window
from .dialect import Budget, Defaults, Plan
from .infill_stream import TextInfillStream

#: Longer "words" (encoded data, …) are not healed.
MAX_HEALED = 64

#: Control tokens that a model may write out as ordinary text when it loses the thread.
MARKERS = (
    "<|endoftext|>",
    "<|im_end|>",
    "<|im_start|>",
    "<|fim_",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<file_sep>",
    "<|file_sep|>",
    "<repo_name>",
    "<|repo_name|>",
    "<|eot_id|>",
    "<end_of_turn>",
)

_WORD = re.compile(r" ?_*[^\W_]*\Z")


@dataclass(frozen=True, kw_only=True)
class FimTokens:
    """How one family of models marks the parts. Each entry is the spellings of one token."""

    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    #: Empty where the middle simply follows the prefix.
    middle: tuple[str, ...] = ()
    #: The suffix comes before the prefix.
    suffix_first: bool = False
    #: Starts another file of the same project.
    file: tuple[str, ...] = ()
    #: Ends the middle, besides the model's own end tokens.
    ends: tuple[str, ...] = ()
    #: Trained with the start-of-text token in front.
    bos: bool = False


#: Sources: the model cards and papers of each family.
FAMILIES = (
    FimTokens(  # Qwen 2.5 and 3 Coder, Granite 4, CodeGemma
        prefix=("<|fim_prefix|>",),
        suffix=("<|fim_suffix|>",),
        middle=("<|fim_middle|>",),
        file=("<|file_sep|>", "<|file_separator|>"),
        ends=("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>"),
    ),
    FimTokens(  # StarCoder, Granite Code, StableCode, Refact
        prefix=("<fim_prefix>", "<fim-prefix>"),
        suffix=("<fim_suffix>", "<fim-suffix>"),
        middle=("<fim_middle>", "<fim-middle>"),
        file=("<file_sep>",),
        ends=("<|endoftext|>", "<fim_pad>", "<fim-pad>", "<repo_name>"),
    ),
    FimTokens(  # DeepSeek Coder
        prefix=("<｜fim▁begin｜>",),
        suffix=("<｜fim▁hole｜>",),
        middle=("<｜fim▁end｜>",),
        ends=("<｜end▁of▁sentence｜>", "<|EOT|>"),
        bos=True,
    ),
    FimTokens(  # Code Llama
        prefix=("▁<PRE>", "<PRE>"),
        suffix=("▁<SUF>", "<SUF>"),
        middle=("▁<MID>", "<MID>"),
        ends=("▁<EOT>", "<EOT>"),
        bos=True,
    ),
    FimTokens(  # Codestral
        prefix=("[PREFIX]",),
        suffix=("[SUFFIX]",),
        suffix_first=True,
        bos=True,
    ),
    FimTokens(  # Seed Coder
        prefix=("<[fim-prefix]>",),
        suffix=("<[fim-suffix]>",),
        middle=("<[fim-middle]>",),
        suffix_first=True,
    ),
)


def gbnf_string(text: str) -> str:
    """A GBNF string literal that matches exactly `text`.

    Format: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
    """
    return '"' + "".join(map(_gbnf_character, text)) + '"'


def _gbnf_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if " " <= character <= "~":
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def healing_grammar(typed: str, *, blank_line: bool) -> str:
    """A grammar for what follows the prompt: `typed` again, then the rest; "" if none is needed.

    On a blank line the answer may not be an empty line. It never ends the answer at a newline:
    one token may hold a newline and the next line's indentation.
    """
    if not typed and not blank_line:
        return ""
    first = r"[^\r\n]+" if blank_line else r"[^\r\n]*"
    start = gbnf_string(typed) + " " if typed else ""
    return f'root ::= {start}{first} ("\\n" [^\\n]*)*\n'


def infill_tokens(request: Infill, budget: Budget, defaults: Defaults) -> int:
    """Tokens that the completion may have."""
    wanted = request.max_tokens or (
        defaults.infill_multiline_max_tokens if request.multiline else defaults.infill_max_tokens
    )
    return max(1, min(wanted, budget.context // 2))


def infill_job(
    job_id: int,
    request: Infill,
    prompt: list[int],
    max_tokens: int,
    *,
    stop_ids: list[int],
    stop_texts: list[str],
    grammar: str = "",
) -> Job:
    """The job of a completion; greedy unless the request says otherwise."""
    return Job(
        id=job_id,
        prompt=prompt,
        max_tokens=max_tokens,
        sampling=Sampling(temperature=request.temperature or 0.0, seed=request.seed),
        stop_ids=stop_ids,
        stop_texts=stop_texts,
        grammar=grammar,
        affinity=f"infill:{request.document}" if request.document else "",
        logprobs=True,
    )


def unless_in(text: str, markers: Sequence[str]) -> list[str]:
    """Markers that the document does not have itself; whoever writes about them may go on."""
    return [marker for marker in markers if marker not in text]


class InfillForm:
    """Renders completions for a model without a completion format of its own dialect."""

    def __init__(
        self, tokenizer: Tokenizer, capabilities: Capabilities, *, bos: Sequence[int] = ()
    ) -> None:
        """`bos`: ids that start every text of this model."""
        self._tokenizer = tokenizer
        self._grammar = capabilities.grammar
        self._bos = list(bos)
        self._separator = _first_special(tokenizer, (capabilities.eos_token, "<|endoftext|>"))
        self._fim = _find_family(tokenizer, capabilities, self._bos)
        if self._fim:
            layout = Layout(
                suffix_first=self._fim.suffix_first,
                snippet_share=0.25 if self._fim.file is not None else 0.0,
            )
        else:
            layout = Layout(suffix_share=0.0, snippet_share=0.0)
        self._windows = ContextWindows(layout)

    @property
    def fim(self) -> bool:
        """Whether the vocabulary has fill-in-the-middle tokens."""
        return self._fim is not None

    def plan(self, job_id: int, request: Infill, budget: Budget, defaults: Defaults) -> Plan:
        """See `Dialect.infill`."""
        typed = "" if self._fim else self._healed(request.prefix)
        # What was typed is said again, and not at the answer's expense.
        max_tokens = infill_tokens(request, budget, defaults) + len(self._tokenizer.encode(typed))
        limits = Limits(
            uncached=budget.uncached_tokens, prompt=budget.context - max_tokens, fixed=8
        )
        prefix = request.prefix[: len(request.prefix) - len(typed)]
        snippets = [f"{snippet.path}\n{snippet.text}\n" for snippet in request.context]
        render = self._fim.render if self._fim else self._continuation
        window, prompt = self._windows.fit(
            request.document,
            prefix,
            request.suffix,
            snippets,
            limits,
            lambda window: render(self._tokenizer, window, request.path),
        )
        line = request.prefix.rpartition("\n")[2]
        grammar = ""
        if self._grammar and not self._fim:
            grammar = healing_grammar(typed, blank_line=not line.strip())
        job = infill_job(
            job_id,
            request,
            prompt,
            max_tokens,
            stop_ids=self._fim.ends if self._fim else [],
            stop_texts=[] if request.multiline else ["\n"],
            grammar=grammar,
        )
        text = CompletionText(
            line=line,
            multiline=request.multiline,
            typed=typed,
            markers=unless_in(window.prefix + window.suffix, MARKERS),
            any_length=request.max_tokens is not None,
        )
        return Plan(job=job, stream=TextInfillStream(text))

    def _healed(self, prefix: str) -> str:
        """The end of `prefix` that a grammar will require again."""
        if not self._grammar:
            # A space belongs to the token after it; the model says it again on its own.
            return " " if prefix.endswith(" ") else ""
        # Only the end of a long document is looked at.
        found = _WORD.search(prefix[-MAX_HEALED - 1 :])
        typed = found.group() if found else ""
        return typed if len(typed) <= MAX_HEALED else ""

    def _continuation(self, tokenizer: Tokenizer, window: Window, _path: str) -> list[int]:
        ids = self._bos + tokenizer.encode(window.prefix)
        if ids:
            return ids
        # An empty prompt is no prompt: begin a document.
        return [self._separator] if self._separator is not None else tokenizer.encode("\n")


@dataclass(frozen=True, kw_only=True)
class _Family:
    """A family's tokens as ids of one vocabulary."""

    bos: list[int]
    prefix: int
    suffix: int
    middle: list[int]
    suffix_first: bool
    file: int | None
    ends: list[int]

    def render(self, tokenizer: Tokenizer, window: Window, path: str) -> list[int]:
        ids = list(self.bos)
        if self.file is not None:
            for snippet in window.snippets:
                ids += [self.file, *tokenizer.encode(snippet)]
            if window.snippets and path:
                ids += [self.file, *tokenizer.encode(f"{path}\n")]
        before = [self.prefix, *tokenizer.encode(window.prefix)]
        after = [self.suffix, *tokenizer.encode(window.suffix)]
        parts = (after, before) if self.suffix_first else (before, after)
        return ids + parts[0] + parts[1] + self.middle


def _find_family(
    tokenizer: Tokenizer, capabilities: Capabilities, bos: list[int]
) -> _Family | None:
    for family in FAMILIES:
        prefix = _first_special(tokenizer, family.prefix)
        suffix = _first_special(tokenizer, family.suffix)
        middle = _first_special(tokenizer, family.middle)
        if prefix is None or suffix is None or (family.middle and middle is None):
            continue
        file = _first_special(tokenizer, family.file)
        if family.bos and not bos:
            first = _first_special(tokenizer, (capabilities.bos_token,))
            bos = [first] if first is not None else []
        ends = [file, prefix, suffix, middle, *map(tokenizer.special, family.ends)]
        return _Family(
            bos=bos,
            prefix=prefix,
            suffix=suffix,
            middle=[middle] if middle is not None else [],
            suffix_first=family.suffix_first,
            file=file,
            ends=list(dict.fromkeys(token for token in ends if token is not None)),
        )
    return None


def _first_special(tokenizer: Tokenizer, spellings: Sequence[str]) -> int | None:
    for text in spellings:
        token = tokenizer.special(text) if text else None
        if token is not None:
            return token
    return None
