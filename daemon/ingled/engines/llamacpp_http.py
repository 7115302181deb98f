"""Small questions to llama.cpp's own server: properties, tokenize, detokenize.

They go over its unix socket (loopback TCP where there are none), never by text that could carry
control tokens: `parse_special` is off.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ingle.errors import InvalidRequest

#: How control tokens are written. No ordinary token looks like this.
_CONTROL = re.compile(r"<\|[^|]+\|>")
#: Characters of the texts whose ids are remembered.
REMEMBERED_CHARACTERS = 2_000_000


class _Remembered:
    """Texts and their ids, the least recently used forgotten first. Safe from any thread."""

    def __init__(self, characters: int) -> None:
        self._room = characters
        self._ids: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> tuple[int, ...] | None:
        with self._lock:
            if text not in self._ids:
                return None
            self._ids.move_to_end(text)
            return self._ids[text]

    def put(self, text: str, ids: tuple[int, ...]) -> None:
        with self._lock:
            if text not in self._ids:
                self._room -= len(text)
            self._ids[text] = ids
            while self._room < 0:
                forgotten, _ = self._ids.popitem(last=False)
                self._room += len(forgotten)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class UnixServer:
    """A JSON client of one server; every call has a connection of its own."""

    def __init__(self, address: str, key: str) -> None:
        """`address` is xllamacpp's `listening_address`: `unix://PATH` or `http://HOST:PORT`."""
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def get(self, path: str) -> Any:
        """GET a JSON document."""
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST a JSON document, get one."""
        return self._call("POST", path, json.dumps(body, ensure_ascii=False).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        connection = self._connect()
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"llama.cpp answered {response.status} to {path}")
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        scheme, _, rest = self._address.partition("://")
        if scheme == "unix":
            return _UnixConnection(rest)
        host, _, port = rest.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=60)


class ServerTokenizer:
    """The loaded model's tokenizer, asked over the server's socket."""

    def __init__(self, server: UnixServer) -> None:
        self._server = server
        self._known = _Remembered(REMEMBERED_CHARACTERS)
        self.special = lru_cache(maxsize=4096)(self._special)

    def encode(self, text: str) -> list[int]:
        """Plain text → ids; control tokens in it stay text.

        Recent texts are remembered: every request of a conversation brings all of its turns.
        """
        ids = self._known.get(text)
        if ids is None:
            ids = self._encode(text)
            self._known.put(text, ids)
        return list(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids → text."""
        content: str = self._server.post("/detokenize", {"tokens": list(ids)})["content"]
        return content

    def _encode(self, text: str) -> tuple[int, ...]:
        if not text:
            return ()
        request = {"content": text, "parse_special": False, "add_special": False}
        # llama.cpp declares some of gpt-oss's control tokens "user defined", and those it finds in
        # plain text too. Their pieces give them away.
        suspicious = "<|" in text
        try:
            answer = self._server.post("/tokenize", request | {"with_pieces": suspicious})
        except UnicodeEncodeError as error:
            raise InvalidRequest("the text has a lone surrogate: it is not valid Unicode") from (
                error
            )
        if not suspicious:
            return tuple(answer["tokens"])
        ids: list[int] = []
        for token in answer["tokens"]:
            piece = token["piece"]
            if isinstance(piece, str) and _CONTROL.fullmatch(piece):
                ids += self.encode(piece[:1]) + self.encode(piece[1:])
            else:
                ids.append(token["id"])
        return tuple(ids)

    def _special(self, text: str) -> int | None:
        answer = self._server.post(
            "/tokenize", {"content": text, "parse_special": True, "add_special": False}
        )
        ids = answer["tokens"]
        # An ordinary word may be a single token too; a control token is one that plain
        # tokenization does not give.
        return ids[0] if len(ids) == 1 and tuple(ids) != self._encode(text) else None
