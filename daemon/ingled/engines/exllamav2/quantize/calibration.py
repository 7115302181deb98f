"""What the converter calibrates with: Harmony-formatted code work, plain code, and prose.

Half of the sequences are what ingle will ask the model: completions of real code at a cursor, with
the text that stood there, and dialogues with thoughts, answers and tool calls, all rendered by the
product's own Harmony dialect. The other half is the library's own text, so that nothing else is
forgotten. A model whose vocabulary has no Harmony tokens gets plain text only.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import torch

from ingle.messages import Chat, ChatMessage, Effort, Infill, Tool
from ingled.dialects.dialect import Budget, Defaults
from ingled.dialects.harmony import HarmonyDialect
from ingled.engines.exllamav2.tokenizer import JsonTokenizer

if TYPE_CHECKING:
    from openai_harmony import HarmonyEncoding

#: Kinds of sequences, over and over.
_PATTERN = ("harmony", "code", "harmony", "technical", "harmony", "code", "harmony", "prose")
_TEXTS = {"code": "code.utf8", "technical": "technical.utf8", "prose": "c4.utf8"}
#: Lines of a file around a cursor.
_SNIPPET, _HOLE = 40, 6
_CONTEXT = 4096
_EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")

Ids = list[int]


def sequences(
    tokenizer: JsonTokenizer, harmony: HarmonyEncoding | None, count: int, length: int
) -> torch.Tensor:
    """Token ids int64 (count, length); the same for the same model."""
    streams: dict[str, Iterator[int]] = {
        kind: _endless(lambda name=name: _chunks(tokenizer, name))  # type: ignore[misc]
        for kind, name in _TEXTS.items()
    }
    pattern = [kind for kind in _PATTERN if harmony or kind != "harmony"]
    if harmony:
        streams["harmony"] = _endless(lambda: code_work(harmony))
    kinds = islice(cycle(pattern), count)
    return torch.tensor([list(islice(streams[kind], length)) for kind in kinds])


def code_work(encoding: HarmonyEncoding) -> Iterator[Ids]:
    """Harmony conversations as the product holds them, prompt and answer."""
    dialect = HarmonyDialect(encoding)
    dialogues = cycle(_dialogues(dialect, encoding))
    for completion in _completions(dialect, encoding):
        yield completion
        yield next(dialogues)


def _completions(dialect: HarmonyDialect, encoding: HarmonyEncoding) -> Iterator[Ids]:
    # Repeatable, and no secret.
    chance = random.Random(20)  # noqa: S311
    lines = _text("code.utf8").splitlines(keepends=True)
    for begin in range(0, len(lines) - _SNIPPET, _SNIPPET):
        snippet = lines[begin : begin + _SNIPPET]
        first = chance.randrange(1, _SNIPPET - _HOLE)
        last = first + chance.randint(1, _HOLE)
        middle = "".join(snippet[first:last])
        if not middle.strip():
            continue
        request = Infill(
            id=1,
            prefix="".join(snippet[:first]),
            suffix="".join(snippet[last:]),
            multiline=last - first > 1,
        )
        prompt = dialect.infill(1, request, _budget(), Defaults()).job.prompt
        answer = encoding.encode(f"{middle.rstrip()}\n```", disallowed_special=())
        yield [*prompt, *answer, *encoding.encode("<|return|>", allowed_special="all")]


def _dialogues(dialect: HarmonyDialect, encoding: HarmonyEncoding) -> list[Ids]:
    found = []
    for number, entry in enumerate(tomllib.loads(_own("dialogues.toml"))["dialogue"]):
        request = Chat(
            id=1,
            messages=[ChatMessage(role="user", content=entry["user"])],
            effort=_EFFORTS[number % len(_EFFORTS)],
            tools=[Tool(**tool) for tool in entry.get("tools", [])],
        )
        prompt = dialect.chat(1, request, _budget(), Defaults()).job.prompt
        found.append([*prompt, *encoding.encode(_answer(entry), allowed_special="all")])
    return found


def _answer(entry: dict[str, Any]) -> str:
    text = ""
    if "analysis" in entry:
        text = f"<|channel|>analysis<|message|>{entry['analysis']}<|end|><|start|>assistant"
    if "tool" not in entry:
        return f"{text}<|channel|>final<|message|>{entry['final']}<|return|>"
    header = f" to=functions.{entry['tool']}<|channel|>commentary <|constrain|>json"
    return f"{text}{header}<|message|>{entry['arguments']}<|call|>"


def _endless(documents: Callable[[], Iterator[Ids]]) -> Iterator[int]:
    while True:
        for document in documents():
            yield from document


def _chunks(tokenizer: JsonTokenizer, name: str) -> Iterator[Ids]:
    """A text in pieces of some pages, so that its beginning is there at once."""
    text = _text(name)
    for begin in range(0, len(text), 10_000):
        yield tokenizer.encode(text[begin : begin + 10_000])


def _budget() -> Budget:
    return Budget(uncached_tokens=_CONTEXT, context=_CONTEXT)


def _text(name: str) -> str:
    return (files("exllamav2.conversion") / "standard_cal_data" / name).read_text("utf-8")


def _own(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")
