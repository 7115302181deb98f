"""The Emacs package against a real ingle-lsp and daemon: ERT in batch mode.

The tests themselves are `tests/editors/emacs/*-tests.el`; the tests of a file share an Emacs, an
ingle-lsp and a daemon.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.daemons import SCRIPTED, DaemonUnderTest
from support.emacs import TESTS, environment, ert_tests, has_eglot, needs_emacs, run_ert
from support.lsp_mirror import mirrored
from support.lsp_proxy import recorded

pytestmark = needs_emacs

ANSWER = "Here:\n\n```python\ndef add(a, b):\n    return a + b\n```\n"
#: Files of tests, and what the daemon's model says to everything.
SCRIPTS: dict[str, dict[str, Any]] = {
    "ingle-ghost-tests": {"script": "a + b"},
    "ingle-eglot-tests": {"script": "a + b"},
    "ingle-actions-tests": {"script": ANSWER},
    "ingle-eglot-actions-tests": {"script": ANSWER},
    "ingle-chat-tests": {"script": ANSWER, "tokens_per_second": 60.0},
}


@dataclass
class Run:
    """One file's tests: what ERT says of each, and Emacs's home."""

    outcomes: dict[str, str]
    home: Path


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The tests of a file, run in one Emacs with one daemon."""
    name = str(request.param)
    if "eglot" in name and not has_eglot():
        pytest.skip("no Eglot: tests/editors/install_emacs.sh installs it")
    folder = Path(tempfile.mkdtemp(prefix="ingle-e-"))
    daemon = DaemonUnderTest(folder / "d", **SCRIPTED)
    try:
        daemon.configure(scripted=SCRIPTS[name])
        daemon.start()
        home = folder / "home"
        env = environment(
            home,
            daemon.env,
            INGLE_TEST_FAKE_SERVER=f"{sys.executable}\n{TESTS / 'fake_server.py'}",
            INGLE_TEST_STORM=str(home / "storm.json"),
        )
        yield Run(run_ert(TESTS / f"{name}.el", env=env), home)
    finally:
        daemon.close()
        shutil.rmtree(folder, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test of pytest's for each of ERT's."""
    if "name" in metafunc.fixturenames:
        pairs = [(name, test) for name in SCRIPTS for test in ert_tests(TESTS / f"{name}.el")]
        ids = [test.removeprefix("ingle-test-") for _, test in pairs]
        metafunc.parametrize(("run", "name"), pairs, indirect=["run"], scope="module", ids=ids)
    else:
        metafunc.parametrize("run", ["ingle-ghost-tests"], indirect=True, scope="module")


def test_with_a_server(run: Run, name: str) -> None:
    assert not run.outcomes[name], run.outcomes[name]


def test_the_server_has_the_text_that_is_left_of_the_storm(run: Run) -> None:
    storm = json.loads((run.home / "storm.json").read_text())
    messages = recorded(run.home / "record.jsonl")[: storm["messages"]]
    assert sum(item.method == "textDocument/didChange" for item in messages) > 300
    assert mirrored(messages, "utf-32")[storm["uri"]] == storm["text"]
