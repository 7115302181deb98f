"""Completions without a completion dialect: prompt forms, token healing, and where they end."""

from __future__ import annotations

import re

import pytest

from ingle.errors import ContextOverflow
from ingle.messages import Infill, Snippet
from ingled.dialects.completion_text import MAX_LINES, CompletionText
from ingled.dialects.dialect import Budget, Defaults, Plan
from ingled.dialects.infill import InfillForm, gbnf_string, healing_grammar
from ingled.engines.engine import Capabilities
from support.tokenizers import CharacterTokenizer

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def form(
    *control: str, grammar: bool = True, bos: list[int] | None = None, **able: str
) -> tuple[InfillForm, CharacterTokenizer]:
    tokenizer = CharacterTokenizer(*control)
    capabilities = Capabilities(context=4096, slots=1, device="test", grammar=grammar, **able)
    return InfillForm(tokenizer, capabilities, bos=bos or []), tokenizer


def plan(
    infill: InfillForm, prefix: str, *, context: int = 4096, uncached: int = 4096, **fields: object
) -> Plan:
    request = Infill(id=1, prefix=prefix, **fields)  # type: ignore[arg-type]
    return infill.plan(7, request, Budget(uncached_tokens=uncached, context=context), Defaults())


def rendered(*control: str, prefix: str = "PRE", bos_token: str = "", **fields: object) -> str:
    infill, tokenizer = form(*control, bos_token=bos_token)
    request = Infill(id=1, prefix=prefix, suffix="SUF", **fields)  # type: ignore[arg-type]
    budget = Budget(uncached_tokens=4096, context=4096)
    return tokenizer.decode(infill.plan(7, request, budget, Defaults()).job.prompt)


def typed(made: Plan, *texts: str) -> str:
    """What the editor gets when the model says `texts`."""
    pieces = [
        piece for text in texts if not made.stream.complete for piece in made.stream.feed([1], text)
    ]
    pieces += made.stream.finish()
    assert {piece.channel for piece in pieces} <= {"final"}
    return "".join(piece.text for piece in pieces)


# --- prompt forms ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "bos", "text"),
    [
        (QWEN, "", "<|fim_prefix|>PRE<|fim_suffix|>SUF<|fim_middle|>"),
        (
            ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
            "",
            "<fim_prefix>PRE<fim_suffix>SUF<fim_middle>",
        ),
        (
            ("<｜b｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
            "<｜b｜>",
            "<｜b｜><｜fim▁begin｜>PRE<｜fim▁hole｜>SUF<｜fim▁end｜>",
        ),
        (("<s>", "▁<PRE>", "▁<SUF>", "▁<MID>"), "<s>", "<s>▁<PRE>PRE▁<SUF>SUF▁<MID>"),
        (("<s>", "[PREFIX]", "[SUFFIX]"), "<s>", "<s>[SUFFIX]SUF[PREFIX]PRE"),
        (
            ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"),
            "",
            "<[fim-suffix]>SUF<[fim-prefix]>PRE<[fim-middle]>",
        ),
    ],
)
def test_each_family_has_its_own_form(control: tuple[str, ...], bos: str, text: str) -> None:
    assert rendered(*control, bos_token=bos) == text


def test_half_a_family_is_no_family() -> None:
    assert not form("<|fim_prefix|>", "<|fim_suffix|>")[0].fim
    assert rendered("<|fim_prefix|>", "<|fim_suffix|>", prefix="PRE(") == "PRE("


def test_control_tokens_in_a_file_are_text() -> None:
    infill, tokenizer = form(*QWEN)
    job = plan(infill, "a<|fim_middle|>b", suffix="<|fim_prefix|>").job
    assert tokenizer.controls(job.prompt) == list(QWEN)


def test_a_fim_job_stops_at_its_own_tokens() -> None:
    infill, tokenizer = form(*QWEN, "<|endoftext|>", "<|file_sep|>")
    job = plan(infill, "x").job
    assert [tokenizer.control[token] for token in sorted(job.stop_ids)] == tokenizer.control
    assert job.grammar == ""
    assert job.stop_texts == ["\n"]
    assert job.logprobs
    assert plan(infill, "x", multiline=True).job.stop_texts == []


def test_snippets_come_as_files_where_the_vocabulary_can_say_so() -> None:
    context = [Snippet(path="b.py", text="B = 1")]
    assert rendered(*QWEN, "<|file_sep|>", context=context, path="a.py") == (
        "<|file_sep|>b.py\nB = 1\n<|file_sep|>a.py\n"
        "<|fim_prefix|>PRE<|fim_suffix|>SUF<|fim_middle|>"
    )
    assert "B = 1" not in rendered(*QWEN, context=context)


def test_the_plain_form_is_the_prefix_without_the_word_being_typed() -> None:
    infill, tokenizer = form(bos=[0])
    made = plan(infill, "x = foo.ba", suffix=")")
    assert tokenizer.decode(made.job.prompt[1:]) == "x = foo."
    assert made.job.prompt[0] == 0
    assert made.job.grammar.startswith('root ::= "ba" ')
    assert typed(made, "bar(1)\n") == "r(1)"


@pytest.mark.parametrize(
    ("prefix", "prompt", "healed"),
    [
        ("return", "", "return"),
        ("    return va", "    return", " va"),
        ("f(", "f(", ""),
        ("\n    ", "\n   ", " "),
        ("naïve", "", "naïve"),
        ("def find_longest_m", "def find_longest", "_m"),
        ("def __init", "def", " __init"),
        ("x = max_", "x = max", "_"),
        ("x" * 200, "x" * 200, ""),
    ],
)
def test_token_healing(prefix: str, prompt: str, healed: str) -> None:
    infill, tokenizer = form("<|im_end|>", eos_token="<|im_end|>")
    made = plan(infill, prefix)
    assert tokenizer.decode(made.job.prompt) == (prompt or "<|im_end|>")
    assert typed(made, healed, "!") == "!"
    if healed:
        assert gbnf_string(healed) in made.job.grammar


def test_without_grammars_only_a_space_is_healed() -> None:
    infill, tokenizer = form(grammar=False)
    made = plan(infill, "return va")
    assert tokenizer.decode(made.job.prompt) == "return va"
    assert made.job.grammar == ""
    made = plan(infill, "return ")
    assert tokenizer.decode(made.job.prompt) == "return"
    assert typed(made, " value") == "value"


def test_an_answer_that_does_not_repeat_the_typed_word_is_not_shown() -> None:
    made = plan(form()[0], "return va")
    assert typed(made, " value") == "lue"
    made = plan(form()[0], "return va")
    assert typed(made, " other") == ""
    assert made.stream.complete


def test_a_completion_ends_where_it_goes_round_in_circles() -> None:
    made = plan(form()[0], "x = ")
    assert typed(made, " ", "[", *["0, "] * 50) == "[" + "0, " * 8
    assert made.stream.complete
    made = plan(form()[0], "if x:\n    ", multiline=True)
    told = typed(made, " ", *["a = f(a)\n    b = g(b)\n    "] * 50)
    assert told.count("a = f(a)") == 2
    assert made.stream.complete


def test_a_line_ends_where_it_is_long_enough() -> None:
    words = [f" {number}" for number in range(100)]
    made = plan(form()[0], "x = [" + "1" * 75)
    told = typed(made, *words)
    assert len("x = [" + "1" * 75 + told) == 121
    assert told.endswith(" 16")
    assert made.stream.complete
    assert made.stream.cut
    # One that is long already may go on for a while, and whoever gives a length has it.
    assert len(typed(plan(form()[0], "x" * 500), *words)) == 41
    made = plan(form()[0], "x" * 500, max_tokens=200)
    assert typed(made, *words) == "".join(words)
    assert not made.stream.cut


def test_what_is_typed_already_is_known_to_be_repeated() -> None:
    made = plan(form()[0], "return va")
    assert made.stream.to_repeat == 3
    made.stream.feed([1], " v")
    assert made.stream.to_repeat == 1
    made.stream.feed([1], "alue")
    assert made.stream.to_repeat == 0


def test_an_empty_document_still_has_a_prompt() -> None:
    infill, tokenizer = form()
    assert tokenizer.decode(plan(infill, "").job.prompt) == "\n"


def test_grammars() -> None:
    assert healing_grammar("", blank_line=False) == ""
    assert healing_grammar(" x", blank_line=False) == (
        'root ::= " x" [^\\r\\n]* ("\\n" [^\\n]*)*\n'
    )
    assert healing_grammar("", blank_line=True) == 'root ::= [^\\r\\n]+ ("\\n" [^\\n]*)*\n'


def test_grammar_strings_are_escaped() -> None:
    assert gbnf_string('a"b\\c\n') == '"a\\"b\\\\c\\u000A"'
    assert gbnf_string("é漢😀") == '"\\u00E9\\u6F22\\U0001F600"'


def test_the_answers_length_keeps_to_the_context() -> None:
    infill, _ = form()
    assert plan(infill, "x(").job.max_tokens == 48
    assert plan(infill, "x(", multiline=True).job.max_tokens == 192
    assert plan(infill, "x(", max_tokens=5).job.max_tokens == 5
    assert plan(infill, "x(", max_tokens=500, context=100).job.max_tokens == 50
    assert plan(infill, "x(word", max_tokens=5).job.max_tokens == 5 + len("word")


def test_a_long_document_is_cut_to_the_budget_at_a_line() -> None:
    infill, tokenizer = form(*QWEN)
    prefix = "".join(f"line_{number} = {number}\n" for number in range(5000))
    made = plan(infill, prefix, suffix="tail\n" * 5000, uncached=400, document="d")
    assert 200 < len(made.job.prompt) <= 1.25 * 400
    text = tokenizer.decode(made.job.prompt)
    assert re.match(r"<\|fim_prefix\|>line_\d+ =", text)
    assert "line_4999 = 4999\n<|fim_suffix|>tail" in text


def test_a_prompt_never_exceeds_the_context() -> None:
    infill, _ = form(*QWEN)
    made = plan(infill, "x = 1\n" * 100_000, suffix="y\n" * 100_000, context=300)
    assert len(made.job.prompt) + made.job.max_tokens <= 300
    with pytest.raises(ContextOverflow):
        plan(infill, "x = 1\n", context=4)


def test_a_huge_prefix_is_never_tokenized_whole() -> None:
    infill, tokenizer = form(*QWEN)
    plan(infill, "x = 1\n" * 1_000_000, uncached=500, document="d")
    assert max(map(len, tokenizer.encoded)) < 20_000


def test_the_sampling_is_greedy_unless_asked() -> None:
    infill, _ = form()
    assert plan(infill, "x(").job.sampling.temperature == 0.0
    job = plan(infill, "x(", temperature=0.4, seed=5, document="d").job
    assert (job.sampling.temperature, job.sampling.seed) == (0.4, 5)
    assert job.affinity == "infill:d"


# --- where a completion ends -----------------------------------------------------------------


def complete(line: str, said: str, *, multiline: bool = True, markers: tuple[str, ...] = ()) -> str:
    """The completion, the same however the model's text is split."""
    whole = CompletionText(line=line, multiline=multiline, markers=markers)
    text = whole.feed(said) + whole.finish()
    split = CompletionText(line=line, multiline=multiline, markers=markers)
    assert "".join(map(split.feed, said)) + split.finish() == text
    return text


def test_a_line_ends_at_its_end() -> None:
    assert complete("x = ", "1\ny = 2", multiline=False) == "1"
    assert complete("x = ", "1\r\ny = 2", multiline=False) == "1"
    assert complete("x = 1", "\ny = 2", multiline=False) == ""


@pytest.mark.parametrize(
    ("line", "said", "wanted"),
    [
        # A body, up to the next statement outside of it.
        ("def f():", "\n    a\n\n    b\n\n\ndef g():\n", "\n    a\n\n    b"),
        ("    for x in y:", "\n        a\n    b\n", "\n        a"),
        # The cursor on a fresh line: the indentation that the model chose is the block's.
        ("", "    a\n    b\nc\n", "    a\n    b"),
        ("    ", "a\n    b\nc\n", "a\n    b"),
        # Brackets and branches belong to the block.
        ("if (x) {", "\n    a;\n}\nb;\n", "\n    a;\n}"),
        ("if (x) {", "\n    a;\n} else {\n    b;\n}\nc;", "\n    a;\n} else {\n    b;\n}"),
        ("if x:", "\n    a\nelse:\n    b\nc\n", "\n    a\nelse:\n    b"),
        ("x = [", "\n    1,\n]\ny = 2\n", "\n    1,\n]"),
        ("if x then", "\n  a\nend\nb\n", "\n  a\nend"),
        # A run of statements at one level ends at a blank line.
        ("a = 1", "\nb = 2\n\nc = 3\n", "\nb = 2"),
        # Less indentation than the cursor's line.
        ("        return x", "\n    y\n", ""),
        ("\tif x:", "\n\t\ta\n\tb\n", "\n\t\ta"),
        # Windows line ends, and nothing but white space.
        ("def f():", "\r\n    a\r\n    b\r\nc\r\n", "\n    a\n    b"),
        ("x", "\n\n   \n", ""),
        ("x", "", ""),
    ],
)
def test_a_block_ends_where_its_indentation_does(line: str, said: str, wanted: str) -> None:
    assert complete(line, said) == wanted


def test_a_block_has_no_more_lines_than_one_can_read() -> None:
    assert complete("def f():", "\n    x" * 100).count("\n") == MAX_LINES - 1


def test_markers_end_a_completion() -> None:
    assert complete("x = ", "1<|im_end|>", markers=("<|im_end|>",)) == "1"
    assert complete("x = ", "1 <| 2", markers=("<|im_end|>",)) == "1 <| 2"
    assert complete("x = ", "1 <|im_e", markers=("<|im_end|>",)) == "1 <|im_e"


def test_control_text_is_cut_unless_the_document_is_about_it() -> None:
    assert typed(plan(form()[0], "x = (", multiline=True), "1<|endoftext|>2") == "1"
    about = plan(form()[0], 'END = "<|endoftext|>"\nx = (', multiline=True)
    assert typed(about, "1<|endoftext|>2") == "1<|endoftext|>2"
