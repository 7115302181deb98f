"""Tests that need a card: skipped with one line's reason where there is none.

What touches the card runs in processes of its own: an error of the card ends one of those and not
the tests, and the stand-ins that other tests load into this process stay out of the way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

#: The stand-ins for the library's extension and the card are here.
SUPPORT = Path(__file__).parents[1] / "support"

PROBE = """
import importlib.util, json
from ingled.engines.exllamav2.selfcheck.environment import missing
found = importlib.util.find_spec("exllamav2_ext")
print(json.dumps([found.origin if found and found.origin else "", missing()]))
"""


@pytest.fixture(scope="session")
def card() -> Mapping[str, str]:
    """Variables for processes that use the card."""
    environment = dict(os.environ)
    reason = why_not(environment)
    if reason:
        pytest.skip(reason)
    return environment


def why_not(environment: Mapping[str, str]) -> str:
    """Why nothing can be tested on a card; "" if it can."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        return f"no process can use a card here: {done.stderr.strip().splitlines()[-1]}"
    extension, missing = json.loads(done.stdout.splitlines()[-1])
    if extension and Path(extension).is_relative_to(SUPPORT):
        return f"no real card: {extension} is the tests' stand-in for the library's extension"
    return str(missing)
