"""Tests in real editors: where they are meant to be installed, a missing one is a failure.

An editor, its language server, a daemon and a browser share a small machine here, and each test has
deadlines. One that fails is run once more, and the report says so: what fails twice is a defect.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

#: Said by every test that skips because its editor is not there.
MISSING = "tests/editors/install_"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of all tests; the hook is called for those of other folders, too."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    """`make test-editors` has installed them all."""
    report = yield
    if (
        report.skipped
        and os.environ.get("INGLE_REQUIRE_EDITORS")
        and MISSING in str(report.longrepr)
    ):
        report.outcome = "failed"
        report.longrepr = f"not installed after all: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Why a test was run once more."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"rerun: {report.nodeid}")
        terminalreporter.write_line(str(report.longrepr)[-1500:])
