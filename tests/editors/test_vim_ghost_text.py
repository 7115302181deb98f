"""Ghost text in a real Vim: what is drawn, what keys do, what is asked of the server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemons import ENDLESS_LINE, DaemonUnderTest, saying
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
ADD = "def add(a, b):\n    return\n"
CODE = {"add.py": ADD}
INLINE = "textDocument/inlineCompletion"
BLOCKS = "let g:ingle = {'settings': {'multiline': 'always'}}"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One that completes everything with `a + b`."""
    with saying("a + b") as daemon:
        yield daemon


@pytest.fixture
def start(home: Path, daemon: DaemonUnderTest) -> Iterator[Start]:
    """Starts Vims that talk to the daemon."""
    with starter(home, daemon.env) as start:
        yield start


@pytest.fixture(scope="module")
def shared(daemon: DaemonUnderTest) -> Iterator[SharedEditor[Vim]]:
    """One that tests without a configuration share."""
    with shared_editor(
        lambda: Vim(daemon.home / f"shared{next(_numbers)}", env=daemon.env)
    ) as shared:
        yield shared


@pytest.fixture
def editor(shared: SharedEditor[Vim]) -> Iterator[Vim]:
    """The shared Vim with `add.py`, as it is after a start."""
    with shared.at_rest() as editor:
        editor.edit(f"add{next(_numbers)}.py", ADD)
        yield editor
        no_trouble(editor)


@pytest.fixture
def vim(editor: Vim) -> Vim:
    """The same in Insert mode at the end of `    return `, with ghost text."""
    return with_ghost(editor)


def with_ghost(vim: Vim) -> Vim:
    """Type until there is ghost text."""
    vim.type("jA ")
    vim.wait_ghost("a + b")
    return vim


def requests(vim: Vim) -> int:
    return len(vim.sent(INLINE))


def no_trouble(vim: Vim) -> None:
    """Once Insert mode is left nothing is left on the screen, and nothing was complained of."""
    vim.type("<C-\\><C-n>")
    vim.settle()
    assert vim.properties() == []
    assert vim.ghost() == []
    assert vim.errors() == []


# --- drawn and accepted --------------------------------------------------------------------------


def test_it_is_drawn_at_the_cursor(vim: Vim) -> None:
    assert vim.lines()[1] == "    return a + b"
    vim.wait_for(lambda: vim.terminal.cursor == (1, 11), "the cursor where it was")
    assert vim.text()[1] == "    return "
    vim.picture("vim-ghost-text")


def test_tab_accepts_all(vim: Vim) -> None:
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", "    return a + b")
    assert vim.cursor == (1, 16)
    assert vim.mode == "i"


def test_one_undo_takes_back_what_was_accepted(vim: Vim) -> None:
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", "    return a + b")
    vim.type("!<Esc>u")
    vim.wait_text("def add(a, b):", "    return a + b")
    vim.type("u")
    vim.wait_text("def add(a, b):", "    return ")
    vim.type("u")
    vim.wait_text("def add(a, b):", "    return")
    vim.type("<C-r><C-r><C-r>")
    vim.wait_text("def add(a, b):", "    return a + b!")


def test_words_are_accepted_one_by_one(vim: Vim) -> None:
    before = requests(vim)
    vim.type("<C-Right>")
    vim.wait_ghost(" + b")
    assert vim.text()[1] == "    return a"
    vim.type("<C-Right>")
    vim.wait_ghost(" b")
    assert vim.text()[1] == "    return a +"
    assert requests(vim) == before
    vim.type("<C-Right>")
    vim.wait_text("def add(a, b):", "    return a + b")


@pytest.fixture
def block_daemon(make_daemon: MakeDaemon) -> DaemonUnderTest:
    """One that completes with three lines."""
    return make_daemon(scripted={"script": "for x in a:\n        a = x\n        b = x"}).start()


def test_lines_are_drawn_below_and_accepted_one_by_one(
    start: Start, block_daemon: DaemonUnderTest
) -> None:
    vim = start({"block.py": "def f(a, b):\n\nprint()\n"}, env=block_daemon.env, config=BLOCKS)
    vim.wait_attached()
    vim.type("jA    ")
    vim.wait_ghost("for x in a:", "        a = x", "        b = x")
    assert vim.lines()[1:5] == ["    for x in a:", "        a = x", "        b = x", "print()"]
    vim.picture("vim-ghost-text-lines")
    vim.type("<C-End>")
    vim.wait_ghost("        a = x", "        b = x")
    assert vim.text() == ["def f(a, b):", "    for x in a:", "print()"]
    vim.type("<C-End>")
    vim.wait_ghost("        b = x")
    assert vim.text() == ["def f(a, b):", "    for x in a:", "        a = x", "print()"]
    vim.type("<Tab>")
    vim.wait_text("def f(a, b):", "    for x in a:", "        a = x", "        b = x", "print()")
    assert vim.cursor == (3, 13)
    no_trouble(vim)


def test_a_line_end_is_typed_through(start: Start, block_daemon: DaemonUnderTest) -> None:
    config = f"{BLOCKS}\nautocmd FileType python setlocal autoindent expandtab"
    vim = start({"block.py": "def f(a, b):\n\nprint()\n"}, env=block_daemon.env, config=config)
    vim.wait_attached()
    vim.type("jA    ")
    vim.wait_ghost("for x in a:", "        a = x", "        b = x")
    before = requests(vim)
    # Four columns come by themselves, the rest of the indentation stays ghost text.
    vim.type("for x in a:<CR>")
    vim.wait_ghost("    a = x", "        b = x")
    assert vim.lines()[1:5] == ["    for x in a:", "        a = x", "        b = x", "print()"]
    vim.type("<BS><BS>")
    vim.wait_ghost("      a = x", "        b = x")
    assert requests(vim) == before
    vim.type("<Tab>")
    vim.wait_text("def f(a, b):", "    for x in a:", "        a = x", "        b = x", "print()")
    no_trouble(vim)


def suggesting(*texts: str) -> dict[str, object]:
    """A language server that suggests these texts everywhere."""
    return {"answers": {INLINE: {"items": [{"insertText": text} for text in texts]}}}


def test_what_is_accepted_is_neither_indented_nor_wrapped(start: Start) -> None:
    text = "one {\n\t\ttwo: three, four, five, six\n\t}\n\telse:\n  // comment\n"
    config = """
    autocmd FileType c setlocal cindent autoindent textwidth=20 formatoptions=tcroa
    autocmd FileType c setlocal cinkeys+=0=else
    """
    vim = start({"a.c": "\t\n"}, config=config, play=suggesting(text))
    vim.wait_attached()
    vim.type("A ")
    vim.wait_ghost(
        "one {",
        "                two: three, four, five, six",
        "        }",
        "        else:",
        "  // comment",
    )
    vim.type("<Tab>")
    vim.wait_text(
        "\t one {", "\t\ttwo: three, four, five, six", "\t}", "\telse:", "  // comment", ""
    )
    no_trouble(vim)


def test_several_candidates_are_cycled(start: Start) -> None:
    config = "let g:ingle = {'automatic': v:false}"
    play = suggesting("one", "only this", "two", "one")
    vim = start(CODE, config=config, play=play)
    vim.wait_attached()
    vim.type("jA <C-x><C-g>")
    vim.wait_ghost("one  1/3")
    vim.type("<C-Down>")
    vim.wait_ghost("only this  2/3")
    vim.type("<C-Down>")
    vim.wait_ghost("two  3/3")
    assert requests(vim) == 1
    # There may be others behind the last: the server is asked once.
    vim.type("<C-Down>")
    vim.wait_ghost("one  1/3")
    assert requests(vim) == 2
    vim.type("<C-Up>")
    vim.wait_ghost("two  3/3")
    # Typing leaves those that begin so.
    vim.type("o")
    vim.wait_ghost("ne  1/2")
    vim.type("n<C-Down>")
    vim.wait_ghost("ly this  2/2")
    vim.type("l")
    vim.wait_ghost("y this")
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", "    return only this")
    assert requests(vim) == 2
    no_trouble(vim)


def test_the_servers_candidates_come_when_they_are_wanted(
    start: Start, make_daemon: MakeDaemon
) -> None:
    scripted = {"script": "a + b", "alternatives": ["a * b", "b - a"]}
    vim = start(CODE, env=make_daemon(scripted=scripted).start().env)
    vim.wait_attached()
    with_ghost(vim)
    vim.type("<C-Down>")
    vim.wait_ghost("a * b  2/3")
    kinds = [item.message["params"]["context"]["triggerKind"] for item in vim.sent(INLINE)]
    assert kinds == [2, 1]
    vim.picture("vim-candidates")
    vim.type("<C-Down>")
    vim.wait_ghost("b - a  3/3")
    vim.type("<C-Down>")
    vim.wait_ghost("a + b  1/3")
    vim.type("<C-Up>")
    vim.wait_ghost("b - a  3/3")
    assert requests(vim) == 2
    no_trouble(vim)


def test_cycling_asks_for_more_than_typing_brought(start: Start) -> None:
    vim = start(CODE, play=suggesting("one"))
    vim.wait_attached()
    vim.type("jA ")
    vim.wait_ghost("one")
    Play(vim.home, vim.record).suggest("two", "one", "three")
    vim.type("<C-Down>")
    vim.wait_ghost("three  3/3")
    Play(vim.home, vim.record).suggest("four")
    vim.type("x")
    vim.wait_ghost("four")
    vim.type("<C-Down>")
    vim.wait_told("no other suggestion here")
    assert vim.ghost() == ["four"]
    kinds = [item.message["params"]["context"]["triggerKind"] for item in vim.sent(INLINE)]
    assert kinds == [2, 1, 2, 1]
    no_trouble(vim)


def test_lines_that_do_not_fit_are_counted(start: Start, make_daemon: MakeDaemon) -> None:
    script = "\n        ".join(["for x in a:", *(f"x += {number}" for number in range(20))])
    daemon = make_daemon(scripted={"script": script}, inline={"max_tokens": 200}).start()
    text = "x = 1\n" * 40 + "def f(a, b):\n"
    vim = start({"long.py": text}, env=daemon.env, config=BLOCKS)
    vim.wait_attached()
    vim.type("Go    ")
    vim.wait_line("for x in a:  9 more lines")
    # The line is still there, and so is what is above it.
    assert vim.lines()[:11] == ["x = 1"] * 9 + ["def f(a, b):", "    for x in a:  9 more lines"]
    vim.type("<Tab>")
    vim.wait_for(lambda: len(vim.text()) == 62, "all lines")
    no_trouble(vim)


def test_wide_and_long_lines_are_drawn_as_they_will_stand(
    start: Start, make_daemon: MakeDaemon
) -> None:
    text = "あ😀 = 'é" + ("abcdefghijklmnopqrstuvwxyz0123456789" * 3)[:90] + "x'"
    daemon = make_daemon(scripted={"script": text}).start()
    vim = start({"wide.txt": "ñ\n"}, env=daemon.env)
    vim.wait_attached()
    vim.type("A ")
    vim.wait_for(lambda: "".join(vim.ghost()).endswith("x'"), "ghost text")
    before = vim.lines()[:2]
    vim.type("<Tab>")
    vim.wait_text("ñ " + text)
    vim.type("<Esc>")
    vim.settle()
    assert vim.lines()[:2] == before
    no_trouble(vim)


def test_it_stands_before_what_follows_the_cursor(editor: Vim) -> None:
    editor.type("jA (x)<Left><Left><Left>y")
    editor.wait_for(lambda: editor.ghost() != [], "ghost text")
    assert editor.lines()[1] == "    return ya + b(x)"
    editor.type("<Tab>")
    editor.wait_text("def add(a, b):", "    return ya + b(x)")


# --- keys do what they did ---------------------------------------------------------------------

#: How <Tab> is mapped, and what it inserts then.
MAPPINGS = {
    "none": ("", "\t"),
    "text": ("inoremap <Tab> mapped", "mapped"),
    "recursive": ("imap <F3> mapped|imap <Tab> <F3>", "mapped"),
    "expression": ("inoremap <expr> <Tab> 'map' .. 'ped'", "mapped"),
    "command": ("inoremap <Tab> <Cmd>call Put()<CR>", "mapped"),
    "buffer": ("inoremap <buffer> <Tab> mapped", "mapped"),
    "buffer, recursive": ("imap <F3> mapped|imap <buffer> <Tab> <F3>", "mapped"),
    "buffer, expression": ("inoremap <buffer> <expr> <Tab> 'map' .. 'ped'", "mapped"),
    "buffer, bar": ("inoremap <buffer> <Tab> map<Bar><BS>ped", "mapped"),
    "buffer, silent and nowait": ("inoremap <buffer> <silent> <nowait> <Tab> mapped", "mapped"),
    "abbreviation": ("iabbrev zz mapped", "\t"),
}
#: What of it says where it was made: what is typed was made nowhere.
_PLACE = ("sid", "lnum", "scriptversion")
DESCRIBED = "maparg('<Tab>', 'i', 0, 1)"


@pytest.fixture
def mapped(editor: Vim) -> Iterator[Vim]:
    """The shared Vim, whose mappings are taken away in the end."""
    editor.command(
        "function! Put()\nlet [l, c] = [getline('.'), col('.') - 1]\n"
        "call setline('.', strpart(l, 0, c) .. 'mapped' .. strpart(l, c))\n"
        "call cursor('.', c + 7)\nendfunction"
    )
    yield editor
    editor.type("<C-\\><C-n>")
    editor.command("silent! iunmap <Tab>")
    editor.command("silent! iunmap <F3>")
    editor.command("iabclear")


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_tab_does_what_it_did(mapped: Vim, mapping: str) -> None:
    vim = mapped
    command, inserted = MAPPINGS[mapping]
    vim.command(command or "echo")
    before = vim.expr(DESCRIBED)
    vim.type("jA.<Esc>a<C-]><Tab>")
    vim.wait_text("def add(a, b):", f"    return.{inserted}")
    vim.type("<Esc>A ")
    vim.wait_ghost("a + b")
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", f"    return.{inserted} a + b")
    vim.type("<Esc>a<Tab>")
    vim.wait_text("def add(a, b):", f"    return.{inserted} a + b{inserted}")
    vim.type("<Esc>")
    vim.settle()
    assert _without_place(vim.expr(DESCRIBED)) == _without_place(before)


def _without_place(mapping: dict[str, object]) -> dict[str, object]:
    """A mapping without where it was made."""
    return {name: value for name, value in mapping.items() if name not in _PLACE}


def test_keys_that_come_faster_than_they_are_drawn(mapped: Vim) -> None:
    """Vim runs no autocommands in between: the ghost text that is there is for an older text."""
    mapped.command("inoremap <Tab> mapped")
    with_ghost(mapped)
    mapped.command(r'call feedkeys("zz\<Tab>", "t")')
    mapped.wait_text("def add(a, b):", "    return zzmapped")
    mapped.type("<Esc>S    return ")
    mapped.wait_ghost("a + b")
    mapped.command(r'call feedkeys("a \<Tab>", "t")')
    mapped.wait_text("def add(a, b):", "    return a + b")


def test_a_key_that_is_used_is_not_taken(start: Start) -> None:
    vim = start(CODE, config="inoremap <C-Right> mine")
    vim.wait_attached()
    with_ghost(vim)
    vim.type("<C-Right>")
    vim.wait_text("def add(a, b):", "    return mine")


def test_keys_can_be_changed_and_switched_off(start: Start) -> None:
    config = "let g:ingle = {'keys': {'accept': '<C-y>', 'accept_word': ''}}"
    vim = start(CODE, config=config)
    vim.wait_attached()
    with_ghost(vim)
    assert "ingle" not in json.dumps(vim.expr("maparg('<C-Right>', 'i')"))
    vim.type("<C-y>")
    vim.wait_text("def add(a, b):", "    return a + b")
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", "    return a + b\t")


def test_a_macro_does_again_what_was_typed(vim: Vim) -> None:
    vim.type("<Esc>qqA zz<Tab><Esc>q")
    vim.wait_for(lambda: vim.text()[1].startswith("    return  zz"), "the text")
    vim.edit(f"macro{next(_numbers)}.py", ADD)
    vim.type("j@q")
    vim.wait_for(lambda: vim.mode == "n", "the end of the macro")
    assert vim.text()[1] in ("    return zz\t", "    return zza + b")


def test_escape_dismisses_and_leaves_insert_mode(vim: Vim) -> None:
    vim.type("<Esc>")
    vim.wait_ghost()
    assert vim.mode == "n"
    assert vim.text() == ["def add(a, b):", "    return "]


@pytest.mark.parametrize("keys", ["<C-c>", "<C-o>", "<Up>", "<Home>", "<C-l>:stopinsert<BS>"])
def test_leaving_takes_it_away(vim: Vim, keys: str) -> None:
    if keys.startswith("<C-l>"):
        vim.command("stopinsert")
        vim.settle()
    else:
        vim.type(keys)
    vim.wait_ghost()
    assert vim.properties() == []
    assert vim.text() == ["def add(a, b):", "    return "]
    vim.type("<C-\\><C-n>")


def test_the_dismiss_key_stays_in_insert_mode(vim: Vim) -> None:
    before = requests(vim)
    vim.type("<C-]>")
    vim.wait_ghost()
    assert vim.mode == "i"
    assert vim.properties() == []
    assert requests(vim) == before
    vim.type("(")
    vim.wait_ghost("a + b")


# --- typing on ---------------------------------------------------------------------------------


def test_typing_what_is_shown_sends_nothing(vim: Vim) -> None:
    before = len(vim.sent())
    for typed, rest in (("a", " + b"), (" ", "+ b"), ("+", " b")):
        vim.type(typed)
        vim.wait_ghost(rest)
        assert vim.lines()[1] == "    return a + b"
    for rest in ("+ b", " + b", "a + b"):
        vim.type("<BS>")
        vim.wait_ghost(rest)
    assert len(vim.sent()) == before
    vim.type("a + <Tab>")
    vim.wait_text("def add(a, b):", "    return a + b")


def test_typing_another_thing_asks_again(vim: Vim) -> None:
    before = requests(vim)
    vim.type("x")
    vim.wait_for(lambda: requests(vim) == before + 1, "a request")
    vim.wait_ghost("a + b")
    assert vim.lines()[1] == "    return xa + b"


def test_a_newer_request_cancels_the_older(start: Start, make_daemon: MakeDaemon) -> None:
    slow = make_daemon(
        scripted={"script": ENDLESS_LINE, "tokens_per_second": 20.0}, inline={"max_tokens": 400}
    ).start()
    config = "let g:ingle = {'settings': {'deadlineMs': 30000, 'debounceMs': 0}}"
    vim = start(CODE, env=slow.env, config=config)
    vim.wait_attached()
    vim.type("jA ")
    vim.wait_for(lambda: requests(vim) == 1, "a request")
    vim.type("x")
    vim.wait_for(lambda: requests(vim) == 2, "another request")
    cancelled = {item.message["params"]["id"] for item in vim.sent("$/cancelRequest")}
    assert vim.sent(INLINE)[0].message["id"] in cancelled
    vim.type("<Esc>")
    vim.wait_for(lambda: len(vim.sent("$/cancelRequest")) == 2, "both cancelled")
    vim.wait_for(lambda: not _running(slow), "a free engine")
    no_trouble(vim)


def _running(daemon: DaemonUnderTest) -> bool:
    with daemon.client() as client:
        return bool(client.status().active)


@pytest.mark.parametrize("keys", ["jo    return ", "jO    return ", "jS    return ", "jccx "])
def test_it_comes_after_every_way_into_insert_mode(editor: Vim, keys: str) -> None:
    editor.type(keys)
    editor.wait_ghost("a + b")


def test_opening_a_line_is_an_edit(editor: Vim) -> None:
    editor.type("ggo")
    editor.wait_ghost("a + b")


# --- where there is none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    ["setlocal readonly", "setlocal nomodifiable", "let b:ingle_enabled = v:false", "set paste"],
)
def test_none_where_it_is_not_wanted(editor: Vim, setting: str) -> None:
    before = requests(editor)
    editor.command(setting)
    editor.type("jA ")
    # Nothing is mapped while 'paste' is set.
    editor.terminal.keys("Escape")
    editor.command("set nopaste")
    editor.settle()
    assert requests(editor) == before
    assert editor.ghost() == []
    # What Vim itself says of such a buffer is no complaint of ours.
    editor.command("messages clear")


def test_none_while_the_completion_menu_is_open(vim: Vim) -> None:
    vim.type("<C-x><C-n>")
    vim.wait_for(lambda: vim.expr("pumvisible()") == 1, "a menu")
    assert vim.ghost() == []
    vim.type("<C-e>")
    vim.settle()
    vim.type("x")
    vim.wait_ghost("a + b")


@pytest.mark.parametrize("command", ["new", "tabnew", "enew!", "wincmd n", "bwipeout!"])
def test_none_after_the_buffer_was_left(vim: Vim, command: str) -> None:
    vim.command(command)
    vim.settle()
    assert vim.properties() == []
    assert vim.ghost() == []
    vim.type("<C-\\><C-n>i<Tab>x")
    vim.wait_text("\tx")
    vim.command("setlocal nomodified")


def test_undo_does_not_bring_it_back(vim: Vim) -> None:
    # Vim keeps the properties of lines that a change takes away.
    vim.type("<CR>x<Esc>u")
    vim.wait_text("def add(a, b):", "    return")
    vim.settle()
    assert vim.properties() == []
    vim.type("<C-r>u<C-r>")
    vim.settle()
    assert vim.properties() == []


def test_automatic_can_be_switched_off(start: Start) -> None:
    vim = start(CODE, config="let g:ingle = {'automatic': v:false}")
    vim.wait_attached()
    vim.type("jA ")
    vim.settle()
    assert requests(vim) == 0
    vim.type("<C-x><C-g>")
    vim.wait_ghost("a + b")
    assert vim.sent(INLINE)[0].message["params"]["context"]["triggerKind"] == 1
    # It applies at once, as all options do.
    vim.command("let g:ingle.automatic = 1")
    vim.type("x")
    vim.wait_for(lambda: requests(vim) == 2, "a request")


def test_settings_apply_at_once(start: Start) -> None:
    vim = start(CODE)
    vim.wait_attached()
    vim.command("let g:ingle = {'settings': {'enabled': 0}}")
    vim.type("jA ")
    vim.settle()
    vim.wait_for(lambda: vim.sent("workspace/didChangeConfiguration"), "the settings")
    vim.wait_for(lambda: "suggestions off" in vim.expr("ingle#StatusLine()"), "no suggestions")
    vim.type("x<Esc>")
    vim.command("unlet g:ingle")
    vim.type("A ")
    vim.wait_ghost("a + b")
    no_trouble(vim)
