"""The real demo model for tests, pulled once per user and verified at every use."""

from __future__ import annotations

import os
from pathlib import Path

from ingle.file_lock import file_lock
from ingled.models.store import Store

DEMO_MODEL = "smollm2-135m"


def demo_store() -> Path:
    """Root of a model store that holds the demo model. Safe in several processes at once."""
    cache = os.environ.get("INGLE_TEST_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "ingle-tests"
    root = root / "models"
    root.mkdir(parents=True, exist_ok=True)
    # The store refuses two pulls at once; tests that run side by side wait for each other instead.
    with file_lock(root / ".demo-model.lock", wait=True):
        Store(root).pull(DEMO_MODEL)
    return root


def demo_model() -> Path:
    """The verified SmolLM2-135M-Instruct GGUF."""
    return Store(demo_store()).resolve(DEMO_MODEL).path
