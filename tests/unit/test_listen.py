"""Bound sockets: several encrypted ones in one process, each with keys of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import zmq
import zmq.asyncio

from ingle.endpoint import Endpoint, configure
from ingle.errors import LocalError
from ingled.listen import Listener

LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
async def context() -> AsyncIterator[zmq.asyncio.Context]:
    context = zmq.asyncio.Context()
    yield context
    context.destroy(linger=0)


async def gets_in(context: zmq.asyncio.Context, server: zmq.Socket, endpoint: Endpoint) -> bool:  # type: ignore[type-arg]
    client = context.socket(zmq.DEALER)
    configure(client, endpoint)
    client.connect(endpoint.url)
    await client.send(b"knock")
    try:
        async with asyncio.timeout(0.5):
            return bool(await server.recv() == b"knock")
    except TimeoutError:
        return False
    finally:
        client.close(0)


async def test_a_key_opens_its_own_socket_and_no_other(context: zmq.asyncio.Context) -> None:
    listener = Listener(context)
    sockets = [context.socket(zmq.DEALER) for _ in range(2)]
    first, second = (listener.bind(socket, LOOPBACK) for socket in sockets)
    assert await gets_in(context, sockets[0], first)
    assert await gets_in(context, sockets[1], second)
    borrowed = msgspec.structs.replace(
        second, public_key=first.public_key, secret_key=first.secret_key
    )
    assert not await gets_in(context, sockets[1], borrowed)
    assert not await gets_in(context, sockets[1], Endpoint(url=second.url))
    listener.close()
    for each in sockets:
        each.close(0)


async def test_allowed_keys_get_in(context: zmq.asyncio.Context) -> None:
    listener = Listener(context)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    socket = context.socket(zmq.DEALER)
    endpoint = listener.bind(socket, LOOPBACK, [public])
    friend = msgspec.structs.replace(endpoint, public_key=public, secret_key=secret)
    assert await gets_in(context, socket, friend)
    listener.close()
    socket.close(0)


async def test_what_can_not_be_bound_is_one_line(
    context: zmq.asyncio.Context, tmp_path: Path
) -> None:
    listener = Listener(context)
    socket = context.socket(zmq.DEALER)
    taken = listener.bind(socket, LOOPBACK)
    for url in (
        taken.url,
        "tcp://0.0.0.0:*",
        "tcp://127.0.0.1:70000",
        "udp://127.0.0.1:1",
        f"ipc://{tmp_path}/no-such-folder/x.sock",
        "ipc:///" + "x" * 200,
    ):
        with context.socket(zmq.DEALER) as another, pytest.raises(LocalError) as refused:
            listener.bind(another, url)
        assert "\n" not in str(refused.value)
    listener.close()
    socket.close(0)
