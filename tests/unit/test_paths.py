"""Where files lie, and that sockets always fit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ingle import paths
from ingle.errors import LocalError


@pytest.mark.parametrize("depth", range(60, 110))
def test_every_socket_of_the_runtime_folder_has_a_possible_path(
    monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    monkeypatch.setenv("INGLE_HOME", "/" + "h" * depth)
    longest = paths.runtime_dir() / paths.LONGEST_SOCKET_NAME
    assert len(os.fsencode(longest)) <= paths.MAX_IPC_PATH


def test_a_home_holds_everything_and_deep_ones_get_their_own_runtime_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INGLE_HOME", "/short")
    folders = [paths.config_dir(), paths.data_dir(), paths.cache_dir(), paths.log_dir()]
    assert {folder.parent for folder in [*folders, paths.runtime_dir()]} == {Path("/short")}
    deep = [str(tmp_path / ("a" * 120)), str(tmp_path / ("b" * 120))]
    found = set()
    for home in deep:
        monkeypatch.setenv("INGLE_HOME", home)
        found.add(paths.runtime_dir())
    assert len(found) == 2


def test_private_folders_are_made_private_and_strangers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    paths.private_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(LocalError, match="another user"):
        paths.private_dir(link)
