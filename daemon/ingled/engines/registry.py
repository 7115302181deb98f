"""Engines by name. Only a worker process calls `create`; nothing is imported before that."""

from __future__ import annotations

from importlib import import_module, util

from ingle.errors import LoadFailed

from .engine import Engine

_ENGINES = {
    "exllamav2": ("exllamav2.engine", "ExLlamaV2Engine", "exllamav2", "pip install 'ingle[rtx]'"),
    "llamacpp": ("llamacpp", "LlamaCpp", "xllamacpp", "pip install 'ingle[cpu]'"),
    "scripted": ("scripted", "Scripted", None, ""),
}

NAMES = tuple(_ENGINES)


def missing(name: str) -> str:
    """What to do before this engine can run here; "" if it can."""
    _, _, package, remedy = _ENGINES[name]
    return remedy if package and util.find_spec(package) is None else ""


def create(name: str) -> Engine:
    """A new, unloaded engine. Raises `LoadFailed` for an unknown one or a missing package."""
    if name not in _ENGINES:
        raise LoadFailed(f"there is no engine {name!r}: choose one of {', '.join(NAMES)}")
    remedy = missing(name)
    if remedy:
        raise LoadFailed(f"the engine {name} is not installed: run `{remedy}`")
    module, cls, _, _ = _ENGINES[name]
    engine: Engine = getattr(import_module(f".{module}", __package__), cls)()
    return engine
