"""What `ingle quantize` asks of its child process, and what comes back; no torch in here."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Stage = Literal[
    "reading",
    "calibrating",
    "measuring",
    "choosing bits",
    "quantizing",
    "transcoding",
    "writing",
    "checking",
]


class Request(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One model to quantize. `bits` per weight on average; None transcodes without loss."""

    #: Folder of the original.
    source: str
    bits: float | None
    head_bits: int = 6
    #: Calibration: sequences, and tokens of each.
    rows: int = 64
    tokens: int = 1024
    #: The same for the measuring pass.
    measure_rows: int = 16
    measure_tokens: int = 512
    #: File of an earlier measuring pass of the same model; "" measures.
    measurement: str = ""


class Step(Struct, tag="step", kw_only=True, frozen=True):
    """Where it is: `done` of `total` units of about the same length, over all stages."""

    stage: Stage
    detail: str = ""
    done: float = 0.0
    total: float = 0.0


class Checked(Struct, tag="checked", kw_only=True, frozen=True):
    """The finished model, reloaded."""

    bytes: int
    #: Bits of the files for each parameter of the decoder's quantized matrices.
    bits_per_weight: float
    #: Kullback-Leibler divergence per token, in nats, from the dequantized weights in float32.
    divergence_mean: float
    divergence_max: float
    tokens: int
    #: Whether every expert's weight is the original's, bit by bit; None if that was not asked.
    exact: bool | None = None


class Failure(Struct, tag="failure", kw_only=True, frozen=True):
    """It ended early; one line for a person."""

    message: str
    #: Whether enough was done to go on from.
    resumable: bool = False


Report = Step | Checked | Failure

#: In the folder that grows beside OUT.
REQUEST_FILE = "request.json"
LOG_FILE = "convert.log"
#: There as soon as the converter has something to go on from.
JOB_FILE = "job.json"
#: In it, the model itself; moved to OUT when it is checked.
MODEL_FOLDER = "model"
#: What a measuring pass found, kept with the model for another number of bits.
MEASUREMENT_FILE = "measurement.json"
