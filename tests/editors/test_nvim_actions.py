"""Changes and explanations in a real Neovim: what is edited, what is shown, what is refused."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemons import DaemonUnderTest, saying
from support.nvim import Neovim, starter, versions
from support.shared_editor import SharedEditor, shared_editor

pytestmark = [pytest.mark.editor, pytest.mark.slow]

Start = Callable[..., Neovim]
MakeDaemon = Callable[..., DaemonUnderTest]
ADD = "import os\n\n\ndef add(a, b):\n    return a - b\n\n\nx = '😀'\n"
LINES = ADD.split("\n")[:-1]
FIXED = [line.replace("a - b", "a + b") for line in LINES]
ANSWER = "Here:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
ENDLESS = {"script": "word " * 4000, "tokens_per_second": 20.0}
DIAGNOSTIC = """
vim.diagnostic.set(vim.api.nvim_create_namespace('test'), 0, {
  { lnum = 4, col = 4, end_lnum = 4, end_col = 10, message = 'should be a sum', severity = 1 } })
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One whose answers have the code of `ANSWER`."""
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
        lambda: Neovim(program, daemon.home / f"n{next(_numbers)}", env=daemon.env)
    ) as shared:
        yield shared


@pytest.fixture
def nvim(shared: SharedEditor[Neovim]) -> Iterator[Neovim]:
    """The shared Neovim with `add.py`, the cursor in its function; no error may be shown."""
    with shared.at_rest() as nvim:
        nvim.edit(f"add{next(_numbers)}.py", ADD)
        nvim.command("5")
        yield nvim


@pytest.fixture
def start(program: str, home: Path) -> Iterator[Start]:
    """Starts Neovims; `env` says whom they talk to."""
    with starter(program, home, {}) as start:
        yield start


def argument(nvim: Neovim) -> dict[str, Any]:
    """What the server's last command was given."""
    found = nvim.sent("workspace/executeCommand")[-1].message["params"]["arguments"][0]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "keys",
    [
        ":Ingle document<CR>",
        ":Ingle refactor use a sum<CR>",
        ":Ingle refactor<CR>use a sum<CR>",
        "Vk:Ingle document<CR>",
        "vkw:Ingle document<CR>",
    ],
)
def test_the_function_is_changed_and_taken_back(nvim: Neovim, keys: str) -> None:
    nvim.type(keys)
    nvim.wait_text(*FIXED)
    assert argument(nvim).get("instruction", "use a sum") == "use a sum"
    nvim.wait_line("`u` takes it back")
    nvim.type("u")
    nvim.wait_text(*LINES)


def test_a_diagnostic_is_fixed(nvim: Neovim) -> None:
    nvim.lua(DIAGNOSTIC)
    nvim.type(":Ingle fix<CR>")
    nvim.wait_text(*FIXED)
    (problem,) = argument(nvim)["diagnostics"]
    assert problem["message"] == "should be a sum"
    assert problem["range"]["start"] == {"line": 4, "character": 4}


def test_without_a_diagnostic_there_is_nothing_to_fix(nvim: Neovim) -> None:
    nvim.lua(DIAGNOSTIC)
    nvim.type("gg:Ingle fix<CR>")
    nvim.wait_message("there is no diagnostic here")


def test_tests_are_written_into_a_new_file_that_is_shown(nvim: Neovim) -> None:
    name = nvim.lua("return vim.fn.expand('%:t')")
    nvim.type(":Ingle tests<CR>")
    made = f"test_{name}"
    nvim.wait_line("def add(a, b):")
    nvim.wait_for(lambda: nvim.lua("return vim.fn.bufwinnr(...)", made) > 0, "a window of it")
    assert nvim.lua("return vim.fn.expand('%:t')") == name
    assert nvim.text() == LINES
    buffer = nvim.lua("return vim.fn.bufnr(...)", made)
    assert "    return a + b" in nvim.text(buffer)
    # Saving it is the user's affair.
    assert nvim.lua("return vim.bo[...].modified", buffer)


def test_an_explanation_is_shown_beside(nvim: Neovim) -> None:
    nvim.type(":Ingle explain<CR>")
    nvim.wait_line("# Explain: add")
    assert nvim.text() == LINES
    nvim.picture("nvim-explain")
    nvim.type("<C-w>w")
    nvim.wait_for(lambda: nvim.text()[0] == "# Explain: add", "the explanation")
    assert nvim.text()[2:] == ANSWER.split("\n")[:-1]
    nvim.type("q")
    nvim.wait_text(*LINES)


def test_an_explanation_does_not_take_the_cursor_from_who_types(nvim: Neovim) -> None:
    nvim.type(":Ingle explain<CR>Goy = ")
    nvim.wait_line("# Explain: add")
    nvim.type("1<Esc>")
    nvim.wait_text(*LINES, "y = 1")


def test_neovims_own_code_actions(nvim: Neovim) -> None:
    nvim.type(":lua vim.lsp.buf.code_action()<CR>")
    nvim.wait_line("Document")
    (number,) = [line for line in nvim.lines() if "Document" in line]
    nvim.type(f"{number.split(':')[0].strip()}<CR>")
    nvim.wait_text(*FIXED)


def test_a_commit_message(nvim: Neovim, tmp_path: Path) -> None:
    folder = nvim.home / f"r{next(_numbers)}"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "a.py").write_text("x = 1\n")
    subprocess.run(["git", "-C", str(folder), "add", "a.py"], check=True)
    nvim.command(f"cd {folder}")
    (folder / ".git" / "COMMIT_EDITMSG").write_text("\n# Please enter the commit message\n")
    nvim.command("edit .git/COMMIT_EDITMSG | set filetype=gitcommit")
    nvim.type(":Ingle commit<CR>")
    nvim.wait_text("def add(a, b):", "", "return a + b", "# Please enter the commit message")
    nvim.type("u")
    nvim.wait_text("", "# Please enter the commit message")
    nvim.command(f"edit! {folder / 'a.py'}")
    nvim.type(":Ingle commit<CR>")
    nvim.wait_line("# Commit message")
    nvim.command(f"cd {nvim.home}")


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["readonly", "nomodifiable"])
@pytest.mark.parametrize("action", ["document", "tests", "refactor x", "fix"])
def test_a_read_only_buffer_is_not_changed(nvim: Neovim, setting: str, action: str) -> None:
    before = len(nvim.sent("workspace/executeCommand"))
    nvim.lua(DIAGNOSTIC)
    nvim.command(f"setlocal {setting}")
    nvim.type(f":Ingle {action}<CR>")
    nvim.wait_message("this buffer is read-only")
    assert len(nvim.sent("workspace/executeCommand")) == before
    assert nvim.text() == LINES


@pytest.mark.parametrize("action", ["explain", "document", "chat why"])
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("enew", "this buffer has no name yet: save it first"),
        ("help", "this is no file"),
        ("edit huge.txt | call setline(1, repeat(['x'->repeat(5000)], 1100))", "is too large"),
        ("edit binary.bin | setlocal binary", "this file is binary"),
        ('edit nul.txt | call setline(1, "a\\nb")', "this file is binary"),
    ],
)
def test_what_can_not_be_sent(nvim: Neovim, command: str, message: str, action: str) -> None:
    nvim.command(command)
    before = nvim.text()
    nvim.type(f":%Ingle {action}<CR>")
    nvim.wait_message(message)
    assert nvim.text() == before
    nvim.command("silent! bwipeout!")


def test_unknown_words_are_told(nvim: Neovim) -> None:
    nvim.type(":Ingle explode<CR>")
    nvim.wait_message("there is no `:Ingle explode`: see :help :Ingle")


@pytest.fixture
def slow(make_daemon: MakeDaemon, start: Start) -> Neovim:
    """A Neovim with `add.py` whose daemon takes long for its answer."""
    script = "well " * 40 + ANSWER
    daemon = make_daemon(scripted={"script": script, "tokens_per_second": 40.0}).start()
    nvim = start({"add.py": ADD}, env=daemon.env)
    nvim.wait_attached()
    nvim.command("5")
    nvim.type(":Ingle document<CR>")
    nvim.wait_for(lambda: _running(daemon), "a running request")
    return nvim


def _running(daemon: DaemonUnderTest) -> bool:
    with daemon.client() as client:
        return bool(client.status().active)


def test_lines_that_changed_meanwhile_are_left_alone(slow: Neovim) -> None:
    slow.type("A # mine<Esc>")
    slow.wait_message("have changed meanwhile")
    assert slow.text() == [line + " # mine" if "return" in line else line for line in LINES]
    assert slow.errors() == []


def test_lines_elsewhere_may_change_while_it_is_made(slow: Neovim) -> None:
    slow.type("ggO# mine")
    slow.wait_text("# mine", *FIXED)
    # It was done in the middle of typing, as a step of undo of its own.
    assert slow.mode == "i"
    slow.type(", too<Esc>")
    slow.wait_text("# mine, too", *FIXED)
    # To Neovim 0.7 all that is typed in one go is one step.
    slow.type("u" if slow.is_0_7 else "uu")
    slow.wait_text("# mine, too" if slow.is_0_7 else "# mine", *LINES)
    assert slow.errors() == []


def test_a_buffer_that_was_closed_meanwhile_stays_closed(slow: Neovim) -> None:
    file = Path(slow.lua("return vim.fn.expand('%:p')"))
    slow.command("bwipeout!")
    slow.wait_message("closed meanwhile")
    assert file.read_text() == ADD
    assert slow.lua("return vim.fn.bufexists(...)", str(file)) == 0
    assert slow.errors() == []


def test_a_buffer_that_became_read_only_meanwhile(slow: Neovim) -> None:
    slow.command("setlocal nomodifiable")
    slow.wait_message("read-only")
    assert slow.text() == LINES
    assert slow.errors() == []


def test_a_change_is_cancelled(slow: Neovim) -> None:
    slow.type(":Ingle cancel<CR>")
    slow.wait_line("cancelled")
    slow.wait_for(lambda: slow.sent("$/cancelRequest"), "a cancelled request")
    assert slow.text() == LINES


def test_an_answer_without_code_changes_nothing(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "I would rather not."}).start()
    nvim = start({"add.py": ADD}, env=daemon.env)
    nvim.wait_attached()
    nvim.type("5gg:Ingle document<CR>")
    nvim.wait_for(nvim.messages, "a message")
    (message,) = nvim.messages()
    assert message.startswith("ingle: ")
    assert nvim.text() == LINES


#: An edit of the whole first line, of the version that is put in.
EDIT = """
local uri = vim.uri_from_bufnr(0)
local range = { start = { line = 0, character = 0 }, ['end'] = { line = 0, character = 6 } }
local version, create = ...
local changes = { {
  textDocument = { uri = uri, version = version },
  edits = { { range = range, newText = 'EDITED' } },
} }
if create then
  table.insert(changes, 1, { kind = 'create', uri = uri })
end
return require('ingle.edits').apply({ edit = { documentChanges = changes } }, 'utf-8')
"""


def test_an_edit_of_another_version_is_refused(nvim: Neovim) -> None:
    nvim.type("x")
    nvim.settle()
    version = nvim.lua("return vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]")
    for wrong in (version - 1, version + 1):
        assert nvim.lua(EDIT, wrong) == {
            "applied": False,
            "failureReason": "the text was changed meanwhile",
        }
    assert nvim.text()[4] == LINES[4].removeprefix(" ")
    assert nvim.text()[0] == "import os"
    assert nvim.lua(EDIT, version) == {"applied": True}
    assert nvim.text()[0] == "EDITED os"


def test_a_file_that_is_there_is_not_created(nvim: Neovim) -> None:
    answer = nvim.lua(EDIT + "", 0, True)
    assert answer["failureReason"].endswith("exists already")
    assert nvim.text() == LINES
    assert Path(nvim.lua("return vim.fn.expand('%:p')")).read_text() == ADD
