"""What `ingle fit` is asked about: a published model, an installed one, or a folder.

Owns finding the shape, and the weights where they are quantized already. Nothing is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ingle.errors import ModelInvalid, ModelNotFound, Unsupported
from ingled.models.catalog import suggestion
from ingled.models.checkpoint import read_shape, weights_on_disk
from ingled.models.fit import memory_text
from ingled.models.local_model import is_path
from ingled.models.manifest import read_manifest
from ingled.models.model_shape import PUBLISHED, ModelShape
from ingled.models.store import Store
from ingled.models.weights import Weights


class FitTarget(NamedTuple):
    """A model whose fit is computed."""

    shape: ModelShape
    #: As they lie on this disk; None if there are none, or only those to be quantized.
    weights: Weights | None = None
    #: What a user should know about the files; "" for nothing.
    note: str = ""


def find_target(model: str) -> FitTarget:
    """Raises `ModelNotFound`, `ModelInvalid`, `Unsupported`, `StoreError`."""
    published = PUBLISHED.get(model.removesuffix("-safetensors"))
    if published:
        return FitTarget(published)
    if is_path(model):
        return _from_path(Path(model))
    store = Store()
    infos = {info.name: info for info in store.list()}
    if model not in infos:
        if _is_folder(model):
            return _from_path(Path(model))
        hint = suggestion(model, [*PUBLISHED, *infos])
        raise ModelNotFound(
            f"no model is named {model[:80]!r}:{hint} give one of {', '.join(PUBLISHED)}, an "
            "installed model, or a folder"
        )
    if infos[model].format != "safetensors":
        raise _is_gguf(model)
    if read_manifest(store.root / model) is None:
        raise ModelNotFound(f"{model} is not installed: run `ingle pull {model}`")
    return _from_path(store.root / model)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        # A name that no file can have.
        return False


def _from_path(path: Path) -> FitTarget:
    if path.suffix.lower() == ".gguf":
        raise _is_gguf(str(path))
    try:
        folder = path.expanduser().absolute()
        files = folder.is_dir() and any(folder.glob("*.safetensors"))
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelInvalid(f"can't look at {str(path)[:200]} ({reason}): check the path") from error
    shape = read_shape(folder)
    if not files:
        return FitTarget(shape)
    weights = weights_on_disk(folder, shape)
    if weights.quantized:
        return FitTarget(shape, weights, f"{folder} is quantized: its own {weights.label}")
    size = memory_text(weights.bytes)
    return FitTarget(shape, None, f"{folder} as it is takes {size}: quantized, it takes less")


def _is_gguf(name: str) -> Unsupported:
    return Unsupported(
        f"{name} is a GGUF: the llamacpp engine puts on the card what there is room for, and the "
        "rest in RAM"
    )
