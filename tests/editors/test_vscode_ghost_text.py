"""Ghost text in a real VS Code: what is drawn, what keys do, what is asked of the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from support.code_server import missing
from support.daemons import ENDLESS_LINE
from support.vscode_window import Stage, Window, a_stage
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

INLINE = "textDocument/inlineCompletion"
#: The trigger kind of what is asked for by a key.
INVOKED = 1
ADD = "def add(a, b):\n    return"
BLOCK = "a + b\n    print(a)\n    print(b)"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An editor whose engine completes everything with `a + b`."""
    with a_stage(
        "a + b",
        **{
            "files.readonlyInclude": {"**/readonly*": True},
            "ingle.disabledLanguages": ["plaintext"],
        },
    ) as stage:
        yield stage


@pytest.fixture
def window(stage: Stage) -> Iterator[Window]:
    """The window; what a test opens is closed, and nobody was told of anything."""
    yield stage.window
    stage.window.close_editors()
    assert [text for text in stage.window.told if "for this large file" not in text] == []
    stage.check()


@pytest.fixture
def ghost(window: Window) -> Window:
    """The same with ghost text after `    return `."""
    window.file(f"add{next(_numbers)}.py", ADD)
    window.type(" ")
    window.wait_ghost("a + b")
    return window


def asked(stage: Stage) -> int:
    return len(stage.sent(INLINE))


def saved(window: Window) -> str:
    """The text of the active editor, by way of the disk."""
    window.save()
    name = window.page.locator(".tab.active").get_attribute("data-resource-name")
    return (window.server.workspace / str(name)).read_text()


# --- what is drawn, and accepting --------------------------------------------------------------


def test_it_is_drawn_after_the_cursor(ghost: Window) -> None:
    assert ghost.lines == ["def add(a, b):", "    return a + b"]
    ghost.screenshot("ghost-text")
    assert saved(ghost) == ADD + " "


def test_tab_accepts_all(ghost: Window) -> None:
    ghost.press("Tab")
    ghost.wait_ghost("")
    ghost.type(" + c")
    assert saved(ghost) == ADD + " a + b + c"


def test_one_undo_takes_back_what_was_accepted(ghost: Window) -> None:
    ghost.press("Tab")
    ghost.wait_ghost("")
    ghost.press("Control+z")
    assert saved(ghost) == ADD + " "


def test_escape_dismisses(ghost: Window) -> None:
    ghost.press("Escape")
    ghost.wait_ghost("")
    assert saved(ghost) == ADD + " "


def test_tab_after_escape_indents(ghost: Window) -> None:
    ghost.press("Escape")
    ghost.wait_ghost("")
    ghost.press("Tab")
    # To the next multiple of four.
    assert saved(ghost) == ADD + "  "


def test_tab_without_ghost_text_indents(window: Window) -> None:
    window.file(f"add{next(_numbers)}.py", "")
    window.press("Tab", "x")
    assert saved(window) == "    x"


def test_a_word_is_accepted(ghost: Window, stage: Stage) -> None:
    before = asked(stage)
    ghost.press("Control+ArrowRight")
    ghost.wait_ghost(" + b")
    # What is left was known: nobody was asked.
    assert asked(stage) == before
    assert ghost.lines[1] == "    return a + b"
    ghost.press("Tab")
    ghost.wait_ghost("")
    assert saved(ghost) == ADD + " a + b"


def test_a_line_of_several_is_accepted(stage: Stage, window: Window) -> None:
    stage.say(BLOCK)
    try:
        window.file(f"add{next(_numbers)}.py", ADD + " ")
        # By wish there may be several lines.
        window.press("Alt+i", "i")
        window.wait_ghost(BLOCK)
        window.screenshot("ghost-text-of-several-lines")
        window.press("Alt+i", "l")
        # With the end of the line.
        window.wait_ghost("    print(a)\n    print(b)")
        # Tab is for indentation here; what it inserts is typed through.
        window.press("Tab")
        window.wait_ghost("print(a)\n    print(b)")
        window.press("Tab")
        window.wait_ghost("")
        assert saved(window) == f"{ADD} {BLOCK}"
    finally:
        stage.say("a + b")


# --- typing on ---------------------------------------------------------------------------------


def test_typing_what_is_shown_asks_nobody(ghost: Window, stage: Stage) -> None:
    before = asked(stage)
    for typed, rest in [("a", " + b"), (" ", "+ b"), ("+", " b")]:
        ghost.type(typed)
        ghost.wait_ghost(rest)
    assert asked(stage) == before
    ghost.press("Tab")
    ghost.wait_ghost("")
    assert saved(ghost) == ADD + " a + b"


def test_taking_back_what_was_typed_asks_nobody(ghost: Window, stage: Stage) -> None:
    before = asked(stage)
    ghost.type("a")
    ghost.wait_ghost(" + b")
    ghost.press("Backspace")
    ghost.wait_ghost("a + b")
    assert asked(stage) == before


def test_typing_something_else_asks_again(ghost: Window, stage: Stage) -> None:
    before = asked(stage)
    ghost.type("(")
    ghost.wait_ghost("a + b")
    assert asked(stage) == before + 1
    assert ghost.lines[1] == "    return (a + b"


def test_the_older_question_is_cancelled(stage: Stage, window: Window) -> None:
    stage.say(ENDLESS_LINE, tokens_per_second=20.0)
    try:
        window.file(f"add{next(_numbers)}.py", ADD)
        before = asked(stage)
        window.type(" ")
        wait_until(lambda: asked(stage) == before + 1, what="the first question")
        window.type("(")
        wait_until(lambda: asked(stage) == before + 2, what="the second question")
        first, second = (item.message["id"] for item in stage.sent(INLINE)[-2:])
        cancelled = [item.message["params"]["id"] for item in stage.sent("$/cancelRequest")]
        assert first in cancelled
        # A reply for a closed document is nothing to anybody.
        window.close_editors()
        wait_until(
            lambda: any(
                item.message["params"]["id"] == second for item in stage.sent("$/cancelRequest")
            ),
            what="the second question is cancelled with its document",
        )
    finally:
        stage.say("a + b", tokens_per_second=500.0)


# --- several candidates ------------------------------------------------------------------------


def test_the_first_is_shown_before_the_others_are_there(stage: Stage, window: Window) -> None:
    # Ten words each, so that it takes a while.
    first, second, third = (
        " ".join(f"{word}{number}" for number in range(10)) for word in ("one", "two", "three")
    )
    stage.say(first, alternatives=[second, third], tokens_per_second=10.0)
    try:
        window.file(f"add{next(_numbers)}.py", ADD + " ")
        before = asked(stage)
        window.press("Alt+i", "i")
        window.wait_ghost(first)
        with stage.daemon.client() as client:
            assert client.status().active, "the others are being computed"
        window.press("Alt+]")
        window.wait_ghost(second)
        window.press("Alt+]")
        window.wait_ghost(third)
        window.screenshot("candidates")
        window.press("Alt+]")
        window.wait_ghost(first)
        window.press("Alt+[", "Alt+[")
        window.wait_ghost(second)
        kinds = [item.message["params"]["context"]["triggerKind"] for item in stage.sent(INLINE)]
        assert set(kinds[before:]) == {INVOKED}
        window.press("Tab")
        window.wait_ghost("")
        assert saved(window) == f"{ADD} {second}"
    finally:
        stage.say("a + b", alternatives=[], tokens_per_second=500.0)


# --- where there is none -----------------------------------------------------------------------


def test_none_in_a_read_only_file(stage: Stage, window: Window) -> None:
    window.file("readonly.py", ADD + " ")
    before = asked(stage)
    window.type("x")
    window.press("Alt+i", "i")
    window.press("ArrowLeft")
    assert window.ghost == ""
    assert asked(stage) == before
    assert (window.server.workspace / "readonly.py").read_text() == ADD + " "


def test_none_in_a_language_that_is_switched_off(stage: Stage, window: Window) -> None:
    window.file("notes.txt", "one two")
    before = asked(stage)
    window.type(" ")
    wait_until(lambda: asked(stage) == before + 1, what="the question")
    window.file(f"add{next(_numbers)}.py", ADD)
    window.type(" ")
    window.wait_ghost("a + b")
    window.open("notes.txt")
    assert window.ghost == ""


def test_none_in_a_huge_file(stage: Stage, window: Window) -> None:
    window.file("huge.py", "x = 1\n" * 1_000_000)
    before = asked(stage)
    window.type("y =")
    wait_until(lambda: asked(stage) > before, what="the question")
    # The answers to it are in once a later question is answered.
    window.file(f"add{next(_numbers)}.py", ADD)
    window.type(" ")
    window.wait_ghost("a + b")
    window.open("huge.py")
    assert window.ghost == ""


def test_none_while_switched_off_in_a_folder(stage: Stage, window: Window) -> None:
    window.file(f"add{next(_numbers)}.py", ADD)
    window.server.configure_folder(**{"ingle.enabled": False})
    try:
        window.wait_status("suggestions off")
        before = asked(stage)
        window.type(" ")
        wait_until(lambda: asked(stage) == before + 1, what="the question")
    finally:
        window.server.configure_folder()
    window.status.filter(has_not_text="off").wait_for()
    assert window.ghost == ""
    window.type("(")
    window.wait_ghost("a + b")
