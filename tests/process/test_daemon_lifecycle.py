"""The daemon as a process: one instance, clean ends, stale files, settings, keys."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zmq

from ingle.blocking_client import Client
from ingle.endpoint import Endpoint
from ingle.errors import ConnectionLost, ResponseTimeout, ShuttingDown
from ingle.messages import Chat, ChatMessage, Delta, Started
from support.daemons import DaemonUnderTest
from support.waiting import wait_until

MakeDaemon = Callable[..., DaemonUnderTest]


def ask(text: str = "hello") -> dict[str, object]:
    return {"messages": [ChatMessage(role="user", content=text)]}


def process_is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie that its new parent has not collected yet is gone enough.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def run_daemon(daemon: DaemonUnderTest) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ingled"], env=daemon.env, capture_output=True, text=True, timeout=30
    )


def test_its_files_are_the_users_alone(scripted_daemon: DaemonUnderTest) -> None:
    runtime = scripted_daemon.runtime
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    for name in ("endpoint.json", "ingled.lock"):
        assert stat.S_IMODE((runtime / name).stat().st_mode) == 0o600


def test_a_second_daemon_is_refused_and_the_first_goes_on(scripted_daemon: DaemonUnderTest) -> None:
    assert scripted_daemon.process is not None
    second = run_daemon(scripted_daemon)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process {scripted_daemon.process.pid}" in second.stderr
    assert "ingle down" in second.stderr
    with scripted_daemon.client() as client:
        assert client.ask("still there?").text


def test_sigterm_lets_a_running_answer_finish(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "word " * 40, "tokens_per_second": 60.0}).start()
    with daemon.client() as client:
        worker = client.status().models[0].pid
        call = client.call(Chat, **ask())
        for event in call:
            if isinstance(event, Delta):
                break
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        text = "".join(event.text for event in call if isinstance(event, Delta))
        assert text.count("word") >= 38
    assert daemon.process.wait(timeout=20) == 0
    daemon.process = None
    assert not (daemon.runtime / "endpoint.json").exists()
    assert worker is not None
    wait_until(lambda: process_is_gone(worker), what="the worker ended")


def test_what_does_not_finish_in_time_gets_an_error(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(
        daemon={"drain_ms": 100}, scripted={"script": "word " * 900, "tokens_per_second": 50.0}
    ).start()
    with daemon.client() as client:
        call = client.call(Chat, **ask())
        assert next(event for event in call if isinstance(event, Started))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        with pytest.raises(ShuttingDown):
            call.wait()
    daemon.stop()


def test_shutdown_by_a_client(scripted_daemon: DaemonUnderTest) -> None:
    with scripted_daemon.client() as client:
        client.shutdown()
    assert scripted_daemon.process is not None
    assert scripted_daemon.process.wait(timeout=20) == 0


def test_after_kill_9_nothing_is_left_and_a_new_one_starts(
    scripted_daemon: DaemonUnderTest,
) -> None:
    with scripted_daemon.client() as client:
        worker = client.status().models[0].pid
        assert worker is not None
        call = client.call(Chat, **ask())
        scripted_daemon.kill()
        with pytest.raises(ConnectionLost):
            call.wait()
    wait_until(lambda: process_is_gone(worker), what="the orphaned worker ended by itself")
    assert (scripted_daemon.runtime / "ingled.sock").exists(), "the stale socket is the point"
    scripted_daemon.start()
    with scripted_daemon.client() as client:
        assert client.ask("again").text


def test_a_wrong_setting_is_one_line_with_its_place(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model={"contxt": 4096})
    result = run_daemon(daemon)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "config.toml" in result.stderr
    assert "context" in result.stderr
    assert "Traceback" not in result.stderr


def test_settings_apply_while_it_runs(scripted_daemon: DaemonUnderTest) -> None:
    with scripted_daemon.client() as client:
        assert client.infill("a b c ", "").usage is not None
        scripted_daemon.configure(inline={"max_tokens": 1})
        wait_until(
            lambda: client.infill("some words to say again here ").usage.completion_tokens == 1,  # type: ignore[union-attr]
            what="the new limit applies",
        )
        scripted_daemon.configure(model={"context": 512})
        wait_until(
            lambda: any("model.context" in notice for notice in client.status().notices),
            what="a notice about the reload",
        )
        assert client.status().models[0].context == 4096
        client.unload()
        client.load("scripted")
        assert client.status().models[0].context == 512
        scripted_daemon.configure(model={"context": "many"})
        wait_until(
            lambda: any("not applied" in notice for notice in client.status().notices),
            what="a notice about the mistake",
        )
        assert client.ask("still there?").text


def test_no_prompt_text_reaches_the_log(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(daemon={"log_level": "debug"}, scripted={"fault": "job:2"}).start()
    with daemon.client() as client:
        with pytest.raises(Exception, match="scripted"):
            client.ask("my xyzzy-secret question")
        client.infill("xyzzy-secret = ", path="xyzzy-secret.py", max_tokens=1)
    daemon.stop()
    assert '"message": "request"' in daemon.log()
    assert "xyzzy" not in daemon.log()
    assert "xyzzy" not in (daemon.home / "stderr.log").read_text()


def test_tcp_is_encrypted_and_for_known_keys_only(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(daemon={"listen": "tcp://127.0.0.1:*"}).start()
    endpoint = daemon.endpoint
    assert endpoint.url.startswith("tcp://127.0.0.1:")
    assert "*" not in endpoint.url
    with daemon.client() as client:
        assert client.ask("hello").text
    public, secret = zmq.curve_keypair()
    stranger = msgspec.structs.replace(
        endpoint, public_key=public.decode(), secret_key=secret.decode()
    )
    for wrong in (stranger, Endpoint(url=endpoint.url)):
        with pytest.raises((ResponseTimeout, ConnectionLost)):
            Client(wrong, timeout=0.5)
    with daemon.client() as client:
        assert client.ask("hello again").text


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("tcp://0.0.0.0:7070", "allowed_client_keys"),
        ("tcp://127.0.0.1:99999", "listen"),
        ("http://example.org", "listen"),
        ("ipc:///" + "x" * 200, "listen"),
    ],
)
def test_addresses_that_are_refused(make_daemon: MakeDaemon, listen: str, said: str) -> None:
    result = run_daemon(make_daemon(daemon={"listen": listen}))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_a_port_in_use(make_daemon: MakeDaemon) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_daemon(make_daemon(daemon={"listen": f"tcp://127.0.0.1:{port}"}))
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr
