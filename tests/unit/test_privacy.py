"""Which files never enter a prompt."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from ingle_lsp.privacy import (
    GitAnswer,
    Privacy,
    ask_git,
    is_secret_name,
    is_secret_text,
    is_secret_uri,
    path_of,
)

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.mark.parametrize(
    "path",
    [
        "/home/a/.env",
        "/home/a/.ENV",
        "/home/a/.env.local",
        "/home/a/.envrc",
        "prod.env",
        "server.pem",
        "Server.KEY",
        "/home/a/.ssh/config",
        "/home/a/.ssh/keys/id_rsa",
        "id_ed25519",
        ".npmrc",
        ".netrc",
        ".pypirc",
        "/home/a/.aws/credentials",
        "credentials",
        "credentials.json",
        "secrets.yaml",
        "vault.kdbx",
        "terraform.tfvars",
        "C:\\Users\\a\\.env",
        ".bash_history",
    ],
)
def test_secret_names(path: str) -> None:
    assert is_secret_name(path)


@pytest.mark.parametrize(
    "path",
    ["environment.py", "keyboard.py", "credentials.py", "secrets.rs", "a/env/b.py", "ssh.md", ""],
)
def test_names_of_programs(path: str) -> None:
    assert not is_secret_name(path)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///a/.env",
        "file:///a/%2Eenv",
        "file:///a/.env?x=1",
        "git:/a/.env?%7B%22ref%22%7D",
        "vscode-remote://ssh/a/.env#L1",
        "untitled:.env",
    ],
)
def test_secret_uris_of_any_scheme(uri: str) -> None:
    # `untitled:.env` has no folder before the name.
    assert is_secret_uri(uri.replace("untitled:", "untitled:/"))


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\nMIIE",
        "x\n-----BEGIN OPENSSH PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "key = 'AKIAIOSFODNN7EXAMPLE'",
        "token: ghp_" + "a1B2" * 9,
        "glpat-" + "x" * 20,
        "xoxb-123456789012-abc",
        "OPENAI=sk-" + "a" * 40,
    ],
)
def test_secret_texts(text: str) -> None:
    assert is_secret_text(text)


@pytest.mark.parametrize(
    "text",
    ["-----BEGIN CERTIFICATE-----", "def key(): pass", "ask-me-anything-about-everything", "AKIA"],
)
def test_texts_of_programs(text: str) -> None:
    assert not is_secret_text(text)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b%20c.py", Path("/a/b c.py")),
        ("file:///c%3A/x.py", Path("c:/x.py")),
        ("file://host/share/x.py", Path("//host/share/x.py")),
        ("vscode-notebook-cell:/a/b.ipynb#W0s", Path("/a/b.ipynb")),
        ("untitled:Untitled-1", None),
        ("http://[", None),
        ("file:", None),
        ("file:///a%00b", None),
        ("", None),
    ],
)
def test_files_behind_uris(uri: str, path: Path | None) -> None:
    assert path_of(uri) == path


# --- git -------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("ignored.py\nbuild/\ntracked.log\n")
    return folder


@needs_git
def test_git_says_what_it_ignores(repository: Path) -> None:
    (repository / "tracked.log").write_text("")
    subprocess.run(["git", "-C", str(repository), "add", "-f", "tracked.log"], check=True)
    assert ask_git(repository / "ignored.py", 10) is GitAnswer.IGNORED
    assert ask_git(repository / "kept.py", 10) is GitAnswer.NOT_IGNORED
    assert ask_git(repository / "tracked.log", 10) is GitAnswer.NOT_IGNORED
    # Folders that are yet to be made.
    assert ask_git(repository / "build" / "new" / "x.py", 10) is GitAnswer.IGNORED
    assert ask_git(repository / "new" / "x.py", 10) is GitAnswer.NOT_IGNORED
    assert ask_git(repository / ".git" / "COMMIT_EDITMSG", 10) is GitAnswer.NOT_IGNORED


@needs_git
def test_outside_of_a_repository_nothing_is_ignored(tmp_path: Path) -> None:
    assert ask_git(tmp_path / "x.py", 10) is GitAnswer.NOT_IGNORED


@needs_git
def test_the_environment_of_a_git_hook_does_not_mislead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert ask_git(repository / "ignored.py", 10) is GitAnswer.IGNORED


@needs_git
def test_a_repository_runs_no_program_of_its_own(repository: Path, tmp_path: Path) -> None:
    (repository / "tracked.py").write_text("")
    subprocess.run(["git", "-C", str(repository), "add", "tracked.py"], check=True)
    mark = tmp_path / "ran"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    configure = ["git", "-C", str(repository), "config", "core.fsmonitor", str(hook)]
    subprocess.run(configure, check=True)
    assert ask_git(repository / "tracked.py", 10) is GitAnswer.NOT_IGNORED
    assert not mark.exists()


def test_without_git_only_the_names_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_git(tmp_path / "x.py", 10) is GitAnswer.NOT_IGNORED


def fake_git(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    "script", ["echo 'fatal: detected dubious ownership' >&2; exit 128", "exec sleep 60"]
)
def test_a_git_that_fails_or_hangs_knows_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_git(tmp_path, script, monkeypatch)
    assert ask_git(tmp_path / "x.py", 0.2) is GitAnswer.UNKNOWN


# --- a document's answer ---------------------------------------------------------------------


class Git:
    """Stands for git, and counts."""

    def __init__(self, answer: GitAnswer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, path: Path, timeout: float) -> GitAnswer:
        self.asked.append(path.name)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "private"),
    [
        (GitAnswer.IGNORED, True),
        (GitAnswer.UNKNOWN, True),
        (GitAnswer.NOT_IGNORED, False),
    ],
)
async def test_in_doubt_a_document_is_private(
    answer: GitAnswer, private: bool, tmp_path: Path
) -> None:
    privacy = Privacy(lambda: 0.0, Git(answer))
    assert await privacy.is_private((tmp_path / "x.py").as_uri()) is private


async def test_git_is_asked_once_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    git = Git(GitAnswer.NOT_IGNORED)
    privacy = Privacy(lambda: now[0], git)
    uri = (tmp_path / "x.py").as_uri()
    for _ in range(50):
        assert not await privacy.is_private(uri)
        now[0] += 1.0
    assert len(git.asked) == 1
    now[0] += 60.0
    git.answer = GitAnswer.IGNORED
    assert await privacy.is_private(uri)
    privacy.forget(uri)
    git.answer = GitAnswer.NOT_IGNORED
    assert not await privacy.is_private(uri)
    git.answer = GitAnswer.IGNORED
    privacy.forget()
    assert await privacy.is_private(uri)


async def test_a_cancelled_request_does_not_lose_the_answer(tmp_path: Path) -> None:
    release = threading.Event()
    git = Git(GitAnswer.IGNORED)

    def slow(path: Path, timeout: float) -> GitAnswer:
        assert release.wait(10)
        return git(path, timeout)

    privacy = Privacy(lambda: 0.0, slow)
    uri = (tmp_path / "x.py").as_uri()
    first = asyncio.create_task(privacy.is_private(uri))
    second = asyncio.create_task(privacy.is_private(uri))
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second
    assert git.asked == ["x.py"]


async def test_a_link_to_a_secret_is_a_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=1")
    (tmp_path / "settings.py").symlink_to(tmp_path / ".env")
    privacy = Privacy(lambda: 0.0, Git(GitAnswer.NOT_IGNORED))
    assert await privacy.is_private((tmp_path / "settings.py").as_uri())


async def test_what_is_no_file_is_judged_by_its_name() -> None:
    git = Git(GitAnswer.IGNORED)
    privacy = Privacy(lambda: 0.0, git)
    assert not await privacy.is_private("untitled:Untitled-1")
    assert await privacy.is_private("fugitive:///a/.git//0/.env")
    assert git.asked == []
