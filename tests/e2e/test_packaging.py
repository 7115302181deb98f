"""The wheel: what `pip install ingle` puts on a machine."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_three_packages_their_data_and_three_programs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT],
        check=True,
        capture_output=True,
        timeout=240,
    )
    (wheel,) = tmp_path.glob("ingle-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        programs = archive.read(entry_points).decode()
    tops = {name.split("/")[0] for name in names}
    assert {"ingle", "ingled", "ingle_lsp"} == {top for top in tops if "dist-info" not in top}
    assert "ingled/models/catalog.toml" in names
    assert {"ingle/py.typed", "ingled/py.typed", "ingle_lsp/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [line.split(" ")[0] for line in programs.splitlines()[1:]] == [
        "ingle",
        "ingle-lsp",
        "ingled",
    ]
    for plugin in ("nvim/plugin/ingle.lua", "vim/plugin/ingle.vim", "emacs/ingle.el"):
        assert f"ingled/editors/plugins/{plugin}" in names
    assert "ingled/editors/plugins/helix/languages.toml" in names
    assert not any("node_modules" in name or "vscode" in name for name in names)
    # Run from the wheel alone: no file of the checkout is needed.
    code = "import ingled.models.catalog as c; c.builtin_catalog(); print(c.__file__)"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(wheel)!r}); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(wheel))

    # An editor is set up from what was installed, too.
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    home = tmp_path / "home"
    home.mkdir()
    start = f"import sys; sys.path.insert(0, {str(site)!r}); import ingled.cli.main as m; m.main()"
    for editor in ("nvim", "vim", "emacs", "helix", "kakoune", "sublime", "zed", "kate"):
        result = subprocess.run(
            [sys.executable, "-c", start, "editor", editor],
            env={"HOME": str(home), "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    written = (home / ".config/nvim/init.lua").read_text(encoding="utf-8")
    assert str(site / "ingled/editors/plugins/nvim") in written
