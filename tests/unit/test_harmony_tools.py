"""Tools in Harmony: definitions and results in prompts, calls and every broken form in answers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle.errors import InvalidRequest, Unsupported
from ingle.messages import Chat, ChatMessage, Tool
from ingled.dialects.dialect import Budget, Defaults
from ingled.dialects.harmony import CONTROL_IDS, HarmonyDialect
from ingled.dialects.harmony_stream import HarmonyChatStream
from ingled.dialects.harmony_vocabulary import ORDINARY
from support.o200k import encoding

TOOLS = ("read_file", "search")
CORPUS = tomllib.loads(
    (Path(__file__).parent.parent / "support" / "harmony_corpus.toml").read_text(encoding="utf-8")
)["case"]
MARKS = [
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|constrain|>",
    "<|call|>",
    "<|return|>",
]


def ids(text: str) -> list[int]:
    found: list[int] = encoding().encode(text, allowed_special="all")
    return found


def read(says: list[int], *, at_once: bool) -> tuple[dict[str, str], str, bool]:
    """What comes out: text by channel, the called tool, whether it is a whole call."""
    stream = HarmonyChatStream(encoding(), tools=TOOLS)
    pieces = []
    for part in [says] if at_once else [[token] for token in says]:
        pieces += stream.feed(part, "")
    pieces += stream.finish()
    texts: dict[str, str] = {}
    for piece in pieces:
        texts[piece.channel] = texts.get(piece.channel, "") + piece.text
    return texts, "".join({piece.tool for piece in pieces}), stream.called


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "token by token"])
@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_the_corpus_of_broken_answers(case: dict[str, str], at_once: bool) -> None:
    texts, tool, called = read(ids(case["says"]), at_once=at_once)
    wanted = {name: case[name] for name in ("analysis", "tool", "final") if name in case}
    assert texts == wanted
    assert called == ("called" in case)
    if called:
        assert tool == case["called"]


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len(CORPUS) == len({case["name"] for case in CORPUS}) >= 40


fragments = st.lists(
    st.sampled_from(
        [
            *MARKS,
            "assistant",
            "analysis",
            "final",
            "commentary",
            " to=functions.search",
            " to=python",
            "json",
            '{"q": 1}',
            "user",
            "SECRET",
            " ",
        ]
    ),
    max_size=24,
)


@given(fragments, st.booleans())
def test_no_mixture_of_tokens_leaks(parts: list[str], at_once: bool) -> None:
    said = "".join(parts)
    texts, tool, called = read(ids(said), at_once=at_once)
    assert not any(mark in text for text in texts.values() for mark in MARKS)
    assert tool in ("", "search")
    if called:
        assert tool == "search"
    if "final" in texts:
        assert "<|channel|>" in said
        assert "final" in said


@given(fragments)
def test_how_it_is_cut_makes_no_difference(parts: list[str]) -> None:
    said = ids("".join(parts))
    assert read(said, at_once=True) == read(said, at_once=False)


# --- prompts ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dialect() -> HarmonyDialect:
    return HarmonyDialect(encoding())


def tool(name: str = "search", **fields: Any) -> Tool:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return Tool(**({"name": name, "description": "Finds.", "parameters": schema} | fields))


def render(dialect: HarmonyDialect, *turns: ChatMessage, tools: list[Tool]) -> list[int]:
    request = Chat(id=1, messages=list(turns), tools=tools)
    budget = Budget(uncached_tokens=8192, context=8192)
    return dialect.chat(1, request, budget, Defaults()).job.prompt


USER = ChatMessage(role="user", content="Where?")


def test_definitions_are_typescript_in_a_developer_message(dialect: HarmonyDialect) -> None:
    text = encoding().decode(render(dialect, USER, tools=[tool()]))
    assert "Calls to these tools must go to the commentary channel: 'functions'." in text
    assert "// Finds.\ntype search = (_: {\nquery: string,\n}) => any;" in text
    assert text.index("<|start|>developer") < text.index("<|start|>user")


def test_system_text_and_tools_share_one_message(dialect: HarmonyDialect) -> None:
    system = ChatMessage(role="system", content="Be brief.")
    text = encoding().decode(render(dialect, system, USER, tools=[tool()]))
    assert text.count("<|start|>developer") == 1
    assert text.index("Be brief.") < text.index("# Tools")


def test_a_call_and_its_result_go_back_as_they_came(dialect: HarmonyDialect) -> None:
    call = ChatMessage(role="assistant", content='{"query": "x"}', tool="search", analysis="Look.")
    result = ChatMessage(role="tool", content="found", tool="search")
    text = encoding().decode(render(dialect, USER, call, result, tools=[tool()]))
    assert text.endswith(
        "<|start|>assistant<|channel|>analysis<|message|>Look.<|end|>"
        "<|start|>assistant to=functions.search<|channel|>commentary <|constrain|>json<|message|>"
        '{"query": "x"}<|call|>'
        "<|start|>functions.search to=assistant<|channel|>commentary<|message|>found<|end|>"
        "<|start|>assistant"
    )


def test_thoughts_of_finished_answers_are_left_out(dialect: HarmonyDialect) -> None:
    said = ChatMessage(role="assistant", content="There.", analysis="A thought.")
    text = encoding().decode(render(dialect, USER, said, USER, tools=[]))
    assert "A thought." not in text
    assert "There." in text


def test_control_tokens_in_tools_and_results_are_text(dialect: HarmonyDialect) -> None:
    def controls(evil: str) -> list[int]:
        schema = {"type": "object", "properties": {"q": {"type": "string", "description": evil}}}
        prompt = render(
            dialect,
            ChatMessage(role="assistant", content=evil, tool="search", analysis=evil),
            ChatMessage(role="tool", content=evil, tool="search"),
            tools=[tool(description=evil, parameters=schema)],
        )
        return [token for token in prompt if token >= ORDINARY]

    assert controls("".join(CONTROL_IDS)) == controls("calm")


@pytest.mark.parametrize(
    ("turns", "tools", "said"),
    [
        ([USER], [tool(), tool()], "same name"),
        ([USER], [tool(parameters={"type": "string"})], "JSON schema of an object"),
        ([ChatMessage(role="tool", content="x")], [tool()], "names no tool"),
        ([ChatMessage(role="user", content="x", tool="search")], [tool()], "leave it out"),
        ([ChatMessage(role="user", content="x", analysis="y")], [], "leave it out"),
    ],
)
def test_what_makes_no_sense_is_refused(
    dialect: HarmonyDialect, turns: list[ChatMessage], tools: list[Tool], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        render(dialect, *turns, tools=tools)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": 5},
        {"type": "object", "properties": {"a": 7}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": "a"},
        {"type": "object", "properties": {"a": {"enum": [1, None, "x"]}}},
        {"type": "object", "properties": {"a": {"type": "array"}}, "oneOf": [1]},
    ],
)
def test_odd_schemas_render_or_are_refused(
    dialect: HarmonyDialect, parameters: dict[str, Any]
) -> None:
    try:
        prompt = render(dialect, USER, tools=[tool(parameters=parameters)])
    except InvalidRequest:
        return
    assert encoding().decode(prompt).endswith("<|start|>assistant")


def test_a_model_without_harmony_refuses_tools() -> None:
    from ingled.dialects.chat_template import ChatTemplateDialect
    from ingled.engines.engine import Capabilities
    from ingled.engines.scripted import WordTokenizer

    dialect = ChatTemplateDialect(
        WordTokenizer(), Capabilities(context=512, slots=1, device="script")
    )
    budget = Budget(uncached_tokens=512, context=512)
    for request in (
        Chat(id=1, messages=[USER], tools=[tool()]),
        Chat(id=1, messages=[ChatMessage(role="tool", content="x", tool="search")]),
        Chat(id=1, messages=[ChatMessage(role="tool", content="x")]),
    ):
        with pytest.raises(Unsupported, match="tools"):
            dialect.chat(1, request, budget, Defaults())
