"""Deaths, floods and nonsense: one request suffers, the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
import zmq

from ingle import codec
from ingle.async_client import AsyncClient
from ingle.codec import MAX_MESSAGE_BYTES
from ingle.errors import (
    Busy,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    LoadFailed,
    ModelNotFound,
    TooLarge,
    WorkerDied,
)
from ingle.messages import (
    Chat,
    ChatMessage,
    Delta,
    Done,
    Error,
    Hello,
    Infill,
    Load,
    Progress,
    Status,
)
from support.daemons import DaemonUnderTest
from support.waiting import wait_until

MakeDaemon = Callable[..., DaemonUnderTest]
LONG = {"script": "word " * 2000, "tokens_per_second": 200.0}


def ask(text: str = "hello", **fields: object) -> dict[str, object]:
    return {"messages": [ChatMessage(role="user", content=text)], **fields}


def raw_socket(daemon: DaemonUnderTest) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.setsockopt(zmq.RCVHWM, 10)
    socket.connect(daemon.endpoint.url)
    return socket


# --- deaths --------------------------------------------------------------------------------


def test_kill_9_on_the_worker_in_mid_stream(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"slots": 2}, scripted=LONG).start()
    with daemon.client() as client, daemon.client() as other:
        call = client.call(Chat, **ask(max_tokens=1500))
        next(event for event in call if isinstance(event, Delta))
        # Slots 2 with one kept for typing: this one waits, and must survive.
        waiting = other.call(Chat, **ask(max_tokens=5))
        wait_until(lambda: client.status().queue.get("interactive") == 1, what="one is queued")
        worker = client.status().models[0].pid
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="signal 9"):
            call.wait()
        phases = {event.phase for event in waiting if isinstance(event, Progress)}
        assert "restarting" in phases or "loading" in phases
        status = client.status().models[0]
        assert (status.state, status.restarts) == ("ready", 1)
        assert status.pid != worker
        assert client.ask("and now?", max_tokens=3).text


def test_a_worker_that_dies_at_every_request_is_not_restarted_for_ever(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon(scripted={"fault": "load-exit"}).start(ready=False)
    with daemon.client() as client:
        with pytest.raises(LoadFailed, match="died while loading"):
            client.load("scripted")
        assert client.status().models[0].state == "failed"
        daemon.configure(scripted={"fault": ""})
        wait_until(
            lambda: any("scripted.fault" in notice for notice in client.status().notices),
            what="the setting is taken",
        )
        assert client.ask("better?").text


def test_a_model_that_refuses_to_load(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"fault": "load"}).start(ready=False)
    with daemon.client() as client:
        for _ in range(2):
            with pytest.raises(LoadFailed, match="told not to load"):
                client.ask("hello")


def test_a_failed_job_costs_only_itself(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"fault": "job:3", "script": "a b c d"}).start()
    with daemon.client() as client:
        with pytest.raises(InternalError):
            client.ask("hello")
        assert client.ask("hello", max_tokens=2).text == "a b"
        assert client.status().models[0].restarts == 0


def test_a_client_that_dies_frees_its_slot(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=LONG).start()
    code = (
        "import ingle, sys\n"
        "for delta in ingle.connect(name='victim').stream('hello', max_tokens=1900):\n"
        "    print('x', flush=True)\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", code], env=daemon.env, stdout=subprocess.PIPE)
    assert victim.stdout is not None
    assert victim.stdout.read(1) == b"x"
    with daemon.client() as client:
        assert [item.client for item in client.status().active] == ["victim"]
        victim.kill()
        victim.wait()
        victim.stdout.close()
        wait_until(lambda: not client.status().active, what="the dead client's request ended")
        assert client.status().models[0].busy_slots == 0


def test_a_client_that_does_not_read_is_cut_off(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(
        scripted={"script": "word " * 45_000, "tokens_per_second": 20_000.0},
        model={"context": 100_000},
        chat={"max_tokens": 45_000},
    ).start()
    socket = raw_socket(daemon)
    for message in (
        Hello(id=1, protocol=1, client="sleepy"),
        Chat(id=2, messages=[ChatMessage(role="user", content="go")]),
    ):
        socket.send_multipart(codec.encode(message))
    with daemon.client() as client:
        wait_until(
            lambda: client.status().totals.failed == 1 and not client.status().active,
            what="the slow reader's request ended",
        )
        assert client.ask("and me?", max_tokens=3).text
    while not isinstance(event := codec.decode_event(socket.recv_multipart()), Error):
        pass
    assert event.code == "slow_reader"
    socket.close()


# --- nonsense ------------------------------------------------------------------------------


def test_nonsense_is_answered_and_nothing_else_notices(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={**LONG, "script": "word " * 100}).start()
    with daemon.client() as client:
        call = client.call(Chat, **ask())
        socket = raw_socket(daemon)
        nonsense: list[list[bytes]] = [
            [b""],
            [os.urandom(50)],
            [os.urandom(6), os.urandom(500)],
            [b"INGLE\x01", os.urandom(500)],
            [b"INGLE\x01", b"\xc1"],
            [b"INGLE\x09", msgpack.packb({"type": "hello", "id": 1})],
            [b"INGLE\x01", msgpack.packb({"type": "nonsense", "id": 3})],
            [b"INGLE\x01", msgpack.packb({"type": "chat", "id": 4, "messages": "no"})],
            [b"INGLE\x01", b"\x91" * 5000],
            [b"INGLE\x01", b"x" * 50_000_000],
            [b"a"] * 20,
        ]
        codes = []
        for frames in nonsense:
            socket.send_multipart(frames)
            event = codec.decode_event(socket.recv_multipart())
            assert isinstance(event, Error)
            assert "\n" not in event.message
            codes.append(event.code)
        assert codes[5] == "version_mismatch"
        assert codes[6] == "unknown_message"
        assert codes[7] == "malformed"
        assert codes[9] == "too_large"
        text = "".join(event.text for event in call if isinstance(event, Delta))
        assert text.split() == ["word"] * 100
        socket.close()


def test_a_client_does_not_even_send_what_is_too_large(scripted_daemon: DaemonUnderTest) -> None:
    with scripted_daemon.client() as client:
        with pytest.raises(TooLarge, match="50"):
            client.ask("x" * 50_000_000)
        with pytest.raises(InvalidRequest, match="temperature"):
            client.ask("hello", temperature=9.0)
        assert client.ask("hello").text


async def test_a_request_that_can_not_be_sent_is_not_open(scripted_daemon: DaemonUnderTest) -> None:
    text = "x" * (MAX_MESSAGE_BYTES + 1)
    with scripted_daemon.client() as client:
        with pytest.raises(TooLarge):
            client.infill(text)
        assert not client._session.busy
        assert not client._calls
        assert client.infill("a = ").text
    connected = await AsyncClient.connect(scripted_daemon.endpoint)
    async with connected as other:
        with pytest.raises(TooLarge):
            await other.infill(text)
        assert not other._session.busy
        assert not other._calls


def test_a_prompt_over_the_context_is_refused_with_the_numbers(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"context": 256}).start()
    with daemon.client() as client:
        with pytest.raises(Exception, match="256"):
            client.ask("word " * 3000)
        assert client.ask("short").text


def test_models_that_are_not_there(scripted_daemon: DaemonUnderTest) -> None:
    scripted_daemon.configure(model={"engine": "auto"})
    with scripted_daemon.client() as client:
        wait_until(lambda: client.status().notices, what="the setting is taken")
        for name in ("no-such-model", "/no/such/file.gguf"):
            with pytest.raises(ModelNotFound):
                client.load(name)
            with pytest.raises(ModelNotFound):
                client.ask("hello", model=name)
        with pytest.raises(ModelNotFound):
            client.unload("no-such-model")
        assert client.ask("the old one is still here").text


# --- pressure ------------------------------------------------------------------------------


def test_a_full_queue_says_busy_at_once(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(daemon={"max_queue": 2}, model={"slots": 1}, scripted=LONG).start()
    with daemon.client() as client:
        calls = [client.call(Chat, **ask(max_tokens=1900)) for _ in range(3)]
        with pytest.raises(Busy) as refused:
            client.ask("one more")
        assert refused.value.retry_after_ms
        for call in calls:
            call.cancel()
        assert [call.wait().finish for call in calls] == ["cancelled"] * 3
        assert client.ask("now?", max_tokens=2).text


def test_deadlines(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"slots": 1}, scripted=LONG).start()
    with daemon.client() as client:
        call = client.call(Chat, **ask(max_tokens=1900, deadline_ms=300))
        with pytest.raises(DeadlineExceeded):
            client.ask("waits in vain", timeout=0.1)
        events = list(call)
        assert isinstance(events[-1], Done)
        assert events[-1].finish == "deadline"
        assert any(isinstance(event, Delta) for event in events)


def test_typing_supersedes_and_never_queues_behind_chats(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"slots": 2}, scripted=LONG).start()
    with daemon.client() as client:
        chats = [client.call(Chat, **ask(max_tokens=1900)) for _ in range(3)]
        calls = [
            client.call(Infill, prefix=f"x = {n}", document="file:///a.py", max_tokens=200)
            for n in range(5)
        ]
        finishes = [call.wait().finish for call in calls]
        assert finishes[:4] == ["superseded"] * 4
        assert finishes[4] in ("stop", "length")
        other = client.infill("y = ", document="file:///b.py", max_tokens=5)
        assert other.timings is not None
        assert other.timings.queue_ms < 500
        for chat in chats:
            chat.cancel()


def test_cancel_is_quick_and_counts_what_was_said(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=LONG).start()
    with daemon.client() as client:
        call = client.call(Chat, **ask(max_tokens=1900))
        next(event for event in call if isinstance(event, Delta))
        started = time.monotonic()
        call.cancel()
        done = call.wait()
        assert time.monotonic() - started < 5
        assert done.finish == "cancelled"
        assert done.usage is not None
        assert 0 < done.usage.completion_tokens < 1900
        call.cancel()
        assert client.ask("hi", max_tokens=2).text


# --- idle ----------------------------------------------------------------------------------


def test_keep_alive_unloads_and_the_next_request_reloads_and_says_so(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon(model={"keep_alive": 0.3}).start(ready=False)
    with daemon.client() as client:
        client.ask("hello")
        wait_until(lambda: client.status().models[0].state == "absent", what="it was unloaded")
        assert client.status().models[0].pid is None
        events = list(client.call(Chat, **ask()))
        assert next(event.phase for event in events if isinstance(event, Progress)) == "loading"
        assert isinstance(events[-1], Done)


def test_load_and_unload(scripted_daemon: DaemonUnderTest) -> None:
    with scripted_daemon.client() as client:
        worker = client.status().models[0].pid
        client.unload()
        assert client.status().models[0].state == "absent"
        seen: list[Progress] = []
        client.load("scripted", on_progress=seen.append)
        assert seen
        status = client.status().models[0]
        assert status.state == "ready"
        assert status.pid != worker
        client.load("scripted")
        assert client.status().models[0].pid == status.pid, "loading what is there changes nothing"


def test_what_can_be_loaded_again_is_listed(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Also what no store has: the model of the settings, before it was ever loaded and after."""

    def listed(daemon: DaemonUnderTest) -> dict[str, tuple[bool, bool]]:
        with daemon.client() as client:
            models = client.models()
        assert len({model.name for model in models}) == len(models)
        return {
            model.name: (model.installed, model.resident)
            for model in models
            if model.name in ("scripted", missing)
        }

    missing = str(tmp_path / "missing.gguf")
    daemon = make_daemon().start()
    assert listed(daemon) == {"scripted": (True, True)}
    with daemon.client() as client:
        client.unload()
    assert listed(daemon) == {"scripted": (True, False)}
    other = make_daemon(model={"engine": "auto", "name": missing}).start(ready=False)
    assert listed(other) == {missing: (False, False)}


def test_watch_reports_until_left(scripted_daemon: DaemonUnderTest) -> None:
    with scripted_daemon.client() as client:
        reports = []
        for report in client.watch(interval=0.05):
            reports.append(report)
            if len(reports) == 3:
                break
        assert reports[0].uptime_s < reports[2].uptime_s
        assert client.status().pid == reports[0].pid


def test_requests_of_all_kinds_are_accepted_first(scripted_daemon: DaemonUnderTest) -> None:
    with scripted_daemon.client() as client:
        for kind, fields in (
            (Chat, ask()),
            (Infill, {"prefix": "a"}),
            (Load, {"model": "scripted"}),
        ):
            kinds = [type(event).__name__ for event in client.call(kind, **fields)]
            assert kinds[0] == "Accepted"
            assert kinds[-1] == "Done"
            assert kinds.count("Done") == 1
        assert [type(event).__name__ for event in client.call(Status)] == ["Report", "Done"]
