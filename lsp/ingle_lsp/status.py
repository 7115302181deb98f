"""What a status line shows: the daemon's report, or the lack of one, as one small message. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from ingle.endpoint import NOT_RUNNING
from ingle.errors import IngleError, ResponseTimeout, VersionMismatch
from ingle.messages import ModelState, ModelStatus, Report

from .settings import Settings

State = Literal["down", "starting", "loading", "ready", "busy", "idle", "failed", "incompatible"]

#: Of several models the first of these counts.
_RANKS: tuple[ModelState, ...] = (
    "ready",
    "loading",
    "starting",
    "backoff",
    "stopping",
    "failed",
    "absent",
)


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of things; `text` is a whole line. `progress` is 0 to 1, None where unknown."""

    state: State
    text: str
    model: str = ""
    progress: float | None = None
    detail: str = ""
    tokens_per_second: float = 0.0
    device: str = ""


def of_report(report: Report) -> Status:
    """What the daemon says."""
    if not report.models:
        # Nothing was ever asked of a model. The daemon gives the reason if it could not load one.
        detail = "; ".join(report.notices)
        if detail:
            return Status(state="failed", text="no model", detail=detail)
        return Status(state="idle", text="no model loaded")
    model = min(report.models, key=lambda each: _RANKS.index(each.state))
    return replace(_of_model(model), model=model.name, device=model.device)


def _of_model(model: ModelStatus) -> Status:
    # A model that was loaded from a path has the whole path as its name.
    name = PurePath(model.name).name
    match model.state:
        case "ready" if model.busy_slots:
            speed = round(model.decode_tokens_per_second, 1)
            text = f"{name}, {speed:.0f} tokens/s" if speed else f"{name}, busy"
            return Status(state="busy", text=text, tokens_per_second=speed)
        case "ready":
            return Status(state="ready", text=name)
        case "loading":
            progress = None if model.progress is None else round(model.progress, 2)
            percent = "" if progress is None else f" {100 * progress:.0f} %"
            return Status(
                state="loading",
                text=f"loading {name}{percent}",
                progress=progress,
                detail=model.detail,
            )
        case "starting":
            return Status(state="starting", text=f"starting {name}", detail=model.detail)
        case "backoff":
            return Status(state="starting", text=f"restarting {name}", detail=model.detail)
        case "stopping":
            return Status(state="idle", text=f"unloading {name}")
        case "failed":
            return Status(state="failed", text=f"{name} can't be loaded", detail=model.detail)
        case "absent":
            return Status(state="idle", text="no model loaded")


def of_outage(failure: IngleError | None, *, starting: bool = False) -> Status:
    """What there is to say without a daemon; `failure` is why there is no connection."""
    if starting:
        return Status(state="starting", text="starting the daemon")
    if isinstance(failure, VersionMismatch):
        return Status(
            state="incompatible", text="the daemon has another version", detail=str(failure)
        )
    silent = isinstance(failure, ResponseTimeout)
    return Status(
        state="down",
        text="the daemon does not answer" if silent else "the daemon is not running",
        detail=str(failure or NOT_RUNNING),
    )


def message(status: Status, settings: Settings, *, paused: bool) -> dict[str, Any]:
    """The parameters of `ingle/status`."""
    suffix = ""
    if not settings.enabled:
        suffix = ", suggestions off"
    elif paused:
        suffix = ", suggestions paused"
    return {
        "state": status.state,
        "text": status.text + suffix,
        "model": status.model,
        "progress": status.progress,
        "detail": status.detail,
        "tokensPerSecond": status.tokens_per_second,
        "effort": settings.effort,
        "device": status.device,
        "enabled": not suffix,
    }
