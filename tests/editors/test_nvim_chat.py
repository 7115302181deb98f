"""The chat in a real Neovim: streaming, threads, context, code blocks; and when it goes wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemons import DaemonUnderTest, saying
from support.nvim import Neovim, starter, versions
from support.shared_editor import SharedEditor, shared_editor

pytestmark = [pytest.mark.editor, pytest.mark.slow]

Start = Callable[..., Neovim]
MakeDaemon = Callable[..., DaemonUnderTest]
ADD = "def add(a, b):\n    return a - b\n\n\nprint(add(1, 2))\n"
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


@pytest.fixture(scope="module", params=versions())
def program(request: pytest.FixtureRequest) -> str:
    """A Neovim."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared(program: str, daemon: DaemonUnderTest) -> Iterator[SharedEditor[Neovim]]:
    """One that tests without a configuration share."""
    with shared_editor(
        lambda: Neovim(program, daemon.home / f"n{next(_numbers)}", env=daemon.env, size=(100, 30))
    ) as shared:
        yield shared


@pytest.fixture
def nvim(shared: SharedEditor[Neovim]) -> Iterator[Neovim]:
    """The shared Neovim with `add.py`, as it is after a start; no error may have been shown."""
    with shared.at_rest() as nvim:
        nvim.edit(f"add{next(_numbers)}.py", ADD)
        yield nvim


@pytest.fixture
def start(program: str, home: Path) -> Iterator[Start]:
    """Starts Neovims; `env` says whom they talk to."""
    with starter(program, home, {}) as start:
        yield start


def conversation(nvim: Neovim) -> list[str]:
    """The lines of the chat's buffer."""
    return nvim.text(nvim.lua("return vim.fn.bufnr('ingle://chat')"))


def wait_answered(nvim: Neovim, times: int = 1) -> None:
    """Wait until so many questions have their answers, and the next can be written."""
    nvim.wait_for(
        lambda: (
            conversation(nvim).count("That is all.") == times
            and conversation(nvim)[-3:] == ["## You", "", ""]
        ),
        "an answer",
    )


def ask(nvim: Neovim, question: str) -> None:
    """Open the chat anew, and ask."""
    nvim.type(f":Ingle new<CR>i{question}<C-s>")
    wait_answered(nvim)


def test_an_answer_streams_into_the_buffer(nvim: Neovim) -> None:
    ask(nvim, "What is wrong?")
    assert conversation(nvim) == [
        "# What is wrong?",
        "",
        "## You",
        "",
        "What is wrong?",
        "",
        "## ingle",
        "",
        *ANSWER.split("\n"),
        "",
        "## You",
        "",
        "",
    ]
    assert nvim.mode == "n"
    nvim.wait_line("tokens/s")
    nvim.picture("nvim-chat")
    deltas = nvim.received("ingle/chat/delta")
    assert len(deltas) > 2
    assert "".join(item.message["params"]["text"] for item in deltas).endswith(ANSWER)


def test_the_thread_goes_on_and_is_found_again(nvim: Neovim) -> None:
    title = f"Question {next(_numbers)}"
    ask(nvim, title)
    nvim.type("iAnd why?<Esc><CR>")
    wait_answered(nvim, times=2)
    before = conversation(nvim)
    nvim.type(":Ingle new<CR>")
    nvim.wait_for(lambda: conversation(nvim)[0] == "# New chat", "a new thread")
    # The menu of `vim.ui.select`: the newest thread is the first.
    nvim.type(":Ingle threads<CR>")
    nvim.wait_line(f"1: {title} (4 turns")
    nvim.type("1<CR>")
    nvim.wait_for(lambda: conversation(nvim) == before, "the same conversation")
    nvim.type("iMore.<C-s>")
    wait_answered(nvim, times=3)


def test_a_thread_is_deleted(nvim: Neovim) -> None:
    title = f"Question {next(_numbers)}"
    ask(nvim, title)
    nvim.type(":Ingle delete<CR>")
    nvim.wait_line(f"Delete “{title}”?")
    nvim.type("n")
    nvim.settle()
    assert conversation(nvim)[0] == f"# {title}"
    nvim.type(":Ingle! delete<CR>")
    nvim.wait_for(lambda: conversation(nvim)[0] == "# New chat", "an empty chat")
    names = nvim.lua(
        """
        local names
        require('ingle.client').request('ingle/chat/threads', vim.empty_dict(), function(_, found)
          names = vim.tbl_map(function(item) return item.title end, found)
        end)
        vim.wait(5000, function() return names end, 10)
        return names
        """
    )
    assert title not in names


def test_the_selection_goes_with_the_question(nvim: Neovim) -> None:
    name = nvim.lua("return vim.fn.expand('%:t')")
    nvim.type(":Ingle new<CR><C-w>p")
    nvim.type("ggVj:Ingle chat Why?<CR>")
    wait_answered(nvim)
    assert conversation(nvim)[2:7] == ["## You", "", f"> {name}:1-2", "", "Why?"]
    context = nvim.sent("ingle/chat")[-1].message["params"]["context"]
    (part,) = context
    assert part["range"]["start"] == {"line": 0, "character": 0}
    assert part["range"]["end"] == {"line": 1, "character": 16}
    # It is not sent a second time.
    nvim.type("iAnd?<C-s>")
    wait_answered(nvim, times=2)
    assert nvim.sent("ingle/chat")[-1].message["params"]["context"] == []


def test_characters_of_a_line_and_a_file_go_with_the_question(nvim: Neovim) -> None:
    nvim.command("call setline(1, 'x = \"😀é漢\" + y')")
    name = nvim.lua("return vim.fn.expand('%:t')")
    nvim.type(":Ingle new<CR><C-w>pgg0f😀vf漢:Ingle context<CR>:Ingle context<CR>")
    nvim.type(":Ingle chat Why?<CR>")
    wait_answered(nvim)
    part, whole = nvim.sent("ingle/chat")[-1].message["params"]["context"]
    assert "range" not in whole
    utf8 = {"start": 5, "end": 14}
    utf16 = {"start": 5, "end": 9}
    characters = {name: part["range"][name]["character"] for name in ("start", "end")}
    assert characters in (utf8, utf16)
    assert f"> {name}:1" in conversation(nvim)
    assert f"> {name}" in conversation(nvim)


def test_a_block_is_applied_to_the_file(nvim: Neovim) -> None:
    nvim.type("ggVj:Ingle new<CR><C-w>p:1,2Ingle chat Fix it<CR>")
    wait_answered(nvim)
    nvim.type("?return<CR>g<CR><C-w>p")
    nvim.wait_text(*FIXED)
    nvim.type("u")
    nvim.wait_text(*ADD.split("\n")[:-1])


def test_without_a_block_nothing_is_applied(nvim: Neovim) -> None:
    ask(nvim, "What?")
    nvim.type("?subtracts<CR>g<CR>")
    nvim.wait_message("there is no code block of an answer under the cursor")
    nvim.type("<C-w>p")
    assert nvim.text() == ADD.split("\n")[:-1]


def test_a_block_is_not_applied_to_a_read_only_file(nvim: Neovim) -> None:
    ask(nvim, "What?")
    nvim.type("<C-w>p:setlocal readonly<CR><C-w>p?return<CR>g<CR>")
    nvim.wait_message("is read-only")
    nvim.type("<C-w>p")
    assert nvim.text() == ADD.split("\n")[:-1]


def test_an_empty_question_is_not_sent(nvim: Neovim) -> None:
    before = len(nvim.sent("ingle/chat"))
    nvim.type(":Ingle new<CR><CR>")
    nvim.wait_message("there is no question yet")
    assert len(nvim.sent("ingle/chat")) == before


def test_the_effort_is_sent(nvim: Neovim) -> None:
    nvim.type(":Ingle effort high<CR>:Ingle new<CR>")
    nvim.wait_line("effort high")
    ask(nvim, "Why?")
    assert nvim.sent("ingle/chat")[-1].message["params"]["effort"] == "high"
    nvim.type(":Ingle effort most<CR>")
    nvim.wait_message("effort is low, medium or high")


def test_the_analysis_is_hidden_unless_asked_for(nvim: Neovim) -> None:
    ask(nvim, "Why?")
    # The scripted engine thinks nothing: the server's message is made here.
    nvim.lua(
        """
        local chat = require('ingle.chat')
        chat.thread().turns[2].analysis = 'first\\nsecond'
        require('ingle.chat_buffer').render()
        """
    )
    assert "> first" not in conversation(nvim)
    nvim.type("ga")
    nvim.wait_for(lambda: "> first" in conversation(nvim), "the analysis")
    assert conversation(nvim)[8:11] == ["> first", "> second", ""]
    nvim.type("ga")
    nvim.wait_for(lambda: "> first" not in conversation(nvim), "no analysis")


def test_deltas_of_both_channels_are_drawn_as_they_come(nvim: Neovim) -> None:
    nvim.type(":Ingle new<CR>ga")
    nvim.lua(
        """
        local client = require('ingle.client')
        request = client.request
        client.request = function(_, params)
          token = params().token
          return { cancel = function() end }
        end
        require('ingle.chat').ask('Why?')
        client.request = request
        function piece(channel, text)
          require('ingle.chat').delta({
            token = token, thread = 't', channel = channel, text = text })
        end
        piece('analysis', 'I th')
        piece('analysis', 'ink\\nhard')
        piece('final', 'Bec')
        piece('final', 'ause\\n\\nyes')
        require('ingle.chat').delta({
          token = 'of an older question', thread = 't', channel = 'final', text = 'NO' })
        """
    )
    assert conversation(nvim)[6:] == [
        "## ingle",
        "",
        "> I think",
        "> hard",
        "",
        "Because",
        "",
        "yes",
    ]
    nvim.type("ga")
    nvim.wait_for(lambda: conversation(nvim)[8:] == ["Because", "", "yes"], "no analysis")
    nvim.lua("piece('analysis', ' more'); piece('final', '!')")
    assert conversation(nvim)[8:] == ["Because", "", "yes!"]
    nvim.type("<C-c>")
    nvim.wait_for(lambda: "## You" in conversation(nvim)[-3:], "a place for the next question")


@pytest.fixture
def slow(make_daemon: MakeDaemon) -> DaemonUnderTest:
    """One that is never done."""
    return make_daemon(scripted=ENDLESS).start()


def test_an_answer_is_stopped(start: Start, slow: DaemonUnderTest) -> None:
    nvim = start({"add.py": ADD}, env=slow.env)
    nvim.wait_attached()
    nvim.type(":Ingle chat Why?<CR>")
    nvim.wait_for(
        lambda: "word word" in "\n".join(conversation(nvim)), "the beginning of an answer"
    )
    nvim.type("x")
    nvim.wait_message("E21")
    nvim.command("messages clear")
    nvim.type("<C-c>")
    nvim.wait_for(lambda: conversation(nvim)[-3:] == ["## You", "", ""], "the end")
    nvim.wait_line("stopped")
    assert nvim.sent("$/cancelRequest")
    with slow.client() as client:
        nvim.wait_for(lambda: not client.status().active, "a free engine")
    said = conversation(nvim)
    nvim.settle()
    assert conversation(nvim) == said
    assert nvim.errors() == []


def test_the_daemon_is_killed_in_the_middle_and_comes_again(
    start: Start, slow: DaemonUnderTest
) -> None:
    nvim = start({"add.py": ADD}, env=slow.env)
    nvim.wait_attached()
    nvim.type(":Ingle chat Why?<CR>")
    nvim.wait_for(
        lambda: "word word" in "\n".join(conversation(nvim)), "the beginning of an answer"
    )
    slow.kill()
    nvim.wait_line("broken off")
    slow.configure(scripted={"script": ANSWER, "tokens_per_second": 500.0})
    slow.start()
    nvim.type("iAgain?<C-s>")
    wait_answered(nvim)
    assert nvim.errors() == []


def test_the_language_server_is_killed_in_the_middle(start: Start, slow: DaemonUnderTest) -> None:
    nvim = start({"add.py": ADD}, env=slow.env)
    nvim.wait_attached()
    nvim.type(":Ingle chat Why?<CR>")
    nvim.wait_for(
        lambda: "word word" in "\n".join(conversation(nvim)), "the beginning of an answer"
    )
    nvim.stop_server()
    nvim.wait_line("broken off")
    nvim.wait_message("quit with exit code" if nvim.is_0_7 else "ingle-lsp has ended")
    nvim.type(":Ingle cancel<CR>")
    nvim.wait_line("nothing is running")
    nvim.type(":Ingle restart<CR>")
    nvim.wait_for(lambda: nvim.lua("return require('ingle.client').is_ready()"), "a new server")
    assert nvim.errors() == []


def test_without_a_daemon_the_question_stays(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": ANSWER})
    nvim = start({"add.py": ADD}, env=daemon.env)
    nvim.wait_attached()
    nvim.type("V:Ingle chat Why?<CR>")
    nvim.wait_message(":Ingle start")
    nvim.wait_for(lambda: conversation(nvim)[-1] == "Why?", "the question in its place")
    nvim.wait_line("add.py:1 ")
    daemon.start()
    nvim.type("<CR>")
    wait_answered(nvim)
    assert "> add.py:1" in conversation(nvim)
    assert nvim.errors() == []
