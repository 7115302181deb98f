"""Bound sockets and their endpoints: ipc where there is one, else loopback TCP with CURVE."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import msgspec
import zmq
import zmq.asyncio

from ingle.codec import MAX_TRANSPORT_BYTES
from ingle.endpoint import (
    ZMTP_HEARTBEAT_MS,
    ZMTP_TIMEOUT_MS,
    Endpoint,
    default_url,
    endpoint_file,
)
from ingle.errors import LocalError
from ingle.paths import MAX_IPC_PATH

#: Messages that one socket may deliver before the event loop looks at the others.
RECEIVE_BURST = 32


class Listener:
    """Binds sockets of one ZeroMQ context. Owns the context's one CURVE authenticator."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self._context = context
        self._authenticator: Any = None
        #: ZAP domain → public keys (Z85) that may connect to the socket of that domain.
        self._allowed: dict[str, set[bytes]] = {}
        self._serial = itertools.count(1)

    def bind(self, socket: zmq.Socket[Any], url: str, allowed_keys: Sequence[str] = ()) -> Endpoint:
        """Bind `socket` at `url` and return its endpoint for local clients.

        Raises `LocalError` for an address that can't be bound, or a remote one without
        `allowed_keys`.
        """
        socket.setsockopt(zmq.LINGER, 500)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_TRANSPORT_BYTES)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ZMTP_HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, ZMTP_TIMEOUT_MS)
        if url.startswith("ipc://"):
            _bind_ipc(socket, url)
            return Endpoint(url=url)
        if url.startswith("tcp://"):
            return self._bind_tcp(socket, url, allowed_keys)
        raise LocalError(f"can't listen on {url!r}: use ipc://PATH or tcp://HOST:PORT")

    def close(self) -> None:
        """Let nobody new in."""
        if self._authenticator:
            self._authenticator.stop()

    def callback(self, domain: str, key: bytes) -> bool:
        """What pyzmq's authenticator asks: may this client key (Z85) in?"""
        return key in self._allowed.get(domain, ())

    def _bind_tcp(self, socket: zmq.Socket[Any], url: str, allowed_keys: Sequence[str]) -> Endpoint:
        _check_tcp(url, allowed_keys)
        if self._authenticator is None:
            from zmq.auth.asyncio import AsyncioAuthenticator

            self._authenticator = AsyncioAuthenticator(self._context)
            self._authenticator.start()
        server_public, server_secret = zmq.curve_keypair()
        client_public, client_secret = zmq.curve_keypair()
        # Each socket is a domain of its own: a key to one opens no other.
        domain = f"ingle-{next(self._serial)}"
        self._allowed[domain] = {client_public, *(key.encode() for key in allowed_keys)}
        self._authenticator.configure_curve_callback(domain, credentials_provider=self)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, server_secret)
        try:
            socket.bind(url)
        except zmq.ZMQError as error:
            raise LocalError(
                f"can't listen on {url} ({error.strerror}): choose another port in `daemon.listen`"
            ) from error
        bound = socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        return Endpoint(
            url=bound.decode().rstrip("\0").replace("0.0.0.0", "127.0.0.1"),  # noqa: S104
            server_key=server_public.decode(),
            public_key=client_public.decode(),
            secret_key=client_secret.decode(),
        )


async def receive(socket: zmq.asyncio.Socket, handle: Callable[[list[bytes]], None]) -> NoReturn:
    """Hand every message to `handle`, until cancelled.

    A receive that finds a message does not suspend, so a flood from one peer would keep the event
    loop from everything else: hence the pause after each burst.
    """
    while True:
        for _ in range(RECEIVE_BURST):
            handle(await socket.recv_multipart())
        await asyncio.sleep(0)


def publish(endpoint: Endpoint) -> None:
    """Write the endpoint file, for the user alone, in one step."""
    file = endpoint_file()
    temporary = file.with_suffix(f".{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(msgspec.json.encode(endpoint))
    temporary.replace(file)


def withdraw() -> None:
    """Remove the endpoint file: nobody listens any more."""
    endpoint_file().unlink(missing_ok=True)


def private_url(folder: Path, name: str) -> str:
    """An address for a socket that only this user's processes are told of."""
    return f"ipc://{folder / name}" if sys.platform != "win32" else default_url()


def _bind_ipc(socket: zmq.Socket[Any], url: str) -> None:
    path = Path(url.removeprefix("ipc://"))
    if len(os.fsencode(path)) > MAX_IPC_PATH:
        raise LocalError(
            f"the socket's path has {len(os.fsencode(path))} bytes, {MAX_IPC_PATH} are possible: "
            "set `daemon.listen` to a shorter ipc:// path"
        )
    # The caller holds the daemon's lock, so a socket that is there was left behind.
    path.unlink(missing_ok=True)
    try:
        socket.bind(url)
    except zmq.ZMQError as error:
        raise LocalError(f"can't listen on {url} ({error.strerror}): check `daemon.listen`") from (
            error
        )


def _check_tcp(url: str, allowed_keys: Sequence[str]) -> None:
    port = url.rpartition(":")[2]
    if port != "*" and not (port.isdecimal() and int(port) <= 65535):
        # libzmq would quietly take it modulo 65536.
        raise LocalError(f"{url}: a port is a number up to 65535, correct `daemon.listen`")
    if not zmq.has("curve"):
        raise LocalError("this pyzmq has no CURVE, which TCP needs: install pyzmq's wheel")
    if not _is_loopback(url) and not allowed_keys:
        raise LocalError(
            f"{url} is reachable from other machines: name the clients' public keys in "
            "`daemon.allowed_client_keys`, or listen on 127.0.0.1"
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
