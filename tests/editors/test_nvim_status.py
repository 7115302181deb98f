"""Around the suggestions in a real Neovim: the daemon, its models, status, health, versions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from support.daemons import DaemonUnderTest, saying
from support.lsp_proxy import proxy_command
from support.nvim import Neovim, starter, versions

pytestmark = [pytest.mark.editor, pytest.mark.slow]

Start = Callable[..., Neovim]
MakeDaemon = Callable[..., DaemonUnderTest]
ADD = "def add(a, b):\n    return\n"
CODE = {"add.py": ADD}
INLINE = "textDocument/inlineCompletion"
STATUS = "return require('ingle').statusline()"
_numbers = itertools.count(1)


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
    """Starts Neovims that talk to the daemon, if `env` doesn't say otherwise."""
    with starter(program, home, daemon.env) as start:
        yield start


@pytest.fixture
def nvim(start: Start) -> Iterator[Neovim]:
    """A Neovim whose language server is ready; no error may be shown."""
    nvim = start(CODE)
    nvim.wait_attached()
    yield nvim
    assert nvim.errors() == []


def health(nvim: Neovim) -> str:
    """What `:checkhealth ingle` says."""
    nvim.command("checkhealth ingle")
    return "\n".join(nvim.text())


def wait_status(nvim: Neovim, text: str) -> None:
    nvim.wait_for(lambda: text in nvim.lua(STATUS), f"the status {text}")


# --- the daemon --------------------------------------------------------------------------------


def test_the_status_line_follows_the_daemon(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    config = "vim.o.statusline = [[%f %=%{v:lua.require'ingle'.statusline()}]]"
    nvim = start(CODE, env=daemon.env, config=config)
    nvim.wait_line("the daemon is not running")
    nvim.wait_message("ingled is not running: start it with `:Ingle start`")
    nvim.picture("nvim-daemon-down")
    daemon.start()
    wait_status(nvim, "scripted")
    nvim.type("jA ")
    nvim.wait_ghost("a + b")
    daemon.kill()
    nvim.wait_line("the daemon is not running")
    nvim.type("<BS> ")
    daemon.start()
    wait_status(nvim, "scripted")
    nvim.type("<Esc>A.<BS>")
    nvim.wait_ghost("a + b")
    assert nvim.errors() == []


def test_without_a_daemon_typing_goes_on_with_one_message(
    start: Start, make_daemon: MakeDaemon
) -> None:
    nvim = start(CODE, env=make_daemon().env)
    nvim.wait_message("start it with `:Ingle start`")
    nvim.type("jA 1")
    nvim.wait_for(lambda: nvim.sent(INLINE), "a request")
    nvim.type(" + 2")
    nvim.wait_for(lambda: len(nvim.sent(INLINE)) == 2, "another request")
    nvim.type(" + 3 + 4<Esc>o5 + 6<Tab>7<Esc>")
    nvim.wait_text("def add(a, b):", "    return 1 + 2 + 3 + 4", "5 + 6\t7")
    assert len(nvim.messages()) == 1


def test_one_command_starts_the_daemon(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    nvim = start(CODE, env=daemon.env)
    nvim.wait_message("start it with `:Ingle start`")
    try:
        nvim.type(":Ingle start<CR>")
        nvim.wait_line("the daemon runs")
        nvim.type("jA ")
        nvim.wait_ghost("a + b")
    finally:
        with daemon.client() as client:
            pid = client.status().pid
            client.shutdown()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)


def test_models_are_loaded_and_unloaded(start: Start, make_daemon: MakeDaemon) -> None:
    nvim = start(CODE, env=make_daemon().start().env)
    wait_status(nvim, "scripted")
    nvim.type(":Ingle models<CR>")
    nvim.wait_line("1: scripted: loaded")
    nvim.type("1<CR>")
    nvim.wait_line("scripted is unloaded")
    wait_status(nvim, "no model loaded")
    nvim.type(":Ingle load scripted<CR>")
    nvim.wait_line("scripted is loaded")
    wait_status(nvim, "scripted")
    nvim.type(":Ingle unload nonsense<CR>")
    nvim.wait_message("'nonsense' is not resident")
    assert nvim.errors() == []


def test_suggestions_are_paused(nvim: Neovim) -> None:
    nvim.type(":Ingle pause<CR>")
    nvim.wait_message("no suggestions until `:Ingle resume`")
    wait_status(nvim, "suggestions paused")
    nvim.type("jA <Esc>")
    nvim.settle()
    assert nvim.ghost() == []
    nvim.type(":Ingle resume<CR>")
    nvim.wait_message("suggestions are on again")
    nvim.type("A <BS>")
    nvim.wait_ghost("a + b")
    nvim.type("<Esc>:Ingle pause 0.01<CR>")
    nvim.wait_message("no suggestions for 0.01 minutes")
    nvim.wait_for(lambda: "paused" not in nvim.lua(STATUS), "the end of the pause")
    nvim.type(":Ingle pause soon<CR>")
    nvim.wait_message("how many minutes?")


def test_the_menu_offers_what_makes_sense(nvim: Neovim) -> None:
    wait_status(nvim, "scripted")
    nvim.type(":Ingle<CR>")
    nvim.wait_line("1: Load or unload a model")
    nvim.type("2<CR>")
    wait_status(nvim, "suggestions paused")


def test_status_is_told(nvim: Neovim) -> None:
    nvim.type(":Ingle status<CR>")
    nvim.wait_message("ingle: scripted")


def test_subcommands_and_their_words_are_completed(nvim: Neovim) -> None:
    def completed(line: str) -> list[str]:
        return list(nvim.lua("return vim.fn.getcompletion(..., 'cmdline')", line))

    assert completed("Ingle ex") == ["explain"]
    assert completed("'<,'>Ingle doc") == ["document"]
    assert completed("Ingle effort ") == ["low", "medium", "high"]
    assert completed("Ingle effort m") == ["medium"]
    assert completed("Ingle explain ") == []
    assert set(completed("Ingle ")) == set(nvim.lua("return vim.tbl_keys(" + TABLE + ")"))
    # Names come from the daemon, after the first look.
    nvim.wait_for(lambda: completed("Ingle load scr") == ["scripted"], "the models' names")


TABLE = "require('ingle.command').subcommands"


def test_all_subcommands_are_in_the_help(nvim: Neovim) -> None:
    nvim.command("helptags " + str(Path(__file__).parents[2] / "editor-plugins/nvim/doc"))
    try:
        for name in nvim.lua(f"return vim.tbl_keys({TABLE})"):
            nvim.command(f"help :Ingle-{name}")
    finally:
        (Path(__file__).parents[2] / "editor-plugins/nvim/doc/tags").unlink()


def test_the_component_of_lualine(nvim: Neovim) -> None:
    wait_status(nvim, "scripted")
    assert nvim.lua("return require('lualine.components.ingle')()") == nvim.lua(STATUS)


# --- settings ----------------------------------------------------------------------------------


def test_settings_go_to_the_server(start: Start) -> None:
    config = "require('ingle').setup { settings = { disabledLanguages = { 'python' } } }"
    nvim = start({"add.py": ADD, "add.lua": "return\n"}, config=config)
    nvim.wait_attached()
    nvim.type("jA ")
    nvim.wait_for(lambda: len(_answers(nvim)) == 1, "an answer")
    assert nvim.ghost() == []
    # They may change at any time.
    nvim.lua("require('ingle').setup {}")
    nvim.type("x")
    nvim.wait_ghost("a + b")


def _answers(nvim: Neovim) -> list[object]:
    asked = {item.message["id"] for item in nvim.sent(INLINE)}
    return [item for item in nvim.received("") if item.message.get("id") in asked]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{ colour = 1 }", "there is no option colour: see :help ingle-options"),
        ("{ automatic = 'yes' }", "automatic must be true or false"),
        ("{ cmd = 'ingle-lsp' }", "cmd must be a list of words"),
        ("{ keys = { jump = 'x' } }", "there is no key jump: see :help ingle-keys"),
        ("{ keys = { accept = true } }", "keys.accept must be a key or false"),
        ("{ settings = { deadline = 1 } }", "there is no setting ingle.deadline"),
        ("{ settings = { maxTokens = -1 } }", "maxTokens must be a whole number"),
    ],
)
def test_wrong_options_are_told(nvim: Neovim, options: str, message: str) -> None:
    nvim.lua(f"require('ingle').setup {options}")
    nvim.wait_message(message)


# --- what is missing or does not fit -----------------------------------------------------------


def test_health_of_a_healthy_one(nvim: Neovim) -> None:
    said = health(nvim)
    assert "ingle-lsp" in said
    assert "the language server runs, and speaks version 1 of the messages" in said
    assert "the daemon runs" in said
    assert "scripted" in said
    assert "ERROR" not in said
    assert "WARN" not in said
    nvim.picture("nvim-health")


def test_health_without_a_daemon(start: Start, make_daemon: MakeDaemon) -> None:
    nvim = start(CODE, env=make_daemon().env)
    nvim.wait_message("start it with `:Ingle start`")
    said = health(nvim)
    assert "ERROR" in said
    assert "start it: :Ingle start" in said


def test_health_names_the_keys_that_were_left_alone(start: Start) -> None:
    nvim = start(CODE, config="vim.keymap.set('i', '<M-n>', 'mine')")
    nvim.wait_attached()
    assert "<M-n> (next)" in health(nvim)


def test_without_ingle_lsp_there_is_one_message(start: Start) -> None:
    nvim = start(CODE, config="require('ingle').setup { cmd = { 'no-such-program' } }")
    nvim.wait_message("no-such-program was not found: `pip install ingle`")
    nvim.type("jA 1 +<Tab>2<Esc>")
    nvim.wait_text("def add(a, b):", "    return 1 +\t2")
    nvim.command("edit other.py")
    nvim.settle()
    assert len(nvim.messages()) == 1
    nvim.type(":Ingle explain<CR>")
    nvim.wait_for(lambda: len(nvim.messages()) == 2, "a message")
    assert "no-such-program was not found" in health(nvim)
    assert nvim.errors() == []


@pytest.mark.parametrize("program_text", ["exit 3", "echo rubbish; sleep 60", "cat > /dev/null"])
def test_a_server_that_is_none(start: Start, home: Path, program_text: str) -> None:
    script = home / "server"
    script.write_text(f"#!/bin/sh\n{program_text}\n")
    script.chmod(0o755)
    nvim = start(CODE, config=f"require('ingle').setup {{ cmd = {{ '{script}' }} }}")
    nvim.type("jA 1 +<Tab>2<Esc>")
    nvim.wait_text("def add(a, b):", "    return 1 +\t2")
    if program_text == "exit 3":
        nvim.wait_message("quit with exit code 3" if nvim.is_0_7 else "ingle-lsp has ended")
    assert nvim.ghost() == []
    # It may be asked for again and again, and typing never stops.
    nvim.type(":Ingle status<CR>:Ingle status<CR>ggOx<Esc>")
    nvim.wait_text("x", "def add(a, b):", "    return 1 +\t2")


def test_an_old_server_completes_and_the_user_is_told(start: Start, home: Path) -> None:
    nvim = start(CODE, config=_announcing(home, None))
    nvim.wait_message("is too old: pip install -U ingle")
    nvim.type("jA ")
    nvim.wait_ghost("a + b")
    nvim.type("<Esc>")
    assert "is too old" in health(nvim)


def test_a_server_of_version_0_is_older(start: Start, home: Path) -> None:
    nvim = start(CODE, config=_announcing(home, 0))
    nvim.wait_message("is too old: pip install -U ingle")
    assert "pip install -U ingle" in health(nvim)


def test_a_newer_server_is_taken_as_it_is(start: Start, home: Path) -> None:
    nvim = start(CODE, config=_announcing(home, 2))
    wait_status(nvim, "scripted")
    assert nvim.messages() == []
    assert "speaks version 2" in health(nvim)


def _announcing(home: Path, version: int | None) -> str:
    command = proxy_command(home / "announced.jsonl", announce=version)
    words = ", ".join(f"[[{word}]]" for word in command)
    return f"require('ingle').setup {{ cmd = {{ {words} }} }}"


def test_a_server_that_dies_is_restarted_by_a_command(nvim: Neovim) -> None:
    nvim.stop_server()
    nvim.wait_message("quit with exit code" if nvim.is_0_7 else "ingle-lsp has ended")
    wait_status(nvim, "ingle-lsp has ended")
    nvim.type("jA 1<Tab><Esc>")
    nvim.wait_text("def add(a, b):", "    return 1\t")
    nvim.type(":Ingle restart<CR>")
    wait_status(nvim, "scripted")
    nvim.type("A <BS>")
    nvim.wait_ghost("a + b")
    nvim.type("<Esc>")


def test_a_server_that_runs_is_restarted(nvim: Neovim) -> None:
    wait_status(nvim, "scripted")
    nvim.type(":Ingle restart<CR>")
    nvim.wait_for(lambda: len(nvim.sent("initialize")) == 2, "another server")
    wait_status(nvim, "scripted")
    nvim.type("jA ")
    nvim.wait_ghost("a + b")
    nvim.type("<Esc>")
    assert nvim.messages() == []


def test_one_server_for_all_buffers(nvim: Neovim) -> None:
    for number in range(3):
        nvim.command(f"edit other{number}.py")
    nvim.wait_for(lambda: len(nvim.sent("textDocument/didOpen")) == 4, "all buffers known")
    assert len(nvim.sent("initialize")) == 1


def test_large_and_binary_files_are_not_sent(start: Start) -> None:
    texts = {"large.txt": "x" * 99 + "\n", "nul.bin": "a\0b\n"}
    nvim = start({"large.txt": texts["large.txt"] * 60_000, "nul.bin": texts["nul.bin"]})
    nvim.type("Ox = <Esc>:next<CR>Ox = <Esc>")
    nvim.wait_for(lambda: nvim.text()[0] == "x = ", "typed text")
    nvim.type("i<Cmd>Ingle suggest<CR>")
    nvim.wait_message("no suggestions here: this file is binary")
    nvim.type("<Esc>:previous!<CR>i<Cmd>Ingle suggest<CR>")
    nvim.wait_message("no suggestions here: this file is too large (6.0 MB)")
    assert nvim.sent("textDocument/didOpen") == []


def test_the_server_ends_with_neovim(start: Start) -> None:
    nvim = start(CODE)
    nvim.wait_attached()
    children = psutil.Process(nvim.process.pid).children(recursive=True)
    assert children
    nvim.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


# --- Neovim 0.12 -------------------------------------------------------------------------------

BUILTIN = """
calls = {}
local function record(name, result)
  return function(...)
    table.insert(calls, { name, ... })
    return result
  end
end
builtin = { enable = record('enable'), select = record('select'), get = record('get', false) }
require('ingle.compat').builtin_inline_completion = function() return builtin end
"""


def test_neovims_own_ghost_text_is_used_by_who_wants_it(start: Start) -> None:
    """There is no Neovim 0.12 to test with: a stand-in of its functions says what was called."""
    nvim = start(CODE, config=BUILTIN + "require('ingle').setup { ghost_text = 'builtin' }")
    nvim.wait_attached()
    (enabled,) = nvim.lua("return calls")
    assert enabled[:2] == ["enable", True]
    nvim.type("jA <Tab><M-n>")
    nvim.wait_text("def add(a, b):", "    return \t")
    nvim.wait_for(lambda: len(nvim.lua("return calls")) == 3, "both calls")
    assert [call[0] for call in nvim.lua("return calls")] == ["enable", "get", "select"]
    nvim.lua("builtin.get = function() return true end")
    nvim.type("<Tab>x")
    nvim.wait_text("def add(a, b):", "    return \tx")
    assert nvim.sent(INLINE) == []


def test_neovims_own_ghost_text_stands_back_otherwise(start: Start) -> None:
    nvim = start(CODE, config=BUILTIN)
    nvim.wait_attached()
    (disabled,) = nvim.lua("return calls")
    assert disabled[:2] == ["enable", False]
    nvim.type("jA ")
    nvim.wait_ghost("a + b")
