"""Chat threads on disk: what the language server and the command line share.

::

    data_dir()/threads/             the user's alone (0700)
        NAME.json                   one thread (0600); its first line is enough for a list
        .NAME.json.part             a save that was interrupted
        .NAME.lock                  held by who answers a question of the thread, or deletes it

Owns the files: reading, atomic writing, locks, lists. Which questions are asked and what becomes of
the answers is `exchange`; what a model gets to read of a thread is `conversation`.

A file that can't be read is reported and left as it is: it is never written over. Fields that this
version doesn't know are ignored, and are gone once it adds a turn.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from . import paths, thread_names
from .errors import LocalError, ThreadBusy, ThreadError
from .file_lock import lock

#: Version of the file's form. A file of a higher one is not read.
FORMAT = 1
_ENDING = ".json"
#: Bytes of a first line; titles are far shorter.
_MAX_HEAD = 4096
#: What msgspec raises for bytes that are no file of ours.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_Time = Annotated[datetime, Meta(tz=True)]


class Position(Struct, kw_only=True, frozen=True):
    """A place in a document, counted from 0. `character` is in the units of the editor that sent
    it: it is good for showing, not for editing."""

    line: int
    character: int


class Range(Struct, kw_only=True, frozen=True):
    """From `start` up to, not including, `end`."""

    start: Position
    end: Position


class Excerpt(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A document, or a part of it, that a question is about: its place, and its text as it was."""

    uri: str
    #: None: all of it.
    range: Range | None = None
    #: The editor's name of the language, or the file's ending.
    language: str = ""
    text: str


class Turn(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A question or an answer. The other fields are those of one of the two roles only."""

    role: Literal["user", "assistant"]
    text: str
    #: Of a question: what it is about. It stands in the prompt as it was sent then.
    context: list[Excerpt] = []
    #: Of an answer: what the model thought before. It is never sent again.
    analysis: str = ""
    #: Of an answer: a `FinishReason`, "error" if it broke off, "" if the process that asked was
    #: killed.
    finish: str = ""
    model: str = ""
    tokens: int = 0


class Thread(Struct, kw_only=True, frozen=True):
    """A conversation. `turns` are questions and answers, oldest first."""

    name: str
    title: str
    created: datetime
    updated: datetime
    #: Instructions that come before everything.
    system: str = ""
    #: Turns before this one don't fit into the model's context, and are not sent any more.
    first: int = 0
    turns: list[Turn] = []


class Summary(Struct, kw_only=True, frozen=True):
    """What a list shows of a thread. `turns` counts questions and answers."""

    name: str
    title: str
    updated: datetime
    turns: int


class Listing(Struct, kw_only=True, frozen=True):
    """All threads, newest first; and a line for each file that could not be read."""

    threads: list[Summary]
    problems: list[str]


class _Format(Struct, kw_only=True, frozen=True):
    format: Annotated[int, Meta(ge=1)] = FORMAT


class _Head(_Format, kw_only=True, frozen=True):
    """The first line of a file."""

    title: str
    created: _Time
    updated: _Time
    count: int


class _File(_Head, kw_only=True, frozen=True):
    """A whole file; every turn has a line."""

    system: str = ""
    first: Annotated[int, Meta(ge=0)] = 0
    turns: list[Turn] = []


class ThreadStore:
    """The threads of one folder. Every method touches the disk, and raises `ThreadError`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.data_dir() / "threads"

    def listing(self) -> Listing:
        """All threads. Costs one short read a thread, however long it is."""
        threads: list[Summary] = []
        problems: list[str] = []
        for name in self.names():
            try:
                threads.append(self._summary(name))
            except FileNotFoundError:
                # Deleted meanwhile.
                continue
            except ThreadError as error:
                problems.append(str(error))
        threads.sort(key=lambda thread: (thread.updated, thread.name), reverse=True)
        return Listing(threads=threads, problems=problems)

    def names(self) -> list[str]:
        """Names of all threads, without reading any of them."""
        try:
            found = [entry.name for entry in os.scandir(self.folder)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed("the threads can't be listed", error) from error
        return sorted(
            # Some file systems take names apart.
            unicodedata.normalize("NFC", file.removesuffix(_ENDING))
            for file in found
            if file.endswith(_ENDING) and not file.startswith(".")
        )

    def newest(self) -> str | None:
        """Name of the thread that was continued last, or None."""
        threads = self.listing().threads
        return threads[0].name if threads else None

    def exists(self, name: str) -> bool:
        """Whether there is a file for `name`, be it damaged."""
        path = self._path(name)
        try:
            return path.exists()
        except OSError as error:
            raise self._failed(f"the thread {name!r} can't be read", error) from error

    def read(self, name: str) -> Thread:
        """The thread of this name."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise _missing(name) from None
        except OSError as error:
            raise self._failed(f"the thread {name!r} can't be read", error) from error
        file = _decoded(path, data)
        return Thread(
            name=name,
            title=file.title,
            created=file.created,
            updated=file.updated,
            system=file.system,
            first=min(file.first, len(file.turns)),
            turns=file.turns,
        )

    def write(self, thread: Thread) -> None:
        """Save a thread, whole or not at all. The caller holds its lock."""
        path = self._path(thread.name)
        part = path.with_name(f".{path.name}.part")
        try:
            data = b"".join(_lines(thread))
            self._prepare()
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    # A rename must not show an empty file after a power cut.
                    os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                with suppress(OSError):
                    part.unlink()
                raise
        except UnicodeEncodeError as error:
            raise ThreadError(
                f"the thread {thread.name!r} can't be saved: its text is not valid Unicode"
            ) from error
        except OSError as error:
            raise self._failed(f"the thread {thread.name!r} can't be saved", error) from error

    def delete(self, name: str) -> None:
        """Delete a thread. Raises `ThreadBusy` while it answers, `ThreadError` if there is none."""
        if not self.exists(name):
            raise _missing(name)
        path = self._path(name)
        with self.hold(name):
            try:
                path.unlink(missing_ok=True)
                path.with_name(f".{path.name}.part").unlink(missing_ok=True)
            except OSError as error:
                raise self._failed(f"the thread {name!r} can't be deleted", error) from error

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Be the only one who changes a thread. Raises `ThreadBusy` if another is.

        The lock's file has the thread's name, which has its title: it goes with the thread.
        """
        path = self._path(name)
        file = path.with_name(f".{path.stem}.lock")
        try:
            self._prepare()
            handle = _locked(file)
        except BlockingIOError:
            raise ThreadBusy(
                f"the thread {name!r} answers another question: wait for it, or cancel that one"
            ) from None
        except OSError as error:
            raise self._failed(f"the thread {name!r} can't be changed", error) from error
        try:
            yield
        finally:
            with suppress(OSError):
                # While it is held: `_locked` of others then finds another file, or none.
                if not path.exists():
                    file.unlink()
            os.close(handle)
            if sys.platform == "win32" and not path.exists():
                # There an open file can't be removed; one that others have opened stays.
                with suppress(OSError):
                    file.unlink()

    def _prepare(self) -> None:
        try:
            paths.private_dir(self.folder)
        except LocalError as error:
            raise ThreadError(str(error)) from error

    def _summary(self, name: str) -> Summary:
        path = self._path(name)
        try:
            with path.open("rb") as file:
                line = file.readline(_MAX_HEAD)
                try:
                    head: _Head = msgspec.json.decode(line.removesuffix(b",\n") + b"}", type=_Head)
                    _check_format(path, head.format)
                except _UNREADABLE:
                    # Written by another hand, or damaged.
                    head = _decoded(path, line + file.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(f"the thread {name!r} can't be read", error) from error
        count = len(head.turns) if isinstance(head, _File) else head.count
        return Summary(name=name, title=head.title, updated=head.updated, turns=count)

    def _path(self, name: str) -> Path:
        return self.folder / (thread_names.checked(name) + _ENDING)

    def _failed(self, what: str, error: OSError) -> ThreadError:
        reason = (error.strerror or str(error)).lower()
        return ThreadError(f"{what} in {self.folder}: {reason}")


def _decoded(path: Path, data: bytes) -> _File:
    try:
        file = msgspec.json.decode(data, type=_File)
    except _UNREADABLE as error:
        with suppress(*_UNREADABLE):
            _check_format(path, msgspec.json.decode(data, type=_Format).format)
        raise ThreadError(
            f"the thread file {path} is damaged ({error}): mend it, or delete it with "
            f"`ingle threads rm {path.stem}`"
        ) from error
    _check_format(path, file.format)
    return file


def _check_format(path: Path, number: int) -> None:
    if number > FORMAT:
        raise ThreadError(
            f"the thread file {path} was written by a newer ingle: upgrade this one "
            "(`pip install -U ingle`)"
        )


def _missing(name: str) -> ThreadError:
    return ThreadError(f"there is no thread {name!r}: see `ingle threads`")


def _lines(thread: Thread) -> Iterator[bytes]:
    """One JSON object, cut into lines."""
    head = _Head(
        title=thread.title,
        created=thread.created.astimezone(UTC),
        updated=thread.updated.astimezone(UTC),
        count=len(thread.turns),
    )
    yield msgspec.json.encode(head).removesuffix(b"}") + b",\n"
    yield b'"system":%s,"first":%d,"turns":[' % (msgspec.json.encode(thread.system), thread.first)
    yield b",".join(b"\n" + msgspec.json.encode(turn) for turn in thread.turns)
    yield b"\n]}\n"


def _locked(file: Path) -> int:
    """The handle of a lock that is ours. Raises `BlockingIOError`."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock(handle)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), file.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        # Its owner deleted the file with the thread: what we hold is nobody's any more.
        os.close(handle)
