"""Requests that the measurements send; greedy, so that every run does the same work."""

from __future__ import annotations

from typing import Any

from ingle.messages import ChatMessage

_FILLER = (
    "The keeper of the lighthouse wrote down the weather every evening, and the ships that went "
    "by, and what the gulls did before a storm. "
)


def long_answer(tokens: int) -> dict[str, Any]:
    """A question whose answer is longer than `tokens`."""
    return _chat("Tell me a long story about a lighthouse keeper and a whale.", tokens)


def warm_prompt(_number: int) -> dict[str, Any]:
    """The same text every time: all but its last token is in the prefix cache."""
    return _chat(_FILLER * 4, 4)


def cold_prompt(number: int) -> dict[str, Any]:
    """A text that differs from its first words on."""
    words = " ".join(f"{(number * 7919 + place * 104_729) % 9973}" for place in range(12))
    return _chat(f"{words}. {_FILLER}", 4)


def long_prompt(number: int) -> dict[str, Any]:
    """A prompt that takes many prefill chunks, and that nothing was computed of before."""
    return _chat(f"{number * 7919 % 9973} {number}. {_FILLER * 40}", 4)


def _chat(text: str, tokens: int) -> dict[str, Any]:
    return {
        "messages": [ChatMessage(role="user", content=text)],
        "max_tokens": tokens,
        "temperature": 0.0,
    }
