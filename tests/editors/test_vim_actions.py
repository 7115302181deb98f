"""Changes and explanations in a real Vim: what is edited, what is shown, what is refused."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemons import DaemonUnderTest, saying
from support.shared_editor import SharedEditor, shared_editor
from support.vim import Vim, reason_to_skip, starter

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
]

Start = Callable[..., Vim]
MakeDaemon = Callable[..., DaemonUnderTest]
ADD = "import os\n\n\ndef add(a, b):\n    return a - b\n\n\nx = '😀'\n"
LINES = ADD.split("\n")[:-1]
FIXED = [line.replace("a - b", "a + b") for line in LINES]
ANSWER = "Here:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
PROBLEM = (
    "call setloclist(0, [{'bufnr': bufnr(), 'lnum': 5, 'col': 5, 'end_col': 11, 'type': 'W',"
    " 'text': 'should be a sum'}, {'bufnr': bufnr(), 'lnum': 1, 'text': 'not used'},"
    " {'text': 'a line of output'}])"
)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One whose answers have the code of `ANSWER`."""
    with saying(ANSWER) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared(daemon: DaemonUnderTest) -> Iterator[SharedEditor[Vim]]:
    """One that tests without a configuration share."""
    with shared_editor(
        lambda: Vim(daemon.home / f"shared{next(_numbers)}", env=daemon.env)
    ) as shared:
        yield shared


@pytest.fixture
def vim(shared: SharedEditor[Vim]) -> Iterator[Vim]:
    """The shared Vim with `add.py`, the cursor in its function; no error may be shown."""
    with shared.at_rest() as vim:
        vim.edit(f"add{next(_numbers)}.py", ADD)
        vim.command("call setloclist(0, []) | call setqflist([]) | 5")
        yield vim


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts Vims; `env` says whom they talk to."""
    with starter(home, {}) as start:
        yield start


def argument(vim: Vim) -> dict[str, Any]:
    """What the server's last command was given."""
    found = vim.sent("workspace/executeCommand")[-1].message["params"]["arguments"][0]
    assert isinstance(found, dict)
    return found


# --- changes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        ":Ingle document<CR>",
        ":Ingle refactor use a sum<CR>",
        ":Ingle refactor<CR>use a sum<CR>",
        ":Ingle fix should be a sum<CR>",
        "Vk:Ingle document<CR>",
        "vkw:Ingle document<CR>",
    ],
)
def test_the_function_is_changed_and_taken_back(vim: Vim, keys: str) -> None:
    vim.type(keys)
    vim.wait_text(*FIXED)
    assert argument(vim).get("instruction", "use a sum") == "use a sum"
    vim.wait_line("`u` takes it back")
    vim.type("u")
    vim.wait_text(*LINES)


def test_what_a_selection_means(vim: Vim) -> None:
    vim.command("call setline(8, 'x = \"😀é漢\" + y')")
    vim.type("8gg0f😀vf漢:Ingle refactor x<CR>")
    vim.wait_for(lambda: argument(vim)["range"]["start"]["line"] == 7, "the request")
    assert argument(vim)["range"] == {
        "start": {"line": 7, "character": 5},
        "end": {"line": 7, "character": 5 + 4 + 2 + 3},
    }
    vim.type("4ggv$:Ingle refactor y<CR>")
    vim.wait_for(lambda: argument(vim)["instruction"] == "y", "the request")
    assert argument(vim)["range"] == {
        "start": {"line": 3, "character": 0},
        "end": {"line": 4, "character": 0},
    }
    vim.type(":4,5Ingle refactor z<CR>")
    vim.wait_for(lambda: argument(vim)["instruction"] == "z", "the request")
    assert argument(vim)["range"]["end"] == {"line": 5, "character": 0}
    vim.type("5ggww:Ingle refactor w<CR>")
    vim.wait_for(lambda: argument(vim)["instruction"] == "w", "the request")
    here = argument(vim)["range"]
    assert here["start"] == here["end"] == {"line": 4, "character": 13}


def test_what_the_location_list_says_is_fixed(vim: Vim) -> None:
    vim.command(PROBLEM)
    vim.type(":Ingle fix<CR>")
    vim.wait_text(*FIXED)
    (problem,) = argument(vim)["diagnostics"]
    assert problem["message"] == "should be a sum"
    assert problem["severity"] == 2
    assert problem["range"] == {
        "start": {"line": 4, "character": 4},
        "end": {"line": 4, "character": 10},
    }


def test_what_the_quickfix_list_says_is_fixed(vim: Vim) -> None:
    vim.command(PROBLEM.replace("setloclist(0, ", "setqflist("))
    vim.type(":1,5Ingle fix<CR>")
    vim.wait_for(lambda: "diagnostics" in argument(vim), "the request")
    whole_line, _ = sorted(
        argument(vim)["diagnostics"], key=lambda item: item["range"]["start"]["line"]
    )
    assert whole_line["range"]["end"] == {"line": 0, "character": 9}


def test_where_nothing_is_listed_there_is_nothing_to_fix(vim: Vim) -> None:
    vim.command(PROBLEM)
    before = len(vim.sent("workspace/executeCommand"))
    vim.type("2gg:Ingle fix<CR>")
    vim.wait_told("there is nothing to fix here")
    assert len(vim.sent("workspace/executeCommand")) == before


def test_tests_are_written_into_a_new_file_that_is_shown(vim: Vim) -> None:
    name = vim.expr("expand('%:t')")
    vim.type(":Ingle tests<CR>")
    made = f"test_{name}"
    vim.wait_for(lambda: vim.expr(f"bufwinnr('{made}')") > 0, "a window of it")
    assert vim.expr("expand('%:t')") == name
    assert vim.text() == LINES
    assert "    return a + b" in vim.text(f"bufnr('{made}')")
    assert vim.expr(f"getbufvar('{made}', '&filetype')") == "python"
    # Saving it is the user's affair.
    assert vim.expr(f"getbufvar('{made}', '&modified')") == 1
    assert not (vim.home / made).exists()


def test_code_actions_are_chosen_from(vim: Vim) -> None:
    vim.command(PROBLEM)
    vim.type(":Ingle actions<CR>")
    vim.wait_line("1 Fix: should be a sum")
    vim.picture("vim-actions")
    vim.type("1")
    vim.wait_text(*FIXED)
    assert vim.sent("codeAction/resolve")
    vim.type("u:Ingle actions<CR>")
    vim.wait_line("Explain")
    (line,) = [line for line in vim.lines() if "Explain" in line and "║" in line]
    vim.type(line.partition("║")[2].split()[0])
    vim.wait_line("ingle://Explain: add")
    vim.type("5gg:Ingle actions<CR>")
    vim.wait_line("║ 2 Write tests")
    vim.type("jj<Esc>")
    vim.settle()
    assert vim.text() == LINES


def test_actions_in_a_read_only_buffer(vim: Vim) -> None:
    vim.command("setlocal readonly")
    vim.type(":Ingle actions<CR>")
    vim.wait_line("Document")
    (line,) = [line for line in vim.lines() if "Document" in line]
    vim.type(line.partition("║")[2].split()[0])
    vim.wait_told("this buffer is read-only")
    assert vim.text() == LINES


# --- text to read --------------------------------------------------------------------------------


def test_an_explanation_is_shown_beside(vim: Vim) -> None:
    vim.type(":Ingle explain<CR>")
    vim.wait_line("ingle://Explain: add")
    assert vim.text() == LINES
    vim.picture("vim-explain")
    vim.type("<C-w>b")
    vim.wait_for(lambda: vim.text() == ANSWER.strip().split("\n"), "the explanation")
    # It is used again for the next one, and can't be changed.
    vim.type("dd<C-w>t:Ingle explain<CR>")
    vim.wait_for(lambda: len(vim.received("ingle/showMarkdown")) >= 2, "another one")
    vim.command("messages clear")
    assert vim.expr("winnr('$')") == 2
    vim.type("<C-w>bq")
    vim.wait_text(*LINES)
    assert vim.expr("winnr('$')") == 1


def test_an_explanation_does_not_take_the_cursor_from_who_types(vim: Vim) -> None:
    vim.type(":Ingle explain<CR>Goy = ")
    vim.wait_line("ingle://Explain: add")
    vim.type("1<Esc>")
    vim.wait_text(*LINES, "y = 1")


def test_a_commit_message(vim: Vim) -> None:
    folder = vim.home / f"r{next(_numbers)}"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "a.py").write_text("x = 1\n")
    subprocess.run(["git", "-C", str(folder), "add", "a.py"], check=True)
    (folder / ".git" / "COMMIT_EDITMSG").write_text("\n# Please enter the commit message\n")
    vim.command(f"cd {folder}")
    vim.command("edit .git/COMMIT_EDITMSG | set filetype=gitcommit")
    vim.type(":Ingle commit<CR>")
    vim.wait_text("def add(a, b):", "", "return a + b", "# Please enter the commit message")
    vim.type("u")
    vim.wait_text("", "# Please enter the commit message")
    vim.command(f"edit! {folder / 'a.py'}")
    vim.type(":Ingle commit<CR>")
    vim.wait_line("ingle://Commit message")
    vim.command(f"cd {vim.home}")


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["readonly", "nomodifiable"])
@pytest.mark.parametrize("action", ["document", "tests", "refactor x", "fix"])
def test_a_read_only_buffer_is_not_changed(vim: Vim, setting: str, action: str) -> None:
    before = len(vim.sent("workspace/executeCommand"))
    vim.command(PROBLEM)
    vim.command(f"setlocal {setting}")
    vim.type(f":Ingle {action}<CR>")
    vim.wait_told("this buffer is read-only")
    assert len(vim.sent("workspace/executeCommand")) == before
    assert vim.text() == LINES


@pytest.fixture
def slow(make_daemon: MakeDaemon, start: Start) -> Vim:
    """A Vim with `add.py` whose daemon takes long for its answer."""
    script = "well " * 40 + ANSWER
    daemon = make_daemon(scripted={"script": script, "tokens_per_second": 40.0}).start()
    config = "let g:ingle = {'automatic': v:false}"
    vim = start({"add.py": ADD}, env=daemon.env, config=config)
    vim.wait_attached()
    vim.command("5")
    vim.type(":Ingle document<CR>")
    vim.wait_for(lambda: _running(daemon), "a running request")
    return vim


def _running(daemon: DaemonUnderTest) -> bool:
    with daemon.client() as client:
        return bool(client.status().active)


def test_progress_is_shown(slow: Vim) -> None:
    slow.wait_line("documenting: writing: ")
    slow.picture("vim-progress")
    slow.wait_text(*FIXED)
    slow.wait_for(lambda: not any("documenting" in line for line in slow.lines()), "its end")
    assert slow.errors() == []


def test_lines_that_changed_meanwhile_are_left_alone(slow: Vim) -> None:
    slow.type("A # mine<Esc>")
    slow.wait_told("have changed meanwhile")
    assert slow.text() == [line + " # mine" if "return" in line else line for line in LINES]
    assert slow.errors() == []


def test_lines_elsewhere_may_change_while_it_is_made(slow: Vim) -> None:
    slow.type("ggO# mine")
    slow.wait_text("# mine", *FIXED)
    # It was done in the middle of typing, as a step of undo of its own.
    assert slow.mode == "i"
    slow.type(", too<Esc>")
    slow.wait_text("# mine, too", *FIXED)
    slow.type("u")
    slow.wait_for(lambda: slow.text()[1:] in (FIXED, LINES), "one step back")
    slow.type("uuu")
    slow.wait_text(*LINES)
    slow.type("9<C-r>")
    slow.wait_text("# mine, too", *FIXED)
    assert slow.errors() == []


def test_a_buffer_that_was_closed_meanwhile_stays_closed(slow: Vim) -> None:
    file = Path(slow.expr("expand('%:p')"))
    slow.command("bwipeout!")
    slow.wait_told("closed meanwhile")
    assert file.read_text() == ADD
    assert slow.expr(f"bufexists('{file}')") == 0
    assert slow.errors() == []


def test_a_buffer_that_became_read_only_meanwhile(slow: Vim) -> None:
    slow.command("setlocal nomodifiable")
    slow.wait_told("read-only")
    assert slow.text() == LINES
    assert slow.errors() == []


def test_a_change_is_cancelled(slow: Vim) -> None:
    slow.type(":Ingle cancel<CR>")
    slow.wait_told("cancelled")
    slow.wait_for(lambda: slow.sent("$/cancelRequest"), "a cancelled request")
    assert slow.text() == LINES


def test_an_answer_without_code_changes_nothing(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "I would rather not."}).start()
    vim = start({"add.py": ADD}, env=daemon.env)
    vim.wait_attached()
    vim.type("5gg:Ingle document<CR>")
    vim.wait_for(vim.told, "a message")
    assert len(vim.told()) == 1
    assert vim.text() == LINES


# --- edits, as the protocol has them -------------------------------------------------------------


def at(line: int, character: int, end_line: int, end: int, text: str) -> dict[str, Any]:
    return {
        "range": {
            "start": {"line": line, "character": character},
            "end": {"line": end_line, "character": end},
        },
        "newText": text,
    }


class Applied:
    """Applies edits to the buffer `text.txt` through the plugin."""

    def __init__(self, vim: Vim, text: str) -> None:
        self.vim = vim
        vim.edit(f"text{next(_numbers)}.txt", text)
        self.uri = Path(vim.expr("expand('%:p')")).as_uri()

    @property
    def version(self) -> int:
        return int(self.vim.expr("ingle#documents#Version(bufnr())"))

    def apply(self, *edits: dict[str, Any], version: int | None = -1) -> str:
        """The reason why it was refused, or nothing."""
        document = {"uri": self.uri, "version": self.version if version == -1 else version}
        return self.workspace({"documentChanges": [{"textDocument": document, "edits": edits}]})

    def workspace(self, edit: dict[str, Any]) -> str:
        return str(self.vim.expr(f"ingle#edits#Apply({_vim(edit)})"))


def _vim(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("'", "''")
    return f"json_decode('{text}')"


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([at(0, 0, 0, 3, "ONE")], ["ONE two", "three 😀 four", "five"]),
        ([at(0, 3, 1, 6, "")], ["one😀 four", "five"]),
        ([at(1, 6, 1, 10, "é")], ["one two", "three é four", "five"]),
        ([at(0, 0, 0, 0, "new\n")], ["new", "one two", "three 😀 four", "five"]),
        ([at(3, 0, 3, 0, "end\n")], ["one two", "three 😀 four", "five", "end"]),
        ([at(3, 0, 3, 0, "end")], ["one two", "three 😀 four", "five", "end"]),
        ([at(1, 0, 3, 0, "")], ["one two"]),
        ([at(2, 4, 3, 0, "!\n")], ["one two", "three 😀 four", "five!"]),
        ([at(0, 0, 3, 0, "")], [""]),
        ([at(0, 0, 3, 0, "a\nb\nc\nd\ne\n")], ["a", "b", "c", "d", "e"]),
        # Several, in any order; at one place, in the list's order.
        (
            [at(2, 0, 2, 4, "5"), at(0, 0, 0, 3, "1"), at(0, 4, 0, 7, "2\n2")],
            ["1 2", "2", "three 😀 four", "5"],
        ),
        ([at(0, 3, 0, 3, "a"), at(0, 3, 0, 3, "b")], ["oneab two", "three 😀 four", "five"]),
        ([at(0, 0, 0, 3, "x"), at(0, 3, 0, 3, "y")], ["xy two", "three 😀 four", "five"]),
        ([at(0, 7, 1, 0, "\r\nnew\r\n")], ["one two", "new", "three 😀 four", "five"]),
    ],
)
def test_edits_are_applied(vim: Vim, edits: list[dict[str, Any]], expected: list[str]) -> None:
    applied = Applied(vim, "one two\nthree 😀 four\nfive\n")
    assert applied.apply(*edits) == ""
    assert vim.text() == expected
    vim.type("u")
    vim.wait_text("one two", "three 😀 four", "five")


@pytest.mark.parametrize(
    "edits",
    [
        [at(0, 0, 0, 8, "x")],
        [at(1, 7, 1, 8, "x")],
        [at(3, 1, 3, 1, "x")],
        [at(4, 0, 4, 0, "x")],
        [at(1, 0, 0, 0, "x")],
        [at(0, 0, 0, 3, "x"), at(0, 2, 0, 4, "y")],
        [at(0, 0, 0, 3, "fine"), at(9, 0, 9, 0, "x")],
    ],
)
def test_edits_that_do_not_fit_change_nothing(vim: Vim, edits: list[dict[str, Any]]) -> None:
    applied = Applied(vim, "one two\nthree 😀 four\nfive\n")
    tick = vim.expr("b:changedtick")
    assert applied.apply(*edits) in (
        "the edit is beyond the end of the text",
        "its edits overlap",
    )
    assert vim.text() == ["one two", "three 😀 four", "five"]
    assert vim.expr("b:changedtick") == tick


def test_an_edit_of_another_version_is_refused(vim: Vim) -> None:
    applied = Applied(vim, "one\n")
    vim.type("x")
    version = applied.version
    for wrong in (version - 1, version + 1):
        reason = applied.apply(at(0, 0, 0, 0, "X"), version=wrong)
        assert reason == "the text was changed meanwhile"
    assert vim.text() == ["ne"]
    # What was typed and the server does not know yet counts, too.
    vim.command("call setline(2, 'two')")
    assert applied.apply(at(0, 0, 0, 0, "X"), version=version) == "the text was changed meanwhile"
    assert applied.apply(at(0, 0, 0, 0, "X")) == ""
    assert applied.apply(at(0, 0, 0, 0, "Y"), version=None) == ""
    assert vim.text() == ["YXne", "two"]


def test_all_or_nothing_over_several_files(vim: Vim) -> None:
    applied = Applied(vim, "one\n")
    other = vim.home / f"other{next(_numbers)}.txt"
    other.write_text("other\n")
    here = {"uri": applied.uri, "version": applied.version}
    there = {"uri": other.as_uri(), "version": None}
    changes = [
        {"textDocument": here, "edits": [at(0, 0, 0, 0, "X")]},
        {"textDocument": there, "edits": [at(7, 0, 7, 0, "Y")]},
    ]
    assert applied.workspace({"documentChanges": changes}) != ""
    assert vim.text() == ["one"]
    changes[1]["edits"] = [at(0, 0, 0, 0, "Y")]
    assert applied.workspace({"documentChanges": changes}) == ""
    assert vim.text() == ["Xone"]
    assert vim.text(f"bufnr('{other}')") == ["Yother"]
    assert other.read_text() == "other\n"
    vim.wait_line("Yother")


@pytest.mark.parametrize("kind", ["rename", "delete"])
def test_files_are_neither_renamed_nor_deleted(vim: Vim, kind: str) -> None:
    applied = Applied(vim, "one\n")
    operation = {"kind": kind, "uri": applied.uri, "oldUri": applied.uri, "newUri": "file:///x"}
    assert applied.workspace({"documentChanges": [operation]}) != ""
    assert vim.text() == ["one"]


def test_a_file_that_is_there_is_not_created(vim: Vim) -> None:
    applied = Applied(vim, "one\n")
    other = vim.home / f"there{next(_numbers)}.txt"
    other.write_text("other\n")
    changes = [
        {"kind": "create", "uri": other.as_uri()},
        {
            "textDocument": {"uri": other.as_uri(), "version": None},
            "edits": [at(0, 0, 0, 0, "Y")],
        },
    ]
    assert "is there already" in applied.workspace({"documentChanges": changes})
    assert other.read_text() == "other\n"
    assert vim.expr(f"bufloaded('{other}')") == 0


def test_a_swap_file_of_the_other_file_asks_nothing(vim: Vim) -> None:
    applied = Applied(vim, "one\n")
    other = vim.home / f"swapped{next(_numbers)}.txt"
    other.write_text("other\n")
    (vim.home / f".{other.name}.swp").write_bytes(b"b0VIM 9.0" + bytes(4087))
    there = {"uri": other.as_uri(), "version": None}
    changes = [{"textDocument": there, "edits": [at(0, 0, 0, 0, "Y")]}]
    vim.command("set swapfile")
    assert applied.workspace({"documentChanges": changes}) == ""
    vim.command("set noswapfile")
    assert vim.text(f"bufnr('{other}')") == ["Yother"]
    vim.command("messages clear")


def test_plain_changes(vim: Vim) -> None:
    applied = Applied(vim, "one\n")
    assert applied.workspace({"changes": {applied.uri: [at(0, 0, 0, 3, "1")]}}) == ""
    assert vim.text() == ["1"]
    assert applied.workspace({}) == "there is nothing to change"
    assert applied.workspace({"changes": {"untitled:x": []}}) == "the document is not open"


def test_marks_of_lines_that_stay_are_kept(vim: Vim) -> None:
    applied = Applied(vim, "one\ntwo\nthree\nfour\n")
    vim.type("ggmajmbjmcjmdgg")
    assert applied.apply(at(0, 0, 4, 0, "zero\none\nTWO\nthree\nfour\nfive\n")) == ""
    assert vim.text() == ["zero", "one", "TWO", "three", "four", "five"]
    marks = [vim.expr(f'line("\'{name}")') for name in "ad"]
    assert marks[1] in (4, 5)
    assert vim.expr("line('.')") in (1, 2)
