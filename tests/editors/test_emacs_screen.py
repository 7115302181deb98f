"""The Emacs package as it is seen: `emacs -nw` in tmux, real keys, and the screen as drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemons import DaemonUnderTest, saying
from support.emacs import Emacs, needs_emacs, needs_tmux
from support.fake_language_server import Play
from support.lsp_proxy import proxy_command
from support.waiting import wait_until

pytestmark = [*needs_emacs, needs_tmux]

Start = Callable[..., Emacs]
MakeDaemon = Callable[..., DaemonUnderTest]
ADD = "def add(a, b):\n    return\n"
INLINE = "textDocument/inlineCompletion"
ANSWER = "It subtracts:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One that completes everything with `a + b`; for tests that leave it as it is."""
    with saying("a + b") as daemon:
        yield daemon


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts Emacs on a file `add.py`, at the end of its last line; all are ended."""
    running: list[Emacs] = []

    def start(
        daemon: DaemonUnderTest, text: str = ADD, name: str = "add.py", **options: Any
    ) -> Emacs:
        folder = home / f"e{len(running)}"
        folder.mkdir()
        file = folder / name
        file.write_text(text)
        emacs = Emacs(folder, str(file), env=daemon.env, **options)
        running.append(emacs)
        emacs.eval('(progn (goto-char (point-max)) (skip-chars-backward "\\n") t)')
        return emacs

    yield start
    for emacs in running:
        emacs.close()


def with_ghost(emacs: Emacs) -> Emacs:
    """Type until there is ghost text."""
    emacs.type(" ")
    emacs.wait_ghost("a + b")
    return emacs


def wait_cursor(emacs: Emacs, row: int, column: int) -> None:
    """The screen is drawn piece by piece, the cursor last."""
    wait_until(
        lambda: emacs.terminal.cursor == (row, column), what=f"the cursor at {(row, column)}"
    )


# --- ghost text --------------------------------------------------------------------------------


def test_ghost_text_is_drawn_after_the_cursor(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = with_ghost(start(daemon))
    assert emacs.terminal.lines()[1] == "    return a + b"
    wait_cursor(emacs, 1, len("    return "))
    assert emacs.text() == "def add(a, b):\n    return \n"
    emacs.picture("emacs-ghost-text")


def test_tab_accepts_only_ghost_text(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon, "if x:\n    y\nz\n", config="(setq ingle-automatic nil)")
    emacs.press("Tab")
    wait_until(lambda: emacs.text() == "if x:\n    y\n    z\n", what="TAB indents")
    emacs.type(" = ")
    emacs.press("C-c", "_", "i")
    emacs.wait_ghost("a + b")
    emacs.press("Tab")
    wait_until(lambda: emacs.text() == "if x:\n    y\n    z = a + b\n", what="TAB accepts")
    assert emacs.ghost() == ""


def test_typing_what_is_shown_and_the_next_word(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = with_ghost(start(daemon))
    asked = len(emacs.sent(INLINE))
    emacs.type("a")
    emacs.wait_ghost(" + b")
    emacs.type(" ")
    emacs.wait_ghost("+ b")
    assert emacs.terminal.lines()[1] == "    return a + b"
    emacs.press("BTab")
    emacs.wait_ghost(" b")
    assert emacs.text() == "def add(a, b):\n    return a +\n"
    assert len(emacs.sent(INLINE)) == asked


def test_quit_dismisses_and_a_move_does(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = with_ghost(start(daemon))
    emacs.press("C-g")
    emacs.wait_ghost("")
    emacs.wait_screen("Quit")
    emacs.type(" ")
    emacs.wait_ghost("a + b")
    emacs.press("C-b")
    emacs.wait_ghost("")
    assert emacs.text() == "def add(a, b):\n    return  \n"


def test_meta_keys_work_while_ghost_text_is_shown(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = with_ghost(start(daemon))
    emacs.press("M-b")
    emacs.wait_ghost("")
    wait_until(lambda: emacs.eval('(looking-at "return")'), what="M-b moves")


def test_several_lines_push_the_rest_down(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "\n    return a + b\n\n"}).start()
    emacs = start(
        daemon,
        "# first\ndef add(a, b):\n",
        config="(setq ingle-multiline 'always)",
    )
    emacs.press("C-c", "_", "i")
    emacs.wait_ghost("    return a + b")
    assert emacs.terminal.lines()[1:3] == ["def add(a, b):", "    return a + b"]
    wait_cursor(emacs, 1, len("def add(a, b):"))
    emacs.press("Tab")
    wait_until(
        lambda: emacs.text().startswith("# first\ndef add(a, b):\n    return a + b"),
        what="accepted",
    )


def test_nothing_is_drawn_in_a_read_only_buffer(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon)
    emacs.press("C-x", "C-q")
    emacs.wait_screen("%%")
    emacs.type(" ")
    emacs.wait_screen("read-only")
    emacs.press("C-c", "_", "i")
    emacs.wait_screen("Buffer is read-only")
    assert emacs.ghost() == ""
    assert emacs.text() == ADD


# --- keys and menus ----------------------------------------------------------------------------


def test_the_menu_of_keys(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon)
    emacs.press("C-c", "_", "?")
    emacs.wait_screen("refactor by an instruction")
    emacs.wait_screen("ingle: ")
    emacs.picture("emacs-keys")
    emacs.type("S")
    emacs.wait_screen("ingle: scripted")
    wait_until(lambda: "refactor by" not in emacs.screen(), what="the menu is gone")
    emacs.press("C-c", "_", "?")
    emacs.wait_screen("refactor by an instruction")
    emacs.press("C-g")
    emacs.wait_screen("Quit")


def test_the_mode_line_follows_the_model(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "word " * 3000, "tokens_per_second": 30.0}).start()
    emacs = start(daemon)
    emacs.wait_screen(" ingle ")
    emacs.press("C-c", "_", "c")
    emacs.type("Talk")
    emacs.press("Enter")
    emacs.press("C-x", "o")
    emacs.wait_screen(" ingle* ")
    emacs.press("C-c", "_", "p")
    emacs.wait_screen("ingle:off")
    emacs.press("C-c", "_", "P")
    emacs.wait_screen("suggestions are back")


# --- chat and changes --------------------------------------------------------------------------


def test_a_chat_streams_and_a_block_is_applied(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": ANSWER, "tokens_per_second": 30.0}).start()
    emacs = start(daemon, "def add(a, b):\n    return a - b\n", size=(84, 34))
    emacs.press("C-u", "C-c", "_", "c")
    emacs.wait_screen("with add.py")
    emacs.type("What is wrong?")
    emacs.press("Enter")
    emacs.wait_screen("It subtracts")
    assert "[apply]" not in emacs.screen()
    emacs.wait_screen("answering")
    emacs.wait_screen("[apply]")
    emacs.picture("emacs-chat")
    emacs.press("C-c", "C-y")
    emacs.wait_screen("applied to add.py")
    emacs.press("C-x", "o")
    assert emacs.text() == "def add(a, b):\n    return a + b\n"


def test_an_explanation_and_an_edit(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": ANSWER, "tokens_per_second": 300.0}).start()
    emacs = start(daemon, "def add(a, b):\n    return a - b\n")
    emacs.press("C-c", "_", "e")
    emacs.wait_screen("Explain: add")
    emacs.wait_screen("It subtracts")
    emacs.press("C-c", "_", "r")
    emacs.wait_screen("Refactor:")
    emacs.type("a sum")
    emacs.press("Enter")
    wait_until(
        lambda: emacs.text() == "def add(a, b):\n    return a + b\n", what="the edit is made"
    )
    emacs.wait_screen("done; ")


def test_the_daemon_is_killed_and_comes_back(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    emacs = with_ghost(start(daemon))
    emacs.press("C-g")
    daemon.kill()
    emacs.wait_screen("ingle:down")
    emacs.type("  ")
    emacs.wait_ghost("")
    # The message names the key, and the key starts it.
    wait_until(lambda: "start it with C-c _ s" in emacs.messages(), what="what to do")
    emacs.press("C-c", "_", "s")
    try:
        wait_until(lambda: "the daemon runs" in emacs.messages(), what="it runs", timeout=40)
        daemon.wait_ready()
        emacs.type(" ")
        emacs.wait_ghost("a + b", timeout=40)
        assert "rror" not in emacs.messages()
    finally:
        with daemon.client() as client:
            client.shutdown()


# --- bad days ----------------------------------------------------------------------------------


def test_no_ingle_lsp_on_path(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon, config='(setq ingle-lsp-command \'("no-such-ingle-lsp"))')
    emacs.type(" x")
    emacs.wait_screen("no-such-ingle-lsp is not on PATH")
    emacs.wait_screen("ingle!")
    emacs.type("yz")
    wait_until(lambda: "return xyz" in emacs.text(), what="typing goes on")
    assert emacs.messages().count("is not on PATH") == 1
    emacs.press("C-c", "_", "x")
    emacs.wait_screen("FAIL ingle-lsp: no-such-ingle-lsp is not on PATH")


def test_an_ingle_lsp_that_ends_at_once(start: Start, daemon: DaemonUnderTest) -> None:
    failing = '\'("sh" "-c" "echo it broke >&2; exit 3")'
    emacs = start(daemon, config=f"(setq ingle-lsp-command {failing})")
    emacs.type(" x")
    emacs.wait_screen("ingle-lsp ended right away: it broke")
    emacs.wait_screen("ingle!")


@pytest.mark.parametrize(("announce", "told"), [(None, True), (2, False)])
def test_other_versions(
    start: Start, daemon: DaemonUnderTest, home: Path, announce: int | None, told: bool
) -> None:
    command = proxy_command(home / "other.jsonl", announce=announce)
    words = " ".join(f'"{word}"' for word in command)
    emacs = start(daemon, config=f"(setq ingle-lsp-command '({words}))")
    emacs.type(" ")
    emacs.wait_ghost("a + b")
    assert ("older than this plugin: pip install -U ingle" in emacs.messages()) is told


def test_the_server_is_killed_while_typing(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = with_ghost(start(daemon))
    emacs.eval("(progn (setq ingle--quick-death 0) t)")
    emacs.eval("(progn (delete-process (jsonrpc--process ingle--own)) t)")
    emacs.wait_ghost("")
    emacs.type("x = ")
    emacs.wait_ghost("a + b")
    assert "Debugger" not in emacs.screen()


def test_a_binary_file(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon, "a\0b\n", name="data.txt")
    emacs.type("x")
    emacs.press("C-c", "_", "i")
    emacs.wait_screen("no suggestions: this is a binary file")
    assert emacs.sent("textDocument/didOpen") == []


def a_play(emacs: Emacs, **parts: Any) -> Play:
    """A pretended server in the place of ingle-lsp, from now on."""
    play = Play(emacs.home, emacs.record, **parts)
    words = " ".join(f'"{word}"' for word in play.command)
    emacs.eval(f"(progn (setq ingle-lsp-command '({words})) (ingle-restart) t)")
    wait_until(lambda: emacs.eval("(symbol-name ingle--state)") == "ready", what="the new server")
    return play


def answered(emacs: Emacs, play: Play, **parts: Any) -> None:
    """Type a space, and wait until the answer to it was read."""
    play.change(**parts)
    before = len(emacs.sent(INLINE))
    emacs.type(" ")
    wait_until(lambda: len(emacs.sent(INLINE)) == before + 1, what="a request")
    wait_until(
        lambda: emacs.eval("(if (or ingle--asked ingle--ask-timer) nil t)") is True,
        what="the answer",
    )


BAD_ANSWERS: list[Any] = [
    "a string",
    7,
    [],
    {},
    {"items": None},
    {"items": {"insertText": "x"}},
    {"items": [None, 3, "x", {}, {"insertText": None}, {"insertText": 7}]},
    {"items": [{"insertText": "x", "range": {"start": {"line": 900, "character": 0}}}]},
    {"items": [{"insertText": "x", "range": "nowhere"}]},
    "<error it is not possible>",
]


def test_answers_that_make_no_sense(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon)
    play = a_play(emacs)
    for answer in BAD_ANSWERS:
        answered(emacs, play, answers={INLINE: answer})
        assert emacs.ghost() == ""
    assert emacs.text() == "def add(a, b):\n    return" + " " * len(BAD_ANSWERS) + "\n"
    said = emacs.messages()
    assert "rror" not in said
    assert "rong type" not in said
    assert "Debugger" not in emacs.screen()
    # It is as good as new when the answers are.
    answered(emacs, play, answers={INLINE: {"items": [{"insertText": "fine"}]}})
    emacs.wait_ghost("fine")


def test_messages_that_make_no_sense(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon)
    play = a_play(emacs)
    methods = ["ingle/status", "ingle/showMarkdown", "ingle/chat/delta", "window/showMessage"]
    methods += ["$/progress", "no/such/method"]
    odd: list[Any] = [None, [], {}, {"state": 3, "text": [], "progress": "x", "detail": {}}]
    odd += [{"token": 1, "value": 3}, {"title": None, "markdown": 9}, {"message": None}]
    messages: list[dict[str, Any]] = [
        {"method": method, "params": params} for method in methods for params in odd
    ]
    requests = ["workspace/applyEdit", "workspace/configuration", "window/showDocument", "no/such"]
    messages += [
        {"id": f"r{number}", "method": method, "params": params}
        for number, (method, params) in enumerate(
            (method, params) for method in requests for params in odd
        )
    ]
    messages += [{"id": 4711, "result": 1}, {"id": 4712, "error": {"code": 1, "message": "x"}}]
    answered(emacs, play, first={INLINE: messages}, answers={INLINE: {"items": []}})
    assert "Debugger" not in emacs.screen()
    emacs.wait_screen("(Python ingle")
    answered(emacs, play, first={}, answers={INLINE: {"items": [{"insertText": "fine"}]}})
    emacs.wait_ghost("fine")
    assert emacs.text() == ADD.replace("return", "return  ")


def test_a_server_that_is_silent_and_one_that_ends(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon)
    play = a_play(emacs, answers={INLINE: "<silence>"})
    emacs.type(" ")
    wait_until(lambda: emacs.sent(INLINE), what="a request")
    emacs.type("x")
    wait_until(lambda: emacs.sent("$/cancelRequest"), what="the older one is cancelled")
    play.change(answers={INLINE: "<exit 3>"})
    emacs.type("y")
    emacs.wait_screen("ingle-lsp ended right away")
    emacs.wait_screen("ingle!")
    emacs.type("z")
    wait_until(lambda: "return xyz\n" in emacs.text(), what="typing goes on")


def test_the_doctor(start: Start, daemon: DaemonUnderTest) -> None:
    emacs = start(daemon, size=(100, 30))
    emacs.press("C-c", "_", "x")
    emacs.wait_screen("model: scripted")
    emacs.press("C-x", "1", "C-x", "b")
    emacs.type("*ingle doctor*")
    emacs.press("Enter")
    for line in ("ok   Emacs: ", "ok   JSON: ", "ok   keys: C-c _", "ok   add.py: "):
        emacs.wait_screen(line)
    for line in ("ok   ingle-lsp: ingle-lsp 0", "ok   connection: version 1", "ok   daemon: "):
        emacs.wait_screen(line)
    assert "FAIL" not in emacs.screen()
    emacs.picture("emacs-doctor")
