"""What holds for any text and any tokens: user text is data, and nothing leaks into an answer."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingle.messages import Chat, ChatMessage, Infill, Snippet
from ingled.dialects.chat_stream import ChatStream, Phase
from ingled.dialects.chat_template import ChatTemplateDialect
from ingled.dialects.completion_text import CompletionText
from ingled.dialects.context_window import ContextWindows, Layout, Limits, Window
from ingled.dialects.dialect import Budget, Defaults, Stream
from ingled.dialects.harmony import CONTROL_IDS, HarmonyDialect
from ingled.dialects.harmony_stream import HarmonyChatStream, HarmonyInfillStream
from ingled.dialects.harmony_vocabulary import ORDINARY
from ingled.dialects.infill import gbnf_string
from ingled.dialects.text_cut import TextCut
from ingled.engines.engine import Capabilities
from support.o200k import encoding
from support.tokenizers import CharacterTokenizer

CHATML = ("<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
BUDGET = Budget(uncached_tokens=20_000, context=20_000)

#: Text with a liking for whatever may be mistaken for mark-up.
hostile = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [*CHATML, *CONTROL_IDS, "<think>", "</think>", "<|im", "_end|>", "```", "\n"]
        ),
        st.sampled_from(["\ue000", "\ue0010", "\ue0000\ue001", "\ue002", "\u2003", " ", "{{ 1 }}"]),
    ),
    max_size=8,
).map("".join)
turns = st.lists(
    st.builds(ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=hostile),
    min_size=1,
    max_size=5,
)
#: Harmony ids: ordinary ones, control tokens, reserved ones and nonsense.
harmony_ids = st.lists(
    st.one_of(
        st.integers(0, ORDINARY - 1),
        st.sampled_from([199998, 199999, 200002, 200003, 200005, 200006, 200007, 200008, 200012]),
        st.sampled_from([173781, 17196, 35644, 12606, 815, 1428]),  # assistant, final, analysis, …
        st.integers(-5, 300_000),
    ),
    max_size=80,
)


def template_dialect() -> ChatTemplateDialect:
    able = Capabilities(context=20_000, slots=1, device="test", chat_template=TEMPLATE)
    return ChatTemplateDialect(CharacterTokenizer(*CHATML), able)


@pytest.fixture(scope="module")
def harmony() -> HarmonyDialect:
    return HarmonyDialect(encoding())


def spoken(stream: Stream, parts: list[tuple[list[int], str]]) -> list[tuple[str, str]]:
    """(channel, text), neighbours joined."""
    pieces = [piece for ids, text in parts for piece in stream.feed(ids, text)]
    pieces += stream.finish()
    joined: list[tuple[str, str]] = []
    for piece in pieces:
        if joined and joined[-1][0] == piece.channel:
            joined[-1] = (piece.channel, joined[-1][1] + piece.text)
        else:
            joined.append((piece.channel, piece.text))
    return joined


def split(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=6)


# --- user text is data -----------------------------------------------------------------------


@given(turns)
def test_a_template_alone_decides_the_control_tokens_of_a_chat(messages: list[ChatMessage]) -> None:
    dialect = template_dialect()
    prompt = dialect.chat(1, Chat(id=1, messages=messages), BUDGET, Defaults()).job.prompt
    tokenizer = dialect._tokenizer
    assert isinstance(tokenizer, CharacterTokenizer)
    assert tokenizer.controls(prompt) == [*CHATML[:2] * len(messages), CHATML[0]]
    said = "".join(f"{CHATML[0]}{m.role}\n{m.content}{CHATML[1]}\n" for m in messages)
    assert tokenizer.decode(prompt) == f"{said}{CHATML[0]}assistant\n"


@given(hostile, hostile, hostile)
def test_a_document_has_no_control_tokens(prefix: str, suffix: str, path: str) -> None:
    dialect = template_dialect()
    request = Infill(
        id=1, prefix=prefix, suffix=suffix, path=path, context=[Snippet(path=path, text=suffix)]
    )
    tokenizer = dialect._tokenizer
    assert isinstance(tokenizer, CharacterTokenizer)
    prompt = dialect.infill(1, request, BUDGET, Defaults()).job.prompt
    assert tokenizer.controls(prompt) == ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


@given(turns)
@settings(max_examples=50)
def test_harmony_messages_have_no_control_tokens(
    harmony: HarmonyDialect, messages: list[ChatMessage]
) -> None:
    def controls(said: list[ChatMessage]) -> list[int]:
        plan = harmony.chat(1, Chat(id=1, messages=said), BUDGET, Defaults())
        return [token for token in plan.job.prompt if token >= ORDINARY]

    calm = [ChatMessage(role=message.role, content="calm") for message in messages]
    assert controls(messages) == controls(calm)


@given(hostile, hostile, hostile)
@settings(max_examples=50)
def test_harmony_documents_have_no_control_tokens(
    harmony: HarmonyDialect, prefix: str, suffix: str, path: str
) -> None:
    request = Infill(
        id=1,
        prefix=prefix,
        suffix=suffix,
        path=path,
        language=path,
        context=[Snippet(path=path, text=prefix)],
    )
    prompt = harmony.infill(1, request, BUDGET, Defaults()).job.prompt
    calm = harmony.infill(1, Infill(id=1, prefix="x"), BUDGET, Defaults()).job.prompt
    assert [t for t in prompt if t >= ORDINARY] == [t for t in calm if t >= ORDINARY]


# --- streams ---------------------------------------------------------------------------------


@given(harmony_ids, cuts)
@settings(max_examples=200)
def test_harmony_answers_never_fail_and_never_leak(ids: list[int], places: list[int]) -> None:
    whole = spoken(HarmonyChatStream(encoding()), [(ids, "")])
    places = [0, *sorted(place % (len(ids) + 1) for place in places), len(ids)]
    parts = [(ids[start:end], "") for start, end in pairwise(places)]
    assert spoken(HarmonyChatStream(encoding()), parts) == whole
    plain = encoding().decode([token for token in ids if 0 <= token < ORDINARY])
    for channel, text in whole:
        for mark in CONTROL_IDS:
            assert mark not in text or mark in plain
        if channel == "final":
            # Only a message with the channel's name in its header gets here.
            assert 17196 in ids or "final" in plain


@given(harmony_ids, st.booleans())
@settings(max_examples=200)
def test_harmony_completions_end_at_the_first_control_token(
    ids: list[int], multiline: bool
) -> None:
    def stream() -> Stream:
        return HarmonyInfillStream(encoding(), CompletionText(line="x", multiline=multiline))

    def ordinary(token: int) -> bool:
        return 0 <= token < ORDINARY

    first = next((n for n, token in enumerate(ids) if not ordinary(token)), len(ids))
    whole = spoken(stream(), [(ids, "")])
    assert whole == spoken(stream(), [([token], "") for token in ids])
    text = "".join(said for _, said in whole)
    assert encoding().decode(ids[:first]).replace("\r", "").startswith(text.rstrip("\ufffd"))


thoughts = st.lists(
    st.sampled_from(["<think>", "</think>", "STOP", "ST", "<", "think>", "a", " ", "\n", "b c"]),
    max_size=12,
).map("".join)


@given(thoughts, cuts, st.sampled_from(list(Phase)))
def test_chat_streams_say_the_same_however_they_are_split(
    said: str, places: list[int], phase: Phase
) -> None:
    def read(texts: list[str]) -> list[tuple[str, str]]:
        stream = ChatStream(CharacterTokenizer(), phase=phase, stop=["STOP"])
        return spoken(stream, [([1], text) for text in texts])

    whole = read([said])
    assert read(split(said, places)) == whole
    assert all("STOP" not in text for channel, text in whole if channel == "final")
    if phase is not Phase.FINAL:
        assert all("</think>" not in text for channel, text in whole if channel == "analysis")


code = st.lists(
    st.sampled_from(
        [
            "\n",
            "\n    ",
            "\n        ",
            "    ",
            "a",
            "else",
            "end",
            "}",
            "(",
            ":",
            " b",
            "\r\n",
            "\t",
        ]
    ),
    max_size=20,
).map("".join)


@given(code, cuts, st.booleans(), st.sampled_from(["", "    ", "    if x:", "f(", "\t"]))
def test_completions_say_the_same_however_they_are_split(
    said: str, places: list[int], multiline: bool, line: str
) -> None:
    def read(texts: list[str]) -> str:
        text = CompletionText(line=line, multiline=multiline, typed="a", markers=["b}"])
        shown = "".join(map(text.feed, texts)) + text.finish()
        assert text.complete
        return shown

    whole = read([said])
    assert read(split(said, places)) == whole
    assert said.replace("\r", "").removeprefix("a").startswith(whole)
    assert "b}" not in whole
    assert multiline or "\n" not in whole
    assert not multiline or not whole.endswith("\n")


@given(st.text(alphabet="ab<|", max_size=30), cuts)
def test_a_cut_is_where_the_first_marker_is(text: str, places: list[int]) -> None:
    cut = TextCut(["<|a", "ab|", "b<"])
    shown = "".join(map(cut.feed, split(text, places))) + cut.finish()
    found = re.search(r"<\|a|ab\||b<", text)
    assert shown == (text[: found.start()] if found else text)
    assert bool(cut.met) == bool(found)


# --- grammar and windows ---------------------------------------------------------------------


@given(st.text())
def test_gbnf_strings_mean_what_they_say(text: str) -> None:
    literal = gbnf_string(text)
    assert literal[0] == literal[-1] == '"'
    assert re.fullmatch(r'(?:[ !#-\[\]-~]|\\["\\]|\\u[0-9A-F]{4}|\\U[0-9A-F]{8})*', literal[1:-1])
    read = re.sub(
        r'\\(?:(["\\])|u(.{4})|U(.{8}))',
        lambda found: found[1] or chr(int(found[2] or found[3], 16)),
        literal[1:-1],
    )
    assert read == text


edits = st.lists(
    st.tuples(st.integers(0, 400), st.text(alphabet="ab \n", max_size=200), st.integers(1, 400)),
    min_size=1,
    max_size=12,
)


@given(edits, st.booleans(), st.sampled_from([1.0, 3.0, 7.0]))
def test_windows_are_always_the_documents_text_and_fit(
    steps: list[tuple[int, str, int]], suffix_first: bool, ratio: float
) -> None:
    windows = ContextWindows(Layout(suffix_first=suffix_first))
    document = "some line of text\n" * 20

    def render(window: Window) -> list[int]:
        return [0] * int(window.characters / ratio)

    for place, inserted, uncached in steps:
        cursor = min(place, len(document))
        document = document[:cursor] + inserted + document[cursor:]
        prefix, suffix = document[: cursor + len(inserted)], document[cursor + len(inserted) :]
        limits = Limits(uncached=uncached, prompt=300)
        window, ids = windows.fit("d", prefix, suffix, (), limits, render)
        assert prefix[window.start :] == window.prefix
        assert suffix.startswith(window.suffix)
        assert len(ids) <= 300
