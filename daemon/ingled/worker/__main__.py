"""The worker process: one resident model. `python -m ingled.worker`, started by the broker only.

Two threads. The main thread owns the sockets; the engine thread owns the engine and never waits
for the network. The broker's address comes as one JSON line on standard input, and the end of
standard input means that the broker is gone.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from pathlib import Path

import msgspec
import zmq

from ingle import codec, paths
from ingle.endpoint import Endpoint, configure
from ingle.errors import IngleError, LoadFailed
from ingle.messages import Message
from ingled.dialects.dialect import Defaults
from ingled.dialects.select import choose
from ingled.engines.engine import Engine, ModelSpec
from ingled.engines.registry import create
from ingled.memory import resident_bytes

from .rates import Rates
from .runner import Runner, where
from .warm_up import warm_up
from .wire import (
    Configure,
    Halt,
    Loaded,
    Loading,
    LoadModel,
    LoadRefused,
    Pause,
    Quit,
    Resume,
    Run,
    WorkerLog,
    for_worker,
)

#: Longest wait of an idle engine step, in seconds; commands wake it.
IDLE_WAIT = 60.0
#: Address of the pipe from the engine thread to the main thread.
OUTBOX = "inproc://outbox"


class EngineThread(threading.Thread):
    """Owns the engine: takes commands from a queue, sends messages through an inproc socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], first: LoadModel) -> None:
        super().__init__(name="engine", daemon=True)
        self._commands: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._context = context
        self._first = first
        self._engine: Engine | None = None
        self._outbox: zmq.Socket[bytes] | None = None

    def post(self, command: Message) -> None:
        """Give a command; safe from any thread."""
        self._commands.put(command)
        if self._engine:
            self._engine.wake()

    def run(self) -> None:
        """Load, then serve until `Quit`."""
        self._outbox = self._context.socket(zmq.PUSH)
        self._outbox.connect(OUTBOX)
        try:
            runner = self._load()
            if runner and self._engine:
                self._serve(self._engine, runner)
        except Exception as error:
            # The engine itself broke: the process is of no use any more, the broker restarts it.
            self._send(WorkerLog(level=logging.ERROR, text=where(error)))
        self._send(Quit())

    def _load(self) -> Runner | None:
        first = self._first
        try:
            engine = create(first.engine)
            spec = ModelSpec(
                name=first.name,
                path=Path(first.path) if first.path else None,
                context=first.context,
                slots=first.slots,
                threads=first.threads,
                gpu_layers=first.gpu_layers,
                cache_mb=first.cache_mb,
                options=first.options,
            )
            able = engine.load(
                spec,
                lambda fraction, detail: self._send(Loading(fraction=fraction, detail=detail)),
            )
            dialect = choose(engine.tokenizer, able, spec.path, paths.cache_dir())
            rates = warm_up(engine) if able.warms_up else Rates()
        except IngleError as error:
            self._send(LoadRefused(code=error.code or LoadFailed.code, message=str(error)))
            return None
        except Exception as error:
            self._send(WorkerLog(level=logging.ERROR, text=where(error)))
            self._send(
                LoadRefused(
                    code=LoadFailed.code,
                    message=f"{first.name} can't be loaded ({type(error).__name__}): "
                    "see `ingle logs`",
                )
            )
            return None
        self._engine = engine
        self._send(
            Loaded(
                slots=able.slots,
                context=able.context,
                device=able.device,
                dialect=dialect.name,
                memory_bytes=resident_bytes(),
                limits=list(able.limits),
                exclusive=able.exclusive,
            )
        )
        return Runner(engine, dialect, able.context, self._send, rates)

    def _serve(self, engine: Engine, runner: Runner) -> None:
        while True:
            while not self._commands.empty():
                match self._commands.get_nowait():
                    case Run() as run:
                        runner.run(run)
                    case Pause(job=job):
                        runner.pause(job)
                    case Resume(job=job, report=report):
                        runner.resume(job, report=report)
                    case Halt(job=job):
                        runner.halt(job)
                    case Configure() as wanted:
                        runner.defaults = Defaults(
                            effort=wanted.effort,
                            chat_max_tokens=wanted.chat_max_tokens,
                            chat_temperature=wanted.chat_temperature,
                            infill_max_tokens=wanted.infill_max_tokens,
                            infill_multiline_max_tokens=wanted.infill_multiline_max_tokens,
                        )
                    case Quit():
                        engine.unload()
                        return
            runner.step(IDLE_WAIT)

    def _send(self, message: Message) -> None:
        if self._outbox:
            self._outbox.send(codec.pack(message))


def main() -> None:
    """Read the broker's address, connect, forward both ways until told to quit."""
    # Ctrl-C in a terminal reaches the whole group; the broker decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    endpoint = msgspec.json.decode(sys.stdin.buffer.readline(), type=Endpoint)
    threading.Thread(target=_leave_with_broker, name="broker-watch", daemon=True).start()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = context.socket(zmq.PAIR)
    configure(link, endpoint)
    link.connect(endpoint.url)
    inbox = context.socket(zmq.PULL)
    inbox.bind(OUTBOX)
    first = for_worker(link.recv())
    if not isinstance(first, LoadModel):
        raise SystemExit("the first message of a worker is load_model")
    engine = EngineThread(context, first)
    engine.start()
    _forward(link, inbox, engine)
    link.close(500)
    context.destroy(linger=500)
    # Engines may hang in their destructors; the process end frees everything.
    os._exit(0)


def _forward(link: zmq.Socket[bytes], inbox: zmq.Socket[bytes], engine: EngineThread) -> None:
    poller = zmq.Poller()
    poller.register(link, zmq.POLLIN)
    poller.register(inbox, zmq.POLLIN)
    quit_message = codec.pack(Quit())
    while True:
        for socket, _ in poller.poll():
            if socket is link:
                engine.post(for_worker(link.recv()))
                continue
            body = inbox.recv()
            if body == quit_message:
                return
            link.send(body)


def _leave_with_broker() -> None:
    """End the process when the broker's end of standard input closes."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
