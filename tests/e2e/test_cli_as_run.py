"""The command line as a user runs it: processes, pipes, signals, a real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingle.messages import Report
from support.daemons import DaemonUnderTest
from support.waiting import wait_until

MakeDaemon = Callable[..., DaemonUnderTest]

INGLE = str(Path(sys.executable).with_name("ingle"))
#: Talks for many seconds.
TALKATIVE = {"script": "word " * 5000, "tokens_per_second": 100.0}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes"),
]


def run(
    daemon: DaemonUnderTest, *arguments: str, piped: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [INGLE, *arguments], env=daemon.env, input=piped, capture_output=True, timeout=60, cwd=cwd
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def shell(daemon: DaemonUnderTest, script: str) -> subprocess.CompletedProcess[str]:
    env = daemon.env | {"PATH": f"{Path(INGLE).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", script],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def running(daemon: DaemonUnderTest, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is under way; killed in the end if it still is."""

    def heed_ctrl_c() -> None:
        # A test run in the background of a shell script ignores it, and children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        [INGLE, *arguments],
        env=daemon.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_bytes(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return os.read(process.stdout.fileno(), 100)


def report(daemon: DaemonUnderTest) -> Report:
    with daemon.client() as client:
        return client.status()


# --- ask -----------------------------------------------------------------------------------


def test_a_question_and_a_pipe(scripted_daemon: DaemonUnderTest) -> None:
    result = run(scripted_daemon, "ask", "say", "this")
    assert (result.returncode, result.stdout, result.stderr) == (0, "say this\n", "")
    result = run(scripted_daemon, "ask", "first", piped="then é\n".encode())
    assert result.stdout == "first\n\nthen é\n"


def test_json_lines(scripted_daemon: DaemonUnderTest) -> None:
    result = run(scripted_daemon, "ask", "--json", "say this")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[0]["type"] == "accepted"
    assert events[-1]["type"] == "done"
    assert "".join(event.get("text", "") for event in events) == "say this"


def test_the_answer_comes_while_it_is_made(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    with running(daemon, "ask", "go on") as process:
        assert first_bytes(process).startswith(b"word")
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_the_model(make_daemon: MakeDaemon, number: int) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    with running(daemon, "ask", "go on") as process:
        assert first_bytes(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert err == b""
        assert out.endswith(b"\n")
    wait_until(lambda: report(daemon).totals.cancelled == 1, what="the request was cancelled")
    assert report(daemon).models[0].busy_slots == 0


def test_an_interruption_is_not_held_up_by_a_daemon_that_hangs(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    assert daemon.process is not None
    with running(daemon, "ask", "go on") as process:
        assert first_bytes(process)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=8)
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert process.returncode == 130


def test_head_takes_what_it_wants(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"script": "line\n" * 5000, "tokens_per_second": 300.0}).start()
    result = shell(daemon, "ingle ask go | head -n 1; echo ${PIPESTATUS[0]}")
    assert (result.stdout, result.stderr) == ("line\n0\n", "")
    wait_until(lambda: report(daemon).totals.cancelled == 1, what="the request was cancelled")


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(scripted_daemon: DaemonUnderTest, redirection: str) -> None:
    result = shell(scripted_daemon, f"ingle ask hi {redirection}")
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output(scripted_daemon: DaemonUnderTest) -> None:
    result = shell(scripted_daemon, "ingle ask hi > /dev/full")
    assert result.returncode == 1
    assert result.stderr == "ingle: No space left on device\n"


def test_a_timeout_ends_with_4_and_what_there_was(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    result = run(daemon, "ask", "--timeout", "0.5", "go on")
    assert result.returncode == 4
    assert result.stdout.startswith("word word")
    assert "--timeout" in result.stderr


def test_a_daemon_that_is_killed_ends_the_answer_with_3(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted=TALKATIVE).start()
    with running(daemon, "ask", "go on") as process:
        assert first_bytes(process)
        daemon.kill()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 3
        assert err.count(b"\n") == 1
        assert b"ingle up" in err


def test_a_worker_that_dies_is_one_line(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(scripted={"fault": "exit:2", "script": "a b c"}).start()
    result = run(daemon, "ask", "go on")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1


def test_a_terminal_sees_that_the_model_is_loaded_again(scripted_daemon: DaemonUnderTest) -> None:
    import pty

    with scripted_daemon.client() as client:
        client.unload()
    terminal, tty = pty.openpty()
    process = subprocess.Popen(
        [INGLE, "ask", "hi"],
        env=scripted_daemon.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=tty,
    )
    os.close(tty)
    out, _ = process.communicate(timeout=30)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        # What Linux says when the other side of a terminal is closed.
        assert shown
    finally:
        os.close(terminal)
    assert out == b"hi\n"
    assert b"loading the model" in shown
    assert shown.endswith(b"\r\x1b[K"), "the line is taken away again"


def test_commands_without_a_daemon_end_with_3(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    (tmp_path / "f.py").write_text("x = 1\n")
    for arguments in (
        ["ask", "hi"],
        ["status"],
        ["status", "--json"],
        ["complete", "f.py:1:1"],
        ["load", "scripted"],
        ["unload"],
    ):
        result = run(daemon, *arguments, cwd=tmp_path)
        assert result.returncode == 3, arguments
        assert result.stderr == "ingle: ingled is not running: start it with `ingle up`\n"


# --- the daemon's life ---------------------------------------------------------------------


@pytest.fixture
def down_after(make_daemon: MakeDaemon) -> Iterator[Callable[..., DaemonUnderTest]]:
    """Makes homes whose daemon the commands start; it is stopped in the end."""
    made: list[DaemonUnderTest] = []

    def make(**sections: dict[str, object]) -> DaemonUnderTest:
        made.append(make_daemon(**sections))
        return made[-1]

    yield make
    for daemon in made:
        run(daemon, "down", "--force")


def test_up_and_down_and_both_again(down_after: MakeDaemon) -> None:
    home = down_after()
    result = run(home, "up")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "starting ingled\nready: scripted is resident (scripted on script)\n"
    assert run(home, "ask", "hi").stdout == "hi\n"
    again = run(home, "up")
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "ingled is already running")
    result = run(home, "down")
    assert (result.returncode, result.stdout) == (0, "ingled has stopped\n")
    again = run(home, "down")
    assert (again.returncode, again.stdout) == (0, "ingled is not running\n")
    assert run(home, "status").returncode == 3


def test_two_ups_at_once_make_one_daemon(down_after: MakeDaemon) -> None:
    home = down_after()
    with running(home, "up") as first, running(home, "up") as second:
        for process in (first, second):
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert b"ready: scripted is resident" in out


def test_up_without_waiting(down_after: MakeDaemon) -> None:
    home = down_after()
    assert run(home, "up", "--no-wait").returncode == 0
    result = run(home, "up")
    assert result.returncode == 0
    assert "ready" in result.stdout


def test_up_with_wrong_settings_says_which(down_after: MakeDaemon) -> None:
    result = run(down_after(model={"contxt": 1}), "up")
    assert result.returncode == 1
    assert "config.toml:" in result.stderr
    assert "did you mean 'context'?" in result.stderr
    assert result.stderr.count("\n") == 1


def test_up_without_a_model_says_how_to_get_one(down_after: MakeDaemon) -> None:
    result = run(down_after(model={"engine": "auto"}), "up")
    assert result.returncode == 0
    assert "ingle pull smollm2-135m" in result.stdout


@pytest.mark.parametrize("fault", ["load", "load-exit"])
def test_up_with_a_model_that_does_not_load(down_after: MakeDaemon, fault: str) -> None:
    home = down_after(scripted={"fault": fault})
    result = run(home, "up")
    assert result.returncode == 1
    assert "scripted was not loaded" in result.stderr.splitlines()[-1]
    assert run(home, "status").returncode == 0, "the daemon itself goes on"
    doctor = run(home, "doctor")
    assert doctor.returncode == 1
    assert "fail  daemon" in doctor.stdout


def test_down_lets_an_answer_finish(down_after: MakeDaemon) -> None:
    home = down_after(scripted={"script": "word " * 60, "tokens_per_second": 100.0})
    assert run(home, "up").returncode == 0
    with running(home, "ask", "go on") as process:
        start = first_bytes(process)
        assert run(home, "down", "--drain", "20").returncode == 0
        out, _ = process.communicate(timeout=20)
        assert (start + out).count(b"word") == 60
        assert process.returncode == 0


def test_a_daemon_that_hangs_is_stopped_by_force(down_after: MakeDaemon) -> None:
    home = down_after()
    assert run(home, "up").returncode == 0
    pid = report(home).pid
    os.kill(pid, signal.SIGSTOP)
    stuck = run(home, "down")
    assert stuck.returncode == 4
    assert "ingle down --force" in stuck.stderr
    forced = run(home, "down", "--force")
    assert (forced.returncode, forced.stdout) == (0, f"ingled (process {pid}) was killed\n")
    assert run(home, "status").returncode == 3
    assert run(home, "up").returncode == 0


def test_a_spoilt_endpoint_file_keeps_nobody_from_down_and_up(down_after: MakeDaemon) -> None:
    home = down_after()
    assert run(home, "up").returncode == 0
    file = home.runtime / "endpoint.json"
    file.write_text("{")
    assert run(home, "ask", "hi").returncode == 1
    assert run(home, "down").stdout == "ingled has stopped\n"
    file.write_text("{")
    assert run(home, "up").returncode == 0
    assert run(home, "ask", "hi").stdout == "hi\n"


def test_after_a_crash_nobody_else_is_killed(scripted_daemon: DaemonUnderTest) -> None:
    scripted_daemon.kill()
    # The lock file of the dead names a process that is somebody else's by now.
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (scripted_daemon.runtime / "ingled.lock").write_text(f"{bystander.pid}\n")
        result = run(scripted_daemon, "down", "--force")
        assert (result.returncode, result.stdout) == (0, "ingled is not running\n")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


# --- the rest ------------------------------------------------------------------------------


def test_a_completion_at_a_place(scripted_daemon: DaemonUnderTest, tmp_path: Path) -> None:
    scripted_daemon.configure(scripted={"script": "a + b"})
    wait_until(lambda: "settings applied" in scripted_daemon.log(), what="the new settings")
    with scripted_daemon.client() as client:
        client.unload()
    (tmp_path / "add.py").write_text("def add(a, b):\n    return \n")
    result = run(scripted_daemon, "complete", "add.py:2:12", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "a + b", "")
    result = run(scripted_daemon, "complete", "--json", "add.py:2:12", cwd=tmp_path)
    assert json.loads(result.stdout)["text"] == "a + b"


def test_unload_and_load(scripted_daemon: DaemonUnderTest) -> None:
    assert run(scripted_daemon, "unload").stdout == "no model is resident any more\n"
    assert report(scripted_daemon).models[0].state == "absent"
    assert run(scripted_daemon, "load", "scripted").stdout == "scripted is resident\n"
    assert report(scripted_daemon).models[0].state == "ready"
    wrong = run(scripted_daemon, "unload", "nonsense")
    assert wrong.returncode == 1
    assert "nonsense" in wrong.stderr


def test_watching_the_status(scripted_daemon: DaemonUnderTest) -> None:
    with running(scripted_daemon, "status", "--watch", "--json", "--interval", "0.05") as process:
        assert process.stdout is not None
        reports = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert reports[0]["uptime_s"] < reports[2]["uptime_s"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 130


def test_following_the_log(scripted_daemon: DaemonUnderTest) -> None:
    with running(scripted_daemon, "logs", "-f", "-n", "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        run(scripted_daemon, "ask", "a secret question")
        line = process.stdout.readline()
        assert b"kind=chat" in line
        assert b"secret" not in line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 130


def test_metrics_for_prometheus(scripted_daemon: DaemonUnderTest) -> None:
    assert run(scripted_daemon, "ask", "hello").returncode == 0
    result = run(scripted_daemon, "metrics")
    assert result.returncode == 0
    assert "# TYPE ingle_requests_total counter" in result.stdout
    assert 'ingle_requests_total{class="interactive",ending="stop"}' in result.stdout


def test_doctor_with_a_healthy_daemon(scripted_daemon: DaemonUnderTest) -> None:
    result = run(scripted_daemon, "doctor")
    assert result.returncode == 0, result.stdout
    assert "scripted is ready" in result.stdout


def test_a_shell_is_offered_commands_and_models(make_daemon: MakeDaemon) -> None:
    home = make_daemon()
    for words, expected in (("ingle sta", "status"), ("ingle pull smol", "smollm2-135m")):
        env = home.env | {
            "_INGLE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        result = subprocess.run([INGLE], env=env, capture_output=True, text=True, timeout=30)
        assert f"plain,{expected}" in result.stdout.splitlines()
