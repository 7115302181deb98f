"""The library's converter, pass by pass, from a job file that says how far it came.

A pass is done when the next one's name is in the job; within the two long ones the library saves
its states every few minutes. A process that was killed goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from exllamav2 import ExLlamaV2, ExLlamaV2Config
from exllamav2.conversion import compile as library_compile
from exllamav2.conversion import measure as library_measure
from exllamav2.conversion import optimize as library_optimize
from exllamav2.conversion import quantize as library_quantize
from exllamav2.conversion.qparams import get_qparams_reduced, qparams_attn
from exllamav2.version import __version__ as library_version
from safetensors.torch import save_file

from ingle.errors import IngleError, ModelInvalid
from ingled.engines.exllamav2.attention import GptOssAttention
from ingled.engines.exllamav2.mixture import GptOssMixture
from ingled.quantization import JOB_FILE, MEASUREMENT_FILE, Request, Stage, Step

from . import experts, folder
from .library import adapt

#: Megabytes of one file of weights; a whole shard is held in memory while it is written.
SHARD_MB = 2048
FINISHED = "finished"

Sequences = Callable[[int, int], torch.Tensor]


class Conversion:
    """One model through the converter. `work` keeps what a resumed run needs, `target` becomes
    the model; `sequences(count, length)` makes calibration ids."""

    def __init__(
        self,
        request: Request,
        work: Path,
        target: Path,
        sequences: Sequences,
        report: Callable[[Step], None],
    ) -> None:
        self._request = request
        self._target = target
        self._sequences = sequences
        self._report = report
        self._work = work
        self._job_file = work / JOB_FILE
        self._stage: Stage = "reading"
        self._job = self._open_job()
        self._model = self._new_model()
        self._done, self._total = 0, _runs(self._model, measured=bool(request.measurement))
        adapt(self._count)

    def run(self) -> None:
        """All passes that are still to be done. Raises `IngleError`."""
        names = [name for name, _, _ in _PASSES]
        while (progress := self._job["progress"]) != FINISHED:
            place = names.index(progress)
            name, self._stage, run = _PASSES[place]
            if name != "measure" or not self._request.measurement:
                self._done = self._already_done(name)
                self._tell()
                run(self)
            self._job["progress"] = [*names, FINISHED][place + 1]
            self._save()

    # --- passes --------------------------------------------------------------------------

    def _sequences_to_measure(self) -> None:
        if self._request.measurement:
            self._job |= _read_measurement(Path(self._request.measurement), self._model)
            return
        self._calibrate(self._request.measure_rows, self._request.measure_tokens)

    def _measure(self) -> None:
        self._renew(max_output_len=16)
        library_measure.measure_quant(self._job, self._save, self._model, 0)

    def _choose(self) -> None:
        self._renew()
        library_optimize.optimize(self._job, self._save, self._model)

    def _sequences_to_quantize(self) -> None:
        self._calibrate(self._request.rows, self._request.tokens)

    def _quantize(self) -> None:
        library_quantize.quant(self._job, self._save, self._model)

    def _compile(self) -> None:
        self._target.mkdir(exist_ok=True)
        for old in self._target.glob("*.safetensors"):
            old.unlink()
        self._renew()
        library_compile.compile_model(self._job, self._save, self._model)
        for file in self._work.glob("output*.safetensors"):
            file.replace(self._target / file.name)
        request = self._request
        folder.finish(
            Path(request.source),
            self._target,
            {
                "version": library_version,
                "bits": request.bits,
                "head_bits": request.head_bits,
                "calibration": {
                    "rows": request.rows,
                    "length": request.tokens,
                    "dataset": "ingle: Harmony-formatted code work, code, prose",
                },
            },
        )
        found = {
            "measurement": self._job["measurement"],
            "last_module_idx": len(self._model.modules),
        }
        text = json.dumps(found, indent=1)
        (self._target / MEASUREMENT_FILE).write_text(text + "\n", encoding="utf-8")

    def _calibrate(self, rows: int, tokens: int) -> None:
        file = self._work / "cal_data.safetensors"
        save_file({"input_ids": self._sequences(rows, tokens)}, file)
        self._job["cal_filename"] = str(file)
        library_measure.embeddings(self._job, self._save, self._model)

    # --- the job -------------------------------------------------------------------------

    def _open_job(self) -> dict[str, Any]:
        (self._work / "out_tensor").mkdir(parents=True, exist_ok=True)
        request = self._request
        job = {
            "in_dir": request.source,
            "out_dir": str(self._work),
            "cal_dataset": None,
            "bits": request.bits,
            "head_bits": request.head_bits,
            "dataset_rows": request.rows,
            "length": request.tokens,
            "measurement_rows": request.measure_rows,
            "measurement_length": request.measure_tokens,
            "shard_size": SHARD_MB,
            "compile_full": None,
            "output_measurement": None,
            "rope_scale": None,
            "rope_alpha": None,
            "status_output": False,
            "progress": _PASSES[0][0],
        }
        if self._job_file.exists():
            kept = cast(dict[str, Any], json.loads(self._job_file.read_text(encoding="utf-8")))
            # The folder may have been moved since.
            job |= kept | {"out_dir": job["out_dir"]}
            if job.pop("invalid", False):
                self._restart_pass(job)
        return job

    @staticmethod
    def _restart_pass(job: dict[str, Any]) -> None:
        """It was killed while the library saved: states and job may not belong together."""
        if job["progress"] == "measure":
            job["progress"] = "sequences to measure"
            for name in ("measurement", "last_module_idx"):
                job.pop(name, None)
        elif job["progress"] == "quantize":
            job["progress"] = "sequences to quantize"
            job.pop("q_last_module_idx", None)

    def _save(self) -> None:
        """Write the job; a reader sees the old one or the new one."""
        partial = self._job_file.with_suffix(".partial")
        partial.write_text(json.dumps(self._job), encoding="utf-8")
        partial.replace(self._job_file)

    # --- the model -----------------------------------------------------------------------

    def _new_model(self, **settings: Any) -> Any:
        try:
            config = ExLlamaV2Config(self._request.source)
            config.arch_compat_overrides()
        except (ValueError, AssertionError, KeyError, TypeError, OSError) as error:
            what = " ".join(str(error).replace("##", "").split())[:200]
            raise ModelInvalid(
                f"{self._request.source} is no whole model ({what}): download it again"
            ) from error
        for name, value in settings.items():
            setattr(config, name, value)
        model = ExLlamaV2(config)
        model.load(lazy=True)
        return model

    def _renew(self, **settings: Any) -> None:
        self._model.unload()
        self._model = self._new_model(**settings)

    # --- progress ------------------------------------------------------------------------

    def _count(self) -> None:
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        self._report(Step(stage=self._stage, done=self._done, total=self._total))

    def _already_done(self, name: str) -> int:
        """Matrices that were quantized before `name`, and in it before it was interrupted."""
        modules = self._model.modules
        measured = len(modules)
        if self._request.measurement:
            measured = 0
        elif name in ("sequences to measure", "measure"):
            measured = self._job.get("last_module_idx", 0) + 1 if name == "measure" else 0
        done = sum(_measure_runs(module) for module in modules[:measured])
        place = self._job.get("q_last_module_idx", 0) + 1 if name == "quantize" else 0
        if name == "compile":
            place = len(modules)
        return done + sum(_quantize_runs(module) for module in modules[:place])


#: Name in the job, stage for people, what is done.
_PASSES: tuple[tuple[str, Stage, Callable[[Conversion], None]], ...] = (
    ("sequences to measure", "calibrating", Conversion._sequences_to_measure),
    ("measure", "measuring", Conversion._measure),
    ("choose", "choosing bits", Conversion._choose),
    ("sequences to quantize", "calibrating", Conversion._sequences_to_quantize),
    ("quantize", "quantizing", Conversion._quantize),
    ("compile", "writing", Conversion._compile),
)


def _measure_runs(module: Any) -> int:
    if isinstance(module, GptOssAttention):
        variants, _ = get_qparams_reduced(qparams_attn)
        return sum(len(part) for part in variants)
    return experts.measure_runs(module.num_experts) if isinstance(module, GptOssMixture) else 0


def _quantize_runs(module: Any) -> int:
    if isinstance(module, GptOssAttention):
        return 4
    return len(experts.PARTS) * module.num_experts if isinstance(module, GptOssMixture) else 0


def _runs(model: Any, *, measured: bool) -> int:
    measuring = 0 if measured else sum(_measure_runs(module) for module in model.modules)
    return measuring + sum(_quantize_runs(module) for module in model.modules)


def _read_measurement(file: Path, model: Any) -> dict[str, Any]:
    """Raises `IngleError`."""
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        found = {name: read[name] for name in ("measurement", "last_module_idx")}
        keys = set(found["measurement"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IngleError(f"{file} is no measurement: leave --measurement out") from error
    wanted = {
        f"{module.key}.self_attn"
        if isinstance(module, GptOssAttention)
        else f"{module.key}.block_sparse_moe"
        for module in model.modules
        if isinstance(module, GptOssAttention | GptOssMixture)
    }
    if not wanted <= keys:
        raise IngleError(f"{file} was measured on another model: leave --measurement out")
    return found
