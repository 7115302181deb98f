"""ingle: talk to the model that burns in your own GPU.

    import ingle

    with ingle.connect() as client:
        print(client.ask("What is a monad?").text)
        for delta in client.stream("Name three fruits."):
            print(delta.text, end="")
        print(client.infill("def add(a, b):\\n    return ").text)

Everything raised is an `ingle.errors.IngleError`. Names are imported when they are first used, so
that `import ingle` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import PROTOCOL_VERSION, __version__

if TYPE_CHECKING:
    from .async_client import AsyncCall, AsyncClient
    from .blocking_client import Call, Client
    from .endpoint import Endpoint
    from .errors import IngleError
    from .results import Answer, Completion

_HOMES = {
    "AsyncCall": "async_client",
    "AsyncClient": "async_client",
    "Call": "blocking_client",
    "Client": "blocking_client",
    "Endpoint": "endpoint",
    "IngleError": "errors",
    "Answer": "results",
    "Completion": "results",
}


def connect(
    endpoint: Endpoint | None = None, *, name: str = "script", timeout: float = 5.0
) -> Client:
    """Connect to the running daemon. Raises `ingle.errors.DaemonNotRunning` if there is none."""
    from .blocking_client import Client

    return Client(endpoint, name=name, timeout=timeout)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'ingle' has no attribute {name!r}")


__all__ = [
    "PROTOCOL_VERSION",
    "Answer",
    "AsyncCall",
    "AsyncClient",
    "Call",
    "Client",
    "Completion",
    "Endpoint",
    "IngleError",
    "__version__",
    "connect",
]
