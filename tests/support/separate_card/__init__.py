"""exllamav2 on a card that has a memory of its own, on the CPU, for tests; see `path/`.

What only a real card would tell is told here: a tensor of the host in an operation on the card, or
in one of its kernels; and how much of a process's memory is the host's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import exllamav2_stand_in

PATH = Path(__file__).parent / "path"
#: What a script begins with.
PRELUDE = """
import json, sys
from pathlib import Path
import torch
from ingled.engines.exllamav2.library import install
install()
from card_tensor import CardTensor, memory
"""


def environment(report: Path | None = None, *, vram_bytes: int | None = None) -> dict[str, str]:
    """Variables for a subprocess, to be added to its environment.

    `report` gets the peaks of both memories in bytes when it ends: `{"host": …, "card": …}`.
    """
    variables = exllamav2_stand_in.environment(vram_bytes=vram_bytes)
    variables["PYTHONPATH"] = os.pathsep.join([str(PATH), variables["PYTHONPATH"]])
    if report is not None:
        variables["INGLE_CARD_REPORT"] = str(report)
        # Large blocks go back to the system at once: what is resident is what is used.
        variables["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
        variables["MALLOC_TRIM_THRESHOLD_"] = str(2**20)
        variables["MALLOC_ARENA_MAX"] = "1"
    return variables


def run(
    script: str, *arguments: str | Path, report: Path | None = None, timeout: float = 110
) -> Any:
    """What a script writes as JSON in its last line; `PRELUDE` is put before it."""
    support = str(Path(__file__).parents[2])
    variables = environment(report)
    variables["PYTHONPATH"] = os.pathsep.join([variables["PYTHONPATH"], support])
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
