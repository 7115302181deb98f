"""The status line, and the commands behind its menu, over real daemons that come and go."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from support.daemons import ENDLESS_LINE, DaemonUnderTest
from support.editors import Editor, an_editor
from support.waiting import eventually

MakeDaemon = Callable[..., DaemonUnderTest]
PLUGIN = {"version": 1, "status": True, "startHint": "`:Ingle start`"}
TEXT = "def add(a, b):\n    return "
END = (1, 11)


@asynccontextmanager
async def a_plugin(daemon: DaemonUnderTest, **options: Any) -> AsyncIterator[Editor]:
    async with an_editor(daemon.env, announced=PLUGIN, **options) as editor:
        yield editor


async def until(editor: Editor, state: str) -> dict[str, Any]:
    """Wait until the newest status has this state."""
    await eventually(
        lambda: editor.statuses and editor.statuses[-1]["state"] == state,
        f"the state {state}",
    )
    return editor.statuses[-1]


def states(editor: Editor) -> list[str]:
    """The states so far, without repetitions."""
    found: list[str] = []
    for status in editor.statuses:
        if status["state"] not in found[-1:]:
            found.append(status["state"])
    return found


@contextmanager
def stopped_at_the_end(daemon: DaemonUnderTest) -> Iterator[None]:
    """For a daemon that the language server started: nobody else would end it."""
    try:
        yield
    finally:
        with daemon.client() as client:
            pid = client.status().pid
            client.shutdown()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)


async def test_an_editor_that_did_not_ask_gets_none(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    async with an_editor(daemon.env, announced={"version": 1}) as editor:
        editor.open(TEXT)
        assert await editor.ghost(END) == "a + b"
        assert (await editor.command("ingle.status"))["state"] == "ready"
        assert editor.statuses == []


async def test_a_daemon_that_comes_goes_and_comes_again(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    async with a_plugin(daemon) as editor:
        down = await until(editor, "down")
        assert down["text"] == "the daemon is not running"
        assert down["detail"] == "ingled is not running: start it with `:Ingle start`"
        await asyncio.to_thread(daemon.start)
        ready = await until(editor, "ready")
        assert (ready["text"], ready["model"]) == ("scripted", "scripted")
        assert (ready["device"], ready["enabled"]) == ("script", True)
        await asyncio.to_thread(daemon.kill)
        await until(editor, "down")
        await asyncio.to_thread(daemon.start)
        await until(editor, "ready")
        editor.open(TEXT)
        assert await editor.ghost(END) == "a + b"
    # The message of the first outage; nobody asked for anything in the second.
    assert editor.messages == ["ingle: ingled is not running: start it with `:Ingle start`"]


async def test_work_is_shown(make_daemon: MakeDaemon) -> None:
    scripted = {"script": ENDLESS_LINE, "tokens_per_second": 40.0}
    daemon = make_daemon(scripted=scripted, inline={"max_tokens": 60}).start()
    async with a_plugin(daemon, candidates=1) as editor:
        await until(editor, "ready")
        editor.open(TEXT)
        answer = editor.request(END)
        assert (await until(editor, "busy"))["text"].startswith("scripted, ")
        await answer
        await until(editor, "ready")
        # Once measured, the speed is shown.
        editor.type(END, "z = ")
        answer = editor.request((1, 15))
        busy = await until(editor, "busy")
        assert 20 <= busy["tokensPerSecond"] <= 80
        assert busy["text"] == f"scripted, {busy['tokensPerSecond']:.0f} tokens/s"
        await answer


async def test_models_come_and_go_from_the_menu(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"load_at_start": False}).start(ready=False)
    async with a_plugin(daemon) as editor:
        assert (await until(editor, "idle"))["text"] == "no model loaded"
        assert all(not model["resident"] for model in await editor.command("ingle.models"))
        await editor.command("ingle.loadModel", {"model": "scripted"})
        assert (await until(editor, "ready"))["model"] == "scripted"
        # It is not in the store, like a file that was loaded by its path.
        *_, last = await editor.command("ingle.models")
        assert (last["name"], last["installed"], last["resident"]) == ("scripted", True, True)
        await editor.command("ingle.unloadModel")
        await until(editor, "idle")
        with pytest.raises(JsonRpcException, match="is not resident"):
            await editor.command("ingle.unloadModel", {"model": "other"})


async def test_a_model_that_can_not_be_loaded(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"fault": "load"}).start(ready=False)
    async with a_plugin(daemon) as editor:
        failed = await until(editor, "failed")
        assert failed["text"] == "scripted can't be loaded"
        assert "clear `fault`" in failed["detail"]
        with pytest.raises(JsonRpcException, match="clear `fault`"):
            await editor.command("ingle.loadModel", {"model": "scripted"})


async def test_one_key_starts_the_daemon_as_often_as_it_is_pressed(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon(scripted={"script": "a + b"})
    async with a_plugin(daemon, startDaemon=True) as editor:
        with stopped_at_the_end(daemon):
            # The setting has started it; that happens once.
            await until(editor, "ready")
            assert "starting" in states(editor)
            with daemon.client() as client:
                client.shutdown()
            await until(editor, "down")
            editor.open(TEXT)
            assert await editor.ghost(END) is None
            await editor.command("ingle.startDaemon")
            assert states(editor)[-2:] != ["down", "down"]
            await until(editor, "ready")
            assert await editor.ghost(END) == "a + b"
            # It runs: nothing to do.
            await editor.command("ingle.startDaemon")


async def test_a_daemon_that_can_not_be_started(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(daemon={"max_queue": "many"})
    async with a_plugin(daemon) as editor:
        for _ in range(2):
            with pytest.raises(JsonRpcException, match="`ingle up` says why"):
                await editor.command("ingle.startDaemon")
        assert (await until(editor, "down"))["detail"].endswith("`ingle up` says why")


async def test_suggestions_off_and_paused(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "a + b"}).start()
    async with a_plugin(daemon) as editor:
        await until(editor, "ready")
        editor.open(TEXT)
        await editor.command("ingle.pause", {"minutes": 10})
        await eventually(lambda: not editor.statuses[-1]["enabled"], "the pause")
        assert editor.statuses[-1]["text"] == "scripted, suggestions paused"
        assert await editor.ghost(END) is None
        await editor.command("ingle.resume")
        await eventually(lambda: editor.statuses[-1]["enabled"], "the end of the pause")
        assert await editor.ghost(END) == "a + b"
        settings = {"ingle": {"enabled": False, "effort": "high"}}
        editor.client.workspace_did_change_configuration(
            types.DidChangeConfigurationParams(settings=settings)
        )
        await eventually(lambda: editor.statuses[-1]["effort"] == "high", "the new settings")
        assert editor.statuses[-1]["text"] == "scripted, suggestions off"


@contextmanager
def a_daemon_of_tomorrow(home: Path) -> Iterator[None]:
    """Listens where `home` says, and answers everything in version 9 of the protocol."""
    over = threading.Event()
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        while not over.is_set():
            if socket.poll(50):
                identity = socket.recv_multipart()[0]
                socket.send_multipart([identity, b"INGLE\x09", b"whatever"])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        endpoint = home / "run" / "endpoint.json"
        endpoint.parent.mkdir(parents=True, exist_ok=True)
        endpoint.write_text(json.dumps({"url": f"tcp://127.0.0.1:{port}"}))
        yield
    finally:
        over.set()
        thread.join()
        socket.close()
        context.term()


async def test_a_daemon_of_another_version(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    with a_daemon_of_tomorrow(daemon.home):
        async with a_plugin(daemon) as editor:
            incompatible = await until(editor, "incompatible")
            assert "protocol 9" in incompatible["detail"]
            assert "update the older one" in incompatible["detail"]
            with pytest.raises(JsonRpcException, match="protocol 9"):
                await editor.command("ingle.startDaemon")


@pytest.mark.slow
@pytest.mark.parametrize("up", [True, False])
async def test_an_idle_server_costs_next_to_nothing(make_daemon: MakeDaemon, up: bool) -> None:
    daemon = make_daemon()
    if up:
        daemon.start()
    async with a_plugin(daemon) as editor:
        await until(editor, "ready" if up else "down")
        server = psutil.Process(editor.process.pid)
        used = lambda: sum(server.cpu_times()[:2])  # noqa: E731
        loop = asyncio.get_running_loop()
        begun, before = loop.time(), used()
        # Nothing to wait for: it is the passing of time that is measured.
        await eventually(lambda: loop.time() - begun > 10, "ten seconds")
        share = (used() - before) / (loop.time() - begun)
        print(f"idle, daemon {'up' if up else 'down'}: {100 * share:.2f} % of a core")
        assert share <= 0.01
