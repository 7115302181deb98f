"""What a real Vim tells the language server of its buffers: every change, in every encoding."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.lsp_mirror import mirrored
from support.shared_editor import SharedEditor, shared_editor
from support.vim import Vim, fake_server, reason_to_skip, starter

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
]

Start = Callable[..., Vim]
INLINE = "textDocument/inlineCompletion"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedEditor[Vim]]:
    """A Vim whose language server only listens."""

    def start() -> Vim:
        home = tmp_path_factory.mktemp("vim")
        return Vim(home, config=fake_server(home))

    with shared_editor(start) as shared:
        yield shared


@pytest.fixture
def vim(shared: SharedEditor[Vim]) -> Iterator[Vim]:
    """The same without any error."""
    with shared.at_rest() as vim:
        yield vim


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts Vims whose language server only listens."""
    with starter(home, {}) as start:
        yield start


def edited(vim: Vim, text: str, name: str = "", more: bytes | None = None) -> str:
    """Edit a new file; returns its URI."""
    name = name or f"text{next(_numbers)}.txt"
    vim.edit(name, text)
    return (vim.home / name).as_uri()


def server_text(vim: Vim, uri: str) -> str | None:
    """The text that the server has, after Vim told it all; None if it is closed there."""
    vim.call("ingle#documents#SyncAll()")
    # An answer means that all before it was recorded.
    before = len(vim.sent("ingle.barrier"))
    vim.call("ingle#client#Notify('ingle.barrier', {})")
    vim.wait_for(lambda: len(vim.sent("ingle.barrier")) > before, "all messages")
    return mirrored(vim.sent()).get(uri)


def vim_text(vim: Vim) -> str:
    """The text that Vim has; the protocol knows no CR within a line."""
    lines = [re.sub(r"\r(?=.)", " ", line) for line in vim.text()]
    return "".join(f"{line}\n" for line in lines)


def check(vim: Vim, uri: str, what: str) -> None:
    found = None
    while found is None:
        # `:edit!` closes it a moment later, and opens it again soon.
        vim.wait_for(lambda: uri in open_uris(vim), "an attached buffer")
        found = server_text(vim, uri)
    assert found == vim_text(vim), what


# --- changes -------------------------------------------------------------------------------------

#: Ways to change a text; `%` is a line's number, `&` another one's.
COMMANDS = [
    "%delete",
    "%,+1delete",
    "%copy &",
    "%move &",
    "%join",
    "%,+2join!",
    "%substitute/e/E/g",
    "%,$substitute/o/00/",
    "1,%sort!",
    "%,+1normal! gUU",
    "%normal! Aend\\<C-v>\\<CR>more",
    "%normal! Ofirst\\<CR>second",
    "%normal! ddp",
    "%normal! yyP3p",
    "%normal! >>",
    "%normal! \\<C-v>jlcblock",
    "%normal! \\<C-a>",
    "%normal! 3xix\\<BS>\\<BS>",
    "%normal! vjd",
    "%center 30",
    "%retab! 4",
    "%,+1!cat -n",
    "%put ='x'",
    "%put! =['a','é😀','']",
    "global/1/delete",
    "vglobal/2/substitute/$/!/",
    "global/3/normal! Oabove",
    "undo",
    "undo",
    "redo",
    "earlier 3",
    "later 1",
    "normal! qaq",
    "%normal! qbAz\\<Esc>q@b",
    "call setline(%, ['one', 'two'])",
    "call append(%, repeat(['new'], 3))",
    "call append(0, 'top')",
    "call deletebufline(bufnr(), %, '$')",
    "call setbufline(bufnr(), '$', ['x', 'y'])",
    "%normal! gqj",
    "%normal! J",
    "%read !printf 'a\\nb'",
    "normal! ggdG",
    "0put ='after'",
    "%,+1yank | $put",
    "%normal! g??",
    "call prop_type_add('p' .. rand(), {})",
    "edit!",
    "write",
    "set fileformat=dos",
    "set fileformat=unix",
    "%fold | %normal! zE",
    "diffthis | diffoff",
]


@pytest.mark.parametrize("seed", range(6))
def test_every_change_is_told(vim: Vim, seed: int) -> None:
    chosen = random.Random(seed)
    text = "".join(f"line {number} of some\n" for number in range(20))
    uri = edited(vim, text)
    done = []
    for number in range(120):
        count = len(vim.text())
        command = chosen.choice(COMMANDS)
        command = command.replace("%", str(chosen.randint(1, count)))
        command = command.replace("&", str(chosen.randint(1, count)))
        done.append(command)
        execute = f'silent! execute "{command.replace(chr(34), "")}"'
        vim.command(execute)
        if number % 7 == 0 or chosen.random() < 0.3:
            check(vim, uri, "; ".join(done))
        if vim.text() == [""]:
            vim.command("call setline(1, ['again 1', 'and 2', 'a 3', 'b 4'])")
    check(vim, uri, "; ".join(done))


def test_only_the_lines_that_changed_are_sent(vim: Vim) -> None:
    uri = edited(vim, "".join(f"line {number}\n" for number in range(100)))
    vim.command("51,53normal! Ax")
    vim.command("60delete | 55copy 56")
    assert server_text(vim, uri) == vim_text(vim)
    change = vim.sent("textDocument/didChange")[-1].message["params"]["contentChanges"]
    (only,) = change
    assert only["range"]["start"] == {"line": 56, "character": 0}
    assert only["range"]["end"] == {"line": 60, "character": 0}
    assert only["text"] == "line 54\nline 56\nline 57\nline 58\n"
    # Nothing has changed: nothing is sent.
    before = len(vim.sent("textDocument/didChange"))
    vim.call("ingle#documents#SyncAll()")
    assert server_text(vim, uri) == vim_text(vim)
    assert len(vim.sent("textDocument/didChange")) == before


def test_changes_of_a_buffer_that_is_not_shown(vim: Vim) -> None:
    uri = edited(vim, "one\ntwo\nthree\n")
    number = vim.expr("bufnr()")
    vim.command("enew")
    vim.command(f"call setbufline({number}, 2, 'zwei')")
    vim.command(f"call appendbufline({number}, 2, ['a', 'b'])")
    vim.command(f"call deletebufline({number}, 1)")
    assert server_text(vim, uri) == "zwei\na\nb\nthree\n"


def test_a_file_that_changed_on_the_disk(vim: Vim) -> None:
    uri = edited(vim, "one\n")
    name = vim.expr("expand('%:p')")
    vim.command("set autoread")
    Path(name).write_text("other\ntext\n")
    vim.command("checktime")
    vim.wait_text("other", "text")
    check(vim, uri, "checktime")
    vim.command("set noautoread | edit!")
    check(vim, uri, "edit!")


# --- documents -----------------------------------------------------------------------------------


def opened(vim: Vim) -> list[dict[str, Any]]:
    return [item.message["params"]["textDocument"] for item in vim.sent("textDocument/didOpen")]


def open_uris(vim: Vim) -> set[str]:
    return set(mirrored(vim.sent()))


def test_names_languages_and_closing(vim: Vim) -> None:
    uri = edited(vim, "x\n", name="a b%20é#.sh")
    assert uri.endswith("/a%20b%2520%C3%A9%23.sh")
    assert opened(vim)[-1]["languageId"] == "shellscript"
    vim.command("setfiletype sh | set filetype=perl")
    vim.wait_for(lambda: opened(vim)[-1]["languageId"] == "perl", "the other language")
    assert opened(vim)[-1]["uri"] == uri
    assert uri in open_uris(vim)
    vim.command(f"saveas {vim.home}/other.pl")
    other = (vim.home / "other.pl").as_uri()
    vim.wait_for(lambda: opened(vim)[-1]["uri"] == other, "the other name")
    vim.wait_for(lambda: uri not in open_uris(vim), "the old name closed")
    vim.command("bdelete")
    vim.wait_for(lambda: other not in open_uris(vim), "the new name closed")
    vim.command(f"edit {vim.home}/other.pl")
    vim.wait_for(lambda: other in open_uris(vim), "it opened again")


def test_saving_is_told(vim: Vim) -> None:
    uri = edited(vim, "x\n")
    vim.type("Ay<Esc>:w<CR>")
    vim.wait_for(
        lambda: any(
            item.message["params"]["textDocument"]["uri"] == uri
            for item in vim.sent("textDocument/didSave")
        ),
        "didSave",
    )
    check(vim, uri, "write")


def test_a_buffer_without_a_name(vim: Vim) -> None:
    vim.command("silent! %bwipeout! | enew")
    vim.type("ix")
    vim.wait_for(lambda: opened(vim)[-1]["uri"].startswith("untitled:"), "an attached buffer")
    vim.type("y")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    position = vim.sent(INLINE)[-1].message["params"]["position"]
    assert position["line"] == 0


@pytest.mark.parametrize("kind", ["nofile", "help", "quickfix", "terminal", "scheme"])
def test_what_is_no_file_is_left_alone(vim: Vim, kind: str) -> None:
    commands = {
        "nofile": "new | setlocal buftype=nofile",
        "help": "help",
        "quickfix": "call setqflist([{'text': 'x'}]) | copen",
        "terminal": "terminal ++close cat",
        "scheme": "new scheme://x.py | call setline(1, 'x')",
    }
    edited(vim, "x\n")
    before = len(opened(vim))
    vim.command(commands[kind])
    # As long as it takes another file to be attached.
    if kind == "terminal":
        vim.type("<C-w>N")
    edited(vim, "y\n")
    assert len(opened(vim)) == before + 1


# --- what can't be sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("nul.txt", b"a\0b\n", "binary"),
        ("late.txt", b"a\n" * 100_000 + b"\0\n", "binary"),
        ("huge.txt", b"0123456789\n" * 500_000, "too large: 5.5 MB"),
    ],
)
def test_huge_and_binary_files(vim: Vim, name: str, data: bytes, said: str) -> None:
    file = vim.home / name
    file.write_bytes(data)
    vim.command(f"silent! %bwipeout! | edit {file}")
    vim.type("ix")
    vim.wait_told(f"no suggestions here: this file is {said}")
    vim.type("<C-x><C-g>")
    vim.wait_for(lambda: sum(said in line for line in vim.told()) >= 2, "the same message")
    vim.type("<Esc>:Ingle explain<CR>")
    vim.wait_for(lambda: sum(said in line for line in vim.told()) >= 3, "the same message")
    assert file.as_uri() not in open_uris(vim)
    assert vim.expr("getline(1)")[:2] in ("xa", "x0")
    assert file.read_bytes() == data
    vim.command("set nomodified | silent! %bwipeout!")


def test_a_nul_that_is_typed(vim: Vim) -> None:
    uri = edited(vim, "one\n")
    vim.type("A<C-v>000 x<Esc>")
    vim.wait_told("the text has a NUL in it")
    vim.wait_for(lambda: uri not in open_uris(vim), "a closed document")
    vim.type("Ay<Esc>u")
    vim.settle()


def test_long_lines_and_many(vim: Vim) -> None:
    uri = edited(vim, "x" * 1_000_000 + "\n" + "short\n" * 100_000)
    vim.type("jAy<Esc>")
    check(vim, uri, "a short line")
    vim.type("kAy<Esc>")
    check(vim, uri, "the long line")


# --- encodings -----------------------------------------------------------------------------------

#: A line, and the units before its end in each encoding.
LINE = "é\u0301ж中😀x"
UNITS = {"utf-8": 2 + 2 + 2 + 3 + 4 + 1, "utf-16": 1 + 1 + 1 + 1 + 2 + 1, "utf-32": 6}


@pytest.mark.parametrize("encoding", UNITS)
def test_positions_in_every_encoding(start: Start, encoding: Any) -> None:
    capabilities = {"positionEncoding": encoding}
    vim = start({"a.txt": f"{LINE}\nsecond\n"}, play={"capabilities": capabilities})
    vim.wait_attached()
    vim.type("A!")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    position = vim.sent(INLINE)[-1].message["params"]["position"]
    assert position == {"line": 0, "character": UNITS[encoding] + 1}
    offered = vim.sent("initialize")[0].message["params"]["capabilities"]["general"]
    assert offered["positionEncodings"] == ["utf-8", "utf-16", "utf-32"]
    columns = vim.expr(f"map(range(20), {{_, at -> ingle#positions#Column('{LINE}', at)}})")
    reached = {units: column for units, column in enumerate(columns) if column >= 0}
    # Every character's beginning, and the end, in bytes; nothing within a character.
    bytes_before = [0, *itertools.accumulate(len(character.encode()) for character in LINE)]
    assert list(reached.values()) == bytes_before
    assert max(reached) == UNITS[encoding]
    assert vim.errors() == []


def test_without_a_word_it_is_utf_16(start: Start) -> None:
    vim = start({"a.txt": "😀\n"}, play={"capabilities": {"positionEncoding": None}})
    vim.wait_attached()
    vim.type("A!")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    assert vim.sent(INLINE)[-1].message["params"]["position"]["character"] == 3


def test_bytes_that_are_no_utf_8(start: Start) -> None:
    vim = start({"a.txt": ""}, play={})
    vim.wait_attached()
    file = vim.home / "latin1.txt"
    file.write_bytes(b"caf\xe9\xff x\n")
    vim.command(f"edit ++enc=utf-8 ++bad=keep {file}")
    vim.wait_for(lambda: len(opened(vim)) == 2, "an attached buffer")
    assert opened(vim)[-1]["text"] == "caf\ufffd\ufffd x\n"
    vim.type("A!")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    assert vim.sent(INLINE)[-1].message["params"]["position"]["character"] == 3 + 3 + 3 + 3
    assert mirrored(vim.sent())[file.as_uri()] == "caf\ufffd\ufffd x!\n"
    assert vim.expr("ingle#positions#Column(getline(1), 9)") == 5
    assert vim.expr("ingle#positions#Column(getline(1), 7)") == -1


@pytest.mark.parametrize("data", [b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80"])
def test_numbers_that_are_no_characters(start: Start, data: bytes) -> None:
    vim = start({"a.txt": ""}, play={})
    vim.wait_attached()
    file = vim.home / "cesu.txt"
    file.write_bytes(b"a" + data + b"b\n")
    vim.command(f"edit ++enc=utf-8 ++bad=keep {file}")
    vim.wait_for(lambda: len(opened(vim)) == 2, "an attached buffer")
    text = opened(vim)[-1]["text"]
    assert text.strip("ab\n\ufffd") == ""
    vim.type("A!")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    position = vim.sent(INLINE)[-1].message["params"]["position"]
    assert position["character"] == len(text.encode())
    assert vim.errors() == []


def test_line_ends_of_windows_in_a_file_of_unix(start: Start) -> None:
    vim = start({"a.txt": "one\r\ntwo\rb\nthree\r\n"}, play={})
    vim.wait_attached()
    assert opened(vim)[-1]["text"] == "one\r\ntwo b\nthree\r\n"
    vim.type("A!")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    # Vim's cursor is behind the CR, the server knows no such place.
    assert vim.sent(INLINE)[-1].message["params"]["position"]["character"] in (3, 5)


def test_another_encoding_of_vim_is_refused(start: Start) -> None:
    config = "set encoding=latin1"
    vim = start({"a.txt": "x\n"}, config=config, play={})
    vim.wait_told("needs Vim's 'encoding' to be utf-8")
    vim.type("Ay")
    vim.settle()
    assert vim.sent() == []
    assert len(vim.told()) == 1
