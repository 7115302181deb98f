"""The command line: what it asks the daemon for, what it writes, how it ends."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle import errors
from ingle.codec import MAX_MESSAGE_BYTES
from ingle.errors import DaemonNotRunning, IngleError, InternalError, ModelNotFound
from ingle.messages import (
    Accepted,
    Cancel,
    Chat,
    Delta,
    Done,
    Infill,
    Message,
    ModelStatus,
    Progress,
    Report,
    Started,
    Usage,
)
from ingled.cli import exit_codes, reference
from ingled.cli.complete import _offset
from ingled.cli.main import COMMANDS, ingle
from ingled.models.local_model import StoredModel
from ingled.models.store import Store
from ingled.models.transfer import PullProgress
from support.cli import FakeClient, Shell

ANSWER: tuple[Message, ...] = (
    Accepted(id=7),
    Progress(id=7, phase="loading", fraction=0.5),
    Started(id=7),
    Delta(id=7, channel="analysis", text="The user "),
    Delta(id=7, channel="analysis", text="greets."),
    Delta(id=7, text="Hello, "),
    Delta(id=7, text="you."),
    Done(id=7, finish="stop", usage=Usage(prompt_tokens=3, completion_tokens=5)),
)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Shell:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INGLE_DEBUG", raising=False)
    return Shell(monkeypatch, capsys)


def asked(client: FakeClient) -> dict[str, Any]:
    """Fields of the first request."""
    return client.asked[0][1]


# --- ask -----------------------------------------------------------------------------------


def test_an_answer_goes_to_standard_output_and_nothing_else_does(shell: Shell) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    outcome = shell("ask", "hello")
    assert (outcome.code, outcome.out, outcome.err) == (0, "Hello, you.\n", "")


def test_thinking_is_shown_only_when_asked_for_and_apart(shell: Shell) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    outcome = shell("ask", "--show-thinking", "hello")
    assert outcome.out == "Hello, you.\n"
    assert outcome.err == "The user greets.\n"


def test_an_answer_that_ends_its_line_gets_no_second_end(shell: Shell) -> None:
    shell.connect("ask", FakeClient(Delta(id=7, text="a\n"), Done(id=7, finish="stop")))
    assert shell("ask", "x").out == "a\n"


def test_json_is_one_object_a_line_with_every_field(shell: Shell) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    events = [json.loads(line) for line in shell("ask", "--json", "hello").out.splitlines()]
    assert [event["type"] for event in events] == [
        "accepted",
        "progress",
        "started",
        "delta",
        "delta",
        "done",
    ]
    assert events[3] == {
        "type": "delta",
        "channel": "final",
        "text": "Hello, ",
        "tokens": 0,
        "tool": "",
        "confidence": None,
    }
    assert events[-1]["usage"]["cached_tokens"] == 0
    assert not any("id" in event for event in events)


def test_json_has_the_thinking_when_asked_for(shell: Shell) -> None:
    shell.connect("ask", FakeClient(*ANSWER))
    lines = shell("ask", "--json", "--show-thinking", "x").out.splitlines()
    channels = [json.loads(line).get("channel") for line in lines]
    assert channels.count("analysis") == 2


@pytest.mark.parametrize(
    ("arguments", "piped", "question"),
    [
        (["what", "is", "this?"], b"", "what is this?"),
        ([], b"from the pipe\n", "from the pipe"),
        (["Review:"], b"    x = 1\n", "Review:\n\n    x = 1"),
        (["Review:"], b" \n\n", "Review:"),
        (["  spaced "], b"", "spaced"),
        ([], b"\xef\xbb\xbfmarked", "marked"),
        (["a"], "é\n".encode(), "a\n\né"),
    ],
)
def test_the_question_comes_from_arguments_and_the_pipe(
    shell: Shell, arguments: list[str], piped: bytes, question: str
) -> None:
    client = FakeClient(*ANSWER)
    shell.connect("ask", client)
    shell.pipe(piped)
    assert shell("ask", *arguments).code == 0
    assert [turn.content for turn in asked(client)["messages"]] == [question]


def test_options_become_fields_of_the_request(shell: Shell) -> None:
    client = FakeClient(*ANSWER)
    shell.connect("ask", client)
    options = "--effort high --system S --model m --max-tokens 9 --temperature 0 --seed 4"
    shell("ask", *options.split(), "--timeout", "1.5", "hi")
    kind, fields = client.asked[0]
    assert kind is Chat
    assert [turn.role for turn in fields.pop("messages")] == ["system", "user"]
    assert fields == {
        "effort": "high",
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.0,
        "seed": 4,
        "deadline_ms": 1500,
        "wait": 3.5,
    }


def test_what_is_not_given_is_left_to_the_daemon(shell: Shell) -> None:
    client = FakeClient(*ANSWER)
    shell.connect("ask", client)
    shell("ask", "hi")
    assert set(asked(client)) == {"messages", "wait"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask"],
        ["ask", "  "],
        ["ask", "--effort", "extreme", "x"],
        ["ask", "--max-tokens", "0", "x"],
        ["ask", "--temperature", "2.1", "x"],
        ["ask", "--seed", "-1", "x"],
        ["ask", "--timeout", "0", "x"],
        ["ask", "--nonsense", "x"],
        ["status", "--interval", "0"],
        ["complete"],
        ["complete", "file"],
        ["complete", "file:1"],
        ["complete", ":1:1"],
        ["complete", "file:one:1"],
        ["complete", "file:1:" + "9" * 40],
        ["completion", "tcsh"],
        ["logs", "-n", "-1"],
        ["pull"],
        ["rm"],
        ["load"],
    ],
)
def test_a_wrong_command_line_ends_with_2(shell: Shell, arguments: list[str]) -> None:
    outcome = shell(*arguments)
    assert outcome.code == exit_codes.USAGE
    assert outcome.out == ""
    assert "Error: " in outcome.err


@pytest.mark.parametrize(
    ("piped", "said"),
    [
        (b"ab\xffcd", "not UTF-8 text (byte 3)"),
        (b"PK\x03\x04\0\0", "binary"),
        (b"x" * (MAX_MESSAGE_BYTES + 1), "more than 8 MB"),
    ],
)
def test_input_that_can_not_be_used(shell: Shell, piped: bytes, said: str) -> None:
    shell.pipe(piped)
    outcome = shell("ask", "explain")
    assert outcome.code == exit_codes.USAGE
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_closed_standard_input_is_no_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    shell.connect("ask", FakeClient(*ANSWER))
    assert shell("ask", "hi").code == 0


def test_an_answer_can_not_steer_the_terminal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = FakeClient(Delta(id=7, text="a\x1b]0;owned\x07\tb\n"), Done(id=7, finish="stop"))
    shell.connect("ask", evil)
    monkeypatch.setattr("ingled.cli.output.is_terminal", lambda stream: stream is sys.stdout)
    assert shell("ask", "x").out == "a�]0;owned�\tb\n"


def test_an_answer_that_was_cut_says_so(shell: Shell) -> None:
    shell.connect("ask", FakeClient(Delta(id=7, text="a"), Done(id=7, finish="length")))
    outcome = shell("ask", "x")
    assert (outcome.code, outcome.out) == (0, "a\n")
    assert "--max-tokens" in outcome.err


@pytest.mark.parametrize(
    ("finish", "code"),
    [("deadline", exit_codes.BUSY), ("cancelled", exit_codes.FAILURE)],
)
def test_an_answer_that_ended_early_is_not_a_success(shell: Shell, finish: Any, code: int) -> None:
    shell.connect("ask", FakeClient(Delta(id=7, text="half"), Done(id=7, finish=finish)))
    outcome = shell("ask", "x")
    assert (outcome.code, outcome.out) == (code, "half\n")
    assert outcome.err.startswith("ingle: ")


def test_ctrl_c_cancels_in_the_daemon(shell: Shell) -> None:
    client = FakeClient(Delta(id=7, text="half"), KeyboardInterrupt())
    shell.connect("ask", client)
    outcome = shell("ask", "x")
    assert (outcome.code, outcome.out, outcome.err) == (130, "half\n", "")
    assert client.asked[1] == (Cancel, {"request": 7, "wait": 1.0})


def test_a_reader_that_leaves_cancels_in_the_daemon_and_is_no_failure(shell: Shell) -> None:
    client = FakeClient(Delta(id=7, text="half"), BrokenPipeError())
    shell.connect("ask", client)
    outcome = shell("ask", "x")
    assert (outcome.code, outcome.err) == (0, "")
    assert client.asked[1][0] is Cancel


# --- errors --------------------------------------------------------------------------------

EXPECTED_CODES = {
    "Busy": 4,
    "ConnectionLost": 3,
    "DaemonNotRunning": 3,
    "DeadlineExceeded": 4,
    "InvalidRequest": 2,
    "ResponseTimeout": 4,
    "ShuttingDown": 3,
    "ThreadBusy": 4,
    "ThreadNameError": 2,
}


def tree(root: type[IngleError]) -> list[type[IngleError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


@pytest.mark.parametrize("kind", tree(IngleError), ids=lambda kind: kind.__name__)
def test_every_error_is_one_line_and_a_documented_code(
    shell: Shell, kind: type[IngleError]
) -> None:
    shell.connect("ask", FakeClient(kind("what is wrong:\nwhat to do")))
    outcome = shell("ask", "x")
    assert outcome.err == "ingle: what is wrong: what to do\n"
    assert outcome.code == EXPECTED_CODES.get(kind.__name__, 1)
    assert outcome.code in exit_codes.MEANINGS


def test_errors_are_json_too(shell: Shell) -> None:
    shell.connect("ask", DaemonNotRunning("start it"))
    outcome = shell("ask", "--json", "x")
    assert outcome.code == 3
    assert json.loads(outcome.out) == {
        "type": "error",
        "code": "daemon_not_running",
        "message": "start it",
        "retryable": True,
        "retry_after_ms": None,
    }
    shell.connect("ask", FakeClient(errors.Busy("later", retry_after_ms=5)))
    event = json.loads(shell("ask", "--json", "x").out)
    assert (event["code"], event["retry_after_ms"]) == ("busy", 5)


def test_our_own_mistakes_are_one_line_unless_debugging(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.connect("ask", ZeroDivisionError("oops"))
    outcome = shell("ask", "x")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "INGLE_DEBUG=1" in outcome.err
    monkeypatch.setenv("INGLE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        shell("ask", "x")


def test_a_full_disk_is_said(shell: Shell) -> None:
    shell.connect("ask", OSError(28, "No space left on device"))
    assert shell("ask", "x").err == "ingle: No space left on device\n"


def test_a_mistyped_command_is_guessed(shell: Shell) -> None:
    outcome = shell("stats")
    assert outcome.code == 2
    assert "did you mean 'status'?" in outcome.err


# --- the list of commands ------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_line_in_the_help_starts_its_own_help(name: str) -> None:
    module = importlib.import_module(f"ingled.cli.{COMMANDS[name][0]}")
    command: click.Command = getattr(module, name)
    assert command.name == name
    assert " ".join((command.help or "").split()).startswith(COMMANDS[name][1].rstrip("."))


def test_help_names_every_command_and_code(shell: Shell) -> None:
    outcome = shell("--help")
    assert outcome.code == 0
    for name in COMMANDS:
        assert f"  {name} " in outcome.out
    for code in exit_codes.MEANINGS:
        assert f" {code}  " in outcome.out


def test_the_reference_pages_are_up_to_date() -> None:
    assert reference.stale() == []


def test_the_reference_names_every_option() -> None:
    text = reference.pages()["CLI.md"]
    root = click.Context(ingle)
    for name in COMMANDS:
        command = ingle.get_command(root, name)
        assert command is not None
        assert f"## `ingle {name}`" in text
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.opts[-1] in text


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, name: str) -> None:
    outcome = shell("completion", name)
    assert outcome.code == 0
    assert "_INGLE_COMPLETE" in outcome.out


# --- complete ------------------------------------------------------------------------------

THREE_LINES = b"ab\ncd\n"
COMPLETION = (Accepted(id=7), Delta(id=7, text="a + b"), Done(id=7, finish="stop"))


def source(folder: Path, data: bytes) -> Path:
    file = folder / "code.py"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    ("data", "place", "prefix"),
    [
        (b"def f():\n    return \n", "2:12", "def f():\n    return "),
        (b"", "1:1", ""),
        (b"abc", "1:4", "abc"),
        (b"abc\n", "2:1", "abc\n"),
        ("é😀x".encode(), "1:3", "é😀"),
        (b"a\r\nb\r\n", "1:2", "a"),
        (b"a\r\nb\r\n", "2:2", "a\r\nb"),
        (b"\xef\xbb\xbfab", "1:2", "a"),
        (b"a\x0cb\xe2\x80\xa8c", "1:6", "a\x0cb\u2028c"),
    ],
)
def test_the_place_splits_the_file(
    shell: Shell, tmp_path: Path, data: bytes, place: str, prefix: str
) -> None:
    client = FakeClient(*COMPLETION)
    shell.connect("complete", client)
    file = source(tmp_path, data)
    outcome = shell("complete", f"{file}:{place}")
    assert (outcome.code, outcome.out) == (0, "a + b")
    assert client.asked[0][0] is Infill
    fields = asked(client)
    assert fields["prefix"] == prefix
    assert fields["prefix"] + fields["suffix"] == data.decode("utf-8-sig")
    assert fields["path"] == str(file)


@given(st.text(), st.data())
def test_every_place_in_every_text_has_its_offset(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    before = text[:offset]
    line, column = before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
    try:
        assert _offset(Path("f"), text, line, column) == offset
    except click.ClickException:
        # Between CR and LF is no place in an editor.
        assert text[offset - 1 : offset + 1] == "\r\n"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("0:1", "it has lines 1 to 3"),
        ("-1:1", "it has lines 1 to 3"),
        ("4:1", "it has lines 1 to 3"),
        ("1:0", "it has columns 1 to 3"),
        ("1:4", "it has columns 1 to 3"),
        ("1:-2", "it has columns 1 to 3"),
        ("3:2", "it has columns 1 to 1"),
    ],
)
def test_places_that_are_not_there(shell: Shell, tmp_path: Path, place: str, said: str) -> None:
    outcome = shell("complete", f"{source(tmp_path, THREE_LINES)}:{place}")
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfea\0b\0", "not UTF-8"),
        (b"\x7fELF\0\0", "binary"),
    ],
)
def test_files_that_are_no_text(shell: Shell, tmp_path: Path, data: bytes, said: str) -> None:
    outcome = shell("complete", f"{source(tmp_path, data)}:1:1")
    assert outcome.code == 2
    assert said in outcome.err


def test_a_file_of_50_mb_is_refused_unread(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "big.py"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)
    outcome = shell("complete", f"{file}:1:1")
    assert outcome.code == 2
    assert "50.0 MB" in outcome.err


def test_missing_files_folders_and_devices(shell: Shell, tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none.py", "there is no file"),
        (tmp_path, "not a file"),
        (Path("/dev/zero"), "not a file"),
    ):
        outcome = shell("complete", f"{path}:1:1")
        assert outcome.code == 2
        assert said in outcome.err


def test_a_completion_as_json(shell: Shell, tmp_path: Path) -> None:
    shell.connect("complete", FakeClient(*COMPLETION))
    outcome = shell("complete", "--json", f"{source(tmp_path, b'x')}:1:2")
    assert json.loads(outcome.out)["text"] == "a + b"
    assert json.loads(outcome.out)["finish"] == "stop"


def test_options_of_complete_become_fields(shell: Shell, tmp_path: Path) -> None:
    client = FakeClient(*COMPLETION)
    shell.connect("complete", client)
    options = ["--multiline", "--max-tokens", "5", "--timeout", "3", "--model", "m"]
    shell("complete", *options, f"{source(tmp_path, b'x')}:1:1")
    fields = asked(client)
    assert (fields["multiline"], fields["max_tokens"], fields["model"]) == (True, 5, "m")
    assert (fields["deadline_ms"], fields["wait"]) == (3000, 5.0)


def test_ctrl_c_cancels_a_completion(shell: Shell, tmp_path: Path) -> None:
    client = FakeClient(KeyboardInterrupt())
    shell.connect("complete", client)
    assert shell("complete", f"{source(tmp_path, b'x')}:1:1").code == 130
    assert client.asked[1][0] is Cancel


# --- status, models, config ----------------------------------------------------------------


class Reporting(FakeClient):
    """A daemon with one resident model."""

    report = Report(
        id=1,
        version="0.1.0",
        pid=42,
        uptime_s=3725.0,
        memory_bytes=50_000_000,
        models=[
            ModelStatus(
                name="gpt-oss-20b", engine="llamacpp", state="ready", slots=4, context=4096
            ),
            ModelStatus(name="other", engine="llamacpp", state="loading", progress=0.25),
        ],
        notices=["model.context: takes effect at the next load"],
    )

    def status(self) -> Report:
        return self.report

    def watch(self, interval: float) -> Iterator[Report]:
        assert interval == 0.5
        yield self.report
        raise KeyboardInterrupt

    def load(self, model: str, engine: str | None, on_progress: object) -> None:
        self.asked.append((Chat, {"model": model}))

    def unload(self, model: str | None) -> None:
        self.asked.append((Chat, {"model": model}))


def test_status_says_it_all(shell: Shell) -> None:
    shell.connect("status", Reporting())
    outcome = shell("status")
    assert outcome.code == 0
    for part in ("process 42", "up 1 h 2 min", "gpt-oss-20b  ready", "loading 25 %", "note: model"):
        assert part in outcome.out


def test_status_as_json_has_every_field(shell: Shell) -> None:
    shell.connect("status", Reporting())
    report = json.loads(shell("status", "--json").out)
    assert report["models"][0]["busy_slots"] == 0
    assert report["totals"]["requests"] == 0


def test_watching_ends_with_ctrl_c(shell: Shell) -> None:
    shell.connect("status", Reporting())
    outcome = shell("status", "--watch", "--json", "--interval", "0.5")
    assert outcome.code == 130
    assert json.loads(outcome.out)["pid"] == 42


def test_a_path_to_load_is_made_absolute_and_a_name_is_not(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = Reporting()
    shell.connect("residency", client)
    monkeypatch.chdir(tmp_path)
    shell("load", "./model.gguf")
    shell("load", "gpt-oss-20b")
    shell("unload")
    models = [fields["model"] for _, fields in client.asked]
    assert models == [str(tmp_path / "model.gguf"), "gpt-oss-20b", None]


def test_models_without_a_daemon(shell: Shell) -> None:
    outcome = shell("models")
    assert outcome.code == 0
    assert "gpt-oss-20b" in outcome.out
    assert "can be pulled" in outcome.out


def test_models_marks_what_is_resident(shell: Shell) -> None:
    shell.connect("models", Reporting())
    infos = [json.loads(line) for line in shell("models", "--json").out.splitlines()]
    assert [info["name"] for info in infos if info["resident"]] == ["gpt-oss-20b"]


def test_a_resident_model_is_not_removed(shell: Shell) -> None:
    shell.connect("models", Reporting())
    outcome = shell("rm", "gpt-oss-20b")
    assert outcome.code == 1
    assert "ingle unload gpt-oss-20b" in outcome.err


def test_a_pull_says_its_steps_and_what_it_brought(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(store: Store, name: str, report: Callable[[PullProgress], None]) -> StoredModel:
        report(PullProgress(phase="resolving", detail="somewhere"))
        for done in range(0, 101, 10):
            report(PullProgress(phase="downloading", done=done, total=100))
        path = Path("m.gguf")
        return StoredModel(name=name, path=path, format="gguf", bytes=100, licence="MIT")

    monkeypatch.setattr(Store, "pull", pull)
    outcome = shell("pull", "m")
    assert outcome.out == "m is installed: 100 bytes, MIT\n"
    assert outcome.err == "m: resolving\nm: downloading\n", "one line a step without a terminal"


def test_an_interrupted_pull_says_how_to_go_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "pull", pull)
    outcome = shell("pull", "gpt-oss-20b")
    assert (outcome.code, outcome.out) == (130, "")
    assert "`ingle pull gpt-oss-20b` goes on" in outcome.err


def test_removing_what_is_not_there(shell: Shell) -> None:
    assert "ingle pull smollm2-135m" in shell("rm", "smollm2-135m").err
    assert "did you mean 'smollm2-135m'?" in shell("rm", "smolm2-135m").err


def test_the_settings_file_is_written_once_and_is_right(shell: Shell) -> None:
    assert "missing" in shell("config", "check").out
    assert shell("config", "init").code == 0
    file = Path(shell("config", "path").out.strip())
    assert "is right" in shell("config", "check").out
    file.write_text(file.read_text() + "\n[modle]\n")
    again = shell("config", "init")
    assert again.code == 1
    assert "[modle]" in file.read_text(), "a file that is there is never written over"
    wrong = shell("config", "check")
    assert wrong.code == 1
    assert "did you mean 'model'?" in wrong.err


def test_settings_shown_can_be_read_again(shell: Shell, tmp_path: Path) -> None:
    from ingled.settings import Settings, load_settings

    file = tmp_path / "shown.toml"
    file.write_text(shell("config", "show").out)
    assert load_settings(file) == Settings()
    assert json.loads(shell("config", "show", "--json").out)["model"]["slots"] == 4


# --- doctor --------------------------------------------------------------------------------


def test_doctor_on_a_fresh_machine_warns_and_does_not_fail(shell: Shell) -> None:
    outcome = shell("doctor", "--json")
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 0
    grades = {finding["check"]: finding["grade"] for finding in found}
    assert set(grades) == {
        "python", "settings", "folders", "daemon", "models", "engines", "gpu", "threads", "disk"
    }  # fmt: skip
    assert (grades["daemon"], grades["models"]) == ("warn", "warn")
    assert "ingle up" in next(f["remedy"] for f in found if f["check"] == "daemon")


def test_doctor_fails_over_wrong_settings_and_goes_on(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "config"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[modle]\n")
    outcome = shell("doctor")
    assert outcome.code == 1
    assert "did you mean 'model'?" in outcome.out
    assert "disk" in outcome.out


def test_doctor_sees_an_open_runtime_folder(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "run"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    outcome = shell("doctor")
    assert outcome.code == 1
    assert f"chmod go= {folder}" in outcome.out


def test_doctor_asks_nvidia_smi(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program.write_text("#!/bin/sh\necho 'RTX 4090, 24564 MiB, 550.1'\n")
    program.chmod(0o755)
    assert "ok    gpu       RTX 4090" in shell("doctor").out
    program.write_text("#!/bin/sh\nexit 9\n")
    assert "warn  gpu" in shell("doctor").out


def test_doctor_asks_rocm_smi(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "rocm-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    lines = "device,Card Series,Driver version\ncard0,Radeon RX 7900 XT,6.7.0"
    program.write_text(f"#!/bin/sh\necho '{lines}'\n")
    program.chmod(0o755)
    found = shell("doctor").out
    assert "ok    gpu       card0,Radeon RX 7900 XT,6.7.0" in found
    assert "Card Series" not in found


@pytest.mark.parametrize(
    ("assignments", "grade", "words"),
    [
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None", "ok", "for CUDA 12.8"),
        ("cuda = None\nhip = '6.3.42131'", "ok", "for ROCm 6.3.42131"),
        ("cuda: Optional[str] = None\nhip = None", "warn", "for CPUs"),
        ("not python (", "warn", "for CPUs"),
    ],
)
def test_doctor_tells_the_combination_of_torch_and_exllamav2(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    assignments: str,
    grade: str,
    words: str,
) -> None:
    folder = tmp_path / "path" / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('the doctor imports no torch')\n")
    (folder / "version.py").write_text(f"from typing import Optional\n{assignments}\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (line,) = (one for one in shell("doctor").out.splitlines() if "exllamav2 0.3.2" in one)
    assert line.startswith(grade)
    assert words in line


def test_a_model_not_found_keeps_its_words(shell: Shell) -> None:
    shell.connect("ask", FakeClient(ModelNotFound("no model is named 'x': `ingle models`")))
    assert shell("ask", "--model", "x", "hi").err.endswith("`ingle models`\n")
    shell.connect("ask", FakeClient(InternalError("see `ingle logs`")))
    assert shell("ask", "hi").code == 1
