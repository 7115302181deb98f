"""What a status line shows for each report of the daemon, and without one."""

from __future__ import annotations

from typing import Any

import pytest

from ingle.errors import DaemonNotRunning, IngleError, ResponseTimeout, VersionMismatch
from ingle.messages import ModelStatus, Report
from ingle_lsp.settings import Settings
from ingle_lsp.status import message, of_outage, of_report

KEYS = {
    "state",
    "text",
    "model",
    "progress",
    "detail",
    "tokensPerSecond",
    "effort",
    "device",
    "enabled",
}


def report(*models: ModelStatus, notices: list[str] | None = None) -> Report:
    return Report(id=1, version="1", pid=1, uptime_s=1.0, models=[*models], notices=notices or [])


def model(state: Any, name: str = "gpt-oss-20b", **more: Any) -> ModelStatus:
    return ModelStatus(name=name, engine="scripted", state=state, **more)


@pytest.mark.parametrize(
    ("reported", "state", "text", "progress", "detail"),
    [
        (model("starting"), "starting", "starting gpt-oss-20b", None, ""),
        (model("loading"), "loading", "loading gpt-oss-20b", None, ""),
        (
            model("loading", progress=0.404, detail="layer 9"),
            "loading",
            "loading gpt-oss-20b 40 %",
            0.4,
            "layer 9",
        ),
        (model("loading", progress=0.0), "loading", "loading gpt-oss-20b 0 %", 0.0, ""),
        (model("ready"), "ready", "gpt-oss-20b", None, ""),
        (model("ready", busy_slots=1), "busy", "gpt-oss-20b, busy", None, ""),
        (model("stopping"), "idle", "unloading gpt-oss-20b", None, ""),
        (model("absent"), "idle", "no model loaded", None, ""),
        (model("backoff", detail="died"), "starting", "restarting gpt-oss-20b", None, "died"),
        (
            model("failed", detail="no room"),
            "failed",
            "gpt-oss-20b can't be loaded",
            None,
            "no room",
        ),
    ],
)
def test_one_model(
    reported: ModelStatus, state: str, text: str, progress: float | None, detail: str
) -> None:
    status = of_report(report(reported))
    assert (status.state, status.text) == (state, text)
    assert (status.progress, status.detail) == (progress, detail)
    assert status.model == "gpt-oss-20b"


def test_a_busy_model_has_a_speed_and_a_device() -> None:
    busy = model("ready", busy_slots=2, decode_tokens_per_second=41.234, device="RTX 4090")
    status = of_report(report(busy))
    assert status.text == "gpt-oss-20b, 41 tokens/s"
    assert (status.tokens_per_second, status.device) == (41.2, "RTX 4090")


def test_a_model_with_a_path_for_a_name() -> None:
    status = of_report(report(model("ready", name="/models/deep/tiny.gguf")))
    assert (status.text, status.model) == ("tiny.gguf", "/models/deep/tiny.gguf")


def test_of_several_models_the_one_that_can_be_used() -> None:
    status = of_report(report(model("failed", "a"), model("ready", "b"), model("absent", "c")))
    assert (status.state, status.model) == ("ready", "b")


def test_no_model_at_all() -> None:
    assert of_report(report()).state == "idle"
    status = of_report(report(notices=["no model is installed: get one with `ingle pull`"]))
    assert status.state == "failed"
    assert status.detail == "no model is installed: get one with `ingle pull`"


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (None, "down"),
        (DaemonNotRunning("ingled is not running: start it with `ingle up`"), "down"),
        (ResponseTimeout("the daemon did not answer in time: see `ingle status`"), "down"),
        (IngleError("no connection to the daemon (OSError)"), "down"),
        (VersionMismatch("the peer speaks protocol 9: update the older one"), "incompatible"),
    ],
)
def test_without_a_daemon_the_detail_says_what_to_do(
    failure: IngleError | None, state: str
) -> None:
    status = of_outage(failure)
    assert status.state == state
    assert status.detail == str(failure or "ingled is not running: start it with `ingle up`")
    assert of_outage(failure, starting=True).state == "starting"


def test_the_message_has_every_field_in_every_state() -> None:
    for status in (of_report(report()), of_report(report(model("ready"))), of_outage(None)):
        assert set(message(status, Settings(), paused=False)) == KEYS


def test_what_the_editor_contributes() -> None:
    status = of_report(report(model("ready")))
    plain = message(status, Settings(), paused=False)
    assert (plain["text"], plain["enabled"], plain["effort"]) == ("gpt-oss-20b", True, None)
    paused = message(status, Settings(effort="low"), paused=True)
    assert (paused["text"], paused["enabled"]) == ("gpt-oss-20b, suggestions paused", False)
    assert paused["effort"] == "low"
    off = message(status, Settings(enabled=False), paused=True)
    assert (off["text"], off["enabled"]) == ("gpt-oss-20b, suggestions off", False)
