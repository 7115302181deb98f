"""Folders without completions: how they are written, and what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingle_lsp.folders import is_inside, normal
from ingle_lsp.settings import Settings, updated


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def folders(*written: str) -> set[str]:
    return {folder for each in written if (folder := normal(each)) is not None}


def test_how_folders_are_written(home: Path) -> None:
    assert normal("~") == normal(str(home)) == str(home)
    assert normal("~/a/") == normal(f"{home}/b/../a") == str(home / "a")
    for relative in ("", "a", "./a", "../a", "~nobody-has-this-name/a"):
        assert normal(relative) is None


def test_subfolders_are_included_neighbours_are_not(home: Path) -> None:
    secret = folders("~/secret")
    assert is_inside((home / "secret" / "a.py").as_uri(), secret)
    assert is_inside((home / "secret" / "deep" / "down" / "a.py").as_uri(), secret)
    assert not is_inside((home / "secret.py").as_uri(), secret)
    assert not is_inside((home / "secrets" / "a.py").as_uri(), secret)
    assert not is_inside((home / "a.py").as_uri(), secret)
    # The folder itself is no file in it.
    assert not is_inside((home / "secret").as_uri(), secret)


def test_names_with_spaces_and_more(home: Path) -> None:
    assert is_inside((home / "my code" / "añb" / "a.py").as_uri(), folders("~/my code/añb"))


def test_the_root_has_everything_in_it(home: Path) -> None:
    assert is_inside((home / "a.py").as_uri(), folders("/"))


def test_links_count_both_ways(home: Path) -> None:
    (home / "real").mkdir()
    (home / "link").symlink_to(home / "real")
    (home / "real" / "a.py").touch()
    assert is_inside((home / "link" / "a.py").as_uri(), folders("~/real"))
    assert is_inside((home / "real" / "a.py").as_uri(), folders("~/link"))
    assert is_inside((home / "link" / "a.py").as_uri(), folders("~/link"))


def test_a_way_round_is_no_way_out(home: Path) -> None:
    uri = f"file://{home}/other/../secret/a.py"
    assert is_inside(uri, folders("~/secret"))


@pytest.mark.parametrize("uri", ["untitled:Untitled-1", "git:/x/a.py", "", "file:", "file:///%00"])
def test_what_is_no_file_is_nowhere(uri: str) -> None:
    assert not is_inside(uri, folders("/"))


def test_a_relative_folder_is_refused_with_the_others(home: Path) -> None:
    before, _ = updated(Settings(), {"disabledFolders": ["~/a"]})
    assert before.disabled_folders == {str(home / "a")}
    after, problems = updated(before, {"disabledFolders": ["~/b", "c"]})
    assert after == before
    assert "must be a list of absolute folders" in problems[0]
