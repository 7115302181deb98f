"""A Hugging Face hub on loopback, for tests: facts of repositories, files, faults on demand.

Speaks what a pull uses: `GET /api/models/REPO[/revision/REV]?blobs=true`, and
`GET|HEAD /REPO/resolve/REV/PATH` with the hub's headers. Large (LFS) files are redirected to
another host name, as the hub redirects to its content network.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

COMMIT = "c0ffee" + "0" * 34


@dataclass(kw_only=True)
class Fault:
    """Something that goes wrong with the next request for a file or for the facts."""

    #: Answer with this status and no file.
    status: int = 0
    #: Close the connection after this many bytes of the body.
    cut_after: int | None = None
    #: Send these bytes instead of the file's.
    body: bytes | None = None
    #: Ignore a `Range` header.
    ignore_range: bool = False
    #: After `cut_after` bytes wait for `HubServer.release` instead of closing.
    stall: bool = False
    #: Stays for all later requests.
    forever: bool = False


@dataclass(kw_only=True)
class HubFile:
    data: bytes
    lfs: bool = True
    #: What the facts announce; None for the truth.
    sha256: str | None = None

    def facts(self, path: str) -> dict[str, object]:
        facts: dict[str, object] = {
            "rfilename": path,
            "size": len(self.data),
            "blobId": hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest(),
        }
        if self.lfs:
            facts["lfs"] = {
                "size": len(self.data),
                "sha256": self.sha256 or hashlib.sha256(self.data).hexdigest(),
                "pointerSize": 130,
            }
        return facts


@dataclass(kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


@dataclass
class HubServer:
    """`with HubServer() as hub:`; then `hub.files`, `hub.faults` and `hub.requests`."""

    repo: str = "someone/model"
    commit: str = COMMIT
    files: dict[str, HubFile] = field(default_factory=dict)
    #: File path, or "facts" → what goes wrong, in order.
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    #: Replaces the facts' JSON text.
    facts: bytes | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            pass

        Handler.server_state = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def file_requests(self, path: str) -> list[Request]:
        """The requests that were answered with bytes of the file, or should have been."""
        return [
            request
            for request in self.requests
            if request.path.endswith("/" + path) and "/content/" in request.path
        ]

    def next_fault(self, key: str) -> Fault:
        waiting = self.faults.get(key, [])
        if not waiting:
            return Fault()
        return waiting[0] if waiting[0].forever else waiting.pop(0)


class _Handler(BaseHTTPRequestHandler):
    server_state: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        hub = self.server_state
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append(Request(method=self.command, path=path, headers=headers))
        if re.fullmatch(rf"/api/models/{re.escape(hub.repo)}(/revision/[^/]+)?", path):
            self._facts(hub)
            return
        found = re.fullmatch(rf"(/content)?/{re.escape(hub.repo)}/resolve/([^/]+)/(.+)", path)
        if found is None or found[3] not in hub.files or found[2] not in ("main", hub.commit):
            self._send(404, b"not found", {"X-Error-Code": "EntryNotFound"})
            return
        self._file(hub, found[3], hub.files[found[3]], content=bool(found[1]))

    def _facts(self, hub: HubServer) -> None:
        fault = hub.next_fault("facts")
        if fault.status:
            self._send(fault.status, b"no facts today", {})
            return
        facts = {
            "_id": "0",
            "id": hub.repo,
            "sha": hub.commit,
            "private": False,
            "tags": [],
            "downloads": 0,
            "siblings": [file.facts(path) for path, file in hub.files.items()],
        }
        body = hub.facts if hub.facts is not None else json.dumps(facts).encode()
        self._send(200, body, {"Content-Type": "application/json"})

    def _file(self, hub: HubServer, path: str, file: HubFile, *, content: bool) -> None:
        headers = {
            "X-Repo-Commit": hub.commit,
            "ETag": f'"{hashlib.sha1(file.data).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        if file.lfs:
            headers["X-Linked-Size"] = str(len(file.data))
            headers["X-Linked-ETag"] = f'"{hashlib.sha256(file.data).hexdigest()}"'
        if not content:
            # Another name of this host: a token must not follow there.
            host = f"http://localhost:{hub.port}" if file.lfs else ""
            location = f"{host}/content{urllib.parse.urlsplit(self.path).path}"
            self._send(302, b"", headers | {"Location": location})
            return
        fault = hub.next_fault(path)
        if fault.status:
            self._send(fault.status, b"no file today", headers)
            return
        body, status = file.data if fault.body is None else fault.body, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is not None and not fault.ignore_range:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self._send(status, body, headers, fault)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None
    ) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = fault.cut_after if fault is not None and fault.cut_after is not None else len(body)
        try:
            self.wfile.write(body[:cut])
            if fault is not None and fault.stall:
                self.wfile.flush()
                self.server_state.stalled.set()
                self.server_state.release.wait()
        except ConnectionError:
            # The client was interrupted, as some tests want.
            return
