"""All checks in order, on one card; what goes wrong in one is its finding.

After an error of the card itself nothing in this process can use it any more: the run ends there.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from ingled.finding import Finding
from ingled.models.fit import memory_text

from . import decoding, flash, layers, products, projections, speed, synthetic, whole
from .setup import Setup
from .synthetic import KINDS, Kind

#: Told what is checked next.
Report = Callable[[str], None]
Check = Callable[[], Iterator[Finding]]

_CARD_ERRORS = ("CUDA error", "HIP error", "device-side assert", "CUBLAS_STATUS")


class CardLost(Exception):
    """The card reported an error; the process must end."""


def findings(
    setup: Setup, *, model: Path | None = None, quick: bool = False, report: Report
) -> Iterator[Finding]:
    """Every finding as it comes. `model` is timed, unless `quick`, which times nothing."""
    try:
        with (
            torch.inference_mode(),
            tempfile.TemporaryDirectory(prefix="ingle-", ignore_cleanup_errors=True) as folder,
        ):
            yield from _all(setup, Path(folder), model, quick, report)
    except CardLost:
        text = "the card reported an error: the checks after that were not run"
        yield Finding(check="card", grade="skip", text=text, remedy="run it again")


def _all(
    setup: Setup, folder: Path, model: Path | None, quick: bool, report: Report
) -> Iterator[Finding]:
    for name, what, check in (
        ("exl2", "EXL2 matrices", products.check),
        ("mxfp4", "MXFP4", decoding.check),
        ("flash", "flash-attn", flash.check),
    ):
        report(f"checking {what}")
        yield from guarded(name, partial(check, setup))
    rates: list[float] = []
    if not quick:
        report("measuring the memory")
        yield from guarded("speed", partial(_bandwidth, setup, rates))
    rate = rates[0] if rates else None
    for kind in KINDS:
        yield from guarded("model", partial(_with_model, setup, folder, kind, rate, report))
    if rate is None:
        return
    if model is None:
        text = "tokens a second need a model: none that runs on ExLlamaV2 is installed"
        yield Finding(check="speed", grade="info", text=text, remedy="give one with --model")
        return
    # What the checks left would be in the way of a model that just fits.
    gc.collect()
    torch.cuda.empty_cache()
    report(f"timing {model.name}")
    yield from guarded("speed", partial(speed.check_model, model, rate))


def _bandwidth(setup: Setup, rates: list[float]) -> Iterator[Finding]:
    rate, finding = speed.bandwidth(setup)
    rates.append(rate)
    yield finding


def _with_model(
    setup: Setup, folder: Path, kind: Kind, rate: float | None, report: Report
) -> Iterator[Finding]:
    """What is checked with a small model of the real width; it is freed at the end."""
    report(f"making a small {kind} model of the real width")
    made = synthetic.write(setup, folder / kind, kind)
    if kind == "EXL2":
        report("checking CUDA graphs")
        yield from guarded("graphs", partial(projections.check, setup, made))
        report("checking sinks and windows")
        yield from guarded("sinks", partial(layers.check_sinks, setup, made))
    report(f"checking {kind} layers")
    yield from guarded("headroom", partial(layers.check_headroom, made))
    report(f"checking a whole {kind} model")
    yield from guarded("model", partial(whole.check, setup, made))
    if rate is not None:
        report(f"timing {kind} layers")
        yield from guarded("speed", partial(speed.check_layers, setup, made, rate))


def guarded(name: str, check: Check) -> Iterator[Finding]:
    """A check's findings; an error is one too. Raises `CardLost`."""
    try:
        yield from check()
    except CardLost:
        raise
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        text = f"too little memory: {memory_text(free)} of {memory_text(total)} is free"
        remedy = "run `ingle unload` and close what else uses the card"
        yield Finding(check=name, grade="skip", text=text, remedy=remedy)
    except Exception as error:
        line = " ".join(str(error).split())[:300] or "no message"
        yield Finding(
            check=name,
            grade="fail",
            text=f"the check broke off: {type(error).__name__}: {line}",
            remedy=products.REMEDY,
        )
        if any(known in str(error) for known in _CARD_ERRORS):
            raise CardLost from error
