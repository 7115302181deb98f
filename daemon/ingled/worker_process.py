"""One worker process and the link to it, seen from the broker. Spawning, messages, death.

It knows nothing of requests or restarts: `service.py` decides, this carries out.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import msgspec
import zmq
import zmq.asyncio

from ingle import codec, paths
from ingle.errors import ProtocolError
from ingle.messages import Message

from .listen import Listener, private_url, receive
from .worker.wire import Quit, from_worker

_serial = itertools.count(1)

OnMessage = Callable[[Message], None]
#: Called once, with the exit code (negative: the signal), after the last message.
OnExit = Callable[[int], None]


class WorkerProcess:
    """See the module. All calls from the event loop's thread."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        listener: Listener,
        on_message: OnMessage,
        on_exit: OnExit,
    ) -> None:
        self._on_message = on_message
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._socket = context.socket(zmq.PAIR)
        url = private_url(paths.runtime_dir(), f"worker-{next(_serial)}.sock")
        try:
            endpoint = listener.bind(self._socket, url)
        except BaseException:
            self._socket.close(0)
            raise
        self._url = endpoint.url
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ingled.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Engines print what they like, and that may quote a prompt.
            stderr=None if os.environ.get("INGLE_WORKER_STDERR") else subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(endpoint) + b"\n")
        self._process.stdin.flush()
        self._reader = asyncio.create_task(
            receive(self._socket, lambda frames: self._deliver(frames[0]))
        )
        threading.Thread(target=self._wait, name=f"worker-{self.pid}", daemon=True).start()

    def send(self, message: Message) -> None:
        """Give the worker a message; one to a dead worker is lost, `on_exit` follows."""
        # pyzmq keeps the order and sends once the worker has connected; nobody waits for it.
        _ = self._socket.send(codec.pack(message))

    def quit(self) -> None:
        """Ask it to end."""
        self.send(Quit())

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def _deliver(self, body: bytes) -> None:
        try:
            message = from_worker(body)
        except ProtocolError:
            # Only our own worker writes here: kill it rather than guess.
            self.kill()
            return
        self._on_message(message)

    def _wait(self) -> None:
        """Own thread: an event loop can't wait for a process on every platform."""
        code = self._process.wait()
        try:
            self._loop.call_soon_threadsafe(self._exited, code)
        except RuntimeError:
            # The loop is closed: the daemon is leaving.
            return

    def _exited(self, code: int) -> None:
        self._loop.create_task(self._close(code))

    async def _close(self, code: int) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        # What it said before it died still counts.
        while await self._socket.poll(20):
            self._deliver(await self._socket.recv())
        self._socket.close(0)
        if self._process.stdin:
            self._process.stdin.close()
        if self._url.startswith("ipc://"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._url.removeprefix("ipc://"))  # noqa: PTH108
        self._on_exit(code)
