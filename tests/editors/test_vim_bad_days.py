"""Vim when things go wrong: a short message, no error, and never a changed file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.daemons import DaemonUnderTest
from support.fake_language_server import Play
from support.lsp_proxy import proxy_command
from support.vim import PLUGIN, Vim, program, reason_to_skip, starter

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


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts Vims; `env` says whom they talk to."""
    with starter(home, dict(os.environ)) as start:
        yield start


def trouble_free(vim: Vim) -> None:
    """No error was shown, the file is as it was, Vim takes keys."""
    vim.type("<C-\\><C-n>")
    vim.settle()
    assert vim.errors() == []
    assert vim.properties() == []
    assert (vim.home / "add.py").read_text() == ADD
    vim.command("%delete _ | call setline(1, '')")
    vim.type("izz<Esc>")
    vim.wait_text("zz")


# --- the daemon ----------------------------------------------------------------------------------


def test_without_a_daemon_one_message_names_the_command(
    start: Start, make_daemon: MakeDaemon
) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    vim = start(CODE, env=daemon.env)
    vim.wait_attached()
    vim.wait_told("start it with `:Ingle start`")
    vim.wait_line("`:Ingle start`")
    vim.picture("vim-daemon-down")
    for _ in range(5):
        vim.type("jA x<Esc>u")
    vim.settle()
    assert len(vim.told()) == 1
    vim.wait_for(lambda: "not running" in vim.expr("ingle#StatusLine()"), "the status")
    vim.type(":Ingle start<CR>")
    vim.wait_told("the daemon runs")
    daemon.wait_ready()
    vim.type("jA ")
    vim.wait_ghost("a + b")
    with daemon.client() as client:
        pid = client.status().pid
        client.shutdown()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    trouble_free(vim)


def test_a_daemon_that_is_killed_and_comes_back(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    vim = start(CODE, env=daemon.env)
    vim.wait_attached()
    vim.type("jA ")
    vim.wait_ghost("a + b")
    daemon.kill()
    # What is shown stays and can be accepted; there is no more of it then.
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", "    return a + b")
    vim.wait_for(lambda: "not running" in vim.expr("ingle#StatusLine()"), "the status")
    vim.type("x")
    vim.settle()
    daemon.start()
    vim.wait_for(lambda: "scripted" in vim.expr("ingle#StatusLine()"), "the status")
    vim.type("<BS> ")
    vim.wait_ghost("a + b")
    assert len(vim.told()) <= 1
    vim.type("<Esc>u")
    trouble_free(vim)


# --- the language server -------------------------------------------------------------------------


def test_no_program(start: Start) -> None:
    vim = start(CODE, config="let g:ingle = {'cmd': ['ingle-lsp-is-not-here']}")
    vim.wait_told("ingle-lsp-is-not-here was not found: `pip install ingle`")
    vim.type("jA x<Esc>u")
    vim.command("new other.py | close")
    vim.settle()
    assert len(vim.told()) == 1
    vim.type(":Ingle explain<CR>")
    vim.wait_for(lambda: len(vim.told()) == 2, "the message again")
    vim.type(":Ingle<CR>")
    vim.wait_line("Restart the language server")
    vim.type("<Esc>")
    trouble_free(vim)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["false"], "ingle-lsp has ended (exit status 1)"),
        ([sys.executable, "-c", "raise SystemExit(7)"], "ingle-lsp has ended (exit status 7)"),
        (["echo", "this is no language server"], "ingle-lsp has ended"),
    ],
)
def test_a_program_that_ends(start: Start, command: list[str], said: str) -> None:
    vim = start(CODE, config=f"let g:ingle = {{'cmd': {command}}}")
    vim.wait_told(said)
    vim.type("jA x<Esc>u:Ingle explain<CR>")
    vim.wait_for(lambda: len(vim.told()) >= 2, "an answer")
    assert all("Ingle restart" in line or "was not" in line for line in vim.told()), vim.told()
    trouble_free(vim)


def test_a_server_that_dies_and_is_restarted(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    vim = start(CODE, env=daemon.env)
    vim.wait_attached()
    vim.type("jA ")
    vim.wait_ghost("a + b")
    pid = vim.expr("filter(job_info(), 'job_info(v:val).cmd[0] =~ \"ingle-lsp\"')->len()")
    assert pid == 1
    vim.command("for j in job_info() | call job_stop(j, 'kill') | endfor")
    vim.wait_told("ingle-lsp has ended")
    vim.wait_ghost()
    vim.type("x<Esc>:Ingle restart<CR>")
    vim.wait_for(lambda: len(vim.sent("textDocument/didOpen")) == 2, "an attached buffer")
    vim.type("A ")
    vim.wait_ghost("a + b")
    vim.type("<Esc>:Ingle restart<CR>")
    vim.wait_for(lambda: len(vim.sent("textDocument/didOpen")) == 3, "an attached buffer")
    assert sum("has ended" in line for line in vim.told()) == 1
    vim.command("undo 0")
    trouble_free(vim)


def test_a_server_that_never_answers(start: Start) -> None:
    vim = start(CODE, config="let g:ingle = {'cmd': ['sleep', '1000']}")
    vim.type("jA x<Esc>u:Ingle status<CR>")
    vim.type(":Ingle cancel<CR>")
    vim.wait_told("nothing is running")
    trouble_free(vim)


def test_a_request_that_is_never_answered(start: Start) -> None:
    vim = start(
        CODE, play={"answers": {INLINE: "<silence>", "workspace/executeCommand": "<silence>"}}
    )
    vim.wait_attached()
    vim.type("jA x")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    vim.type("y<Esc>u:Ingle explain<CR>")
    vim.wait_line("explaining")
    vim.type(":Ingle cancel<CR>")
    vim.wait_told("cancelled")
    asked = {item.message["id"] for item in vim.sent(INLINE) + vim.sent("workspace/executeCommand")}
    assert len(asked) >= 2
    vim.wait_for(
        lambda: {item.message["params"]["id"] for item in vim.sent("$/cancelRequest")} == asked,
        "all of them cancelled",
    )
    trouble_free(vim)


def test_a_server_that_ends_in_mid_request(start: Start) -> None:
    vim = start(CODE, play={"answers": {"workspace/executeCommand": "<exit 3>"}})
    vim.wait_attached()
    vim.type(":Ingle explain<CR>")
    vim.wait_told("ingle-lsp has ended (exit status 3)")
    vim.wait_for(lambda: not any("explaining" in line for line in vim.lines()), "no activity")
    trouble_free(vim)


RUBBISH: list[Any] = [
    {"items": [{"insertText": 5}, {"insertText": None}, {}]},
    {"items": {}},
    {"items": [{"insertText": "x", "range": {"start": {"line": 9, "character": 9}}}]},
    {"items": [{"insertText": "x", "range": {"start": {}, "end": {}}}]},
    {"items": ["x", None, 7]},
    [],
    "text",
    17,
    "<error no such thing>",
]


@pytest.mark.parametrize("answer", RUBBISH)
def test_answers_that_make_no_sense(start: Start, answer: Any) -> None:
    vim = start(CODE, play={"answers": {INLINE: answer}})
    vim.wait_attached()
    vim.type("jA ")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    play = Play(vim.home, vim.record)
    play.suggest("fine")
    vim.settle()
    vim.type("x")
    vim.wait_ghost("fine")
    vim.type("<Esc>u")
    trouble_free(vim)


MESSAGES: list[dict[str, Any]] = [
    {"method": "ingle/unknown", "params": {}},
    {"method": "ingle/status", "params": []},
    {"method": "ingle/status", "params": {"state": 5, "text": None}},
    {"method": "ingle/chat/delta", "params": {}},
    {"method": "ingle/showMarkdown", "params": {"title": "T"}},
    {"method": "$/progress", "params": {"token": 5, "value": None}},
    {"method": "window/showMessage", "params": {"type": 1, "message": "one\ntwo"}},
    {"id": "text", "method": "window/showMessageRequest", "params": {"type": 1, "message": "?"}},
    {"id": 1.5, "method": "workspace/applyEdit", "params": {}},
    {"id": 7, "method": "workspace/applyEdit", "params": {"edit": {"documentChanges": [{}]}}},
    {"id": 8, "method": "workspace/configuration", "params": {"items": [{"section": "ingle"}, {}]}},
    {"id": 9, "method": "client/registerCapability", "params": {"registrations": []}},
    {"id": 99, "result": "an answer to nothing"},
    {"nothing": "at all"},
]


def test_messages_that_make_no_sense(start: Start) -> None:
    vim = start(CODE, play={"first": {"textDocument/didOpen": MESSAGES}})
    vim.wait_attached()
    vim.type("jA ")
    vim.wait_for(lambda: vim.sent(INLINE), "a request")
    vim.wait_for(lambda: len(vim.sent("")) >= 5, "answers")
    answers = {str(item.message["id"]): item.message for item in vim.sent("")}
    assert answers["text"]["error"]["code"] == -32601
    assert answers["1.5"]["error"]["code"] == -32602
    assert answers["7"]["error"]["code"] == -32602
    assert answers["8"]["result"] == [{}, None]
    assert answers["9"]["result"] is None
    vim.wait_told("ingle: one two")
    vim.wait_told("do not understand each other: ingle/showMarkdown")
    vim.type("<Esc>u")
    trouble_free(vim)


# --- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("announced", "said"),
    [(None, "too old for chat, changes and status"), (0, "too old"), (2, "")],
)
def test_servers_of_other_versions(
    start: Start, make_daemon: MakeDaemon, announced: int | None, said: str, home: Path
) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    record = home / "record.jsonl"
    command = proxy_command(record, announce=announced)
    vim = start(CODE, env=daemon.env, config=f"let g:ingle = {{'cmd': {command}}}")
    if said:
        vim.wait_told(said)
        assert "pip install -U ingle" in vim.told()[0]
    vim.type("jA ")
    vim.wait_for(lambda: vim.expr("ingle#client#IsReady()"), "a ready server")
    vim.settle()
    vim.type("x")
    # Suggestions work with all of them.
    vim.wait_ghost("a + b")
    assert len(vim.told()) == (1 if said else 0)
    vim.type("<Esc>u")
    trouble_free(vim)


def said_by(folder: Path, *commands: str) -> list[str]:
    """What Ex commands say in a Vim without a screen, line by line."""
    found = program()
    assert found is not None
    script, output = folder / "script.vim", folder / "output"
    script.write_text("\n".join([f"redir > {output}", *commands, "redir END", "qall!", ""]))
    subprocess.run(
        [found, "-u", "NONE", "-i", "NONE", "-N", "-es", "-S", str(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return [line for line in output.read_text().split("\n") if line]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("patch-9.0.1378", "patch-99.0.1", "ingle: needs Vim 9.0.1378 or newer"),
        ("'vim9script', 'job'", "'nothing', 'job'", "this Vim was built without +nothing"),
        ("has('nvim')", "has('vim9script')", "Neovim has one of its own"),
    ],
)
def test_a_vim_that_can_not(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (PLUGIN / "plugin" / "ingle.vim").read_text()
    assert old in text
    copy = tmp_path / "ingle.vim"
    copy.write_text(text.replace(old, new))
    # `exists()` of a command is 2.
    first, second = said_by(tmp_path, f"source {copy}", "echo exists(':Ingle')")
    assert said in first
    assert second == "0"


def test_the_plugin_can_be_loaded_twice(tmp_path: Path) -> None:
    plugin = PLUGIN / "plugin" / "ingle.vim"
    said = said_by(tmp_path, f"source {plugin}", f"source {plugin}", "echo exists(':Ingle')")
    assert said == ["2"]


# --- wrong options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{'autmatic': 1}", "there is no option autmatic"),
        ("{'automatic': 'yes'}", "g:ingle.automatic must be v:true or v:false"),
        ("{'cmd': 'ingle-lsp'}", "g:ingle.cmd must be a list of words"),
        ("{'keys': {'acept': '<Tab>'}}", "there is no key acept"),
        ("{'keys': {'accept': 5}}", "g:ingle.keys.accept must be a key"),
        ("['x']", "g:ingle must be a dictionary"),
        ("{'settings': {'debounceMs': -1}}", "debounceMs"),
        ("{'settings': []}", "g:ingle.settings must be a dictionary"),
    ],
)
def test_wrong_options_are_told_and_ignored(
    start: Start, make_daemon: MakeDaemon, options: str, said: str
) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    vim = start(CODE, env=daemon.env, config=f"let g:ingle = {options}")
    vim.wait_attached()
    vim.wait_told(said)
    vim.type("jA ")
    vim.wait_ghost("a + b")
    vim.type("<Tab>")
    vim.wait_text("def add(a, b):", "    return a + b")
    vim.type("<Esc>u")
    trouble_free(vim)


def test_subcommands_that_there_are_not(start: Start) -> None:
    vim = start(CODE, play={})
    vim.wait_attached()
    vim.type(":Ingle nonsense<CR>")
    vim.wait_told("there is no `:Ingle nonsense`")
    vim.type(":Ingle effort huge<CR>")
    vim.wait_told("effort is low, medium or high")
    vim.type(":Ingle pause soon<CR>")
    vim.wait_told("how many minutes?")
    trouble_free(vim)
