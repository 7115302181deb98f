"""gpt-oss: rendering, the stream with everything models get wrong, and the vocabulary."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from ingle.errors import ContextOverflow, InvalidRequest, LoadFailed, ModelInvalid
from ingle.messages import Chat, ChatMessage, Infill, Snippet
from ingled.dialects.dialect import Budget, Defaults, Plan, Stream
from ingled.dialects.harmony import CONTROL_IDS, MAX_LINE, HarmonyDialect, held_back
from ingled.dialects.harmony_stream import MAX_HEADER_TOKENS, HarmonyChatStream
from ingled.dialects.harmony_vocabulary import (
    FILE_NAME,
    ORDINARY,
    ensure_vocabulary,
    load_encoding,
    model_tokens,
)
from ingled.dialects.select import choose
from ingled.engines.engine import Capabilities
from support.gguf_builder import ARRAY, STRING, UINT32, build_gguf, entry, strings, text
from support.o200k import encoding, vocabulary, vocabulary_cache
from support.tokenizers import CharacterTokenizer, HarmonyTokenizer

CONTEXT = 8192


@pytest.fixture(scope="module")
def dialect() -> HarmonyDialect:
    return HarmonyDialect(encoding())


def ids(text: str) -> list[int]:
    """Token ids of text in which control tokens are meant."""
    found: list[int] = encoding().encode(text, allowed_special="all")
    return found


def plain(text: str) -> list[int]:
    found: list[int] = encoding().encode(text, disallowed_special=())
    return found


def ask(dialect: HarmonyDialect, *messages: tuple[str, str], **fields: object) -> Plan:
    said = [{"role": role, "content": content} for role, content in messages]
    request = Chat(id=1, messages=[ChatMessage(**one) for one in said], **fields)  # type: ignore[arg-type]
    return dialect.chat(7, request, Budget(uncached_tokens=CONTEXT, context=CONTEXT), Defaults())


def complete(
    dialect: HarmonyDialect, prefix: str, *, uncached: int = CONTEXT, **fields: object
) -> Plan:
    request = Infill(id=1, prefix=prefix, **fields)  # type: ignore[arg-type]
    budget = Budget(uncached_tokens=uncached, context=CONTEXT)
    return dialect.infill(7, request, budget, Defaults())


def read(stream: Stream, tokens: list[int]) -> dict[str, str]:
    """Text by channel; checks that a complete stream says nothing more."""
    pieces = []
    for token in tokens:
        over = stream.complete
        new = stream.feed([token], "")
        assert not (over and new)
        pieces += new
    pieces += stream.finish()
    channels = dict.fromkeys(piece.channel for piece in pieces)
    return {
        channel: "".join(piece.text for piece in pieces if piece.channel == channel)
        for channel in channels
    }


def answer(said: str, *stop: str) -> dict[str, str]:
    return read(HarmonyChatStream(encoding(), stop), ids(said))


# --- chat: rendering -------------------------------------------------------------------------


def test_a_chat_is_rendered_as_openai_does(dialect: HarmonyDialect) -> None:
    job = ask(dialect, ("system", "Be brief."), ("user", "Hi"), ("assistant", "Yo"), effort="high")
    said = encoding().decode(job.job.prompt)
    assert "Reasoning: high" in said
    assert said.endswith(
        "<|start|>developer<|message|># Instructions\n\nBe brief.<|end|>"
        "<|start|>user<|message|>Hi<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Yo<|end|><|start|>assistant"
    )
    assert job.job.stop_ids == [200002, 200012]


def test_the_effort_comes_from_the_settings_when_not_asked(dialect: HarmonyDialect) -> None:
    assert "Reasoning: medium" in encoding().decode(ask(dialect, ("user", "x")).job.prompt)


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_control_tokens_in_a_message_are_text(dialect: HarmonyDialect, role: str) -> None:
    calm = ask(dialect, (role, "x"), ("user", "y")).job.prompt
    evil = ask(dialect, (role, "".join(CONTROL_IDS)), ("user", "y")).job.prompt
    assert [t for t in evil if t >= ORDINARY] == [t for t in calm if t >= ORDINARY]
    assert "".join(CONTROL_IDS) in encoding().decode(evil)


def test_a_chat_that_does_not_fit_is_refused(dialect: HarmonyDialect) -> None:
    with pytest.raises(ContextOverflow, match="tokens"):
        ask(dialect, ("user", "word " * CONTEXT))
    with pytest.raises(ContextOverflow, match="characters"):
        ask(dialect, ("user", "word " * 1_000_000))
    assert ask(dialect, ("user", "word " * (CONTEXT - 200))).job.max_tokens < 200


def test_broken_unicode_and_empty_stops_are_refused(dialect: HarmonyDialect) -> None:
    with pytest.raises(InvalidRequest, match="Unicode"):
        ask(dialect, ("user", "\ud800"))
    with pytest.raises(InvalidRequest, match="stop text is empty"):
        ask(dialect, ("user", "x"), stop=[""])


# --- chat: the stream ------------------------------------------------------------------------


def test_a_well_formed_answer() -> None:
    said = (
        "<|channel|>analysis<|message|>Easy.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Four. ünïcödé 漢字 😀<|return|>"
    )
    assert answer(said) == {"analysis": "Easy.", "final": "Four. ünïcödé 漢字 😀"}


def test_it_agrees_with_the_official_parser() -> None:
    from openai_harmony import Role

    said = (
        "<|channel|>analysis<|message|>Hm.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>"
        "{}<|end|><|start|>assistant<|channel|>final<|message|>Done.<|return|>"
    )
    messages = encoding().parse_messages_from_completion_tokens(ids(said), Role.ASSISTANT)
    official = {
        {"commentary": "tool"}.get(one.channel, one.channel): one.content[0].text
        for one in messages
    }
    assert answer(said) == official == {"analysis": "Hm.", "tool": "{}", "final": "Done."}


FINAL = "<|channel|>final<|message|>Yes.<|return|>"
HIDDEN = "<|channel|>analysis<|message|>Hm.<|end|>"
START = "<|start|>assistant"
BOTH = {"analysis": "Hm.", "final": "Yes."}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        # Forgotten tokens.
        (HIDDEN + FINAL, BOTH),
        (HIDDEN + "assistant" + FINAL, BOTH),
        (
            "<|channel|>analysis<|message|>Hm.<|start|>assistant" + FINAL,
            {"analysis": "Hm.", "final": "Yes."},
        ),
        ("<|channel|>analysis<|message|>Hm." + FINAL, BOTH),
        ("<|channel|>final Yes.<|return|>", {"final": "Yes."}),
        ("<|channel|>final Yes.", {"final": "Yes."}),
        ("<|channel|>final\nYes " + "and yes " * 60, {"final": "Yes " + "and yes " * 60}),
        (HIDDEN + START + "<|channel|>final Yes.<|end|>", BOTH),
        # Garbage in and between headers.
        ("<|start|>assistant<|start|>assistant" + FINAL, {"final": "Yes."}),
        (" um, garbage" + FINAL, {"final": "Yes."}),
        ("<|channel|>final garbage here<|message|>Yes.<|return|>", {"final": "Yes."}),
        ("<|channel|>final <|constrain|>json<|message|>{}<|return|>", {"final": "{}"}),
        (HIDDEN + "<|end|><|constrain|>" + START + FINAL, BOTH),
        (
            "<|channel|>final<|reserved_201000|><|message|>Y<|reserved_200019|>es.",
            {"final": "Yes."},
        ),
        ("<|channel|>final<|message|>Y<|message|>e<|constrain|>s.", {"final": "Yes."}),
        # Channels that don't say clearly that this is the answer.
        ("<|channel|>secret<|message|>plan<|end|>", {"analysis": "plan"}),
        ("<|channel|><|message|>plan<|end|>", {"analysis": "plan"}),
        ("<|message|>plan<|end|>", {"analysis": "plan"}),
        ("<|channel|>final<|channel|>analysis<|message|>plan<|end|>", {"analysis": "plan"}),
        ("<|channel|>analysis<|channel|>final<|message|>plan<|end|>", {"analysis": "plan"}),
        ("<|channel|>commentary<|message|>plan<|end|>", {"tool": "plan"}),
        ("no header at all", {"analysis": "no header at all"}),
        # Turns of others, and ends.
        (HIDDEN + "<|start|>user<|message|>Next?<|end|>", {"analysis": "Hm."}),
        (HIDDEN + "<|start|>functions.f<|channel|>final<|message|>1", {"analysis": "Hm."}),
        ("<|channel|>final<|message|>Yes.<|end|><|start|>user<|message|>x", {"final": "Yes."}),
        ("<|channel|>final<|message|>Yes.<|end|>" + START + HIDDEN, {"final": "Yes."}),
        ("<|channel|>final<|message|>Yes.<|call|>x", {"final": "Yes."}),
        ("<|channel|>final<|message|>Yes.<|endoftext|>x", {"final": "Yes."}),
        ("<|channel|>final<|message|>Yes.<|start|>", {"final": "Yes."}),
        ("<|channel|>final<|message|>Yes.<|channel|>analysis<|message|>x", {"final": "Yes."}),
        ("<|return|>x", {}),
        ("<|channel|>", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_malformed_answers_are_repaired_or_end(said: str, wanted: dict[str, str]) -> None:
    assert answer(said) == wanted


def test_an_endless_header_is_hidden_text() -> None:
    said = "word " * (2 * MAX_HEADER_TOKENS)
    assert answer(said + FINAL) == {"analysis": said, "final": "Yes."}


def test_ids_outside_the_vocabulary_are_dropped() -> None:
    stream = HarmonyChatStream(encoding())
    tokens = [*ids("<|channel|>final<|message|>Yes"), -1, 201088, 2**40, *ids(".")]
    assert read(stream, tokens) == {"final": "Yes."}


def test_characters_in_several_tokens_come_whole() -> None:
    stream = HarmonyChatStream(encoding())
    stream.feed(ids("<|channel|>final<|message|>"), "")
    tokens = plain("🏴󠁧󠁢󠁥󠁮󠁧󠁿")
    assert len(tokens) > 3
    texts = [piece.text for token in tokens for piece in stream.feed([token], "")]
    assert "".join(texts) == "🏴󠁧󠁢󠁥󠁮󠁧󠁿"


def test_stop_texts_count_in_the_answer_only() -> None:
    said = (
        "<|channel|>analysis<|message|>say STOP<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Go. STOP. More.<|return|>"
    )
    assert answer(said, "STOP") == {"analysis": "say STOP", "final": "Go. "}


def test_an_answer_may_be_about_harmony() -> None:
    stream = HarmonyChatStream(encoding())
    tokens = ids("<|channel|>final<|message|>") + plain("It begins with <|start|>.")
    assert read(stream, tokens) == {"final": "It begins with <|start|>."}


def test_every_token_of_an_answer_is_counted_once() -> None:
    stream = HarmonyChatStream(encoding())
    tokens = ids(HIDDEN + "<|start|>assistant" + FINAL)
    pieces = [piece for token in tokens for piece in stream.feed([token], "")]
    assert sum(piece.tokens for piece in pieces) == len(tokens) - 1  # all but <|return|>


# --- completion ------------------------------------------------------------------------------

CODE = '''import math


def area(radius):
    """Area of a circle."""
    return math.pi * radius ** 2


def volume(radius, height):
    return area(ra'''


def test_a_completion_opens_final_and_holds_back_the_last_lines(dialect: HarmonyDialect) -> None:
    plan = complete(
        dialect, CODE, suffix=")\n\n\nprint(volume(1, 2))\n", path="v.py", language="python"
    )
    said = encoding().decode(plan.job.prompt)
    question, _, opening = said.partition("<|start|>assistant")
    assert opening == (
        "<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>final<|message|>"
        "```python\n    return math.pi * radius ** 2\n\n\n"
        "def volume(radius, height):\n    return area(ra"
    )
    assert "Reasoning: low" in question
    assert question.index("print(volume") < question.index("import math")
    assert question.endswith('"""Area of a circle."""\n```<|end|>')
    assert plan.job.stop_ids == [200002, 200007, 200012]
    assert plan.job.stop_texts == []


def common(one: list[int], other: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def test_typing_on_a_line_keeps_the_prompt(dialect: HarmonyDialect) -> None:
    before = complete(dialect, CODE, suffix=")\nend()\n", document="typing").job.prompt
    for typed in ("d", "di", "dius, he", "dius) * height if height else None"):
        after = complete(dialect, CODE + typed, suffix=")\nend()\n", document="typing").job.prompt
        assert common(before, after) >= len(before) - 2


def test_a_new_line_costs_the_last_lines_only(dialect: HarmonyDialect) -> None:
    text = "".join(f"value_{n} = compute({n})\n" for n in range(400))
    before = complete(dialect, text, suffix="end()\n", document="lines").job.prompt
    after = complete(dialect, text + "x = 1\n", suffix="end()\n", document="lines").job.prompt
    assert len(after) - common(before, after) < 80


def test_control_tokens_in_a_document_are_text(dialect: HarmonyDialect) -> None:
    evil = "".join(CONTROL_IDS)
    fields = {"suffix": evil, "path": evil, "language": evil}
    context = [Snippet(path=evil, text=evil)]
    plan = complete(dialect, evil + "\n" + evil, context=context, **fields)
    calm = complete(dialect, "x\nx", suffix="x", context=[Snippet(path="x", text="y")])
    assert [t for t in plan.job.prompt if t >= ORDINARY] == [
        t for t in calm.job.prompt if t >= ORDINARY
    ]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("dius) * height\n```<|return|>", "dius) * height"),
        ("dius) * height\n\n\nprint(1)", "dius) * height"),
        ("dius)<|end|><|start|>assistant<|channel|>analysis<|message|>Hm", "dius)"),
        ("dius)<|channel|>analysis<|message|>Hm", "dius)"),
        ("dius)<|call|>", "dius)"),
        ("<|message|>x", ""),
        ("<|reserved_200014|>x", ""),
        ("<|end|>", ""),
    ],
)
def test_nothing_but_code_reaches_a_completion(
    dialect: HarmonyDialect, said: str, wanted: str
) -> None:
    for multiline in (False, True):
        stream = complete(dialect, CODE, multiline=multiline).stream
        assert read(stream, ids(said)).get("final", "") == wanted
        assert stream.complete


def test_mark_up_spelled_out_is_cut_unless_the_file_has_it(dialect: HarmonyDialect) -> None:
    said = plain("x<|end|>y\n")
    assert read(complete(dialect, CODE).stream, said) == {"final": "x"}
    about = complete(dialect, "END = '<|end|>'\n" + CODE).stream
    assert read(about, said) == {"final": "x<|end|>y"}


def test_fences_are_longer_than_those_in_the_file(dialect: HarmonyDialect) -> None:
    plan = complete(dialect, "# Title\n\n````python\nx = 1\n", language="markdown", multiline=True)
    assert (
        encoding().decode(plan.job.prompt).endswith("`````markdown\n# Title\n\n````python\nx = 1\n")
    )
    said = plain("````\nMore.\n`````\nBye")
    assert read(plan.stream, said) == {"final": "````\nMore."}


def test_a_last_space_is_said_again_by_the_model(dialect: HarmonyDialect) -> None:
    plan = complete(dialect, CODE + "dius) * ")
    assert encoding().decode(plan.job.prompt).endswith("dius) *")
    assert read(plan.stream, plain(" height\n")) == {"final": "height"}


def test_an_empty_document_is_fine(dialect: HarmonyDialect) -> None:
    plan = complete(dialect, "")
    assert encoding().decode(plan.job.prompt).endswith("<|channel|>final<|message|>```\n")
    assert read(plan.stream, plain("```\n")) == {}


def test_a_large_document_keeps_to_the_budget(dialect: HarmonyDialect) -> None:
    text = "".join(f"value_{n} = compute({n})\n" for n in range(100_000))
    plan = complete(dialect, text, suffix=text, uncached=1000)
    assert 600 < len(plan.job.prompt) < 1600


def test_completions_of_broken_unicode_are_refused(dialect: HarmonyDialect) -> None:
    with pytest.raises(InvalidRequest, match="Unicode"):
        complete(dialect, "\ud800\n" + CODE)


def test_what_is_held_back() -> None:
    assert held_back("") == 0
    assert held_back("short") == 5
    long = "x" * 60 + "\n"
    assert held_back(long * 5 + "ab") == len(long) + 2
    assert held_back("a\n" * 100) == 50
    assert held_back(long + "y" * (MAX_LINE * 3)) <= MAX_LINE + 50
    fixed = {len(long) + n - held_back(long + "y" * n) for n in range(MAX_LINE * 3)}
    assert len(fixed) <= 5


# --- the vocabulary --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens() -> list[str]:
    """The vocabulary as model files have it, control tokens included."""
    import base64

    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shown = {byte: chr(byte) for byte in printable}
    shown |= {
        byte: chr(256 + n)
        for n, byte in enumerate(byte for byte in range(256) if byte not in printable)
    }
    ordinary = [
        "".join(shown[byte] for byte in base64.b64decode(line.split()[0]))
        for line in vocabulary().splitlines()
    ]
    return ordinary + [f"<|control_{number}|>" for number in range(ORDINARY, 201_088)]


@pytest.fixture(scope="module")
def gguf_model(tokens: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of nothing but a tokenizer, written by the `gguf` package."""
    import gguf

    path = tmp_path_factory.mktemp("model") / "model.gguf"
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_name("tiny")
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_array("some.texts", ["a", "b"])
    writer.add_bool("some.flag", True)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a b", "c d"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads of the library would go nowhere, and Python's fail at once."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("http_proxy", "https_proxy", "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


def test_control_tokens_have_the_official_ids() -> None:
    for text_, token in CONTROL_IDS.items():
        assert ids(text_) == [token]


@pytest.mark.usefixtures("offline")
def test_the_vocabulary_comes_from_a_gguf(gguf_model: Path, tmp_path: Path) -> None:
    loaded = load_encoding(gguf_model, tmp_path)
    assert loaded.encode("<|start|>", allowed_special="all") == [200006]
    assert (tmp_path / "vocabulary" / FILE_NAME).read_bytes() == vocabulary()
    assert [path.name for path in (tmp_path / "vocabulary").iterdir()] == [FILE_NAME]
    assert "TIKTOKEN_ENCODINGS_BASE" not in os.environ
    # The second start needs no model file.
    assert load_encoding(None, tmp_path).encode("hello") == loaded.encode("hello")


def test_the_vocabulary_comes_from_a_tokenizer_json(tokens: list[str], tmp_path: Path) -> None:
    vocab = {text_: token for token, text_ in enumerate(tokens[:ORDINARY])}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    target = ensure_vocabulary(tmp_path, tmp_path / "cache")
    assert target.read_bytes() == vocabulary()


def test_a_damaged_cache_is_written_anew(gguf_model: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(vocabulary()[:-1])
    assert ensure_vocabulary(gguf_model, tmp_path).read_bytes() == vocabulary()


@pytest.mark.usefixtures("offline")
def test_another_vocabulary_is_refused(tokens: list[str], tmp_path: Path) -> None:
    changed = [*tokens[:1000], "漢", *tokens[1001:]]
    model = tmp_path / "model.gguf"
    model.write_bytes(
        build_gguf(metadata=[entry("tokenizer.ggml.tokens", ARRAY, strings(changed))])
    )
    with pytest.raises(ModelInvalid, match="not the o200k vocabulary"):
        load_encoding(model, tmp_path / "cache")
    assert not (tmp_path / "cache" / "vocabulary" / FILE_NAME).exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GG",
        b"GGUF" + bytes(100),
        build_gguf(),
        build_gguf(metadata=[entry("tokenizer.ggml.tokens", STRING, text("x"))]),
        build_gguf(metadata=[entry("tokenizer.ggml.tokens", ARRAY, strings(["a", "b"]))]),
        build_gguf(metadata=[entry("odd", 99, b"")]),
        build_gguf(metadata=[entry("long", STRING, b"\xff" * 8)]),
        build_gguf(metadata=[entry("n", UINT32, b"1234")])[:60],
    ],
)
def test_broken_model_files_are_refused(data: bytes, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(data)
    with pytest.raises(ModelInvalid):
        model_tokens(model)


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"model": {"vocab": {"a": 0}}}', "\ud83d"])
def test_broken_tokenizer_files_are_refused(data: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(data, errors="surrogatepass")
    with pytest.raises(ModelInvalid, match="vocabulary"):
        model_tokens(tmp_path)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="can't be read"):
        model_tokens(tmp_path / "nothing.gguf")
    with pytest.raises(ModelInvalid, match="no file"):
        ensure_vocabulary(None, tmp_path)


def test_a_cache_that_can_not_be_written_says_so(gguf_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadFailed, match="can't be written"):
        ensure_vocabulary(gguf_model, tmp_path / "file" / "below")


# --- the choice ------------------------------------------------------------------------------

ABLE = Capabilities(context=CONTEXT, slots=1, device="test", chat_template="{{ messages }}")


def test_a_model_with_harmonys_tokens_speaks_harmony() -> None:
    chosen = choose(HarmonyTokenizer(encoding()), ABLE, None, vocabulary_cache())
    assert chosen.name == "harmony"


def test_other_models_speak_their_template(tmp_path: Path) -> None:
    # `<|start|>` alone does not make a gpt-oss.
    chosen = choose(CharacterTokenizer("<|start|>", "<|return|>"), ABLE, None, tmp_path)
    assert chosen.name == "chat_template"


def test_a_tokenizer_that_disagrees_is_refused() -> None:
    class Odd(HarmonyTokenizer):
        def encode(self, text: str) -> list[int]:
            return super().encode(text)[::-1]

    with pytest.raises(ModelInvalid, match="tokenizes text in another way"):
        choose(Odd(encoding()), ABLE, None, vocabulary_cache())
