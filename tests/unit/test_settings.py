"""The settings: defaults, what is refused and how it is said, what a change means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingle.errors import SettingsError
from ingled.settings import (
    MAX_FILE_BYTES,
    Settings,
    changed,
    default_toml,
    load_settings,
    needs_reload,
    needs_restart,
    settings_file,
    toml_value,
)
from ingled.settings_schema import LOAD, NOW, RESTART, Setting, all_settings, sections


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str) -> str:
    """What is said about a file, without its name."""
    file = written(folder, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{file}:")
    return said.removeprefix(f"{file}:")


def loaded_or_refused(file: Path) -> Settings | str:
    try:
        return load_settings(file)
    except SettingsError as error:
        return str(error)


def test_a_missing_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "config.toml") == Settings()


def test_the_users_own_file_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGLE_HOME", str(tmp_path))
    settings_file().parent.mkdir()
    settings_file().write_text("[model]\nslots = 2\n")
    assert load_settings().model.slots == 2


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    loaded = load_settings(written(tmp_path, '[model]\nname = "x"\nkeep_alive = 30\n'))
    assert loaded.model == msgspec.structs.replace(Settings().model, name="x", keep_alive=30.0)
    assert loaded.daemon == Settings().daemon


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf[model]\r\nslots = 2\r\n")
    assert load_settings(file).model.slots == 2


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[modle]\nslots = 1", 1, "did you mean 'model'?"),
        ("[model]\n\ncontxt = 3", 3, "did you mean 'context'?"),
        ("# contxt\n[model]\n# contxt = 1\ncontxt = 3", 4, "did you mean 'context'?"),
        ('[model]\ncontext = "many"', 2, 'model.context is "many", allowed is a whole number'),
        ("[model]\ncontext = 255", 2, "from 256 to 1048576"),
        ("[model]\ncontext = 99999999999999999999999", 2, "from 256 to 1048576"),
        ("[model]\ncontext = 4096.5", 2, "whole number"),
        ("[model]\nslots = true", 2, "model.slots is true"),
        ("[model]\nslots = 0", 2, "from 1 to 64"),
        ("[model]\nkeep_alive = 0", 2, '"forever" or a number of seconds above 0'),
        ("[model]\nkeep_alive = nan", 2, "keep_alive is NaN"),
        ("[model]\nkeep_alive = inf", 2, "keep_alive is Infinity"),
        ('[model]\nkeep_alive = "forver"', 2, 'did you mean "forever"?'),
        ('[model]\nengine = "llamacp"', 2, 'did you mean "llamacpp"?'),
        ('[chat]\neffort = "hgh"', 2, '"low", "medium", "high"; did you mean "high"?'),
        ("[chat]\ntemperature = 2020-01-01", 2, "a number from 0 to 2"),
        ("[chat]\neffort = [1, 2]", 2, "chat.effort is [1, 2]"),
        ("[inline]\ntemperature = 0.1", 2, "it belongs under [chat]"),
        ("[daemon]\nmax_tokens = 3", 2, "it belongs under [chat] or [inline]"),
        ("context = 3", 1, "it belongs under [model]"),
        ("model = 3", 1, "write [model] on a line of its own"),
        ('[[model]]\nname = "x"', 1, "write [model] on a line of its own"),
        ("model = { contxt = 3 }", 1, "did you mean 'context'?"),
        ("[daemon]\nmodel.slots = 3", 2, "unknown setting 'model'"),
        ('[daemon]\nlisten = "http://x:1"', 2, "daemon.listen"),
        ('[daemon]\nallowed_client_keys = [\n\n"short"]', 2, "40 characters"),
        ("[daemon]\ndrain_ms", 2, "not valid TOML"),
        ("[model]\nslots = 1\nslots = 2", 3, "not valid TOML"),
        ('[model]\nname = "x', 2, "not valid TOML"),
        ('[model]\nname = """\n\n', 2, "not valid TOML"),
        (
            '[scripted]\nscript = """\n[model]\ncontxt = 1\n"""\n[model]\ncontxt = 3',
            7,
            "did you mean 'context'?",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_remedy(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    found_line, reason = refusal(tmp_path, text).split(":", 1)
    assert said in reason
    assert int(found_line) == line


def test_a_long_wrong_value_is_not_repeated_whole(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, f'[chat]\neffort = "{"x" * 5000}"')) < 200


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"[model]\n\nname = '\xff'")
    with pytest.raises(SettingsError, match=r":3: this is not UTF-8"):
        load_settings(file)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SettingsError, match="is it the right one"):
        load_settings(file)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(tmp_path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "x = " + "[" * 100_000)
    with pytest.raises(SettingsError):
        load_settings(file)


@settings(max_examples=50)
@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8")
    said = loaded_or_refused(file)
    assert isinstance(said, Settings) or "\n" not in said


@given(
    st.sampled_from(list(all_settings())),
    st.one_of(
        st.integers(), st.floats(), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=5)
    ),
)
def test_every_value_is_taken_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, setting: Setting, value: object
) -> None:
    file = tmp_path_factory.getbasetemp() / "value.toml"
    section, key = setting.section, setting.key
    shown = str(value) if isinstance(value, float) else toml_value(value)
    file.write_text(f"[{section}]\n{key} = {shown}\n", encoding="utf-8")
    loaded = loaded_or_refused(file)
    if isinstance(loaded, str):
        assert f"{section}.{key} is" in loaded
    else:
        assert getattr(getattr(loaded, section), key) == value


def test_every_default_is_allowed(tmp_path: Path) -> None:
    lines = [
        f"{setting.section}.{setting.key} = {toml_value(setting.default)}"
        for setting in all_settings()
    ]
    assert load_settings(written(tmp_path, "\n".join(lines))) == Settings()


def test_the_commented_file_is_right_before_and_after_uncommenting(tmp_path: Path) -> None:
    text = default_toml()
    assert load_settings(written(tmp_path, text)) == Settings()
    lines = [
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line
        for line in text.splitlines()
    ]
    uncommented = "\n".join(lines)
    assert uncommented.count(" = ") >= len(list(all_settings()))
    assert load_settings(written(tmp_path, uncommented)) == Settings()


def test_every_setting_is_documented() -> None:
    for setting in all_settings():
        assert setting.description.endswith("."), setting.name
        assert setting.allowed, setting.name
        assert setting.applies in (NOW, LOAD, RESTART), setting.name
    assert all((struct.__doc__ or "").strip() for struct in sections().values())


def test_what_a_change_needs() -> None:
    old = Settings()
    new = msgspec.structs.replace(
        old,
        daemon=msgspec.structs.replace(old.daemon, listen="tcp://127.0.0.1:*", log_level="debug"),
        model=msgspec.structs.replace(old.model, context=8192, keep_alive=60.0),
        scripted=msgspec.structs.replace(old.scripted, fault="load"),
    )
    assert changed(old, new) == [
        "daemon.listen",
        "daemon.log_level",
        "model.keep_alive",
        "model.context",
        "scripted.fault",
    ]
    assert needs_reload(old, new) == ["model.context", "scripted.fault"]
    assert needs_restart(old, new) == ["daemon.listen"]
    assert changed(new, new) == []
