"""What a commit would hold, in real repositories; and git, when it does not do what it should."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingle_lsp.git import GitFailed, run_git
from ingle_lsp.git_changes import Changes, NothingToCommit, changes, shortened

TOKEN = "ghp_" + "a" * 36


class Repository:
    """A repository with one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "A")
        self.git("config", "user.email", "a@example.org")
        self.write("a.py", "one\n")
        self.write(".gitignore", "ignored.py\n")
        self.commit("Begin")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stage(self, name: str, text: str) -> None:
        self.write(name, text)
        self.git("add", "-f", name)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def changes(self, folder: str = ".") -> Changes:
        return changes(self.folder / folder)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_what_is_staged(repository: Repository) -> None:
    repository.stage("a.py", "two\n")
    repository.stage("src/ä b.py", "new\n")
    repository.write("a.py", "not staged\n")
    found = repository.changes("src")
    assert sorted(found.files) == ["added: src/ä b.py", "changed: a.py"]
    text = "".join(found.diffs)
    assert "\n-one\n+two\n" in text
    assert "\n+new\n" in text
    assert "not staged" not in text
    assert found.subjects == ["Begin"]
    assert found.left_out == 0


def test_without_anything_staged_the_working_tree_counts(repository: Repository) -> None:
    repository.write("a.py", "two\n")
    repository.write("untracked.py", "new\n")
    repository.write("ignored.py", "new\n")
    found = repository.changes()
    assert found.files == ["changed: a.py"]
    assert "new" not in "".join(found.diffs)


def test_renamed_deleted_and_binary_files(repository: Repository) -> None:
    repository.write("b.py", "".join(f"line {number}\n" for number in range(20)))
    repository.commit("More")
    repository.git("mv", "b.py", "c.py")
    repository.git("rm", "-q", "a.py")
    repository.stage("d.bin", "a\0b")
    found = repository.changes()
    assert sorted(found.files) == ["added: d.bin", "deleted: a.py", "renamed: b.py → c.py"]
    assert "Binary files" in "".join(found.diffs)
    assert found.subjects == ["More", "Begin"]


def test_before_the_first_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "a.py").write_text("one\n")
    subprocess.run(["git", "add", "a.py"], cwd=tmp_path, check=True)
    found = changes(tmp_path)
    assert found.files == ["added: a.py"]
    assert found.subjects == []


def test_a_conflict(repository: Repository) -> None:
    repository.git("checkout", "-q", "-b", "other")
    repository.write("a.py", "theirs\n")
    repository.commit("Theirs")
    repository.git("checkout", "-q", "main")
    repository.write("a.py", "ours\n")
    repository.commit("Ours")
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "other")
    found = repository.changes()
    assert found.files == ["in conflict: a.py"]


def test_secrets_are_left_out(repository: Repository) -> None:
    repository.stage("a.py", "two\n")
    repository.stage(".env", "PASSWORD=plain_secret\n")
    repository.stage("deploy/id_rsa", "plain_secret\n")
    repository.stage("ci.py", f"token = '{TOKEN}'  # plain_secret\n")
    found = repository.changes()
    assert found.left_out == 3
    assert "plain_secret" not in str(found)
    assert ".env" not in str(found)
    assert "id_rsa" not in str(found)
    assert TOKEN not in str(found)
    assert "+two" in "".join(found.diffs)


def test_a_secret_that_goes_away_is_one_still(repository: Repository) -> None:
    repository.write("ci.py", f"token = '{TOKEN}'\n")
    repository.commit(f"Use {TOKEN}")
    repository.stage("ci.py", "token = read()\n")
    with pytest.raises(NothingToCommit, match="looks like secrets"):
        repository.changes()
    repository.stage("a.py", "two\n")
    found = repository.changes()
    assert TOKEN not in str(found)
    assert found.subjects == ["Begin"]


def test_a_renamed_secret_is_one_still(repository: Repository) -> None:
    repository.write("secrets.json", "".join(f"plain_secret {line}\n" for line in range(20)))
    repository.commit("Secrets")
    repository.git("mv", "secrets.json", "ordinary.json")
    with pytest.raises(NothingToCommit, match="looks like secrets"):
        repository.changes()


def test_nothing_to_commit(repository: Repository) -> None:
    with pytest.raises(NothingToCommit, match="nothing has changed"):
        repository.changes()
    repository.write("untracked.py", "new\n")
    with pytest.raises(NothingToCommit, match="nothing has changed"):
        repository.changes()


def test_no_repository(tmp_path: Path, repository: Repository) -> None:
    with pytest.raises(NothingToCommit, match="is in no git repository"):
        changes(tmp_path)
    with pytest.raises(NothingToCommit, match="is in no git repository"):
        changes(repository.folder / ".git")
    with pytest.raises(GitFailed, match="no such folder"):
        changes(tmp_path / "nowhere")


def test_a_repository_of_the_editors_own_environment(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    repository_files = repository.folder / "a.py"
    repository_files.write_text("two\n")
    assert repository.changes().files == ["changed: a.py"]


def test_programs_of_the_configuration_are_not_run(repository: Repository, tmp_path: Path) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\n")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "diff.external", "diff.x.textconv", "diff.x.command"):
        repository.git("config", name, str(trap))
    repository.write(".gitattributes", "*.py diff=x\n")
    repository.commit("Attributes")
    (tmp_path / "sprung").unlink(missing_ok=True)
    repository.write("a.py", "two\n")
    assert "+two" in "".join(repository.changes().diffs)
    assert not (tmp_path / "sprung").exists()


def test_a_huge_change_is_read_in_part(repository: Repository) -> None:
    repository.stage("a.py", "x" * 99 + "\n" + "line of text\n" * 100_000)
    repository.stage("b.py", "small\n")
    found = repository.changes()
    assert 590_000 < sum(map(len, found.diffs)) <= 600_000
    assert found.diffs[-1].endswith("\n+line of text\n")
    assert len(found.files) == 2


def test_very_many_files(repository: Repository) -> None:
    for number in range(400):
        repository.write(f"many/{number}.py", "x\n")
    repository.git("add", "-A")
    found = repository.changes()
    assert len(found.files) == 400
    assert len(found.diffs) == 300


# --- git ---------------------------------------------------------------------------------------


def a_git(folder: Path, script: str) -> str:
    """PATH with a git of ours alone."""
    folder.mkdir()
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_git_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", a_git(tmp_path / "bin", "exec sleep 60"))
    with pytest.raises(GitFailed, match=r"longer than 0\.2 seconds"):
        run_git(tmp_path, "status", limit=10, timeout=0.2)


def test_git_that_complains_and_prints_a_lot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "yes complaint | head -c 300000 >&2; yes output | head -c 300000"
    monkeypatch.setenv("PATH", a_git(tmp_path / "bin", script))
    assert len(run_git(tmp_path, "status", limit=1_000_000)) == 300_000
    assert run_git(tmp_path, "status", limit=14) == b"output\noutput\n"


def test_git_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", a_git(tmp_path / "bin", "echo 'fatal: bad\nmore' >&2; exit 128"))
    with pytest.raises(GitFailed, match=r"^git failed: bad$"):
        run_git(tmp_path, "status", limit=10)


def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitFailed, match="git is not installed"):
        changes(tmp_path)


# --- what of it is sent ------------------------------------------------------------------------


def test_short_changes_stay_whole() -> None:
    short, long = "diff a\n+1\n", "diff b\n" + "+line\n" * 1000
    kept = shortened([short, long], 500)
    assert kept[0] == short
    assert kept[1].startswith("diff b\n+line\n")
    assert kept[1].endswith(" more lines]\n")
    assert shortened([short, long], 100_000) == [short, long]


@given(
    sizes=st.lists(st.integers(0, 60), max_size=20),
    room=st.integers(0, 3000),
)
def test_shortened_changes_are_bounded(sizes: list[int], room: int) -> None:
    diffs = sorted(("diff --git\n" + "+line\n" * size for size in sizes), key=len)
    kept = shortened(diffs, room)
    note = len("[60 more lines]\n") + 1
    assert sum(map(len, kept)) <= room + note * len(diffs)
    if sum(map(len, diffs)) <= room:
        assert kept == diffs
    for diff in kept:
        body = diff.rpartition("\n[")[0] if diff.endswith(" more lines]\n") else diff
        assert any(whole.startswith(body) for whole in diffs)
