"""Files of a repository on the Hugging Face hub: resumable, pinned to a commit, verified.

The transfer is our own, because `huggingface_hub`'s download drops a partial file when its
process ends (seen in 2.4), and its Xet path can't go on from a partial file on a plain mirror.
Every file is checked against the hub's own checksum.

Interrupted at any moment, the folder holds finished files and `.part` files; the next call goes on
from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ingle.errors import StoreError

from .catalog import HubSource
from .hub_client import HubClient, RemoteFile, TryAgain
from .transfer import (
    CHUNK,
    Fetched,
    FetchedFile,
    Phase,
    PullProgress,
    Report,
    open_part,
    part_path,
    require_space,
    sync_file,
    wrong_hash,
)

#: Seconds to wait before each new try; after that many tries without a new byte the pull ends.
RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)

T = TypeVar("T")


def fetch_from_hub(
    source: HubSource, folder: Path, report: Report, pause: Callable[[float], None]
) -> Fetched:
    """Put the source's files into `folder`, going on from what is there.

    `pause` waits that many seconds. Raises `StoreError`; `OSError` of the disk is left to the
    caller. Files in `folder` that don't belong are removed.
    """
    download = _Download(HubClient(source.repo), folder, report, pause)
    report(PullProgress(phase="resolving", detail=source.repo))
    commit, files = download.retrying(lambda: download.hub.files(source.revision, source.files))
    _remove_others(folder, files)
    download.total = sum(file.size for file in files)
    present = sum(_size(folder / file.path) + _size(_part(folder, file)) for file in files)
    require_space(folder, download.total - present)
    return Fetched(
        revision=commit,
        files=[FetchedFile(path=file.path, sha256=download.fetch(commit, file)) for file in files],
    )


class _Hashes:
    """The checksums of a file, as its bytes pass."""

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self.reset()

    def reset(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        # git's object id: SHA-1 over a small header and the content.
        self._git_blob = hashlib.sha1(b"blob %d\0" % self.file.size, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)
        if self.file.git_blob:
            self._git_blob.update(data)

    @property
    def complete(self) -> bool:
        return self.size >= self.file.size

    def check(self) -> str:
        """The SHA-256. Raises `StoreError` if the content is not the announced one."""
        if self.file.git_blob:
            expected, found = self.file.git_blob, self._git_blob.hexdigest()
        else:
            expected, found = self.file.sha256, self._sha256.hexdigest()
        if found != expected:
            raise wrong_hash(self.file.path, expected, found)
        return self._sha256.hexdigest()


class _Download:
    """One pull: how far it is over all files, who hears of it, when to give up."""

    def __init__(
        self, hub: HubClient, folder: Path, report: Report, pause: Callable[[float], None]
    ) -> None:
        self.hub = hub
        self.folder = folder
        self.report = report
        self.pause = pause
        self.done = 0
        self.total = 0

    def retrying(self, action: Callable[[], T]) -> T:
        """Call `action` until it succeeds; a try that brought new bytes starts the count anew."""
        tries = 0
        while True:
            before = self.done
            try:
                return action()
            except TryAgain as problem:
                tries = 1 if self.done > before else tries + 1
                if tries > len(RETRY_PAUSES):
                    raise StoreError(
                        f"{self.hub.repo}: {problem}, {tries} times in a row: check the network "
                        "and run `ingle pull` again, it goes on where it stopped"
                    ) from problem
                seconds = RETRY_PAUSES[tries - 1]
                self._tell("waiting", f"{problem}; trying again in {seconds:.0f} s")
                self.pause(seconds)

    def fetch(self, commit: str, file: RemoteFile) -> str:
        """Bring one file; its SHA-256."""
        target, part = self.folder / file.path, _part(self.folder, file)
        if _size(target) == file.size:
            # Finished by an earlier, interrupted pull, or kept from a damaged model.
            target.replace(part)
        hashes = _Hashes(file)
        self._take_earlier(part, hashes)
        earlier = hashes.size
        if not hashes.complete or not part.exists():
            self.retrying(lambda: self._continue(commit, part, hashes))
        try:
            sha256 = hashes.check()
        except StoreError:
            part.unlink()
            self.done -= hashes.size
            if not earlier:
                raise
            # Perhaps only what was here before is damaged; without it there is one more try.
            return self.fetch(commit, file)
        part.replace(target)
        return sha256

    def _take_earlier(self, part: Path, hashes: _Hashes) -> None:
        """Count what an earlier pull left; a file that is too long is dropped."""
        if _size(part) > hashes.file.size:
            part.unlink()
        if not part.exists():
            return
        with part.open("rb") as earlier:
            while chunk := earlier.read(CHUNK):
                hashes.update(chunk)
                self.done += len(chunk)
                self._tell("verifying", hashes.file.path)

    def _continue(self, commit: str, part: Path, hashes: _Hashes) -> None:
        """One connection: append to `part` what is missing."""
        file = hashes.file
        with (
            self.hub.open(commit, file.path, hashes.size) as (start, chunks),
            open_part(part, append=True) as output,
        ):
            if start != hashes.size:
                output.truncate(0)
                self.done -= hashes.size
                hashes.reset()
            for chunk in chunks:
                if hashes.size + len(chunk) > file.size:
                    raise StoreError(
                        f"{self.hub.endpoint} sent more than the {file.size} bytes of "
                        f"{file.path}: check HF_ENDPOINT and pull again"
                    )
                output.write(chunk)
                hashes.update(chunk)
                self.done += len(chunk)
                self._tell("downloading", file.path)
            sync_file(output)
        if not hashes.complete:
            raise TryAgain(f"connection to {self.hub.endpoint} ended early")

    def _tell(self, phase: Phase, detail: str) -> None:
        self.report(
            PullProgress(phase=phase, done=self.done, total=self.total or None, detail=detail)
        )


def _part(folder: Path, file: RemoteFile) -> Path:
    """The partial file, named by its checksum: a new commit never continues an old file."""
    target = folder / file.path
    return part_path(target.with_name(f"{target.name}.{(file.sha256 or file.git_blob)[:16]}"))


def _remove_others(folder: Path, files: list[RemoteFile]) -> None:
    wanted = {folder / file.path for file in files} | {_part(folder, file) for file in files}
    for path in list(folder.rglob("*")):
        if path not in wanted and not path.is_dir():
            path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
