"""Ghost text in a real Neovim: what is drawn, what keys do, what is asked of the server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemons import ENDLESS_LINE, DaemonUnderTest, saying
from support.nvim import Neovim, starter, versions
from support.shared_editor import SharedEditor, shared_editor

pytestmark = [pytest.mark.editor, pytest.mark.slow]

Start = Callable[..., Neovim]
ADD = "def add(a, b):\n    return\n"
CODE = {"add.py": ADD}
INLINE = "textDocument/inlineCompletion"
_numbers = itertools.count(1)
BLOCKS = "require('ingle').setup { settings = { multiline = 'always' } }"


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One that completes everything with `a + b`."""
    with saying("a + b") as daemon:
        yield daemon


@pytest.fixture(scope="module", params=versions())
def program(request: pytest.FixtureRequest) -> str:
    """A Neovim."""
    return str(request.param)


@pytest.fixture
def start(program: str, home: Path, daemon: DaemonUnderTest) -> Iterator[Start]:
    """Starts Neovims that talk to the daemon."""
    with starter(program, home, daemon.env) as start:
        yield start


@pytest.fixture(scope="module")
def shared(program: str, daemon: DaemonUnderTest) -> Iterator[SharedEditor[Neovim]]:
    """One that tests without a configuration share."""
    with shared_editor(
        lambda: Neovim(program, daemon.home / f"n{next(_numbers)}", env=daemon.env)
    ) as shared:
        yield shared


@pytest.fixture
def editor(shared: SharedEditor[Neovim]) -> Iterator[Neovim]:
    """The shared Neovim with `add.py`, as it is after a start."""
    with shared.at_rest() as editor:
        editor.edit(f"add{next(_numbers)}.py", ADD)
        yield editor
        no_trouble(editor)


@pytest.fixture
def nvim(editor: Neovim) -> Neovim:
    """The same in insert mode at the end of `    return `, with ghost text."""
    return with_ghost(editor)


def with_ghost(nvim: Neovim) -> Neovim:
    """Type until there is ghost text."""
    nvim.type("jA ")
    nvim.wait_ghost("a + b")
    return nvim


def requests(nvim: Neovim) -> int:
    return len(nvim.sent(INLINE))


def no_trouble(nvim: Neovim) -> None:
    """Once insert mode is left nothing is left on the screen, and nothing was complained of."""
    nvim.type("<C-\\><C-n>")
    nvim.settle()
    assert nvim.marks() == []
    assert nvim.ghost() == []
    assert nvim.errors() == []


# --- what is drawn -----------------------------------------------------------------------------


def test_it_is_drawn_after_the_cursor(nvim: Neovim) -> None:
    assert nvim.lines()[:2] == ["def add(a, b):", "    return a + b"]
    assert nvim.screen.cursor == (1, 11)
    assert nvim.text() == ["def add(a, b):", "    return "]
    nvim.picture("nvim-ghost-text")


def test_what_stands_after_the_cursor_is_drawn_after_it(editor: Neovim) -> None:
    nvim = editor
    nvim.edit(f"call{next(_numbers)}.py", "x = 1\nprint()\n")
    nvim.type("j$i ")
    nvim.wait_ghost("a + b")
    assert nvim.lines()[1] == "print( a + b)"
    assert nvim.screen.cursor == (1, 7)
    nvim.type("<Tab>")
    nvim.wait_text("x = 1", "print( a + b)")


def test_wide_and_combined_characters(editor: Neovim) -> None:
    nvim = editor
    nvim.edit(f"wide{next(_numbers)}.py", "x = '😀 漢字 é'\n")
    nvim.type("A;")
    nvim.wait_ghost("a + b")
    assert nvim.lines()[0].replace(" ", "") == "x='😀漢字é';a+b"
    nvim.type("<Tab>")
    nvim.wait_text("x = '😀 漢字 é';a + b")


# --- accepting ---------------------------------------------------------------------------------


def test_tab_accepts_all(nvim: Neovim) -> None:
    nvim.type("<Tab>")
    nvim.wait_text("def add(a, b):", "    return a + b")
    assert nvim.cursor == (1, 16)
    assert nvim.mode == "i"
    nvim.type(" + c")
    nvim.wait_text("def add(a, b):", "    return a + b + c")


def test_one_undo_takes_back_what_was_accepted(nvim: Neovim) -> None:
    nvim.type("<Tab><Esc>u")
    nvim.wait_text("def add(a, b):", "    return ")
    nvim.type("<C-r>")
    nvim.wait_text("def add(a, b):", "    return a + b")


def test_words_are_accepted_one_by_one(nvim: Neovim) -> None:
    before = requests(nvim)
    nvim.type("<M-w>")
    nvim.wait_ghost(" + b")
    assert nvim.text()[1] == "    return a"
    nvim.type("<M-w>")
    nvim.wait_ghost(" b")
    assert nvim.text()[1] == "    return a +"
    assert requests(nvim) == before
    nvim.type("<M-w>")
    nvim.wait_text("def add(a, b):", "    return a + b")


@pytest.fixture
def block_daemon(make_daemon: Callable[..., DaemonUnderTest]) -> DaemonUnderTest:
    """One that completes with three lines."""
    return make_daemon(scripted={"script": "for x in a:\n        a = x\n        b = x"}).start()


def test_lines_are_drawn_below_and_accepted_one_by_one(
    start: Start, block_daemon: DaemonUnderTest
) -> None:
    nvim = start({"block.py": "def f(a, b):\n\nprint()\n"}, env=block_daemon.env, config=BLOCKS)
    nvim.wait_attached()
    nvim.type("jA    ")
    nvim.wait_ghost("for x in a:", "        a = x", "        b = x")
    assert nvim.lines()[1:5] == ["    for x in a:", "        a = x", "        b = x", "print()"]
    nvim.picture("nvim-ghost-text-lines")
    nvim.type("<M-l>")
    nvim.wait_ghost("        a = x", "        b = x")
    assert nvim.text() == ["def f(a, b):", "    for x in a:", "print()"]
    nvim.type("<M-l>")
    nvim.wait_ghost("        b = x")
    assert nvim.text() == ["def f(a, b):", "    for x in a:", "        a = x", "print()"]
    nvim.type("<Tab>")
    nvim.wait_text("def f(a, b):", "    for x in a:", "        a = x", "        b = x", "print()")
    assert nvim.cursor == (3, 13)


def test_lines_below_the_window_are_counted(start: Start, block_daemon: DaemonUnderTest) -> None:
    nvim = start(
        {"long.py": "x = 1\n" * 40 + "def f(a, b):\n"}, env=block_daemon.env, config=BLOCKS
    )
    nvim.wait_attached()
    nvim.type("Go    ")
    nvim.wait_line("for x in a:  +2 lines")


# --- keys do what they did ---------------------------------------------------------------------

#: How <Tab> is mapped, and what it inserts then.
MAPPINGS = {
    "none": ("", "\t"),
    "text": ("inoremap <Tab> mapped", "mapped"),
    "recursive": ("imap <F3> mapped|imap <Tab> <F3>", "mapped"),
    "expression": ("inoremap <expr> <Tab> 'map' .. 'ped'", "mapped"),
    "function": ("lua vim.keymap.set('i', '<Tab>', put)", "mapped"),
    "buffer": ("inoremap <buffer> <Tab> mapped", "mapped"),
    "buffer, recursive": ("imap <F3> mapped|imap <buffer> <Tab> <F3>", "mapped"),
    "buffer, expression": ("inoremap <buffer> <expr> <Tab> 'map' .. 'ped'", "mapped"),
    "buffer, function": ("lua vim.keymap.set('i', '<Tab>', put, { buffer = true })", "mapped"),
    "buffer, bar": ("inoremap <buffer> <Tab> map<Bar><BS>ped", "mapped"),
    "abbreviation": ("iabbrev zz mapped", "\t"),
}
DESCRIBED = "return vim.inspect(vim.fn.maparg('<Tab>', 'i', false, true))"


@pytest.fixture
def mapped(editor: Neovim) -> Iterator[Neovim]:
    """The shared Neovim, whose mappings are taken away in the end."""
    editor.lua("function put() vim.api.nvim_put({ 'mapped' }, 'c', false, true) end")
    yield editor
    editor.type("<C-\\><C-n>")
    editor.command("mapclear! | iabclear | autocmd! mine")


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_tab_does_what_it_did(mapped: Neovim, mapping: str) -> None:
    nvim = mapped
    command, inserted = MAPPINGS[mapping]
    nvim.command(f"augroup mine | augroup END | {command}")
    before = nvim.lua(DESCRIBED)
    nvim.type("jA.<Esc>a<C-]><Tab>")
    nvim.wait_text("def add(a, b):", f"    return.{inserted}")
    nvim.type("<Esc>A ")
    nvim.wait_ghost("a + b")
    nvim.type("<Tab>")
    nvim.wait_text("def add(a, b):", f"    return.{inserted} a + b")
    nvim.type("<Esc>a<Tab>")
    nvim.wait_text("def add(a, b):", f"    return.{inserted} a + b{inserted}")
    nvim.type("<Esc>")
    nvim.settle()
    assert _without_numbers(nvim.lua(DESCRIBED)) == _without_numbers(before)


def _without_numbers(described: str) -> list[str]:
    """A mapping without what changes each time it is set: numbers of functions and scripts, and
    `<Bar>`, which Neovim 0.7 shows in two ways."""
    return [
        line.replace("<Bar>", "|")
        for line in described.split("\n")
        if not any(name in line for name in ("callback", " sid ", " lnum ", "scriptversion"))
    ]


def test_a_key_that_is_used_is_not_taken(start: Start) -> None:
    nvim = start(CODE, config="vim.keymap.set('i', '<M-w>', 'mine')")
    nvim.wait_attached()
    with_ghost(nvim)
    nvim.type("<M-w>")
    nvim.wait_text("def add(a, b):", "    return mine")


def test_keys_can_be_changed_and_switched_off(start: Start) -> None:
    config = "require('ingle').setup { keys = { accept = '<C-y>', accept_word = false } }"
    nvim = start(CODE, config=config)
    nvim.wait_attached()
    with_ghost(nvim)
    nvim.type("<C-y>")
    nvim.wait_text("def add(a, b):", "    return a + b")
    assert nvim.lua("return vim.fn.maparg('<Tab>', 'i'):find('ingle')") is None
    nvim.type("<Tab>")
    nvim.wait_text("def add(a, b):", "    return a + b\t")


def test_escape_dismisses_and_leaves_insert_mode(nvim: Neovim) -> None:
    nvim.type("<Esc>")
    nvim.wait_ghost()
    assert nvim.mode == "n"


@pytest.mark.parametrize("keys", ["<C-c>", "<C-o>", "<Cmd>stopinsert<CR>", "<Up>", "<Home>"])
def test_leaving_takes_it_away(nvim: Neovim, keys: str) -> None:
    nvim.type(keys)
    nvim.wait_ghost()
    assert nvim.marks() == []
    assert nvim.text() == ["def add(a, b):", "    return "]


def test_the_dismiss_key_stays_in_insert_mode(nvim: Neovim) -> None:
    before = requests(nvim)
    nvim.type("<C-]>")
    nvim.wait_ghost()
    assert nvim.mode == "i"
    assert nvim.marks() == []
    assert requests(nvim) == before
    nvim.type("(")
    nvim.wait_ghost("a + b")


# --- typing on ---------------------------------------------------------------------------------


def test_typing_what_is_shown_sends_nothing(nvim: Neovim) -> None:
    before = requests(nvim)
    for typed, rest in (("a", " + b"), (" ", "+ b"), ("+", " b")):
        nvim.type(typed)
        nvim.wait_ghost(rest)
        assert nvim.lines()[1] == "    return a + b"
    for rest in ("+ b", " + b", "a + b"):
        nvim.type("<BS>")
        nvim.wait_ghost(rest)
    assert requests(nvim) == before
    nvim.type("a + <Tab>")
    nvim.wait_text("def add(a, b):", "    return a + b")


def test_typing_another_thing_asks_again(nvim: Neovim) -> None:
    before = requests(nvim)
    nvim.type("x")
    nvim.wait_for(lambda: requests(nvim) == before + 1, "a request")
    nvim.wait_ghost("a + b")
    assert nvim.lines()[1] == "    return xa + b"


def test_a_newer_request_cancels_the_older(
    start: Start, make_daemon: Callable[..., DaemonUnderTest]
) -> None:
    slow = make_daemon(
        scripted={"script": ENDLESS_LINE, "tokens_per_second": 20.0}, inline={"max_tokens": 400}
    ).start()
    config = "require('ingle').setup { settings = { deadlineMs = 30000, debounceMs = 0 } }"
    nvim = start(CODE, env=slow.env, config=config)
    nvim.wait_attached()
    nvim.type("jA ")
    nvim.wait_for(lambda: requests(nvim) == 1, "a request")
    nvim.type("x")
    nvim.wait_for(lambda: requests(nvim) == 2, "another request")
    cancelled = {item.message["params"]["id"] for item in nvim.sent("$/cancelRequest")}
    assert nvim.sent(INLINE)[0].message["id"] in cancelled
    nvim.type("<Esc>")
    nvim.wait_for(lambda: len(nvim.sent("$/cancelRequest")) == 2, "both cancelled")
    nvim.wait_for(lambda: not _running(slow), "a free engine")
    no_trouble(nvim)


def _running(daemon: DaemonUnderTest) -> bool:
    with daemon.client() as client:
        return bool(client.status().active)


# --- several candidates ------------------------------------------------------------------------


def test_other_candidates_are_asked_for_and_cycled(
    start: Start, make_daemon: Callable[..., DaemonUnderTest]
) -> None:
    scripted = {"script": "a + b", "alternatives": ["a * b", "b - a"]}
    nvim = start(CODE, env=make_daemon(scripted=scripted).start().env)
    nvim.wait_attached()
    with_ghost(nvim)
    nvim.type("<M-n>")
    nvim.wait_ghost("a * b")
    nvim.wait_line("return a * b  2/3")
    kinds = [item.message["params"]["context"]["triggerKind"] for item in nvim.sent(INLINE)]
    assert kinds == [2, 1]
    nvim.picture("nvim-candidates")
    nvim.type("<M-n>")
    nvim.wait_ghost("b - a")
    nvim.type("<M-n>")
    nvim.wait_ghost("a + b")
    nvim.type("<M-p>")
    nvim.wait_ghost("b - a")
    # Typing keeps those that go on as typed.
    nvim.type("<M-n>a")
    nvim.wait_ghost(" + b")
    nvim.wait_line("return a + b  1/2")
    nvim.type("<M-n>")
    nvim.wait_ghost(" * b")
    assert requests(nvim) == 2
    nvim.type("<Tab>")
    nvim.wait_text("def add(a, b):", "    return a * b")


def test_asking_by_key_gives_the_first_and_then_the_others(
    start: Start, make_daemon: Callable[..., DaemonUnderTest]
) -> None:
    scripted = {"script": "a + b", "alternatives": ["a * b"]}
    config = "require('ingle').setup { automatic = false }"
    nvim = start(CODE, env=make_daemon(scripted=scripted).start().env, config=config)
    nvim.wait_attached()
    nvim.type("jA <M-i>")
    nvim.wait_ghost("a + b")
    nvim.type("<M-n>")
    nvim.wait_ghost("a * b")


def test_a_single_candidate_is_said_to_be_the_only_one(nvim: Neovim) -> None:
    nvim.type("<M-n>")
    nvim.wait_message("no other suggestion here")
    assert nvim.ghost() == ["a + b"]


# --- where there is none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting", ["setlocal readonly", "setlocal nomodifiable", "let b:ingle_enabled = v:false"]
)
def test_none_where_it_is_not_wanted(editor: Neovim, setting: str) -> None:
    before = requests(editor)
    editor.command(setting)
    editor.type("jA ")
    editor.settle()
    editor.type("<Esc>")
    editor.settle()
    assert requests(editor) == before
    # What Neovim itself says of such a buffer is no complaint of ours.
    editor.command("messages clear")


def test_none_while_the_completion_menu_is_open(nvim: Neovim) -> None:
    nvim.type("<C-x><C-n>")
    nvim.wait_for(lambda: nvim.lua("return vim.fn.pumvisible()") == 1, "a menu")
    assert nvim.ghost() == []
    nvim.type("<C-e>")
    nvim.settle()
    nvim.type("x")
    nvim.wait_ghost("a + b")


@pytest.mark.parametrize("command", ["new", "tabnew", "enew!", "wincmd n", "bwipeout!"])
def test_none_after_the_buffer_was_left(nvim: Neovim, command: str) -> None:
    nvim.command(command)
    nvim.settle()
    assert nvim.marks() == []
    assert nvim.ghost() == []
    nvim.type("<C-\\><C-n>i<Tab>x")
    nvim.wait_text("\tx")


def test_automatic_can_be_switched_off(start: Start) -> None:
    nvim = start(CODE, config="require('ingle').setup { automatic = false }")
    nvim.wait_attached()
    nvim.type("jA ")
    nvim.settle()
    assert requests(nvim) == 0
    nvim.type("<M-i>")
    nvim.wait_ghost("a + b")
    assert nvim.sent(INLINE)[0].message["params"]["context"]["triggerKind"] == 1
