"""Around the suggestions in a real Vim: daemon, models, status, health, help, start-up."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingle.version import __version__
from ingle_lsp.extension import VERSION
from ingle_lsp.settings import TABLE
from support.daemons import DaemonUnderTest, saying
from support.vim import PLUGIN, Vim, program, reason_to_skip, starter

pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
]

Start = Callable[..., Vim]
MakeDaemon = Callable[..., DaemonUnderTest]
CODE = {"add.py": "def add(a, b):\n    return\n"}
STATUS = "ingle#StatusLine()"


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonUnderTest]:
    """One that completes everything with `a + b`."""
    with saying("a + b") as daemon:
        yield daemon


@pytest.fixture
def start(home: Path, daemon: DaemonUnderTest) -> Iterator[Start]:
    """Starts Vims that talk to the daemon, if `env` doesn't say otherwise."""
    with starter(home, daemon.env) as start:
        yield start


@pytest.fixture
def vim(start: Start) -> Iterator[Vim]:
    """A Vim whose language server is ready; no error may be shown."""
    vim = start(CODE, size=(90, 40))
    vim.wait_attached()
    yield vim
    assert vim.errors() == []


def wait_status(vim: Vim, text: str) -> None:
    vim.wait_for(lambda: text in vim.expr(STATUS), f"the status {text}")


def completed(vim: Vim, line: str) -> list[str]:
    return list(vim.expr(f"getcompletion(\"{line}\", 'cmdline')"))


# --- the daemon and its models -------------------------------------------------------------------


def test_the_status_line_follows_the_daemon(start: Start, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    config = """
    set statusline=%f\\ %=%{ingle#StatusLine()}
    let g:changes = 0
    autocmd User IngleStatus let g:changes += 1
    """
    vim = start(CODE, env=daemon.env, config=config)
    vim.wait_line("the daemon is not running")
    daemon.start()
    vim.wait_for(lambda: vim.lines()[-2].endswith(" scripted"), "the model")
    daemon.kill()
    vim.wait_line("the daemon is not running")
    assert vim.expr("g:changes") >= 3
    assert vim.errors() == []


def test_models_are_loaded_and_unloaded(vim: Vim) -> None:
    wait_status(vim, "scripted")
    vim.type(":Ingle unload scripted<CR>")
    vim.wait_told("scripted is unloaded")
    wait_status(vim, "no model loaded")
    vim.type(":Ingle load scripted<CR>")
    vim.wait_told("scripted is loaded")
    wait_status(vim, "scripted")
    vim.type(":Ingle load nonsense<CR>")
    vim.wait_for(lambda: any("nonsense" in line for line in vim.told()), "a message")
    vim.type(":Ingle unload<CR>")
    vim.wait_told("the model is unloaded")
    vim.type(":Ingle models<CR>")
    vim.wait_line("1 smollm2-135m: not installed")
    vim.type("1")
    vim.wait_told("`ingle pull smollm2-135m` installs it")
    vim.type(":Ingle load scripted<CR>")
    wait_status(vim, "scripted")


def test_models_are_chosen_from(start: Start) -> None:
    models = [
        {"name": "small", "installed": True, "resident": False},
        {"name": "large", "installed": True, "resident": True},
    ]
    vim = start(CODE, play={"answers": {"workspace/executeCommand": models}})
    vim.wait_attached()
    for key, command, name in (
        ("1", "ingle.loadModel", "small"),
        ("j<CR>", "ingle.unloadModel", "large"),
    ):
        vim.type(":Ingle models<CR>")
        vim.wait_line("2 large: loaded")
        vim.type(key)
        vim.wait_told(f"{name} is {'' if key == '1' else 'un'}loaded")
        params = vim.sent("workspace/executeCommand")[-1].message["params"]
        assert (params["command"], params["arguments"]) == (command, [{"model": name}])
    assert completed(vim, "Ingle load l") == ["large"]
    assert vim.errors() == []


def test_suggestions_are_paused(vim: Vim) -> None:
    vim.type(":Ingle pause<CR>")
    vim.wait_told("no suggestions until `:Ingle resume`")
    wait_status(vim, "suggestions paused")
    vim.type("jA <Esc>")
    vim.settle()
    assert vim.ghost() == []
    vim.type(":Ingle resume<CR>")
    vim.wait_told("suggestions are on again")
    vim.type("A <BS>")
    vim.wait_ghost("a + b")
    vim.type("<Esc>:Ingle pause 0.01<CR>")
    vim.wait_told("no suggestions for 0.01 minutes")
    vim.wait_for(lambda: "paused" not in vim.expr(STATUS), "the end of the pause")


def test_the_menu_offers_what_makes_sense(vim: Vim) -> None:
    wait_status(vim, "scripted")
    vim.type(":Ingle<CR>")
    vim.wait_line("1 Load or unload a model")
    vim.picture("vim-menu")
    vim.type("j<CR>")
    wait_status(vim, "suggestions paused")
    vim.type(":Ingle menu<CR>")
    vim.wait_line("2 Resume suggestions")
    vim.type("2")
    vim.wait_told("suggestions are on again")
    vim.type(":Ingle menu<CR>")
    vim.wait_line("Open a chat thread")
    vim.type("<Esc>")


def test_status_is_told(vim: Vim) -> None:
    vim.type(":Ingle status<CR>")
    vim.wait_told("ingle: scripted")


def test_the_server_knows_the_plugin(vim: Vim) -> None:
    params = vim.sent("initialize")[0].message["params"]
    assert params["clientInfo"] == {"name": "ingle.vim", "version": __version__}
    assert params["capabilities"]["experimental"]["ingle"]["version"] == VERSION


# --- help and completion -------------------------------------------------------------------------


def test_subcommands_and_their_words_are_completed(vim: Vim) -> None:
    assert completed(vim, "Ingle ex") == ["explain"]
    assert completed(vim, "'<,'>Ingle doc") == ["document"]
    assert completed(vim, "Ingle! del") == ["delete"]
    assert completed(vim, "Ingle effort ") == ["low", "medium", "high"]
    assert completed(vim, "Ingle effort m") == ["medium"]
    assert completed(vim, "Ingle explain ") == []
    # Names come from the daemon, after the first look.
    vim.wait_for(lambda: "gpt-oss-20b" in completed(vim, "Ingle load gpt"), "the models' names")


def test_the_help_knows_every_subcommand_option_and_key(vim: Vim) -> None:
    text = (PLUGIN / "doc" / "ingle.txt").read_text()
    for name in completed(vim, "Ingle "):
        assert f"*:Ingle-{name}*" in text
    assert len(re.findall(r"\*:Ingle-\w+\*", text)) == len(completed(vim, "Ingle "))
    readme = (PLUGIN / "README.md").read_text()
    for name in vim.expr("ingle#config#KeyNames()"):
        key = vim.expr(f"ingle#config#Key('{name}')")
        assert re.search(rf"^\t{name}\t+{re.escape(key)}\s", text, re.MULTILINE), name
        assert f"`{name}`" in readme
        assert key in readme


def test_the_help_has_tags_that_lead_somewhere(tmp_path: Path, vim: Vim) -> None:
    shutil.copytree(PLUGIN / "doc", tmp_path / "doc")
    vim.command(f"helptags {tmp_path}/doc")
    tags = {line.split("\t")[0] for line in (tmp_path / "doc" / "tags").read_text().splitlines()}
    text = (tmp_path / "doc" / "ingle.txt").read_text()
    assert all(len(line.expandtabs(8)) <= 78 for line in text.splitlines())
    for link in re.findall(r"\|([^|\s]+)\|", text):
        assert link in tags or vim.expr(f"getcompletion('{link}', 'help')"), link


def test_switches_of_the_server_may_be_numbers(vim: Vim) -> None:
    """As they usually are in Vim; the server takes true and false only."""
    switches = [setting.name for setting in TABLE if "true or false" in setting.takes]
    given = {name: number % 2 for number, name in enumerate(switches)}
    vim.command(f"let g:ingle = {{'settings': {given}}}")
    assert vim.expr("ingle#config#ServerSettings()") == {
        name: bool(value) for name, value in given.items()
    }


# --- health --------------------------------------------------------------------------------------


def report(vim: Vim) -> list[str]:
    """The health check's lines."""
    return vim.text("bufnr('ingle://health')")


def test_health_when_all_is_well(vim: Vim) -> None:
    wait_status(vim, "scripted")
    vim.type(":Ingle health<CR>")
    vim.wait_for(lambda: "- ok: scripted on script" in report(vim), "the daemon's part")
    vim.wait_for(lambda: f"ingle-lsp {__version__}" in "\n".join(report(vim)), "the version")
    assert not [line for line in report(vim) if "WRONG" in line]
    assert [line for line in report(vim) if line.startswith("#")] == [
        "# ingle: health",
        "## Vim",
        "## This buffer",
        "## Program",
        "## Language server",
        "## Daemon",
        "## Messages",
    ]
    vim.picture("vim-health")
    vim.type("<C-w>bq")
    assert vim.expr("winnr('$')") == 1


def test_health_without_a_daemon(start: Start, make_daemon: MakeDaemon) -> None:
    config = "inoremap <C-Right> mine\nlet g:ingle = {'automatic': v:false, 'nonsense': 1}"
    vim = start(CODE, env=make_daemon().env, config=config)
    vim.wait_attached()
    vim.type(":Ingle health<CR>")
    vim.wait_for(lambda: "start it with `:Ingle start`" in "\n".join(report(vim)), "the report")
    text = "\n".join(report(vim))
    assert "WRONG: there is no option nonsense" in text
    assert "keys that you use otherwise, so ingle does not: <C-Right> (accept_word)" in text
    assert "suggestions come by a key: g:ingle.automatic is off" in text
    assert "WRONG: the daemon is not running" in text
    assert vim.errors() == []


def test_health_without_a_program(start: Start) -> None:
    vim = start(CODE, config="let g:ingle = {'cmd': ['not-here']}")
    vim.type(":setlocal readonly<CR>:Ingle health<CR>")
    vim.wait_for(lambda: "WRONG: not-here was not found" in "\n".join(report(vim)), "the report")
    assert "no suggestions here: this buffer is read-only" in "\n".join(report(vim))
    assert "## Daemon" not in report(vim)
    assert vim.errors() == []


def test_health_with_a_program_that_is_something_else(start: Start) -> None:
    vim = start(CODE, config="let g:ingle = {'cmd': ['false']}")
    vim.wait_told("has ended")
    vim.type(":Ingle health<CR>")
    vim.wait_for(lambda: "WRONG: false --version failed" in "\n".join(report(vim)), "the report")
    assert vim.errors() == []


def test_health_of_an_old_server(start: Start) -> None:
    vim = start(CODE, play={"capabilities": {"experimental": None}})
    vim.wait_attached()
    vim.type(":Ingle health<CR>")
    vim.wait_for(
        lambda: "WRONG: fake-lsp 0 is too old for chat" in "\n".join(report(vim)), "the report"
    )
    assert vim.errors() == []


# --- start-up ------------------------------------------------------------------------------------


def test_starting_vim_loads_next_to_nothing(tmp_path: Path) -> None:
    found = program()
    assert found is not None
    log = tmp_path / "startup.log"
    times = []
    for _ in range(5):
        log.unlink(missing_ok=True)
        subprocess.run(
            [
                found,
                *("-u", "NONE", "-i", "NONE", "-N", "--not-a-term"),
                *("--startuptime", str(log)),
                *("--cmd", f"set runtimepath^={PLUGIN} loadplugins"),
                *("-c", "qall!"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        lines = [line for line in log.read_text().splitlines() if str(PLUGIN) in line]
        # Nothing else is loaded before Vim is drawn.
        (line,) = lines
        assert line.endswith("plugin/ingle.vim")
        times.append(float(line.split()[1]))
    assert min(times) <= 5.0
