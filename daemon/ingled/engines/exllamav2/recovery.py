"""After a step that ran out of memory: whose fault it was, and the generator's books in order.

Reads and repairs the library's own accounting of pages; see `ExLlamaV2DynamicGenerator.iterate`.
"""

from __future__ import annotations

from typing import Any


def culprit(generator: Any) -> Any:
    """The job that the step failed for: the first that is still prefilling, for prefill needs the
    most memory and is done in this order; else the youngest, without which it worked before."""
    prefilling = [job for job in generator.active_jobs if not job.is_prefill_done()]
    return prefilling[0] if prefilling else generator.active_jobs[-1]


def restore_pages(generator: Any) -> None:
    """Take back tokens that a step entered into its pages before it failed.

    A decode step notes its tokens as cached before it computes them. Left there, a later prompt
    could take over keys and values that were never written.
    """
    for job in generator.active_jobs:
        if not job.is_prefill_done():
            continue
        for sequence in job.sequences:
            for number, page in enumerate(sequence.allocated_pages):
                valid = sequence.kv_position - number * generator.page_size
                page.kv_position = min(page.kv_position, max(valid, 0))
