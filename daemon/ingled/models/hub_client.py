"""Talk with the Hugging Face hub, or a mirror of it: a repository's facts and its bytes.

Owns everything that comes from `huggingface_hub` (addresses, tokens, the HTTP session), which is
imported only when a client is made, and turns what can go wrong into `TryAgain` or `StoreError`.
It keeps no state of a download and writes nothing to the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from ingle.errors import StoreError
from ingle.version import __version__

from .catalog import is_safe_path

DEFAULT_ENDPOINT = "https://huggingface.co"
#: Seconds without an answer, or without a byte, after which a connection counts as lost.
TIMEOUT = 30.0

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BUSY_STATUS = (408, 425, 429)


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of the repository at one commit."""

    path: str
    size: int
    #: Hex; exactly one of the two is set: large (LFS) files have a SHA-256, small ones a blob id.
    sha256: str = ""
    git_blob: str = ""


class TryAgain(Exception):
    """A failure that may pass; the text says what happened."""


class HubClient:
    """One repository. `HF_ENDPOINT`, `HF_TOKEN` and the library's other settings count."""

    def __init__(self, repo: str) -> None:
        # No user statistics; before the import, because the library reads it only then. Who
        # imported it earlier would have versions of other packages in the user agent.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        agent = {"user-agent": f"ingle/{__version__}"}
        try:
            hub: Any = import_module("huggingface_hub")
            utils: Any = import_module("huggingface_hub.utils")
            self._errors: Any = import_module("huggingface_hub.errors")
        except ImportError as error:
            raise StoreError(
                f"pulling {repo} needs the huggingface_hub package: run `pip install 'ingle[hub]'`"
            ) from error
        self.repo = repo
        self.endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        # httpx or httpx2, by the library's version: both call their root error so.
        self._http_error: type[BaseException] = self._errors.HfHubHTTPError.__mro__[1]
        self._api = hub.HfApi(endpoint=self.endpoint, headers=agent)
        self._file_url = hub.hf_hub_url
        self._session = utils.get_session()
        # Compressed bytes could be neither counted nor resumed.
        self._headers = utils.build_hf_headers(headers=agent) | {"Accept-Encoding": "identity"}

    def files(self, revision: str, patterns: list[str]) -> tuple[str, list[RemoteFile]]:
        """The commit that `revision` is now, and the files there that the patterns choose.

        Raises `TryAgain`, `StoreError`.
        """
        with self._network_errors():
            try:
                info = self._api.model_info(
                    self.repo, revision=revision, files_metadata=True, timeout=TIMEOUT
                )
            except (LookupError, TypeError, ValueError) as error:
                # Some of the library's HTTP errors are also `ValueError`s.
                if isinstance(error, self._errors.HfHubHTTPError):
                    raise
                raise self._no_hub(self.repo) from error
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise self._no_hub(self.repo)
        siblings = info.siblings or []
        chosen = [file for file in siblings if matches(file.rfilename, patterns)]
        if not chosen:
            names = ", ".join(sorted(file.rfilename for file in siblings)[:8]) or "nothing"
            raise StoreError(
                f"{self.repo} has no file like {' or '.join(patterns)} (it has {names}): "
                "update ingle, its catalog is out of date"
            )
        return info.sha, [self._remote_file(file) for file in chosen]

    @contextmanager
    def open(self, commit: str, path: str, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Stream a file from byte `start`; yields where the stream really starts, and its pieces.

        A server that can't resume starts at 0. Raises `TryAgain`, `StoreError`.
        """
        url = self._file_url(self.repo, path, revision=commit, endpoint=self.endpoint)
        headers = self._headers | ({"Range": f"bytes={start}-"} if start else {})
        with (
            self._network_errors(),
            self._session.stream(
                "GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT
            ) as response,
        ):
            if response.status_code not in (200, 206):
                raise self._status_error(response.status_code, f"{self.repo} {path}")
            yield start if response.status_code == 206 else 0, response.iter_bytes()

    def _remote_file(self, sibling: Any) -> RemoteFile:
        """The facts of one file, checked: they come from outside and make up paths here."""
        path, lfs = sibling.rfilename, sibling.lfs
        size = lfs.size if lfs else sibling.size
        checksum, pattern = (lfs.sha256, _SHA256) if lfs else (sibling.blob_id, _COMMIT)
        if not is_safe_path(path):
            raise StoreError(
                f"{self.repo} has a file with an unsafe name ({path!r}): don't use this source"
            )
        if not (isinstance(size, int) and size >= 0):
            raise self._no_hub(f"{self.repo} {path}")
        if not (isinstance(checksum, str) and pattern.fullmatch(checksum)):
            raise self._no_hub(f"{self.repo} {path}")
        if lfs:
            return RemoteFile(path=path, size=size, sha256=checksum)
        return RemoteFile(path=path, size=size, git_blob=checksum)

    @contextmanager
    def _network_errors(self) -> Iterator[None]:
        try:
            yield
        except self._errors.OfflineModeIsEnabled as error:
            raise StoreError(
                "HF_HUB_OFFLINE is set, so nothing can be pulled: unset it and pull again"
            ) from error
        except self._errors.HfHubHTTPError as error:
            raise self._status_error(error.response.status_code, self.repo) from error
        except self._http_error as error:
            reason = str(error) or type(error).__name__
            raise TryAgain(f"connection to {self.endpoint} lost ({reason})") from error

    def _status_error(self, status: int, what: str) -> StoreError | TryAgain:
        if status >= 500 or status in _BUSY_STATUS:
            return TryAgain(f"{self.endpoint} answered {status} for {what}")
        if status in (401, 403):
            return StoreError(
                f"{self.endpoint} refuses {what} ({status}): if it needs an account, "
                "run `hf auth login` or set HF_TOKEN"
            )
        return StoreError(
            f"{self.endpoint} has no {what} (answer {status}): "
            "check HF_ENDPOINT, or update ingle: the hub may have moved it"
        )

    def _no_hub(self, what: str) -> StoreError:
        return StoreError(
            f"{self.endpoint} gives no usable facts about {what}: check HF_ENDPOINT, "
            "it must be a hub or a full mirror of one"
        )


def matches(path: str, patterns: list[str]) -> bool:
    """Whether a pattern fits the whole path, folder by folder, in any letter case."""
    parts = path.lower().split("/")
    return any(
        len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
        for wanted in (pattern.lower().split("/") for pattern in patterns)
    )
