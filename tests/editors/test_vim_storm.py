"""Two thousand random edits in a real Vim with suggestions on: the text is what was typed, no more.

Keys are typed faster than anything is drawn. What Vim should have is computed beside, by a model of
a few lines; what the language server has is replayed from the messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.daemons import DaemonUnderTest
from support.lsp_mirror import mirrored
from support.vim import Vim, reason_to_skip, starter
from support.waiting import wait_until

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
]

EDITS = 2000
#: Edits after which the texts are compared.
CHECKED = 20
LETTERS = "ab (+)=:x1'é中😀"
SCRIPT = "a + b"


class Text:
    """What Vim should have: lines, and a cursor in characters."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.row = 0
        self.column = 0

    def go_to(self, row: int, column: int) -> None:
        self.row, self.column = row, column

    def insert(self, text: str) -> None:
        line = self.lines[self.row]
        before, after = line[: self.column], line[self.column :]
        new = (before + text).split("\n")
        self.column = len(new[-1])
        new[-1] += after
        self.lines[self.row : self.row + 1] = new
        self.row += len(new) - 1

    def backspace(self) -> None:
        line = self.lines[self.row]
        if self.column:
            self.column -= 1
            self.lines[self.row] = line[: self.column] + line[self.column + 1 :]
        elif self.row:
            self.row -= 1
            self.column = len(self.lines[self.row])
            self.lines[self.row : self.row + 2] = [self.lines[self.row] + line]

    def delete_line(self) -> None:
        del self.lines[self.row]
        if not self.lines:
            self.lines = [""]


class Storm:
    """Does the edits in both."""

    def __init__(self, vim: Vim, seed: int) -> None:
        self.vim = vim
        self.chosen = random.Random(seed)
        self.text = Text(vim.text())
        self.done: list[str] = []

    def edit(self) -> None:
        """One random edit."""
        kinds: list[Callable[[], None]] = [self.insert] * 6
        kinds += [self.delete, self.undone, self.accepted, self.interrupted, self.replaced]
        self.go_somewhere()
        self.chosen.choice(kinds)()

    def type(self, keys: str) -> None:
        self.done.append(keys)
        self.vim.type(keys)

    def go_somewhere(self) -> None:
        row = self.chosen.randrange(len(self.text.lines))
        line = self.text.lines[row]
        column = self.chosen.choice([len(line), self.chosen.randint(0, len(line))])
        self.text.go_to(row, column)
        # In bytes, from 1; behind the end of a line it is appended.
        byte = len(line[:column].encode()) + 1
        if column == len(line):
            self.type(f":{row + 1}<CR>A")
        else:
            self.type(f":call cursor({row + 1}, {byte})<CR>i")

    def word(self, most: int = 6) -> str:
        return "".join(self.chosen.choices(LETTERS, k=self.chosen.randint(1, most)))

    def write(self, text: str) -> None:
        self.type(text.replace("\n", "<CR>"))
        self.text.insert(text)

    def insert(self) -> None:
        for _ in range(self.chosen.randint(1, 4)):
            self.write(self.word())
            if self.chosen.random() < 0.1:
                self.rest()
            if self.chosen.random() < 0.3:
                self.write("\n")
            if self.chosen.random() < 0.4:
                self.type("<BS>")
                self.text.backspace()
        self.type("<Esc>")

    def rest(self) -> None:
        """Stop typing for as long as a suggestion takes; there need be none."""
        self.vim.settle()
        with suppress(AssertionError):
            wait_until(lambda: self.vim.expr("ingle#ghost#Rest()"), timeout=0.2)

    def delete(self) -> None:
        self.type("<Esc>dd")
        self.text.delete_line()

    def undone(self) -> None:
        # A whole session of Insert mode, or a line, and back.
        before = Text(list(self.text.lines))
        self.write(self.word())
        self.type("<Esc>u<C-r>u" if self.chosen.random() < 0.5 else "<Esc>uixx<Esc>u")
        self.text = before

    def replaced(self) -> None:
        number = self.text.row + 1
        text = self.word()
        self.type(f'<Esc>:call setline({number}, "{text}")<CR>')
        self.text.lines[self.text.row] = text

    def interrupted(self) -> None:
        # Insert mode is left in other ways, while a suggestion may be on its way.
        self.write(self.word())
        leave = self.chosen.choice(["<C-c>", "<C-o>:new<CR>zz<Esc>:quit!<CR><Esc>", "<Left><Esc>"])
        if leave == "<C-c>":
            # It takes away the keys that wait.
            self.vim.settle()
        self.type(leave)

    def accepted(self) -> None:
        # Tab accepts what is shown, or is a tab.
        self.write(self.word())
        if self.chosen.random() < 0.7:
            self.rest()
        key = self.chosen.choice(["<Tab>", "<C-Right>"])
        self.type(key)
        self.vim.settle()
        line = self.vim.expr(f"getline({self.text.row + 1})")
        old = self.text.lines[self.text.row]
        size = len(line) - len(old)
        inserted = line[self.text.column : self.text.column + size]
        allowed = {"", "\t"} | {SCRIPT[at:end] for at in range(5) for end in range(at + 1, 6)}
        assert inserted in allowed, (old, line, self.done[-6:])
        self.text.insert(inserted)
        self.type("<Esc>")

    def check(self) -> None:
        """Vim has what it should."""
        self.vim.settle()
        assert self.vim.text() == self.text.lines, self.done[-60:]
        assert self.vim.mode == "n"
        assert self.vim.properties() == [], self.done[-60:]
        self.done.clear()


@pytest.fixture
def vim(home: Path, make_daemon: Callable[..., DaemonUnderTest]) -> Iterator[Vim]:
    """A Vim with suggestions at every key."""
    daemon = make_daemon(scripted={"script": SCRIPT, "tokens_per_second": 1000.0}).start()
    config = "let g:ingle = {'settings': {'debounceMs': 0, 'minConfidence': 0}}"
    with starter(home, daemon.env) as start:
        vim = start({"storm.py": "def f():\n    pass\n"}, config=config)
        vim.wait_attached()
        yield vim


@pytest.mark.parametrize("seed", [1])
def test_two_thousand_edits(vim: Vim, seed: int) -> None:
    storm = Storm(vim, seed)
    for number in range(EDITS):
        storm.edit()
        if number % CHECKED == CHECKED - 1:
            storm.check()
            if len(storm.text.lines) > 60:
                vim.type("gg40dd")
                del storm.text.lines[:40]
    storm.check()
    assert vim.ghost() == []
    assert vim.errors() == []
    assert vim.told() == []
    vim.call("ingle#documents#SyncAll()")
    uri = (vim.home / "storm.py").as_uri()
    expected = "".join(f"{line}\n" for line in storm.text.lines)
    vim.wait_for(lambda: mirrored(vim.sent())[uri] == expected, "the same text at the server")
    # Suggestions did come.
    assert len(vim.sent("textDocument/inlineCompletion")) > EDITS / 2
    assert vim.record.read_text().count("insertText") > EDITS / 20
