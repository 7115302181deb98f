"""Suggestions that are known already, further candidates, selected menu entries, where none is
wanted: what of it asks the daemon, and when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingle.errors import Busy, ConnectionLost, DaemonNotRunning
from ingle.messages import FinishReason, Usage
from ingle.results import Completion
from ingle_lsp.inline_completion import Selected
from ingle_lsp.settings import Settings
from support.inline_editor import URI, InlineEditor
from support.waiting import eventually


def completion(text: str, confidence: float | None = None) -> Completion:
    return Completion(text=text, finish="stop", confidence=confidence)


@pytest.fixture
def editor() -> InlineEditor:
    editor = InlineEditor()
    editor.settings = Settings(debounce_ms=75)
    editor.engine.reply = completion("a + b")
    editor.engine.sampled = {1: completion("b + a"), 2: completion("a * b")}
    return editor


def seeds(editor: InlineEditor) -> list[Any]:
    return [call.get("seed") for call in editor.engine.calls]


# --- typing through ------------------------------------------------------------------------------


async def test_typing_what_is_shown_asks_nothing_and_waits_for_nothing(
    editor: InlineEditor,
) -> None:
    at = editor.open("x = |\n")
    assert await editor.texts(at) == ["a + b"]
    for typed, rest in (("a", " + b"), (" ", "+ b"), ("+ ", "b")):
        at = editor.type(at, typed)
        assert await editor.texts(at) == [rest]
    for remove, rest in ((2, "+ b"), (1, " + b"), (1, "a + b")):
        at = editor.type(at, "", remove=remove)
        assert await editor.texts(at) == [rest]
    assert len(editor.engine.calls) == 1
    assert editor.pauses == [0.075]


async def test_typing_something_else_asks_and_coming_back_does_not(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    at = editor.type(at, "z")
    editor.engine.reply = completion(" * 2")
    assert await editor.texts(at) == [" * 2"]
    at = editor.type(at, "", remove=1)
    assert await editor.texts(at) == ["a + b"]
    assert len(editor.engine.calls) == 2


async def test_typed_to_its_end_there_is_no_more_to_say(editor: InlineEditor) -> None:
    editor.settings = replace(editor.settings, prefetch="never")
    at = editor.open("x = |\n")
    await editor.texts(at)
    at = editor.type(at, "a + b")
    editor.engine.reply = completion(" + c")
    assert await editor.texts(at) == []
    assert len(editor.engine.calls) == 1
    # Unless somebody wants to know.
    assert (await editor.texts(at, invoked=True))[0] == " + c"


async def test_one_that_was_cut_short_is_asked_on(editor: InlineEditor) -> None:
    editor.engine.reply = Completion(text="a + b", finish="length")
    at = editor.open("x = |\n")
    await editor.texts(at)
    editor.engine.reply = completion(" + c")
    assert await editor.texts(editor.type(at, "a + b")) == [" + c"]


async def test_several_lines_are_typed_through(editor: InlineEditor) -> None:
    editor.engine.reply = completion("\n    y = 1\n    return y")
    at = editor.open("def f(x):|\n")
    assert await editor.texts(at) == ["\n    y = 1\n    return y"]
    at = editor.type(at, "\n    y = 1\n")
    assert await editor.texts(at) == ["    return y"]
    assert len(editor.engine.calls) == 1


async def test_other_settings_are_another_question(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    editor.settings = Settings(debounce_ms=75, max_tokens=3)
    await editor.texts(at)
    assert [call.get("max_tokens") for call in editor.engine.calls] == [None, 3]


async def test_another_model_is_another_answer(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    editor.completion.model_changed()
    editor.engine.reply = completion("42")
    assert await editor.texts(at) == ["42"]


async def test_what_is_known_needs_no_daemon(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    editor.engine.failures = [ConnectionLost("gone")]
    editor.engine.down = DaemonNotRunning("ingled is not running")
    assert await editor.texts(editor.type(at, "a ")) == ["+ b"]
    assert editor.told == []


async def test_what_is_known_is_not_shown_where_nothing_is_wanted(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    at = editor.type(at, "a")
    editor.paused = True
    assert await editor.texts(at) == []
    editor.paused, editor.settings = False, Settings(debounce_ms=75, enabled=False)
    assert await editor.texts(at) == []


# --- further candidates --------------------------------------------------------------------------


async def test_asked_by_a_key_there_are_several(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a", "a * b"]
    first, second, third = editor.engine.calls
    assert "temperature" not in first
    assert "seed" not in first
    assert (second["temperature"], second["seed"]) == (0.7, 1)
    assert third["temperature"] > second["temperature"]
    for call in (second, third):
        # Of one document, so that typing ends them and their prompt is computed already.
        assert call["document"] == first["document"] == URI
        assert call["prefix"] == first["prefix"]
        assert call["multiline"] is first["multiline"] is True
        assert "speculative" not in call


@pytest.mark.parametrize(("candidates", "asked"), [(1, 1), (2, 2), (3, 3), (7, 7)])
async def test_as_many_as_are_wanted(editor: InlineEditor, candidates: int, asked: int) -> None:
    editor.settings = Settings(candidates=candidates)
    await editor.texts(editor.open("x = |\n"), invoked=True)
    assert len(editor.engine.calls) == asked
    assert all(call.get("temperature", 0) <= 1.1 for call in editor.engine.calls)


async def test_by_itself_there_is_one(editor: InlineEditor) -> None:
    assert await editor.texts(editor.open("x = |\n")) == ["a + b"]
    assert seeds(editor) == [None]


async def test_what_is_the_same_once_cut_is_shown_once(editor: InlineEditor) -> None:
    # Of a line's text only what is not there yet is shown.
    editor.engine.sampled = {1: completion("a + b  "), 2: completion("a + b\n\n")}
    assert await editor.texts(editor.open("x = |\n"), invoked=True) == ["a + b"]
    editor.engine.sampled = {1: completion(""), 2: completion("c")}
    assert await editor.texts(editor.open("x = |\n"), invoked=True) == ["a + b", "c"]


async def test_asked_again_they_are_there(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at, invoked=True)
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a", "a * b"]
    # Typing keeps those that go on so.
    assert await editor.texts(editor.type(at, "a ")) == ["+ b", "* b"]
    assert len(editor.engine.calls) == 3


async def test_what_is_shown_already_is_the_first(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    at = editor.type(at, "a")
    editor.engine.sampled = {1: completion(" - b"), 2: completion(" + b")}
    assert await editor.texts(at, invoked=True) == [" + b", " - b"]
    assert seeds(editor) == [None, 1, 2]
    assert editor.engine.calls[1]["prefix"].endswith("x = a")


async def test_who_asks_gets_what_the_model_is_unsure_of(editor: InlineEditor) -> None:
    editor.engine.reply = completion("a + b", confidence=0.1)
    editor.engine.sampled = {1: completion("b + a", confidence=0.2), 2: completion("")}
    at = editor.open("x = |\n")
    assert await editor.texts(at) == []
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a"]


async def test_they_keep_the_deadline_together(editor: InlineEditor) -> None:
    async def slow(*arguments: Any, **fields: Any) -> Completion:
        editor.now += 0.8
        return await infill(*arguments, **fields)

    infill = editor.engine.infill
    editor.engine.infill = slow  # type: ignore[method-assign]
    editor.settings = Settings(deadline_ms=1500, candidates=5)
    at = editor.open("x = |\n")
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a"]
    assert [call["deadline_ms"] for call in editor.engine.calls] == [1500, 700]
    # Those that are missing come next time.
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a", "a * b"]


@pytest.mark.parametrize("finish", ["superseded", "cancelled"])
async def test_typing_ends_them(editor: InlineEditor, finish: FinishReason) -> None:
    editor.engine.sampled = {1: Completion(text="b", finish=finish)}
    assert await editor.texts(editor.open("x = |\n"), invoked=True) == ["a + b"]
    assert seeds(editor) == [None, 1]


async def test_a_change_in_between_drops_all(editor: InlineEditor) -> None:
    at = editor.open("x = |\n")
    await editor.texts(at)
    editor.engine.gate = asyncio.Event()
    asked = asyncio.create_task(editor.texts(at, invoked=True))
    await editor.until_asked(2)
    editor.type(at, "z")
    editor.engine.gate.set()
    assert await asked == []
    assert len(editor.engine.calls) == 2


# --- the first at once ---------------------------------------------------------------------------


async def test_the_first_does_not_wait_for_the_others(editor: InlineEditor) -> None:
    editor.at_once = True
    at = editor.open("x = |\n")
    assert await editor.texts(at, invoked=True) == ["a + b"]
    assert seeds(editor)[:1] == [None]
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a", "a * b"]
    assert seeds(editor) == [None, 1, 2]
    # Nobody waited for them: they may not be in anybody's way.
    assert [call.get("speculative") for call in editor.engine.calls] == [None, True, True]


async def test_asking_again_waits_for_those_under_way(editor: InlineEditor) -> None:
    editor.at_once = True
    at = editor.open("x = |\n")
    await editor.texts(at, invoked=True)
    editor.engine.gate = asyncio.Event()
    await editor.until_asked(2)
    again = asyncio.create_task(editor.texts(at, invoked=True))
    # An editor that asks by itself meanwhile gets the first, and disturbs nobody.
    assert await editor.texts(at) == ["a + b"]
    assert not again.done()
    editor.engine.gate.set()
    assert len(await editor.texts(at, invoked=True)) == 3
    assert seeds(editor) == [None, 1, 2]
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_typing_on_ends_those_under_way(editor: InlineEditor) -> None:
    editor.at_once = True
    at = editor.open("x = |\n")
    await editor.texts(at, invoked=True)
    editor.engine.gate = asyncio.Event()
    await editor.until_asked(2)
    assert await editor.texts(editor.type(at, "a")) == [" + b"]
    await eventually(lambda: editor.engine.cancelled == 1, "the cancel")
    assert len(editor.engine.calls) == 2


async def test_closing_ends_those_under_way(editor: InlineEditor) -> None:
    editor.at_once = True
    at = editor.open("x = |\n")
    await editor.texts(at, invoked=True)
    editor.engine.gate = asyncio.Event()
    await editor.until_asked(2)
    editor.completion.document_closed(URI)
    await eventually(lambda: editor.engine.cancelled == 1, "the cancel")


async def test_a_model_that_has_other_work_computes_them_when_they_are_asked_for(
    editor: InlineEditor,
) -> None:
    editor.at_once = True
    at = editor.open("x = |\n")
    assert await editor.texts(at, invoked=True) == ["a + b"]
    editor.engine.failures = [Busy("other work")]
    await editor.until_asked(2)
    assert await editor.texts(at, invoked=True) == ["a + b", "b + a", "a * b"]
    assert [call.get("speculative") for call in editor.engine.calls] == [None, True, None, None]
    assert editor.told == []


async def test_without_a_first_the_others_are_waited_for(editor: InlineEditor) -> None:
    editor.at_once = True
    editor.engine.reply = completion("")
    assert await editor.texts(editor.open("x = |\n"), invoked=True) == ["b + a", "a * b"]


# --- a selected menu entry -----------------------------------------------------------------------


def entry(start: int, end: int, text: str, line: int = 0) -> Selected:
    return Selected(line, start, line, end, text)


async def test_a_suggestion_goes_on_from_the_selected_entry(editor: InlineEditor) -> None:
    at = editor.open("x.ap|\n")
    editor.engine.reply = completion("(1)")
    found = await editor.completion.suggest(URI, *at, invoked=False, selected=entry(2, 4, "append"))
    assert found is not None
    assert found.texts == ("append(1)",)
    assert (found.start.column, found.place.column) == (2, 4)
    assert editor.engine.calls[0]["prefix"] == "x.append"


async def test_nothing_typed_of_it_yet(editor: InlineEditor) -> None:
    editor.engine.reply = completion("(1)")
    assert await editor.texts(editor.open("x.|\n"), selected=entry(2, 2, "append")) == ["append(1)"]


@pytest.mark.parametrize(
    "selected",
    [
        entry(2, 4, "pop"),
        entry(2, 4, "AP"),
        entry(2, 4, ""),
        entry(2, 4, "apply\nall"),
        entry(2, 3, "append"),
        entry(2, 5, "append"),
        entry(4, 2, "append"),
        entry(0, 99, "append"),
        entry(2, 4, "append", line=1),
        entry(-1, 4, "append"),
    ],
)
async def test_an_entry_that_what_is_typed_does_not_begin(
    editor: InlineEditor, selected: Selected
) -> None:
    at = editor.open("x.ap|\nyyyyyy\n")
    assert await editor.texts(at, selected=selected) == []
    assert editor.engine.calls == []


async def test_an_entry_that_needs_nothing_more(editor: InlineEditor) -> None:
    editor.engine.reply = completion("")
    assert await editor.texts(editor.open("x.ap|\n"), selected=entry(2, 4, "append")) == []


async def test_what_was_suggested_behind_an_entry_is_known_once_it_is_typed(
    editor: InlineEditor,
) -> None:
    editor.engine.reply = completion("(1)")
    at = editor.open("x.ap|\n")
    await editor.texts(at, selected=entry(2, 4, "append"))
    assert await editor.texts(editor.type(at, "pend(")) == ["1)"]
    assert len(editor.engine.calls) == 1


# --- where no suggestion is wanted ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "comments", "strings", "asked"),
    [
        ("x = 1  # so |", False, True, False),
        ("x = 1  # so |", True, False, True),
        ("x = 'so |", True, False, False),
        ("x = 'so |", False, True, True),
        ("x = |", False, False, True),
        ('def f():\n    """So |\n    """\n', False, False, False),
    ],
)
@pytest.mark.parametrize("invoked", [True, False])
async def test_in_comments_and_strings(
    editor: InlineEditor, text: str, comments: bool, strings: bool, asked: bool, invoked: bool
) -> None:
    editor.settings = Settings(debounce_ms=0, in_comments=comments, in_strings=strings)
    found = await editor.texts(editor.open(text), invoked=invoked)
    assert bool(found) is bool(editor.engine.calls) is asked


async def test_typing_a_comment_through_shows_nothing(editor: InlineEditor) -> None:
    editor.settings = Settings(debounce_ms=0, in_comments=False)
    editor.engine.reply = completion("1  # one")
    at = editor.open("x = |\n")
    assert await editor.texts(at) == ["1  # one"]
    at = editor.type(at, "1  ")
    assert await editor.texts(at) == ["# one"]
    at = editor.type(at, "# ")
    assert await editor.texts(at) == []


async def test_in_a_folder_without_suggestions(editor: InlineEditor, tmp_path: Path) -> None:
    editor.settings = Settings(debounce_ms=0, disabled_folders=frozenset({str(tmp_path)}))
    inside, outside = (tmp_path / "deep" / "a.py").as_uri(), (tmp_path.parent / "a.py").as_uri()
    assert await editor.ask("x = |", uri=inside) is None
    assert editor.engine.calls == []
    assert await editor.ask("x = |", uri=outside) is not None


# --- the pause for typing ------------------------------------------------------------------------


async def test_the_pause_follows_the_answers(editor: InlineEditor) -> None:
    took = 0.8

    async def slow(*arguments: Any, **fields: Any) -> Completion:
        editor.now += took
        return await infill(*arguments, **fields)

    infill = editor.engine.infill
    editor.engine.infill = slow  # type: ignore[method-assign]
    editor.settings = Settings()
    assert editor.settings.debounce_ms == "auto"
    for took in (0.8, 0.8, 0.1, 0.1, 0.1):  # noqa: B007 - `slow` reads it
        await editor.texts(editor.open("x = |\n"))
    assert editor.pauses == [0.075, *[pytest.approx(0.7 / 3)] * 3, pytest.approx(0.35 / 3)]


async def test_further_candidates_say_nothing_of_the_pause(editor: InlineEditor) -> None:
    editor.settings = Settings()
    await editor.texts(editor.open("x = |\n"), invoked=True)
    assert len(editor.completion._debounce._times) == 1


async def test_a_prompt_that_was_computed_first_says_nothing_of_the_next(
    editor: InlineEditor,
) -> None:
    async def slow(*arguments: Any, **fields: Any) -> Completion:
        editor.now += 0.7
        return await infill(*arguments, **fields)

    infill = editor.engine.infill
    editor.engine.infill = slow  # type: ignore[method-assign]
    editor.settings = Settings(prefetch="never")
    cold, warm = Usage(prompt_tokens=500), Usage(prompt_tokens=500, cached_tokens=490)
    for usage in (cold, warm, warm):
        editor.engine.reply = Completion(text="x", finish="stop", usage=usage)
        await editor.texts(editor.open("x = |\n"))
    assert editor.pauses == [0.075, 0.075, pytest.approx(0.2)]


async def test_a_request_that_is_given_up_counts(editor: InlineEditor) -> None:
    editor.settings = Settings()
    editor.engine.gate = asyncio.Event()
    asked = editor.begin("x = |\n", invoked=False)
    await editor.until_asked()
    editor.now += 1.2
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    editor.engine.gate = None
    await editor.texts(editor.open("y = |\n"))
    assert editor.pauses == [0.075, pytest.approx(1.1 / 3)]


async def test_a_number_is_a_number(editor: InlineEditor) -> None:
    editor.settings = Settings(debounce_ms=0)
    await editor.texts(editor.open("x = |\n"))
    editor.settings = Settings(debounce_ms=120)
    await editor.texts(editor.open("x = |\n"))
    assert editor.pauses == [0.12]
