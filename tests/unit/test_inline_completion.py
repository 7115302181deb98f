"""One completion request: what is sent, what is shown, and what is not even asked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ingle.errors import (
    Busy,
    ConnectionLost,
    DaemonNotRunning,
    DeadlineExceeded,
    HelloRequired,
    InternalError,
    Malformed,
    ModelNotFound,
)
from ingle.messages import Delta, FinishReason, Usage
from ingle.results import Completion
from ingle_lsp.documents import Edit
from ingle_lsp.privacy import GitAnswer
from ingle_lsp.settings import Settings
from support.inline_editor import URI, InlineEditor
from support.waiting import eventually


@pytest.fixture
def editor() -> InlineEditor:
    return InlineEditor()


async def test_a_completion(editor: InlineEditor) -> None:
    assert await editor.ask("def add(a, b):\n    return |\n") == "a + b"
    assert editor.engine.calls == [
        {
            "prefix": "def add(a, b):\n    return ",
            "suffix": "\n",
            "path": "src/main.py",
            "language": "python",
            "document": URI,
            "multiline": True,
            "deadline_ms": 2000,
        }
    ]


async def test_settings_go_along(editor: InlineEditor) -> None:
    editor.settings = Settings(debounce_ms=0, max_tokens=7, deadline_ms=300, multiline="never")
    await editor.ask("x = |")
    call = editor.engine.calls[0]
    assert (call["max_tokens"], call["deadline_ms"], call["multiline"]) == (7, 300, False)


async def test_windows_line_ends_do_not_reach_the_model(editor: InlineEditor) -> None:
    await editor.ask("a = 1\r\nb = |\r\nc = 3\r\n")
    assert editor.engine.calls[0]["prefix"] == "a = 1\nb = "
    assert editor.engine.calls[0]["suffix"] == "\nc = 3\n"


async def test_a_long_document_is_sent_in_part_only(editor: InlineEditor) -> None:
    line = "value = compute(value)\n"
    await editor.ask(line * 20_000 + "x = |\n" + line * 20_000)
    call = editor.engine.calls[0]
    assert len(call["prefix"]) <= 32_000
    assert call["prefix"].startswith("value = ")
    assert len(call["suffix"]) == 4_000


# --- not even asked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "units"), [(0, 5), (1, 1), (2, 0), (0, 2**31 - 1), (2**31 - 1, 0)]
)
async def test_a_position_that_is_none(editor: InlineEditor, line: int, units: int) -> None:
    editor.open("x = \n|")
    assert await editor.completion.suggest(URI, line, units, invoked=True) is None
    assert editor.engine.calls == []


async def test_the_middle_of_a_character_is_no_position(editor: InlineEditor) -> None:
    editor.open("x = 😀|")
    assert await editor.completion.suggest(URI, 0, 5, invoked=True) is None
    assert await editor.completion.suggest(URI, 0, 6, invoked=True) is not None


async def test_an_unknown_document(editor: InlineEditor) -> None:
    assert await editor.completion.suggest("file:///other.py", 0, 0, invoked=True) is None


@pytest.mark.parametrize(
    "settings",
    [Settings(enabled=False), Settings(disabled_languages=frozenset({"python"}))],
)
async def test_switched_off(editor: InlineEditor, settings: Settings) -> None:
    editor.settings = settings
    assert await editor.ask("x = |") is None
    assert editor.engine.calls == []


async def test_paused(editor: InlineEditor) -> None:
    editor.paused = True
    assert await editor.ask("x = |") is None
    assert editor.engine.calls == []
    editor.paused = False
    assert await editor.ask("x = |") is not None


@pytest.mark.parametrize(
    "text",
    ["|", "\n\n  |\n", "a\0b|", "x" * 5_000_001 + "|", "x = '\ud83d' + |"],
    ids=["empty", "blank", "binary", "huge", "half a character"],
)
async def test_documents_without_completions(editor: InlineEditor, text: str) -> None:
    assert await editor.ask(text) is None
    assert editor.engine.calls == []
    assert editor.told == []


async def test_inside_of_a_word_only_when_asked(editor: InlineEditor) -> None:
    assert await editor.ask("val|ue = 1", invoked=False) is None
    assert editor.engine.calls == []
    assert await editor.ask("val|ue = 1", invoked=True) is not None


# --- privacy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["file:///project/.env", "file:///p/id_rsa", "git:/p/a.pem?ref"])
async def test_a_secret_file_is_never_sent(editor: InlineEditor, uri: str) -> None:
    assert await editor.ask("x = |", uri=uri) is None
    assert editor.engine.calls == []


@pytest.mark.parametrize("answer", [GitAnswer.IGNORED, GitAnswer.UNKNOWN])
async def test_an_ignored_file_is_never_sent(editor: InlineEditor, answer: GitAnswer) -> None:
    editor.git = answer
    assert await editor.ask("x = |") is None
    assert editor.engine.calls == []


async def test_a_secret_text_is_never_sent(editor: InlineEditor) -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"
    assert await editor.ask(key + "x = |") is None
    assert await editor.ask("x = |\n" + key) is None
    assert editor.engine.calls == []


# --- time ------------------------------------------------------------------------------------


async def test_the_pause_is_for_typing_only(editor: InlineEditor) -> None:
    editor.settings = Settings(debounce_ms=75)
    await editor.ask("x = |", invoked=True)
    assert editor.pauses == []
    await editor.ask("x = |", invoked=False)
    assert editor.pauses == [0.075]


async def test_no_pause_is_no_pause(editor: InlineEditor) -> None:
    await editor.ask("x = |", invoked=False)
    assert editor.pauses == []


async def test_typing_on_during_the_pause_asks_nothing(editor: InlineEditor) -> None:
    editor.settings = Settings(debounce_ms=75)
    editor.meanwhile = lambda: _type(editor)
    assert await editor.ask("x = |", invoked=False) is None
    assert editor.engine.calls == []


def _type(editor: InlineEditor) -> None:
    editor.documents.change(URI, [Edit(0, 0, 0, 0, "y")])


async def test_an_answer_for_an_older_text_is_dropped(editor: InlineEditor) -> None:
    editor.engine.gate = asyncio.Event()
    asked = editor.begin("x = |")
    await editor.until_asked()
    _type(editor)
    editor.engine.gate.set()
    assert await asked is None


@pytest.mark.parametrize("reopened", [True, False])
async def test_an_answer_for_a_closed_document_is_dropped(
    editor: InlineEditor, reopened: bool
) -> None:
    editor.engine.gate = asyncio.Event()
    asked = editor.begin("x = |")
    await editor.until_asked()
    editor.documents.close(URI)
    if reopened:
        editor.open("x = |")
    editor.engine.gate.set()
    assert await asked is None


async def test_a_newer_request_of_the_document_supersedes(editor: InlineEditor) -> None:
    editor.engine.gate = asyncio.Event()
    line, units = editor.open("x = |")
    older = asyncio.create_task(editor.completion.suggest(URI, line, units, invoked=True))
    await editor.until_asked()
    newer = asyncio.create_task(editor.completion.suggest(URI, line, units, invoked=True))
    await editor.until_asked(2)
    assert {call["document"] for call in editor.engine.calls} == {URI}
    editor.engine.gate.set()
    assert await older is None
    assert await newer is not None


async def test_documents_do_not_supersede_each_other(editor: InlineEditor) -> None:
    editor.engine.gate = asyncio.Event()
    editor.open("x = |", uri="file:///a.py")
    editor.open("x = |", uri="file:///b.py")
    asked = [
        asyncio.create_task(editor.completion.suggest(uri, 0, 4, invoked=True))
        for uri in ("file:///a.py", "file:///b.py")
    ]
    await editor.until_asked(2)
    editor.engine.gate.set()
    assert None not in await asyncio.gather(*asked)


async def test_a_cancelled_request_is_cancelled_in_the_daemon(editor: InlineEditor) -> None:
    editor.engine.gate = asyncio.Event()
    asked = editor.begin("x = |")
    await editor.until_asked()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await eventually(lambda: editor.engine.cancelled == 1, "the end of the request")


async def test_a_request_that_was_typed_on_is_left_to_be_ridden_for_a_moment(
    editor: InlineEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingle_lsp.inline_completion.GRACE", 0.05)
    editor.engine.gate = asyncio.Event()
    asked = editor.begin("x = |\n")
    await editor.until_asked()
    editor.documents.change(URI, [Edit(0, 4, 0, 4, "a")])
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert editor.engine.cancelled == 0
    # Nobody came: it ends.
    await eventually(lambda: editor.engine.cancelled == 1, "the end of the request")


async def guessed(editor: InlineEditor) -> None:
    await eventually(lambda: not editor.completion._background, "the end of the guess")


async def test_the_next_line_is_computed_once_a_line_is_whole(editor: InlineEditor) -> None:
    editor.engine.reply = Completion(text="", finish="stop")
    assert await editor.ask("    x = 1|\ny", invoked=False) is None
    await editor.until_asked(2)
    guess = editor.engine.calls[1]
    assert (guess["prefix"], guess["suffix"]) == ("    x = 1\n    ", "\ny")
    assert (guess["speculative"], guess["multiline"]) == (True, False)
    # It shares the prompt of all others, which is cut to what their time allows.
    assert guess["deadline_ms"] == editor.settings.deadline_ms


async def test_the_line_break_finds_the_next_line_computed(editor: InlineEditor) -> None:
    assert await editor.ask("if x:\n    y = |\nz", invoked=False) == "a + b"
    assert not editor.completion._background
    # All of it is typed, or accepted: nothing more is to be said of the line.
    end = editor.type((1, 8), "a + b")
    assert await editor.texts(end) == []
    await editor.until_asked(2)
    assert editor.engine.calls[1]["prefix"] == "if x:\n    y = a + b\n    "
    await guessed(editor)
    assert await editor.texts(editor.type(end, "\n    ")) == ["a + b"]
    assert len(editor.engine.calls) == 2


async def test_a_line_that_opens_a_block_is_followed_by_a_deeper_one(editor: InlineEditor) -> None:
    editor.engine.reply = Completion(text="", finish="stop")
    await editor.ask("if a:\n  b\nfor x in y:|", invoked=False)
    await editor.until_asked(2)
    assert editor.engine.calls[1]["prefix"].endswith("for x in y:\n  ")
    assert editor.engine.calls[1]["multiline"] is True


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        # The line goes on, as far as the model can see.
        ("x = 1|", Completion(text=" + 2", finish="stop")),
        ("x = 1|", Completion(text="  ", finish="length")),
        # It is not sure enough to show that it does.
        ("x = 1|", Completion(text=" + 2", finish="stop", confidence=0.1)),
        ("f(|)", Completion(text="", finish="stop")),
        ("    |", Completion(text="", finish="stop")),
    ],
)
async def test_no_next_line_is_computed_before_a_line_is_whole(
    editor: InlineEditor, text: str, reply: Completion
) -> None:
    editor.engine.reply = reply
    await editor.ask(text, invoked=False)
    assert not editor.completion._background


async def test_what_follows_an_accepted_suggestion_is_computed_where_wanted(
    editor: InlineEditor,
) -> None:
    editor.settings = replace(editor.settings, prefetch="always")
    assert await editor.ask("x = |\ny", invoked=False) == "a + b"
    await editor.until_asked(2)
    assert editor.engine.calls[1]["prefix"] == "x = a + b\n"
    await guessed(editor)
    # It was cut short: there is more to come in the line.
    editor.engine.reply = Completion(text="a + ", finish="length")
    assert await editor.ask("z = |\ny", invoked=False) == "a +"
    await editor.until_asked(4)
    assert editor.engine.calls[3]["prefix"] == "z = a +"
    await guessed(editor)


async def test_nothing_is_computed_ahead_for_who_does_not_want_it(editor: InlineEditor) -> None:
    editor.settings = replace(editor.settings, prefetch="never")
    editor.engine.reply = Completion(text="", finish="stop")
    assert await editor.ask("x = 1|", invoked=False) is None
    assert not editor.completion._background
    # In a comment, for one who wants none there.
    editor.settings = Settings(debounce_ms=0, in_comments=False)
    assert await editor.ask('"""\nx\n"""\n# x|', invoked=False) is None
    assert not editor.completion._background


def likely(text: str, odds: float) -> Completion:
    """A completion of two tokens that is right with these odds."""
    return Completion(
        text=text, finish="stop", confidence=odds**0.5, usage=Usage(completion_tokens=2)
    )


async def test_what_is_likely_to_be_typed_is_followed_by_the_next_line(
    editor: InlineEditor,
) -> None:
    editor.settings = replace(editor.settings, min_confidence=0.0)
    editor.engine.reply = likely("return value", 0.2)
    assert await editor.ask("    |\ny", invoked=False) == "return value"
    assert not editor.completion._background
    # What is left of it is likelier the shorter it is: 0.2 ** (5 / 12) is 0.51.
    assert await editor.texts(editor.type((0, 4), "return")) == [" value"]
    assert not editor.completion._background
    assert await editor.texts(editor.type((0, 10), " ")) == ["value"]
    await editor.until_asked(2)
    assert editor.engine.calls[1]["prefix"] == "    return value\n    "
    await guessed(editor)
    assert await editor.texts(editor.type((0, 11), "v")) == ["alue"]
    assert len(editor.engine.calls) == 2


async def test_a_guess_is_made_once(editor: InlineEditor) -> None:
    editor.engine.reply = likely("ab", 0.9)
    assert await editor.ask("x = |\ny", invoked=False) == "ab"
    editor.engine.gate = asyncio.Event()
    await editor.until_asked(2)
    assert await editor.texts(editor.type((0, 4), "a")) == ["b"]
    assert await editor.texts((0, 5)) == ["b"]
    editor.engine.gate.set()
    await guessed(editor)
    assert len(editor.engine.calls) == 2


# --- before an answer is whole ---------------------------------------------------------------


@pytest.fixture
def block(editor: InlineEditor, monkeypatch: pytest.MonkeyPatch) -> InlineEditor:
    """Three lines, of which two come soon, the second in part."""
    monkeypatch.setattr("ingle_lsp.so_far.SOON", 0.0)
    editor.engine.deltas = [
        Delta(id=1, text="a = 1", confidence=0.9),
        Delta(id=1, text="\n    b =", confidence=0.9),
    ]
    editor.engine.reply = Completion(text="a = 1\n    b = 2\n    c = 3", finish="stop")
    editor.engine.gate = asyncio.Event()
    editor.settings = replace(editor.settings, prefetch="never")
    return editor


BLOCK = "def f():\n    |\n"


async def test_the_first_lines_of_a_block_are_shown_before_the_last(block: InlineEditor) -> None:
    assert await block.ask(BLOCK, invoked=False) == "a = 1"
    assert block.engine.cancelled == 0
    assert block.engine.gate is not None
    block.engine.gate.set()
    await guessed(block)
    # The rest was followed.
    assert await block.texts(block.type((1, 4), "a = 1")) == ["\n    b = 2\n    c = 3"]
    assert len(block.engine.calls) == 1


async def test_of_an_unsure_block_nothing_is_shown_early(block: InlineEditor) -> None:
    block.engine.deltas = [
        Delta(id=1, text="a = 1\n    b", confidence=0.59),
        Delta(id=1, text=" = 2\n    c", confidence=0.61),
    ]
    assert await block.ask(BLOCK, invoked=False) == "a = 1\n    b = 2"


async def test_who_asks_by_a_key_gets_a_block_whole(block: InlineEditor) -> None:
    asked = block.begin(BLOCK, invoked=True)
    await block.until_asked()
    # Long after the first lines came.
    for _ in range(50):
        await asyncio.sleep(0)
    assert not asked.done()
    assert block.engine.gate is not None
    block.engine.gate.set()
    assert await asked == "a = 1\n    b = 2\n    c = 3"


async def test_a_block_that_breaks_off_leaves_what_was_shown(block: InlineEditor) -> None:
    assert await block.ask(BLOCK, invoked=False) == "a = 1"
    block.engine.failures = [InternalError("broken")]
    assert block.engine.gate is not None
    block.engine.gate.set()
    await guessed(block)
    assert await block.texts((1, 4)) == ["a = 1"]
    assert block.told == ["broken"]


async def test_a_block_is_given_up_before_anything_of_it_is_shown(block: InlineEditor) -> None:
    block.engine.deltas = []
    asked = block.begin(BLOCK, invoked=False)
    await block.until_asked()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await eventually(lambda: block.engine.cancelled == 1, "the end of the request")


async def test_a_daemon_that_hangs_is_given_up(
    editor: InlineEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingle_lsp.infilling.PATIENCE", 0.0)
    editor.settings = Settings(deadline_ms=50)
    editor.engine.gate = asyncio.Event()
    assert await editor.ask("x = |") is None
    await eventually(lambda: editor.engine.cancelled == 1, "the end of the request")
    assert editor.told == []


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "shown"), [(None, True), (0.61, True), (0.6, True), (0.59, False), (0.0, False)]
)
async def test_an_unsure_completion_is_not_shown(
    editor: InlineEditor, confidence: float | None, shown: bool
) -> None:
    editor.engine.reply = Completion(text="1", finish="stop", confidence=confidence)
    assert (await editor.ask("x = |", invoked=False) is not None) is shown
    # Who asks by a key gets what there is.
    assert await editor.ask("x = |", invoked=True) == "1"


@pytest.mark.parametrize("finish", ["cancelled", "superseded"])
async def test_what_was_cut_off_is_not_shown(editor: InlineEditor, finish: FinishReason) -> None:
    editor.engine.reply = Completion(text="1", finish=finish)
    assert await editor.ask("x = |") is None


@pytest.mark.parametrize("finish", ["length", "deadline"])
async def test_the_last_line_of_an_unfinished_block_is_not_shown(
    editor: InlineEditor, finish: FinishReason
) -> None:
    editor.engine.reply = Completion(text="\n    a = 1\n    re", finish=finish)
    assert await editor.ask("def f():|") == "\n    a = 1"


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Busy("full"), DeadlineExceeded("late")])
async def test_what_passes_is_not_told(editor: InlineEditor, error: Exception) -> None:
    editor.engine.failures = [error]
    assert await editor.ask("x = |") is None
    assert editor.told == []
    assert await editor.ask("x = |") is not None


@pytest.mark.parametrize(
    "error", [ModelNotFound("no model: `ingle pull`"), InternalError("our mistake"), Malformed("x")]
)
async def test_what_the_user_can_mend_is_told_once(editor: InlineEditor, error: Exception) -> None:
    editor.engine.failures = [error] * 5
    for _ in range(5):
        assert await editor.ask("x = |") is None
    assert editor.told == [str(error)]
    assert await editor.ask("x = |") is not None
    editor.engine.failures = [error]
    await editor.ask("x = |")
    assert editor.told == [str(error)] * 2


@pytest.mark.parametrize("error", [ConnectionLost("gone"), HelloRequired("who are you")])
async def test_a_restarted_daemon_gets_a_second_try(editor: InlineEditor, error: Exception) -> None:
    editor.engine.failures = [error]
    assert await editor.ask("x = |") is not None
    assert len(editor.engine.calls) == 2
    assert editor.told == []


async def test_a_daemon_that_went_away_is_told_once(editor: InlineEditor) -> None:
    await editor.ask("x = |")
    editor.engine.failures = [ConnectionLost("gone")]
    editor.engine.down = DaemonNotRunning("ingled is not running")
    for _ in range(5):
        assert await editor.ask("x = |") is None
    assert editor.told == ["ingled is not running"]
    assert len(editor.engine.calls) == 2


async def test_a_link_to_a_secret_is_never_sent(editor: InlineEditor, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    (tmp_path / "x.py").symlink_to(tmp_path / ".env")
    assert await editor.ask("x = |", uri=(tmp_path / "x.py").as_uri()) is None
    assert editor.engine.calls == []


# --- cost ------------------------------------------------------------------------------------


async def test_a_key_in_a_long_document_costs_what_it_costs_in_a_short_one(
    editor: InlineEditor,
) -> None:
    async def seconds(lines: int) -> float:
        editor.open("value = compute(value)\n" * lines + "x = |")
        middle = lines // 2
        times = []
        for _ in range(7):
            start = time.perf_counter()
            editor.documents.change(URI, [Edit(middle, 5, middle, 5, "x")])
            await editor.completion.suggest(URI, middle, 6, invoked=True)
            times.append(time.perf_counter() - start)
        return min(times)

    # Two thousand lines fill what is sent; fifty times that must not be felt.
    assert await seconds(100_000) < 5 * await seconds(2_000) + 0.001
