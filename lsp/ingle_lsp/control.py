"""Commands for the daemon, its models and pauses: what a status line's menu does.

Owns their arguments, checked, and their results. Starting and connecting is `connection`, what a
status says is `status`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from ingle.errors import ConnectionFailed, DaemonNotRunning, HelloRequired
from ingle.messages import Catalog, Load, Message, ModelInfo, Models, Unload

from .asking import Waiting
from .progress import work_done
from .requests import add_command

if TYPE_CHECKING:
    from .server import IngleServer

Argument = Mapping[str, Any]
Token = types.ProgressToken | None

#: Longest pause that ends by itself, in minutes: a week.
MAX_PAUSE = 7 * 24 * 60


def add_features(server: IngleServer) -> None:
    """Register the commands."""

    async def status(_argument: Argument, _token: Token) -> dict[str, Any]:
        return await server.status.now()

    async def start_daemon(_argument: Argument, token: Token) -> None:
        async with work_done(server, token, "Starting ingled"):
            await server.connection.start()

    async def models(_argument: Argument, _token: Token) -> list[dict[str, Any]]:
        catalog: list[ModelInfo] = []
        async for event in _events(server, Models):
            if isinstance(event, Catalog):
                catalog = event.models
        return [_described(model) for model in catalog]

    async def load_model(argument: Argument, token: Token) -> None:
        model = _text(argument, "model", "ingle.loadModel")
        async with work_done(server, token, f"Loading {model}") as work:
            waiting = Waiting(work)
            async for event in _events(server, Load, model=model):
                waiting(event)
        server.completion.model_changed()

    async def unload_model(argument: Argument, token: Token) -> None:
        model = None
        if argument.get("model") is not None:
            model = _text(argument, "model", "ingle.unloadModel")
        async with work_done(server, token, f"Unloading {model or 'the model'}") as work:
            waiting = Waiting(work)
            async for event in _events(server, Unload, model=model):
                waiting(event)

    async def pause(argument: Argument, _token: Token) -> None:
        minutes = _minutes(argument.get("minutes"))
        server.pause.begin(None if minutes is None else 60 * minutes)
        server.status.refresh()
        if minutes is not None:
            # A little late rather than too early: the pause must be over then.
            asyncio.get_running_loop().call_later(60 * minutes + 0.05, server.status.refresh)

    async def resume(_argument: Argument, _token: Token) -> None:
        server.pause.resume()
        server.status.refresh()

    add_command(server, "ingle.status", status)
    add_command(server, "ingle.startDaemon", start_daemon)
    add_command(server, "ingle.models", models)
    add_command(server, "ingle.loadModel", load_model)
    add_command(server, "ingle.unloadModel", unload_model)
    add_command(server, "ingle.pause", pause)
    add_command(server, "ingle.resume", resume)


async def _events(
    server: IngleServer, request_type: type[Message], **fields: Any
) -> AsyncIterator[Message]:
    """The events of a request to the daemon. Raises an `IngleError`.

    A daemon that was restarted since the last request gets a second try.
    """
    for attempt in range(2):
        client = await server.connection.client(urgent=True)
        if client is None:
            raise server.connection.failure or DaemonNotRunning(server.extension.not_running)
        try:
            async for event in client.call(request_type, **fields):
                yield event
        except (ConnectionFailed, HelloRequired):
            server.connection.lost(client)
            if attempt:
                raise
        else:
            return


def _described(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "installed": model.installed,
        "resident": model.resident,
        "description": model.description,
        "reason": model.reason,
    }


def _text(argument: Argument, name: str, command: str) -> str:
    value = argument.get(name)
    if not isinstance(value, str) or not value:
        raise JsonRpcInvalidParams(f"{command} needs `{name}`, a text")
    return value


def _minutes(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= MAX_PAUSE:
        raise JsonRpcInvalidParams(f"ingle.pause: `minutes` must be from 0 to {MAX_PAUSE}")
    return float(value)
