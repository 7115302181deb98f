"""`ingle quantize`: a gpt-oss into EXL2, by a child process; here is what a person sees of it.

Owns what can be judged without loading anything, the folder that grows beside OUT, the child's
life, progress with the time left, and the move to OUT when all is checked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
import msgspec

from ingle.errors import ModelInvalid, StoreError
from ingled.models.checkpoint import read_shape, weights_on_disk
from ingled.models.fit import memory_text
from ingled.models.local_model import is_path
from ingled.models.model_shape import ModelShape
from ingled.models.safetensors_folder import tensors_on_disk
from ingled.models.store import Store
from ingled.models.transfer import disk_errors, require_space
from ingled.models.weights import LEAST_BITS, MOST_BITS, exl2_weights, lossless_weights
from ingled.quantization import (
    LOG_FILE,
    MODEL_FOLDER,
    REQUEST_FILE,
    Checked,
    Failure,
    Report,
    Request,
    Step,
)

from .output import StatusLine, full, percent, usage_error, write_json
from .time_left import TimeLeft

COMMAND = (sys.executable, "-m", "ingled.engines.exllamav2.quantize")
#: Seconds for the child to end after Ctrl-C.
_PATIENCE = 10.0


@click.command()
@click.argument("source")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="The new model's folder.")
@click.option(
    "--bpw",
    type=float,
    metavar="BITS",
    help=f"Bits per weight on average, {LEAST_BITS:g} to {MOST_BITS:g}.",
)
@click.option("--lossless", is_flag=True, help="Six bits that hold MXFP4 exactly; no calibration.")
@click.option(
    "--head-bits", type=click.Choice(["6", "8"]), default="6", help="Bits of the output layer."
)
@click.option("--rows", type=click.IntRange(1, 4096), default=64, help="Calibration sequences.")
@click.option(
    "--tokens", type=click.IntRange(32, 2048), default=1024, help="Tokens of each sequence."
)
@click.option(
    "--measurement",
    metavar="FILE",
    help="measurement.json of an earlier quantization of the same model: saves most of the time.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
def quantize(
    source: str,
    out: str,
    bpw: float | None,
    lossless: bool,
    head_bits: str,
    rows: int,
    tokens: int,
    measurement: str | None,
    as_json: bool,
) -> None:
    """Quantize a gpt-oss for ExLlamaV2.

    SOURCE is a folder in safetensors, as OpenAI publishes it (MXFP4) or in bf16, or an installed
    model's name. Needs a GPU, and disk space for the result twice. An interrupted run goes on
    where it was when the same command is given again. At the end the model is reloaded and
    checked.
    """
    if lossless == (bpw is not None):
        usage_error("give either --bpw, for example --bpw 4, or --lossless")
    # Also refuses NaN.
    if bpw is not None and not LEAST_BITS <= bpw <= MOST_BITS:
        usage_error(f"EXL2 has from {LEAST_BITS} to {MOST_BITS} bits, not {bpw:g}")
    if lossless and measurement:
        usage_error("--measurement is for --bpw: --lossless measures nothing")
    request = Request(
        source=str(_source(source)),
        bits=bpw,
        head_bits=int(head_bits),
        rows=rows,
        tokens=tokens,
        measure_rows=min(rows, 16),
        measure_tokens=min(tokens, 512),
        measurement=str(Path(measurement).absolute()) if measurement else "",
    )
    target = Path(out).expanduser().absolute()
    work = _work_folder(target, request)
    with StatusLine() as line:
        try:
            checked = _run(work, line, as_json)
        except KeyboardInterrupt:
            line.clear()
            click.echo("interrupted: the same command goes on with it", err=True)
            raise
    with disk_errors(target.parent):
        (work / MODEL_FOLDER).replace(target)
        shutil.rmtree(work)
    if not as_json:
        _tell(checked, target)


def _tell(checked: Checked, target: Path) -> None:
    exact = ", every expert exact" if checked.exact else ""
    click.echo(
        f"{target}: {memory_text(checked.bytes)}, {checked.bits_per_weight:.2f} bits per weight"
        f"{exact}\n"
        f"reloaded and checked on {checked.tokens} tokens: divergence from its own weights "
        f"{checked.divergence_mean:.1e}, at most {checked.divergence_max:.1e}\n"
        f"use it: set `model.name` to the folder, or run `ingle load {target}`"
    )


# --- before anything is loaded ----------------------------------------------------------------


def _source(given: str) -> Path:
    """The folder to quantize. Raises `IngleError`."""
    if is_path(given) or Path(given).is_dir():
        folder = Path(given).expanduser().absolute()
    else:
        stored = Store().resolve(given)
        if stored.format != "safetensors":
            raise ModelInvalid(
                f"{given} is a GGUF: quantize the original in safetensors, "
                "for example `ingle pull gpt-oss-20b-safetensors`"
            )
        folder = stored.path
    shape = read_shape(folder)
    if weights_on_disk(folder, shape).quantized and not _is_mxfp4(folder):
        raise ModelInvalid(f"{folder} is quantized already: give the original")
    return folder


def _is_mxfp4(folder: Path) -> bool:
    return any(name.endswith("_blocks") for name in tensors_on_disk(folder))


def _work_folder(target: Path, request: Request) -> Path:
    """The folder that grows beside `target`; an interrupted one of the same request is kept."""
    work = target.with_name(f"{target.name}.partial")
    encoded = msgspec.json.encode(request)
    if target.exists():
        raise StoreError(f"{target} is there already: delete it, or give another --out")
    with disk_errors(target.parent):
        if (work / REQUEST_FILE).exists():
            if (work / REQUEST_FILE).read_bytes() != encoded:
                raise StoreError(
                    f"{work} is an interrupted run with other options: "
                    "delete it, or give another --out"
                )
            return work
        if work.exists():
            raise StoreError(f"{work} is not of an interrupted run: move it away")
        target.parent.mkdir(parents=True, exist_ok=True)
        require_space(target.parent, _needed(read_shape(Path(request.source)), request))
        work.mkdir()
        partial = work / f"{REQUEST_FILE}.new"
        partial.write_bytes(encoded)
        partial.replace(work / REQUEST_FILE)
    return work


def _needed(shape: ModelShape, request: Request) -> int:
    """Bytes on disk: the model, while it is put together twice, and the calibration's states."""
    embedding = 2 * shape.vocabulary * shape.hidden
    if request.bits is None:
        return lossless_weights(shape).bytes + embedding
    states = 4 * request.rows * request.tokens * shape.hidden
    weights = exl2_weights(shape, request.bits, head_bits=request.head_bits).bytes
    return 2 * weights + embedding + 2 * states


# --- the child ----------------------------------------------------------------------------------


def _run(work: Path, line: StatusLine, as_json: bool) -> Checked:
    """Raises `StoreError` with the child's own words when it fails."""
    process = subprocess.Popen(
        [*COMMAND, str(work)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    clock = TimeLeft(time.monotonic())
    try:
        for report in _reports(process.stdout):
            if as_json:
                write_json(full(report))
            if isinstance(report, Step):
                _show(line, report, clock)
            elif isinstance(report, Failure):
                _end(process)
                if not report.resumable:
                    shutil.rmtree(work)
                raise StoreError(report.message)
            else:
                process.wait()
                return report
    finally:
        _end(process)
    raise StoreError(
        f"the converter ended early ({_last_words(work)}): the same command goes on with it; "
        f"the log is {work / LOG_FILE}"
    )


def _reports(output: IO[bytes]) -> Iterator[Report]:
    for text in output:
        yield msgspec.json.decode(text, type=Report)


def _show(line: StatusLine, step: Step, clock: TimeLeft) -> None:
    name = f"{step.stage}: {step.detail}" if step.detail else step.stage
    if not step.total:
        line.step(name)
        return
    left = clock.text(time.monotonic(), step.stage == "checking", step.done, step.total)
    line.step(name, f"{name}{percent(step.done / step.total)}{left}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


def _last_words(work: Path) -> str:
    """The library's own complaint, which it marks so, or the last line of the log."""
    try:
        lines = (work / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "without a word"
    lines = [text.strip() for text in lines if text.strip()]
    marked = [text.removeprefix("##").strip() for text in lines if text.startswith("##")]
    return (marked or lines or ["without a word"])[-1][:200]
