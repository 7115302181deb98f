"""A preempted job, as the job that goes on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingled.engines.engine import Job

#: 2³² / φ: neighbouring counts give seeds that are far apart (Knuth, TAOCP 3, 6.4).
_GOLDEN = 0x9E3779B1


def resumed_job(job: Job, ids: Sequence[int]) -> Job:
    """`job` after it generated `ids`: its prompt and those, and what is left of its length.

    A greedy answer goes on exactly as it would have. A sampled one goes on with the same
    distribution; with a seed, the same every time it is stopped at the same place.
    """
    if not ids:
        return job
    sampling = job.sampling
    if sampling.seed is not None:
        sampling = replace(sampling, seed=(sampling.seed + len(ids) * _GOLDEN) % 2**32)
    return replace(
        job,
        prompt=[*job.prompt, *ids],
        max_tokens=job.max_tokens - len(ids),
        sampling=sampling,
        resumed=len(ids),
    )
