"""The handshake: what an editor's side announces, and what it gets back."""

from __future__ import annotations

from typing import Any

import pytest

from ingle.version import __version__
from ingle_lsp.extension import Extension, announced, too_old
from support.wire import INLINE, Wire


def announcing(**section: Any) -> dict[str, Any]:
    return INLINE | {"experimental": {"ingle": section}}


@pytest.mark.parametrize(
    "experimental",
    [None, {}, [], "ingle", 1, {"other": {"version": 1}}, {"ingle": None}, {"ingle": [1]}],
)
def test_without_our_section_nothing_is_announced(experimental: Any) -> None:
    assert announced(experimental) == Extension()
    assert too_old(announced(experimental), "plain") is None


def test_everything_that_can_be_announced() -> None:
    given = {
        "version": 1,
        "status": True,
        "showMarkdown": True,
        "candidates": True,
        "startHint": "`:Ingle start`",
        "somethingNewer": {"of": "tomorrow"},
    }
    assert announced({"ingle": given}) == Extension(
        version=1, status=True, show_markdown=True, candidates=True, start_hint="`:Ingle start`"
    )


@pytest.mark.parametrize("wrong", [None, "yes", 1, [], {}])
def test_what_makes_no_sense_is_not_there(wrong: Any) -> None:
    given = dict.fromkeys(("status", "showMarkdown", "candidates"), wrong)
    assert announced({"ingle": given | {"startHint": [wrong], "version": True}}) == Extension(
        version=1
    )


def test_a_hint_is_one_short_line() -> None:
    hint = announced({"ingle": {"startHint": "a\n" + "b" * 1000}}).start_hint
    assert hint.startswith("a b")
    assert len(hint) <= 100


@pytest.mark.parametrize(
    ("version", "complains"), [(None, False), (1, False), (2, False), (0, True), (-1, True)]
)
def test_only_a_plugin_that_is_too_old_is_told(version: int | None, complains: bool) -> None:
    complaint = too_old(Extension(version=version), "ingle.nvim")
    assert (complaint is not None) is complains
    if complaint:
        assert complaint.startswith(f"ingle.nvim speaks version {version} ")
        assert complaint.endswith("update the plugin")


# --- over the wire -------------------------------------------------------------------------------


async def test_the_server_answers_with_its_own_version() -> None:
    wire = Wire()
    assert (await wire.initialize())["experimental"] == {"ingle": {"version": 1}}
    result = wire.matching(id=1)[0]["result"]
    assert result["serverInfo"] == {"name": "ingle-lsp", "version": __version__}
    assert wire.server.extension == Extension()


async def test_a_newer_plugin_is_served() -> None:
    wire = Wire()
    await wire.initialize(announcing(version=7, showMarkdown=True))
    assert wire.server.extension == Extension(version=7, show_markdown=True)
    assert wire.shown == []


async def test_an_older_plugin_is_told_and_served() -> None:
    wire = Wire()
    await wire.initialize(announcing(version=0))
    (shown,) = wire.shown
    assert "update the plugin" in shown
    wire.open("x = ")
    assert (await wire.ghost(2, 0, 4))["result"] is not None


def test_a_plugin_names_its_own_way_to_start_the_daemon() -> None:
    extension = announced({"ingle": {"startHint": "`:Ingle start`"}})
    assert extension.not_running == "ingled is not running: start it with `:Ingle start`"
    assert Extension().not_running == "ingled is not running: start it with `ingle up`"


# --- parameters of our own methods ---------------------------------------------------------------


@pytest.mark.parametrize("message", [{}, {"params": None}, {"params": {"class": {"def": [1]}}}])
async def test_they_stay_plain_json(message: dict[str, Any]) -> None:
    wire = Wire()
    seen = []

    async def handler(params: Any) -> Any:
        seen.append(params)
        return params

    wire.server.feature("ingle/test")(handler)
    await wire.initialize()
    wire.receive(id=2, method="ingle/test", **message, more="ignored")
    answer = await wire.until(id=2)
    assert seen == [message.get("params")]
    assert answer["result"] == message.get("params")
