"""The chat in a real Vim: streaming, threads, context, code blocks; and when it goes wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemons import DaemonUnderTest, saying
from support.fake_language_server import Play
from support.shared_editor import SharedEditor, shared_editor
from support.vim import Vim, reason_to_skip, starter

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
]

Start = Callable[..., Vim]
MakeDaemon = Callable[..., DaemonUnderTest]
ADD = "def add(a, b):\n    return a - b\n\n\nprint(add(1, 2))\n"
LINES = ADD.split("\n")[:-1]
FIXED = ["def add(a, b):", "    return a + b", "", "", "print(add(1, 2))"]
ANSWER = (
    "It subtracts. This adds:\n\n```python\ndef add(a, b):\n    return a + b\n```\n\nThat is all."
)
#: Long enough to be caught in the middle.
ENDLESS = {"script": "word " * 4000, "tokens_per_second": 20.0}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One that answers everything with `ANSWER`."""
    with saying(ANSWER) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared(daemon: DaemonUnderTest) -> Iterator[SharedEditor[Vim]]:
    """One that tests without a configuration share."""
    with shared_editor(
        lambda: Vim(daemon.home / f"shared{next(_numbers)}", env=daemon.env, size=(100, 30))
    ) as shared:
        yield shared


@pytest.fixture
def vim(shared: SharedEditor[Vim]) -> Iterator[Vim]:
    """The shared Vim with `add.py`, as it is after a start; no error may have been shown."""
    with shared.at_rest() as vim:
        vim.edit(f"add{next(_numbers)}.py", ADD)
        yield vim


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts Vims; `env` says whom they talk to."""
    with starter(home, {}) as start:
        yield start


def conversation(vim: Vim) -> list[str]:
    """The lines of the chat's buffer."""
    return vim.text("bufnr('ingle://chat')")


def question(vim: Vim) -> list[str]:
    """What is written, to be asked."""
    return vim.text("bufnr('ingle://question')")


def wait_answered(vim: Vim, times: int = 1) -> None:
    """Wait until so many questions have their answers."""
    vim.wait_for(
        lambda: (
            conversation(vim).count("That is all.") == times
            and "tokens/s" in "".join(conversation(vim)[-3:])
        ),
        "an answer",
    )


def ask(vim: Vim, text: str) -> None:
    """Begin a thread, and ask."""
    vim.type(f":Ingle new<CR>i{text}<CR><Esc>")
    wait_answered(vim)


# --- asking --------------------------------------------------------------------------------------


def test_an_answer_streams_into_the_buffer(vim: Vim) -> None:
    ask(vim, "What is wrong?")
    said = conversation(vim)
    assert said[:-2] == [
        "## You",
        "",
        "What is wrong?",
        "",
        "## scripted",
        "",
        *ANSWER.split("\n"),
        "",
    ]
    assert said[-2].startswith("*27 tokens, ")
    assert question(vim) == [""]
    vim.wait_line("ingle: What is wrong?")
    vim.picture("vim-chat")
    deltas = vim.received("ingle/chat/delta")
    assert len(deltas) > 2
    assert "".join(item.message["params"]["text"] for item in deltas).endswith(ANSWER)


def test_the_end_of_the_answer_is_in_view(vim: Vim) -> None:
    ask(vim, "One.<C-j>two<C-j>three")
    for times in (2, 3, 4):
        vim.type("iMore.<CR><Esc>")
        wait_answered(vim, times)
    vim.wait_line("That is all.")
    # Whoever reads further up is not moved.
    vim.type("<C-w>kgg")
    vim.call("ingle#chat#Ask('And now?')")
    wait_answered(vim, 5)
    assert vim.lines()[0].endswith("## You")
    assert vim.cursor == (0, 0)
    assert conversation(vim)[2:5] == ["One.", "two", "three"]
    vim.type("]]]]")
    assert vim.expr("getline('.')") == "## You"
    vim.type("[[[[q")
    vim.wait_for(lambda: vim.expr("winnr('$')") == 1, "a closed chat")


def test_the_question_of_a_command(vim: Vim) -> None:
    vim.type(":Ingle new<CR>:Ingle chat What is wrong?<CR>")
    wait_answered(vim)
    assert conversation(vim)[2] == "What is wrong?"


def test_an_empty_question_is_not_sent(vim: Vim) -> None:
    before = len(vim.sent("ingle/chat"))
    vim.type(":Ingle new<CR><CR>")
    vim.wait_told("there is no question yet")
    assert len(vim.sent("ingle/chat")) == before


def test_the_chat_is_no_file_and_can_not_be_changed(vim: Vim) -> None:
    ask(vim, "What?")
    vim.type("<C-w>kdd")
    vim.settle()
    assert "## You" in conversation(vim)
    vim.command("messages clear")
    for name in ("ingle://chat", "ingle://question"):
        assert vim.expr(f"getbufvar('{name}', '&modified') && 0") == 0
        assert vim.expr(f"getbufvar('{name}', '&buftype')") == "nofile"
    opened = [item.message["params"]["textDocument"] for item in vim.sent("textDocument/didOpen")]
    assert all("ingle:" not in document["uri"] for document in opened)


def test_the_effort_is_sent(vim: Vim) -> None:
    vim.type(":Ingle effort high<CR>:Ingle new<CR>")
    vim.wait_line("effort high")
    ask(vim, "Why?")
    assert vim.sent("ingle/chat")[-1].message["params"]["effort"] == "high"
    vim.type(":Ingle effort<CR>")
    vim.wait_line("1 low")
    vim.type("1")
    vim.wait_line("effort low")
    vim.command("unlet g:ingle")


# --- threads -------------------------------------------------------------------------------------


def test_the_thread_goes_on_and_is_found_again(vim: Vim) -> None:
    title = f"Question {next(_numbers)}"
    ask(vim, title)
    vim.type("iAnd why?<CR><Esc>")
    wait_answered(vim, times=2)
    before = [line for line in conversation(vim) if line and not line.startswith(("*", "## scr"))]
    vim.type(":Ingle new<CR>")
    vim.wait_for(lambda: conversation(vim)[0].startswith("Write a question"), "a new thread")
    vim.type(":Ingle threads<CR>")
    # The newest thread is the first.
    vim.wait_line(f"1 {title} (4 turns")
    vim.type("1")
    vim.wait_for(
        lambda: (
            [line for line in conversation(vim) if line and not line.startswith(("*", "## ingle"))]
            == before
        ),
        "the same conversation",
    )
    vim.type("iMore.<CR><Esc>")
    wait_answered(vim, times=3)
    threads = {item.message["params"]["thread"] for item in vim.sent("ingle/chat")[-2:]}
    assert len(threads) == 1


def test_a_thread_is_deleted(vim: Vim) -> None:
    kept, title = f"Question {next(_numbers)}", f"Question {next(_numbers)}"
    ask(vim, kept)
    vim.type(":Ingle new<CR>")
    vim.wait_for(lambda: conversation(vim)[0].startswith("Write a question"), "a new thread")
    ask(vim, title)
    vim.type(":Ingle delete<CR>")
    vim.wait_line(f'Delete "{title}"?')
    vim.type("n")
    vim.settle()
    assert conversation(vim)[2] == title
    vim.type(":Ingle! delete<CR>")
    vim.wait_for(lambda: conversation(vim)[0].startswith("Write a question"), "an empty chat")
    vim.type(":Ingle threads<CR>")
    vim.wait_line(f"1 {kept} (")
    assert not any(title in line for line in vim.lines() if "deleted" not in line)
    vim.type("<Esc>")


def test_threads_are_completed(vim: Vim) -> None:
    ask(vim, f"Question {next(_numbers)}")
    vim.expr("getcompletion('Ingle threads ', 'cmdline')")
    vim.wait_for(
        lambda: any("question" in name for name in vim.expr(_THREADS)), "the names of threads"
    )


_THREADS = "getcompletion('Ingle threads 20', 'cmdline')"


def test_a_thread_that_is_not_there(vim: Vim) -> None:
    vim.type(":Ingle threads no-such-thread<CR>")
    vim.wait_told("no-such-thread")


# --- context -------------------------------------------------------------------------------------


def test_the_selection_goes_with_the_question(vim: Vim) -> None:
    name = vim.expr("expand('%:t')")
    vim.type(":Ingle new<CR><C-w>t")
    vim.type("ggVj:Ingle chat Why?<CR>")
    wait_answered(vim)
    assert conversation(vim)[:5] == ["## You", "", "Why?", "", f"*about {name}:1-2*"]
    (part,) = vim.sent("ingle/chat")[-1].message["params"]["context"]
    assert part["uri"] == (vim.home / name).as_uri()
    assert part["range"] == {
        "start": {"line": 0, "character": 0},
        "end": {"line": 2, "character": 0},
    }
    # It is not sent a second time.
    vim.type("iAnd?<CR><Esc>")
    wait_answered(vim, times=2)
    assert vim.sent("ingle/chat")[-1].message["params"]["context"] == []


def test_context_follows_the_text(vim: Vim) -> None:
    name = vim.expr("expand('%:t')")
    vim.type(":1,2Ingle context<CR>:Ingle context<CR>")
    vim.type("Oone<CR>two<Esc>:Ingle chat<CR>")
    vim.wait_line(f"about {name}:3-4, {name}")
    vim.type("iWhy?<CR><Esc>")
    vim.wait_for(lambda: vim.sent("ingle/chat"), "the question")
    lines, whole = vim.sent("ingle/chat")[-1].message["params"]["context"]
    assert lines["range"]["start"]["line"] == 2
    assert lines["range"]["end"]["line"] == 4
    assert "range" not in whole
    # The server has the text of now.
    assert vim.sent("textDocument/didChange")[-1].at < vim.sent("ingle/chat")[-1].at


def test_context_can_be_taken_away_and_can_vanish(vim: Vim) -> None:
    vim.type(":1,2Ingle context<CR>:Ingle context clear<CR>:3,4Ingle context<CR>")
    vim.type(":1,$delete<CR>:Ingle new<CR>iWhy?<CR><Esc>")
    vim.wait_told("are gone, and not sent")
    wait_answered(vim)
    assert vim.sent("ingle/chat")[-1].message["params"]["context"] == []


def test_a_secret_is_refused(vim: Vim) -> None:
    (vim.home / ".env").write_text("PASSWORD=x\n")
    vim.command(f"edit {vim.home}/.env")
    vim.type(":Ingle context<CR>:Ingle new<CR>iWhat is the password?<CR><Esc>")
    vim.wait_told(".env")
    vim.wait_for(lambda: question(vim) == ["What is the password?"], "the question again")
    assert "What is the password?" not in conversation(vim)


# --- blocks --------------------------------------------------------------------------------------


def test_a_block_is_applied_to_the_file(vim: Vim) -> None:
    vim.type(":Ingle new<CR><C-w>t:1,2Ingle chat Fix it<CR>")
    wait_answered(vim)
    vim.type("<C-w>k?return<CR>a")
    vim.wait_told("changed: `u` takes it back")
    vim.type("<C-w>t")
    vim.wait_text(*FIXED)
    vim.type("u")
    vim.wait_text(*LINES)


def test_a_fence_belongs_to_its_block_and_the_only_one_is_meant_anywhere(vim: Vim) -> None:
    vim.type(":Ingle new<CR><C-w>t:1,2Ingle chat Fix it<CR>")
    wait_answered(vim)
    vim.type("<C-w>k?subtracts<CR>a<C-w>t")
    vim.wait_text(*FIXED)
    vim.type("u<C-w>b<C-w>k?```python<CR>a<C-w>t")
    vim.wait_text(*FIXED)


def test_without_a_block_nothing_is_applied(vim: Vim) -> None:
    ask(vim, "What?")
    vim.type("<C-w>kgga")
    vim.wait_told("there is no block of code here")
    vim.type("<C-w>t")
    assert vim.text() == LINES


def test_a_block_is_not_applied_to_a_read_only_file(vim: Vim) -> None:
    ask(vim, "What?")
    vim.type("<C-w>t:setlocal readonly<CR><C-w>b<C-w>k?return<CR>a")
    vim.wait_told("is read-only")
    vim.type("<C-w>t")
    assert vim.text() == LINES


def test_the_right_block_of_several(start: Start) -> None:
    blocks = [
        {"index": 0, "language": "", "path": "", "text": "one\n"},
        {"index": 1, "language": "", "path": "b.py", "text": "x = 2\ny = 3\n"},
        {"index": 2, "language": "", "path": "", "text": "one\n"},
    ]
    answer = (
        "```\none\n```\n\n- in a list:\n  ```python:b.py\n  x = 2\n  y = 3\n  ```\n```\none\n```\n"
    )
    result = {"thread": "t", "title": "T", "turn": 1, "text": answer, "finish": "stop"}
    applied: dict[str, Any] = {"applied": False, "message": "it does not fit"}
    play = {"answers": {"ingle/chat": result | {"blocks": blocks}, "ingle/chat/apply": applied}}
    vim = start({"a.py": "a\n", "b.py": "b\n"}, play=play)
    vim.wait_attached()
    vim.command("buffer b.py | buffer a.py")
    vim.type(":Ingle chat Why?<CR>")
    vim.wait_for(lambda: "- in a list:" in conversation(vim), "an answer")
    vim.type("<C-w>k/y = 3<CR>aGkka?^- in<CR>a")
    vim.wait_told("put the cursor into a block of code")
    vim.wait_for(lambda: len(vim.sent("ingle/chat/apply")) == 2, "two requests")
    first, second = (item.message["params"] for item in vim.sent("ingle/chat/apply"))
    assert (first["block"], first["uri"]) == (1, (vim.home / "b.py").as_uri())
    assert (second["block"], second["uri"]) == (2, (vim.home / "a.py").as_uri())
    assert first["version"] == 1
    vim.wait_told("it does not fit")
    assert vim.errors() == []


# --- reasoning -----------------------------------------------------------------------------------


def delta(channel: str, text: str, token: str = "") -> dict[str, Any]:
    """A piece of an answer; Vim's tokens end with the question's number."""
    params = {"token": token, "thread": "t", "channel": channel, "text": text}
    return {"method": "ingle/chat/delta", "params": params}


def test_the_analysis_is_hidden_unless_asked_for(start: Start) -> None:
    vim = start({"a.py": "a\n"}, play={"answers": {"ingle/chat": "<silence>"}})
    vim.wait_attached()
    play = Play(vim.home, vim.record, answers={"ingle/chat": "<silence>"})
    vim.type(":Ingle chat Why?<CR>")
    vim.wait_for(lambda: vim.sent("ingle/chat"), "the question")
    token = vim.sent("ingle/chat")[0].message["params"]["token"]

    def say(*pieces: tuple[str, str]) -> None:
        messages = [delta(channel, text, token) for channel, text in pieces]
        play.change(first={"test/now": [*messages, delta("final", "NO", "of an older question")]})
        vim.call("ingle#client#Notify('test/now', {})")

    say(("analysis", "I th"), ("analysis", "ink\nhard"))
    vim.wait_for(lambda: "*thinking …*" in conversation(vim), "that it thinks")
    assert conversation(vim)[4:] == ["## ingle", "", "*thinking …*", ""]
    vim.type(":Ingle analysis<CR>")
    vim.wait_for(lambda: "> hard" in conversation(vim), "the analysis")
    assert conversation(vim)[4:] == ["## ingle", "", "> I think", "> hard", "", ""]
    say(("final", "Bec"), ("final", "ause\n\nyes"))
    vim.wait_for(lambda: "yes" in conversation(vim), "the answer")
    assert conversation(vim)[6:] == ["> I think", "> hard", "", "Because", "", "yes", ""]
    vim.type("<C-w>kr")
    vim.wait_for(lambda: conversation(vim)[6:] == ["Because", "", "yes", ""], "no analysis")
    vim.type("x")
    vim.wait_for(lambda: "*stopped*" in conversation(vim), "the end")
    assert vim.sent("$/cancelRequest")
    assert vim.errors() == []


# --- bad days ------------------------------------------------------------------------------------


@pytest.fixture
def slow(make_daemon: MakeDaemon) -> DaemonUnderTest:
    """One that is never done."""
    return make_daemon(scripted=ENDLESS).start()


def begin(vim: Vim) -> None:
    """Ask what is never answered completely."""
    vim.wait_attached()
    vim.type(":Ingle chat Why?<CR>")
    vim.wait_for(lambda: "word word" in "\n".join(conversation(vim)), "the beginning of an answer")


def test_an_answer_is_stopped(start: Start, slow: DaemonUnderTest) -> None:
    vim = start({"add.py": ADD}, env=slow.env)
    begin(vim)
    vim.type("iAnother?<CR>")
    vim.wait_told("the answer before is not complete")
    assert question(vim) == ["Another?"]
    vim.type("<Esc>:Ingle cancel<CR>")
    vim.wait_for(lambda: "*stopped*" in conversation(vim), "the end")
    with slow.client() as client:
        vim.wait_for(lambda: not client.status().active, "a free engine")
    said = conversation(vim)
    vim.settle()
    assert conversation(vim) == said
    assert vim.errors() == []


def test_typing_goes_on_while_an_answer_comes(start: Start, slow: DaemonUnderTest) -> None:
    vim = start({"add.py": ADD}, env=slow.env)
    begin(vim)
    vim.type("<C-w>tOnew line<Esc>")
    vim.wait_for(lambda: vim.text() == ["new line", *LINES], "the text")
    length = len("\n".join(conversation(vim)))
    vim.wait_for(lambda: len("\n".join(conversation(vim))) > length, "more of the answer")
    # Closing the windows does not stop it, and it is there when they are opened again.
    vim.type("<C-w>o")
    length = len("\n".join(conversation(vim)))
    vim.wait_for(lambda: len("\n".join(conversation(vim))) > length, "more of the answer")
    vim.type(":Ingle chat<CR>")
    vim.wait_line("word word word")
    vim.command("bwipeout! ingle://chat ingle://question")
    vim.settle()
    vim.type(":Ingle chat<CR>")
    vim.wait_line("word word word")
    assert vim.errors() == []


def test_the_daemon_is_killed_in_the_middle_and_comes_again(
    start: Start, slow: DaemonUnderTest
) -> None:
    vim = start({"add.py": ADD}, env=slow.env)
    begin(vim)
    slow.kill()
    vim.wait_for(lambda: "*broken off*" in conversation(vim), "the end")
    assert len(vim.told()) >= 1
    slow.configure(scripted={"script": ANSWER, "tokens_per_second": 500.0})
    slow.start()
    vim.type("iAgain?<CR><Esc>")
    wait_answered(vim)
    assert vim.errors() == []


def test_without_a_daemon_the_question_is_kept(start: Start, make_daemon: MakeDaemon) -> None:
    vim = start({"add.py": ADD}, env=make_daemon().env)
    vim.wait_attached()
    vim.type(":Ingle chat<CR>iWhy?<CR><Esc>")
    vim.wait_for(lambda: question(vim) == ["Why?"], "the question again")
    vim.wait_told("`:Ingle start`")
    assert vim.errors() == []
