"""The tokenizer over llama.cpp's server: control tokens stay text, memory stays bounded."""

from __future__ import annotations

from typing import Any

from ingled.engines import llamacpp_http
from ingled.engines.llamacpp_http import ServerTokenizer, UnixServer

START = 900


class Server(UnixServer):
    """Answers as llama.cpp does: one id a character; `<|start|>` is a token even in plain text."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def post(self, path: str, body: dict[str, Any]) -> Any:
        assert path == "/tokenize"
        text = body["content"]
        self.asked.append(text)
        tokens: list[dict[str, Any]] = []
        while text:
            if text.startswith("<|start|>"):
                piece, token = "<|start|>", START
            else:
                piece, token = text[0], ord(text[0])
            tokens.append({"id": token, "piece": piece})
            text = text[len(piece) :]
        return {"tokens": tokens if body.get("with_pieces") else [t["id"] for t in tokens]}


def test_a_user_defined_token_in_plain_text_stays_text() -> None:
    tokenizer = ServerTokenizer(Server())
    ids = tokenizer.encode("a<|start|>b")
    assert ids == [ord(letter) for letter in "a<|start|>b"]
    assert tokenizer.special("<|start|>") == START
    assert tokenizer.special("a") is None


def test_a_text_is_asked_for_once() -> None:
    server = Server()
    tokenizer = ServerTokenizer(server)
    first = tokenizer.encode("a conversation's turn")
    first.append(0)
    assert tokenizer.encode("a conversation's turn") == first[:-1]
    assert server.asked == ["a conversation's turn"]


def test_what_was_not_used_for_long_is_forgotten(monkeypatch: Any) -> None:
    monkeypatch.setattr(llamacpp_http, "REMEMBERED_CHARACTERS", 10)
    server = Server()
    tokenizer = ServerTokenizer(server)
    for text in ("aaaa", "bbbb", "aaaa", "cccc", "aaaa", "bbbb"):
        tokenizer.encode(text)
    assert server.asked == ["aaaa", "bbbb", "cccc", "bbbb"]
    tokenizer.encode("longer than everything that fits")
    tokenizer.encode("longer than everything that fits")
    assert len(server.asked) == 6
