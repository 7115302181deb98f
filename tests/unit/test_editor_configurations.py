"""Editors that can't be run here: their files are read, and have only what the tools document."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ingle_lsp.settings import Settings, updated
from ingled.editors import places
from ingled.editors.known import EDITORS, Block, Template

PLUGINS = Path(__file__).parents[2] / "editor-plugins"
SCHEMAS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "support" / "editor_schemas.json").read_text(encoding="utf-8")
)


def toml(path: str) -> Any:
    return tomllib.loads((PLUGINS / path).read_text(encoding="utf-8"))


def strict_json(path: str) -> Any:
    return json.loads((PLUGINS / path).read_text(encoding="utf-8"))


def kakoune_servers() -> Any:
    script = (PLUGINS / "kakoune" / "ingle.kak").read_text(encoding="utf-8")
    match = re.search(r"set-option -add buffer lsp_servers %\{(.*?)\n {8}\}", script, re.DOTALL)
    assert match
    return tomllib.loads(match.group(1))


CONFIGURATIONS = {
    "helix": lambda: toml("helix/languages.toml"),
    "kakoune": kakoune_servers,
    "sublime": lambda: strict_json("sublime/LSP.sublime-settings"),
    "zed": lambda: strict_json("zed/settings.json"),
    "zed-extension": lambda: toml("zed/extension.toml"),
    "kate": lambda: strict_json("kate/settings.json"),
    "jetbrains": lambda: strict_json("jetbrains/template.json"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_has_what_its_tool_documents(name: str) -> None:
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(CONFIGURATIONS[name](), schema)


def test_every_schema_is_used_and_says_where_it_is_from() -> None:
    assert SCHEMAS.keys() == CONFIGURATIONS.keys()
    assert all("https://" in schema["$comment"] for schema in SCHEMAS.values())


def test_a_schema_refuses_a_key_that_the_tool_does_not_know() -> None:
    wrong = {"clients": {"ingle": {"enabled": True, "command": ["x"], "selector": "s", "cmd": 1}}}
    with pytest.raises(jsonschema.ValidationError, match="cmd"):
        jsonschema.validate(wrong, SCHEMAS["sublime"])


TOLD = ("helix", "kakoune", "sublime", "zed", "kate")


@pytest.mark.parametrize("name", TOLD)
def test_what_the_server_is_told_it_understands(name: str) -> None:
    (told,) = _told(CONFIGURATIONS[name]())
    assert told
    assert updated(Settings(), told) == (Settings(start_daemon=True), [])


def test_jetbrains_tells_the_server_what_it_understands() -> None:
    told = strict_json("jetbrains/initializationOptions.json")
    assert updated(Settings(), told) == (Settings(start_daemon=True), [])


def _told(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [told for item in value for told in _told(item)]
    if not isinstance(value, dict):
        return []
    keys = ("initializationOptions", "initialization_options", "config")
    here = [value[key] for key in keys if key in value]
    if "settings_section" in value:
        here.append(value["settings"][value["settings_section"]])
    return here + [told for item in value.values() for told in _told(item)]


def test_kakounes_script_is_one_hook_with_brackets_in_pairs() -> None:
    script = (PLUGINS / "kakoune" / "ingle.kak").read_text(encoding="utf-8")
    depth = 0
    for character in script:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    code = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert code[0].startswith("hook -group ingle global BufSetOption filetype=(?:")
    assert code[-1] == "}"
    assert code[1].strip() == "try %{"


def test_helix_starts_every_server_it_names_or_knows_it_itself() -> None:
    configuration = CONFIGURATIONS["helix"]()
    for language in configuration["language"]:
        assert language["language-servers"][-1] == "ingle"
        assert len(language["language-servers"]) > 1
    assert set(configuration["language-server"]) == {"ingle"}


def test_zeds_extension_starts_the_server_that_the_settings_are_for() -> None:
    servers = CONFIGURATIONS["zed-extension"]()["language_servers"]
    assert servers.keys() == CONFIGURATIONS["zed"]()["lsp"].keys()
    assert toml("zed/Cargo.toml")["package"]["version"] == toml("zed/extension.toml")["version"]


def test_kates_modes_are_a_regular_expression() -> None:
    pattern = CONFIGURATIONS["kate"]()["servers"]["ingle"]["highlightingModeRegex"]
    assert re.search(pattern, "C++")
    assert not re.search(pattern, "CMake")


@pytest.mark.parametrize("name", ["helix", "kakoune", "sublime", "zed", "kate", "jetbrains"])
def test_every_untested_editor_has_a_page_that_says_so(name: str) -> None:
    page = (PLUGINS / name / "README.md").read_text(encoding="utf-8")
    assert "untested here: configuration checked for syntax and against" in page
    assert SCHEMAS[name]["$comment"].split(": ")[-1] in page
    assert f"ingle editor {name}" in page


def test_the_overview_names_every_editor() -> None:
    overview = (PLUGINS / "README.md").read_text(encoding="utf-8")
    for name, editor in EDITORS.items():
        assert f"`ingle editor {name}`" in overview, name
        if isinstance(editor.recipe, Block | Template):
            assert places.plugin(name).parent == PLUGINS
