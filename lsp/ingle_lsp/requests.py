"""What our own requests and commands have in common: one object as parameters, one line as error.

Owns how a command is registered, how its argument is read, and what an editor learns of a failure.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from lsprotocol import types
from msgspec import Struct
from pygls.exceptions import JsonRpcException, JsonRpcInternalError, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from ingle.errors import IngleError

log = logging.getLogger(__name__)

P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S", bound=Struct)

#: Runs a command: its argument (empty if there was none), and the editor's progress token.
Command = Callable[[Mapping[str, Any], types.ProgressToken | None], Awaitable[Any]]


def failure(
    message: str, code: types.LSPErrorCodes = types.LSPErrorCodes.RequestFailed
) -> JsonRpcException:
    """An error for the editor to show; `message` is one line for its user."""
    return JsonRpcException(message, code.value)


def parameters(given: Any, kind: type[S], method: str) -> S:
    """What an editor sent, checked. Raises what it is answered."""
    try:
        return msgspec.convert(given if isinstance(given, Mapping) else {}, kind)
    except msgspec.ValidationError as error:
        raise JsonRpcInvalidParams(f"{method}: {error}") from error


def told(handler: Callable[[P], Awaitable[R]]) -> Callable[[P], Awaitable[R]]:
    """A request's handler whose every failure becomes one line in the answer.

    What is ours goes to the log too, with its place; pygls would send a stack trace.
    """

    @functools.wraps(handler)
    async def wrapped(params: P) -> R:
        try:
            return await handler(params)
        except JsonRpcException:
            raise
        except IngleError as error:
            raise failure(str(error)) from error
        except Exception as error:
            log.exception("a request failed")
            raise JsonRpcInternalError(
                f"{type(error).__name__} in ingle-lsp: this is a bug, its log says where"
            ) from error

    return wrapped


def add_command(server: LanguageServer, name: str, run: Command) -> None:
    """Register a command that takes at most one argument, an object.

    It runs in its request's own task (see `IngleProtocol`), so `$/cancelRequest` cancels it.
    """

    async def handler(params: types.ExecuteCommandParams) -> Any:
        given = list(params.arguments or [])
        argument = given[0] if given and given[0] is not None else {}
        if len(given) > 1 or not isinstance(argument, Mapping):
            raise JsonRpcInvalidParams(f"{name} takes one argument, an object")
        return await run(argument, params.work_done_token)

    server.command(name)(told(handler))
