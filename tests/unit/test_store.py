"""The model store without any network: looking, verifying, removing, paths of the user's own."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from ingle.errors import IngleError, ModelInvalid, ModelNotFound, StoreError
from ingle.file_lock import file_lock
from ingle.messages import ModelInfo
from ingled.models import store as store_module
from ingled.models.catalog import CatalogEntry
from ingled.models.manifest import MANIFEST_NAME, Manifest, record_file, write_manifest
from ingled.models.safetensors_folder import check_safetensors
from ingled.models.store import Store
from ingled.models.transfer import PullProgress, disk_errors, sha256_of, size_text
from support.gguf_builder import build_gguf

NAME = "smollm2-135m"


def install(root: Path, name: str = NAME, data: bytes | None = None) -> Path:
    """What a finished pull leaves."""
    folder = root / name
    folder.mkdir(parents=True)
    file = folder / "model.gguf"
    file.write_bytes(data if data is not None else build_gguf())
    write_manifest(
        folder,
        Manifest(
            name=name,
            format="gguf",
            licence="Apache-2.0",
            source="PyPI: something 1.0",
            revision="1.0",
            main="model.gguf",
            files=[record_file(folder, "model.gguf", sha256_of(file))],
        ),
    )
    return file


def infos(store: Store) -> dict[str, ModelInfo]:
    return {info.name: info for info in store.list()}


# --- list ----------------------------------------------------------------------------------


def test_a_fresh_machine_lists_the_catalog_and_creates_nothing(tmp_path: Path):
    root = tmp_path / "models"
    listed = infos(Store(root))
    assert list(listed) == [
        "smollm2-135m",
        "gpt-oss-20b",
        "gpt-oss-20b-safetensors",
        "gpt-oss-120b",
        "gpt-oss-120b-safetensors",
    ]
    assert not any(info.installed for info in listed.values())
    assert not root.exists()


def test_installed_models_are_listed_with_their_true_size(tmp_path: Path):
    file = install(tmp_path)
    info = infos(Store(tmp_path))[NAME]
    assert info.installed
    assert info.bytes == file.stat().st_size
    assert info.source == "PyPI: something 1.0"


def test_a_model_that_left_the_catalog_is_still_listed(tmp_path: Path):
    install(tmp_path, "forgotten-model")
    assert infos(Store(tmp_path))["forgotten-model"].installed


def test_a_damaged_record_is_listed_with_the_reason(tmp_path: Path):
    install(tmp_path)
    (tmp_path / NAME / MANIFEST_NAME).write_text("{")
    info = infos(Store(tmp_path))[NAME]
    assert not info.installed
    assert "damaged" in info.reason
    assert info.engine == ""


def test_an_interrupted_pull_is_listed_with_what_it_has(tmp_path: Path):
    partial = tmp_path / ".gpt-oss-20b.partial"
    partial.mkdir()
    (partial / "x.part").write_bytes(bytes(2500))
    info = infos(Store(tmp_path))["gpt-oss-20b"]
    assert not info.installed
    assert info.reason.startswith("2.5 kB pulled: `ingle pull gpt-oss-20b` goes on")


FORMATS = [
    ("gpt-oss-20b", "llamacpp", "pip install 'ingle[cpu]'"),
    ("gpt-oss-20b-safetensors", "exllamav2", "pip install 'ingle[rtx]'"),
]


@pytest.mark.parametrize(("model", "engine", "_remedy"), FORMATS)
def test_the_engine_is_named_where_it_is_installed(
    tmp_path: Path, model: str, engine: str, _remedy: str
):
    listed = infos(Store(tmp_path))
    assert (listed[model].engine, listed[model].reason) == (engine, "")


@pytest.mark.parametrize(("model", "_engine", "remedy"), FORMATS)
def test_a_missing_engine_comes_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, _engine: str, remedy: str
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    info = infos(Store(tmp_path))[model]
    assert info.engine == ""
    assert remedy in info.reason


# --- resolve: names ------------------------------------------------------------------------


def test_an_installed_model_resolves(tmp_path: Path):
    file = install(tmp_path)
    model = Store(tmp_path).resolve(NAME)
    assert model.path == file
    assert (model.name, model.format, model.licence) == (NAME, "gguf", "Apache-2.0")
    assert model.bytes == file.stat().st_size


def test_a_model_that_was_not_pulled_says_how_to_get_it(tmp_path: Path):
    with pytest.raises(ModelNotFound, match="run `ingle pull gpt-oss-20b`"):
        Store(tmp_path).resolve("gpt-oss-20b")


def test_a_typing_error_gets_a_suggestion(tmp_path: Path):
    install(tmp_path, "forgotten-model")
    with pytest.raises(ModelNotFound, match="did you mean 'gpt-oss-20b'"):
        Store(tmp_path).resolve("gpt-os-20b")
    with pytest.raises(ModelNotFound, match="did you mean 'forgotten-model'"):
        Store(tmp_path).resolve("forgoten-model")


@pytest.mark.parametrize("name", ["", " ", ".smollm2-135m.partial", "nul\0byte", "x" * 5000])
def test_strange_names_are_just_not_found(tmp_path: Path, name: str):
    (tmp_path / ".smollm2-135m.partial").mkdir()
    with pytest.raises(ModelNotFound) as caught:
        Store(tmp_path).resolve(name)
    assert len(str(caught.value)) < 500
    with pytest.raises(ModelNotFound):
        Store(tmp_path).remove(name)


# --- resolve: verification -----------------------------------------------------------------


class Hashed(NamedTuple):
    reports: list[PullProgress]

    def __call__(self, progress: PullProgress) -> None:
        self.reports.append(progress)


def test_an_unchanged_file_is_not_read_again(tmp_path: Path):
    install(tmp_path)
    hashed = Hashed([])
    Store(tmp_path).resolve(NAME, hashed)
    assert hashed.reports == []


def test_a_touched_file_is_hashed_once_and_then_trusted(tmp_path: Path):
    file = install(tmp_path)
    os.utime(file, ns=(1, 1))
    hashed = Hashed([])
    store = Store(tmp_path)
    store.resolve(NAME, hashed)
    size = file.stat().st_size
    assert [(report.phase, report.done, report.total) for report in hashed.reports] == [
        ("verifying", size, size)
    ]
    store.resolve(NAME, hashed)
    assert len(hashed.reports) == 1


def test_a_copy_of_the_store_is_hashed_again(tmp_path: Path):
    install(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    hashed = Hashed([])
    Store(tmp_path / "b").resolve(NAME, hashed)
    assert len(hashed.reports) == 1


def test_one_changed_byte_is_found_and_named(tmp_path: Path):
    file = install(tmp_path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(1, 1))
    with pytest.raises(ModelInvalid) as caught:
        Store(tmp_path).resolve(NAME)
    assert str(file) in str(caught.value)
    assert f"ingle pull {NAME}" in str(caught.value)


def test_a_replaced_file_with_the_same_time_and_size_is_found(tmp_path: Path):
    file = install(tmp_path)
    before = file.stat()
    other = tmp_path / "other"
    other.write_bytes(bytes(before.st_size))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    with pytest.raises(ModelInvalid, match="not what was downloaded"):
        Store(tmp_path).resolve(NAME)


def test_a_truncated_file_is_found_without_reading_it(tmp_path: Path):
    file = install(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    hashed = Hashed([])
    with pytest.raises(ModelInvalid, match="not what was downloaded"):
        Store(tmp_path).resolve(NAME, hashed)
    assert hashed.reports == []


def test_a_deleted_file_is_named(tmp_path: Path):
    file = install(tmp_path)
    file.unlink()
    with pytest.raises(ModelNotFound, match=r"model\.gguf is gone"):
        Store(tmp_path).resolve(NAME)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 2}', b"\xff\xfe", "{}"],
)
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str | bytes):
    install(tmp_path)
    record = tmp_path / NAME / MANIFEST_NAME
    record.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ModelInvalid, match="ingle pull"):
        Store(tmp_path).resolve(NAME)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd"])
def test_a_record_can_not_point_outside(tmp_path: Path, path: str):
    install(tmp_path)
    record = tmp_path / NAME / MANIFEST_NAME
    facts = json.loads(record.read_text())
    facts["main"] = facts["files"][0]["path"] = path
    record.write_text(json.dumps(facts))
    with pytest.raises(ModelInvalid, match="outside its folder"):
        Store(tmp_path).resolve(NAME)


def test_a_record_of_a_newer_ingle_with_more_fields_is_read(tmp_path: Path):
    install(tmp_path)
    record = tmp_path / NAME / MANIFEST_NAME
    record.write_text(json.dumps(json.loads(record.read_text()) | {"colour": "red"}))
    assert Store(tmp_path).resolve(NAME).name == NAME


def test_a_store_that_can_not_be_written_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = install(tmp_path)
    os.utime(file, ns=(1, 1))

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store_module, "write_manifest", refuse)
    assert Store(tmp_path).resolve(NAME).path == file


# --- resolve: the user's own files ---------------------------------------------------------


def test_a_path_to_a_gguf_resolves(tmp_path: Path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(build_gguf())
    model = Store(tmp_path / "store").resolve(str(path))
    assert (model.path, model.format, model.name) == (path, "gguf", str(path))
    assert model.bytes == path.stat().st_size


def test_a_relative_path_resolves_to_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.gguf").write_bytes(build_gguf())
    monkeypatch.chdir(tmp_path)
    for typed in ("./mine.gguf", "mine.gguf"):
        assert Store(tmp_path / "store").resolve(typed).path == tmp_path / "mine.gguf"


def test_a_path_in_the_home_folder_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.gguf").write_bytes(build_gguf())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Store(tmp_path / "store").resolve("~/mine.gguf").path == tmp_path / "mine.gguf"


def test_a_wrong_path_says_so(tmp_path: Path):
    with pytest.raises(ModelNotFound, match="no such file"):
        Store(tmp_path).resolve("./nowhere.gguf")


@pytest.mark.parametrize(
    "path", ["~nobody-of-this-name/x.gguf", "/" + "x" * 5000, "./a\0b.gguf", "~", "/", ".", ".."]
)
def test_strange_paths_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ModelNotFound, ModelInvalid)) as caught:
        Store(tmp_path / "store").resolve(path)
    assert len(str(caught.value)) < 500


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.timeout(10)
def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelInvalid, match="neither a file nor a folder"):
        Store(tmp_path / "store").resolve(str(tmp_path / "pipe.gguf"))


def test_a_store_that_can_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StoreError, match="check its permissions"):
        Store(tmp_path).resolve(NAME)


def test_a_file_that_is_no_model_says_so(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(ModelInvalid, match="does not start with 'GGUF'"):
        Store(tmp_path).resolve(str(path))


def safetensors(folder: Path, *, data: int = 16) -> Path:
    header = json.dumps(
        {"__metadata__": {}, "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    ).encode()
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    path = folder / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(data))
    return path


def test_a_folder_of_safetensors_resolves(tmp_path: Path):
    file = safetensors(tmp_path / "model")
    model = Store(tmp_path / "store").resolve(str(tmp_path / "model"))
    assert (model.path, model.format) == (tmp_path / "model", "safetensors")
    assert model.bytes == file.stat().st_size


@pytest.mark.parametrize("data", [0, 15, 17])
def test_a_safetensors_file_of_the_wrong_length(tmp_path: Path, data: int):
    safetensors(tmp_path / "model", data=data)
    with pytest.raises(ModelInvalid, match="truncated or damaged"):
        check_safetensors(tmp_path / "model")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"\xff\xff",
        (8).to_bytes(8, "little") + b'{"w":{}}',
        (27).to_bytes(8, "little") + b'{"w":{"data_offsets":["x"]}}',
    ],
)
def test_a_damaged_safetensors_file(tmp_path: Path, data: bytes):
    safetensors(tmp_path / "model").write_bytes(data)
    with pytest.raises(ModelInvalid, match="download it again"):
        check_safetensors(tmp_path / "model")


def test_a_missing_safetensors_part_is_named(tmp_path: Path):
    safetensors(tmp_path / "model")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelNotFound, match=r"model-2\.safetensors is missing"):
        check_safetensors(tmp_path / "model")


@pytest.mark.parametrize("text", ["[]", "{", '{"weight_map": 3}', '{"weight_map": {"a": []}}'])
def test_a_damaged_index(tmp_path: Path, text: str):
    safetensors(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelInvalid, match="damaged"):
        check_safetensors(tmp_path / "model")


def test_an_empty_folder_is_no_model(tmp_path: Path):
    with pytest.raises(ModelInvalid, match=r"holds no \.safetensors"):
        Store(tmp_path / "store").resolve(str(tmp_path))


# --- remove --------------------------------------------------------------------------------


def test_removing_frees_the_space_and_forgets_the_model(tmp_path: Path):
    size = install(tmp_path).stat().st_size
    store = Store(tmp_path)
    assert store.remove(NAME) > size
    assert not infos(store)[NAME].installed
    with pytest.raises(ModelNotFound):
        store.remove(NAME)


def test_removing_takes_an_interrupted_pull_along(tmp_path: Path):
    partial = tmp_path / ".gpt-oss-20b.partial"
    partial.mkdir()
    (partial / "x.part").write_bytes(bytes(2500))
    assert Store(tmp_path).remove("gpt-oss-20b") == 2500
    assert not partial.exists()


def test_a_damaged_model_can_be_removed(tmp_path: Path):
    install(tmp_path)
    (tmp_path / NAME / MANIFEST_NAME).write_text("{")
    Store(tmp_path).remove(NAME)
    assert not (tmp_path / NAME).exists()


def test_a_file_of_the_user_is_never_removed(tmp_path: Path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(build_gguf())
    with pytest.raises(StoreError, match="a file of yours"):
        Store(tmp_path / "store").remove(str(path))
    assert path.exists()


@pytest.mark.parametrize("name", ["..", ".", "../victim", "a/../../victim"])
def test_removing_stays_inside_the_store(tmp_path: Path, name: str):
    victim = tmp_path / "victim"
    victim.mkdir()
    root = tmp_path / "store"
    root.mkdir()
    with pytest.raises(IngleError):
        Store(root).remove(name)
    assert victim.exists()
    assert root.exists()


def test_a_model_that_is_being_pulled_is_not_removed(tmp_path: Path):
    file = install(tmp_path)
    with (
        file_lock(tmp_path / f".{NAME}.lock"),
        pytest.raises(StoreError, match="another process"),
    ):
        Store(tmp_path).remove(NAME)
    assert file.exists()


# --- pull, as far as it goes without a source ----------------------------------------------


def test_pulling_an_unknown_model_says_what_there_is(tmp_path: Path):
    with pytest.raises(ModelNotFound, match="did you mean 'smollm2-135m'"):
        Store(tmp_path).pull("smollm-135m")
    assert list(tmp_path.iterdir()) == []


def test_pulling_an_installed_model_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = install(tmp_path)

    def fetch(entry: CatalogEntry, *_: object) -> None:
        raise AssertionError(f"{entry.name} was fetched")

    monkeypatch.setattr(store_module, "_fetch", fetch)
    assert Store(tmp_path).pull(NAME).path == file


def test_a_store_that_can_not_be_created_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't write the model store"):
        Store(tmp_path / "file" / "models").pull(NAME)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EFBIG, "this large"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_disk_errors_are_one_line_with_advice(tmp_path: Path, code: int, says: str):
    with pytest.raises(StoreError, match=says) as caught, disk_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (98_362_432, "98.4 MB"), (63_387_000_000, "63.4 GB")],
)
def test_sizes_for_people(size: int, text: str):
    assert size_text(size) == text


# --- the lock, and what is imported --------------------------------------------------------


def test_a_lock_has_one_owner_at_a_time(tmp_path: Path):
    path = tmp_path / "lock"
    with file_lock(path), pytest.raises(BlockingIOError), file_lock(path):
        raise AssertionError("two owners")
    with file_lock(path):
        pass


def test_looking_at_models_imports_nothing_that_could_reach_the_network(tmp_path: Path):
    program = """
import sys
from pathlib import Path
from ingled.models.store import Store
import ingled.models.download_pypi, ingled.models.download_hub, ingled.models.hub_client
Store(Path(sys.argv[1])).list()
heavy = {"huggingface_hub", "pip", "httpx", "httpx2", "xllamacpp", "requests", "urllib.request"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
