"""Where tests go."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingle_lsp.conventional_tests import is_test_file, place_for, shown


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.ts", "a.test.ts"),
        ("a.tsx", "a.test.tsx"),
        ("a.mjs", "a.test.mjs"),
        ("a.go", "a_test.go"),
        ("a.lua", "a_spec.lua"),
        ("a.py", "test_a.py"),
        ("a.rb", "test_a.rb"),
        ("a.PY", "test_a.PY"),
        ("noending", "test_noending"),
        ("a.rs", None),
    ],
)
def test_beside(tmp_path: Path, name: str, wanted: str | None) -> None:
    (tmp_path / ".git").mkdir()
    place = place_for(tmp_path / name)
    assert place.path == (tmp_path / wanted if wanted else None)
    assert place.framework


def test_python_in_a_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    package = tmp_path / "src" / "pack" / "sub"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    place = place_for(package / "a.py")
    assert place.path == package / "test_a.py"
    assert place.reach == "Import what you test from `pack.sub.a`."
    assert place_for(package / "__init__.py").reach == "Import what you test from `pack.sub`."
    (tmp_path / "tests").mkdir()
    assert place_for(package / "a.py").path == tmp_path / "tests" / "test_a.py"
    # The nearest folder, and first of all the tests that there are.
    (package / "tests").mkdir()
    assert place_for(package / "a.py").path == package / "tests" / "test_a.py"
    (package / "test_a.py").touch()
    assert place_for(package / "a.py").path == package / "test_a.py"


def test_the_tests_of_another_project_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    assert place_for(project / "a.py").path == project / "test_a.py"


@pytest.mark.parametrize(
    "name", ["test_a.py", "a_test.go", "a.test.ts", "a.spec.js", "a_spec.lua", "conftest.py"]
)
def test_files_of_tests(name: str) -> None:
    assert is_test_file(Path(name))


@pytest.mark.parametrize("name", ["a.py", "testing.py", "latest.go", "a_test.rs", "spec.lua"])
def test_files_of_code(name: str) -> None:
    assert not is_test_file(Path(name))


def test_paths_as_a_prompt_shows_them() -> None:
    a, b = Path("/home/me/project/src/a.py"), Path("/home/me/project/tests/test_a.py")
    assert (shown(a, b), shown(b, a)) == ("src/a.py", "tests/test_a.py")
    assert shown(a, a.with_name("test_a.py")) == "a.py"
    assert shown(a, Path("relative")) == "a.py"
