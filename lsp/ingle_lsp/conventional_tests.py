"""Where the tests of a source file go, by the convention of its language.

Owns names and folders; it looks at the disk only for which folders and files there are. What is
written there is `editing`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: Endings of JavaScript and TypeScript, which share a convention.
_SCRIPTS = frozenset({".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"})
#: What marks the top folder of a project.
_TOPS = (".git", ".hg", "pyproject.toml", "setup.py", "setup.cfg", "tox.ini")
#: Folders above a file that are looked through for its project.
_DEPTH = 12

_FRAMEWORKS = {
    ".py": "pytest",
    ".go": "the standard package `testing`",
    ".lua": "busted",
    ".rs": "the built-in `#[test]`",
    ".rb": "Minitest",
    ".java": "JUnit 5",
    ".cs": "xUnit",
}


_NO_PROGRAMS = frozenset(
    {".cfg", ".css", ".csv", ".html", ".ini", ".json", ".md", ".rst", ".svg", ".tex", ".toml"}
    | {".txt", ".xml", ".yaml", ".yml"}
)


@dataclass(frozen=True)
class TestPlace:
    """Where tests of one file go."""

    # Not a test case, whatever its name says to pytest.
    __test__ = False

    #: None: into the file itself, as Rust has it.
    path: Path | None
    #: What the tests are written with, as a phrase.
    framework: str
    #: How the tests reach what they test, as a sentence; empty where there is nothing to say.
    reach: str = ""


def is_program(path: Path) -> bool:
    """Whether there is anything to test in a file, by its name."""
    return path.suffix.lower() not in _NO_PROGRAMS


def is_test_file(path: Path) -> bool:
    """Whether a file has tests in it already, by its name."""
    stem, suffix = path.stem, path.suffix
    if suffix == ".rs":
        return False
    return (
        stem.startswith("test_")
        or stem.endswith(("_test", "_spec", ".test", ".spec"))
        or stem == "conftest"
    )


def place_for(path: Path) -> TestPlace:
    """Where the tests of a file go. Looks at the disk."""
    stem, suffix = path.stem, path.suffix.lower()
    framework = _FRAMEWORKS.get(suffix, "what is usual for the language")
    if suffix == ".rs":
        return TestPlace(None, framework)
    if suffix in _SCRIPTS:
        return TestPlace(
            path.with_name(f"{stem}.test{path.suffix}"),
            "describe, it and expect, as Vitest and Jest have them",
            f"Import what you test from './{stem}'.",
        )
    if suffix == ".go":
        return TestPlace(
            path.with_name(f"{stem}_test.go"), framework, "The tests are in the same package."
        )
    if suffix == ".lua":
        return TestPlace(
            path.with_name(f"{stem}_spec.lua"),
            framework,
            f'Load what you test with `require("{stem}")`.',
        )
    if suffix == ".py":
        return TestPlace(
            _python_file(path), framework, f"Import what you test from `{_module(path)}`."
        )
    return TestPlace(path.with_name(f"test_{path.name}"), framework)


def _python_file(path: Path) -> Path:
    """`test_x.py`: where it is already, else in the nearest folder `tests`, else beside `x.py`."""
    name = f"test_{path.name}"
    beside = path.with_name(name)
    if beside.is_file():
        return beside
    for folder in list(path.parents)[:_DEPTH]:
        for tests in (folder / "tests", folder / "test"):
            if tests.is_dir():
                return tests / name
        if any((folder / mark).exists() for mark in _TOPS):
            break
    return beside


def _module(path: Path) -> str:
    """The dotted name of a Python file, by the packages that it is in."""
    parts = [] if path.stem == "__init__" else [path.stem]
    for folder in list(path.parents)[:_DEPTH]:
        if not (folder / "__init__.py").is_file():
            break
        parts.insert(0, folder.name)
    return ".".join(parts) or path.parent.name


def shown(path: Path, beside: Path) -> str:
    """A path as a prompt names it: relative to what both share, never the whole way."""
    try:
        common = Path(os.path.commonpath([path, beside]))
    except ValueError:
        return path.name
    top = common.parent if common in (path, beside) else common
    return path.relative_to(top).as_posix()
