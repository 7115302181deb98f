"""A folder's model on the card for as long as it is looked at, on the stream the engine uses."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from exllamav2 import ExLlamaV2, ExLlamaV2Config
from exllamav2 import device as library

from .setup import synchronize


@contextmanager
def resident(
    folder: Path, *, tokens: int, chunk: int, batch: int = 1, graphs: bool = True
) -> Iterator[Any]:
    """An `ExLlamaV2` for up to `tokens` positions, `chunk` of them at a time."""
    config = ExLlamaV2Config(str(folder))
    config.max_seq_len, config.max_input_len, config.max_batch_size = tokens, chunk, batch
    config.no_graphs = not graphs
    model = ExLlamaV2(config)
    try:
        model.load()
        # A CUDA graph can't be recorded on torch's default stream. What runs on that one is not
        # waited for by others.
        synchronize()
        library.set_device_streams()
        yield model
    finally:
        synchronize()
        model.unload()
        gc.collect()
        torch.cuda.empty_cache()


def layers_of(model: Any, kind: type[Any]) -> list[Any]:
    """The model's layers of one class, in order."""
    return [module for module in model.modules if isinstance(module, kind)]
