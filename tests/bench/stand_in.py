"""A stand-in for the daemon that notes when a request arrives, and answers it with one word."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

import msgspec
import zmq

from ingle import codec
from ingle.endpoint import Endpoint
from ingle.messages import Accepted, Chat, Delta, Done, Hello, Infill, Message, Welcome
from ingle.version import PROTOCOL_VERSION, __version__

#: Milliseconds in which a client must have spoken.
PATIENCE_MS = 30_000


class StandIn:
    """Listens on a socket in `folder`; `endpoint_file` leads clients to it."""

    def __init__(self, folder: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        url = f"ipc://{folder / 'stand-in.sock'}"
        self._socket.bind(url)
        self.endpoint_file = folder / "stand-in.json"
        self.endpoint_file.write_bytes(msgspec.json.encode(Endpoint(url=url)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._context.destroy(linger=0)

    def wait_for_chat(self) -> float:
        """Serve one client until its chat has come; when that was, on `time.perf_counter`."""
        return self._wait_for(Chat)

    def wait_for_infill(self) -> float:
        """The same for a completion."""
        return self._wait_for(Infill)

    def _wait_for(self, wanted: type[Message]) -> float:
        while True:
            if not self._socket.poll(PATIENCE_MS):
                raise RuntimeError(f"the client sent no {wanted.__name__.lower()}")
            identity, *frames = self._socket.recv_multipart()
            now = time.perf_counter()
            request = codec.decode_request(frames)
            if isinstance(request, Hello):
                self._send(
                    identity,
                    Welcome(
                        id=request.id,
                        protocol=PROTOCOL_VERSION,
                        version=__version__,
                        max_message_bytes=codec.MAX_MESSAGE_BYTES,
                        heartbeat_ms=2000,
                    ),
                )
            elif isinstance(request, wanted):
                self._send(identity, Accepted(id=request.id))
                self._send(identity, Delta(id=request.id, text="Yes.", tokens=1))
                self._send(identity, Done(id=request.id, finish="stop"))
                return now

    def _send(self, identity: bytes, event: Message) -> None:
        self._socket.send_multipart([identity, *codec.encode(event)])
