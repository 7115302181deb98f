"""The language server's settings: what is taken, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingle_lsp.settings import TABLE, Settings, markdown_table, updated

README = Path(__file__).parents[2] / "lsp" / "README.md"


@pytest.mark.parametrize("given", [None, {}, {"ingle": {}}, {"ingle": None}, {"python": {"a": 1}}])
def test_nothing_given_changes_nothing(given: Any) -> None:
    assert updated(Settings(), given) == (Settings(), [])


@pytest.mark.parametrize("wrapped", [True, False])
def test_every_setting_is_taken(wrapped: bool) -> None:
    section = {
        "enabled": False,
        "startDaemon": True,
        "debounceMs": 0,
        "maxTokens": 64,
        "multiline": "always",
        "minConfidence": 1,
        "deadlineMs": 500.0,
        "candidates": 5,
        "inComments": False,
        "inStrings": False,
        "prefetch": "always",
        "effort": "low",
        "disabledLanguages": ["markdown"],
        "disabledFolders": ["/secret/"],
    }
    assert set(section) == {setting.name for setting in TABLE}
    settings, problems = updated(Settings(), {"ingle": section} if wrapped else section)
    assert problems == []
    assert settings == Settings(
        enabled=False,
        start_daemon=True,
        debounce_ms=0,
        max_tokens=64,
        multiline="always",
        min_confidence=1.0,
        deadline_ms=500,
        candidates=5,
        in_comments=False,
        in_strings=False,
        prefetch="always",
        effort="low",
        disabled_languages=frozenset({"markdown"}),
        disabled_folders=frozenset({"/secret"}),
    )


@pytest.mark.parametrize(("given", "taken"), [(True, "always"), (False, "never")])
def test_prefetch_as_a_switch(given: bool, taken: str) -> None:
    assert updated(Settings(), {"prefetch": given}) == (Settings(prefetch=taken), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefetch", 1),
        ("prefetch", "sometimes"),
        ("enabled", 1),
        ("enabled", "yes"),
        ("startDaemon", []),
        ("debounceMs", -1),
        ("debounceMs", 5001),
        ("debounceMs", 1.5),
        ("debounceMs", True),
        ("debounceMs", "75"),
        ("debounceMs", ["auto"]),
        ("debounceMs", float("nan")),
        ("debounceMs", float("inf")),
        ("maxTokens", 0),
        ("multiline", "sometimes"),
        ("multiline", ["auto"]),
        ("minConfidence", 1.1),
        ("minConfidence", float("nan")),
        ("minConfidence", True),
        ("deadlineMs", 0),
        ("candidates", 0),
        ("candidates", 11),
        ("inComments", "false"),
        ("inStrings", 0),
        ("effort", "none"),
        ("effort", 1),
        ("disabledLanguages", "markdown"),
        ("disabledLanguages", [1]),
        ("disabledFolders", "/secret"),
        ("disabledFolders", [1]),
        ("disabledFolders", [""]),
        ("disabledFolders", ["secret"]),
    ],
)
def test_a_wrong_value_is_refused_alone(name: str, value: Any) -> None:
    before = Settings(debounce_ms=10, deadline_ms=900)
    other = "maxTokens" if name != "maxTokens" else "debounceMs"
    settings, problems = updated(before, {name: value, other: 5})
    assert len(problems) == 1
    assert f"ingle.{name} must be " in problems[0]
    assert "stays in force" in problems[0]
    assert settings == updated(before, {other: 5})[0]


def test_the_words_of_a_refusal() -> None:
    _, problems = updated(Settings(), {"deadlineMs": "fast"})
    assert problems == [
        'ingle.deadlineMs must be a whole number from 50 to 60000, not "fast": 2000 stays in force'
    ]


def test_a_long_wrong_value_is_not_quoted_whole() -> None:
    _, problems = updated(Settings(), {"multiline": "x" * 10_000})
    assert len(problems[0]) < 200


def test_an_unknown_name_gets_a_suggestion() -> None:
    _, problems = updated(Settings(), {"ingle": {"debounce": 1}})
    assert problems == ["there is no setting ingle.debounce: did you mean ingle.debounceMs?"]
    _, problems = updated(Settings(), {"ingle": {"zzz": 1}})
    assert "see enabled, startDaemon" in problems[0]


@pytest.mark.parametrize("section", [3, "on", ["enabled"], True])
def test_a_section_that_is_no_object(section: Any) -> None:
    settings, problems = updated(Settings(debounce_ms=1), {"ingle": section})
    assert settings == Settings(debounce_ms=1)
    assert problems == ["the `ingle` settings must be an object: they are ignored"]


def test_what_is_left_out_stays_and_null_is_the_default() -> None:
    settings, _ = updated(Settings(), {"debounceMs": 5, "maxTokens": 9, "effort": "high"})
    settings, _ = updated(settings, {"effort": None})
    settings, _ = updated(settings, {"ingle": {"maxTokens": None}})
    assert settings == Settings(debounce_ms=5)


def test_the_readme_has_the_table() -> None:
    assert markdown_table() in README.read_text(encoding="utf-8")
