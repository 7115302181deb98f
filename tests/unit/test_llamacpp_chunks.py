"""Reading llama.cpp's stream: chunks as it sends them, no model needed."""

from __future__ import annotations

import threading
from typing import Any

from ingled.engines.engine import Failed, Finished, Job, Prefill, Tokens
from ingled.engines.llamacpp import ChunkReader


def chunk(text: str, ids: list[int], predicted: int, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"text": text, "finish_reason": more.pop("finish", None)}],
        "__verbose": {"tokens": ids, "tokens_predicted": predicted, **more},
    }


def reader(retokenized: list[int] | None = None, **job: Any) -> ChunkReader:
    return ChunkReader(
        Job(id=7, prompt=[1, 2, 3], max_tokens=9, **job),
        threading.Event(),
        lambda text: retokenized or [],
    )


def test_tokens_prefill_and_end() -> None:
    read = reader()
    progress = {"processed": 2, "total": 3, "cache": 1}
    assert read.read(chunk("", [0], 0, prompt_progress=progress)) == [
        Prefill(job=7, processed=2, total=3, cached=1)
    ]
    assert read.read(chunk("hi", [40], 1)) == [Tokens(job=7, ids=[40], text="hi")]
    timings = {"cache_n": 1, "prompt_ms": 5.0, "predicted_ms": 7.0}
    assert read.read(chunk("", [], 1, finish="length", timings=timings)) == []
    assert read.end() == Finished(
        job=7,
        reason="length",
        prompt_tokens=3,
        cached_tokens=1,
        completion_tokens=1,
        prefill_ms=5.0,
        decode_ms=7.0,
    )


def test_ids_inside_a_character_are_found_again_from_its_text() -> None:
    read = reader(retokenized=[10, 11, 12])
    (event,) = read.read(chunk("😀", [12], 3))
    assert event == Tokens(job=7, ids=[10, 11, 12], text="😀")
    assert isinstance(read.end(), Finished)


def test_an_ambiguous_character_keeps_its_text_whole() -> None:
    (event,) = reader(retokenized=[99]).read(chunk("😀", [12], 3))
    assert isinstance(event, Tokens)
    assert (event.ids, event.text) == ([99], "😀")


def test_cancel_stops_at_the_next_chunk_even_in_prefill() -> None:
    cancelled = threading.Event()
    read = ChunkReader(Job(id=7, prompt=[1], max_tokens=9), cancelled, lambda text: [])
    read.read(chunk("a", [4], 1))
    assert not read.stopped
    cancelled.set()
    assert read.read(chunk("b", [5], 2)) == []
    assert read.stopped
    last = read.end()
    assert isinstance(last, Finished)
    assert (last.reason, last.completion_tokens) == ("cancelled", 1)


def test_a_stop_id_ends_the_job() -> None:
    read = reader(stop_ids=[55])
    read.read(chunk("", [55], 1))
    assert read.stopped
    last = read.end()
    assert isinstance(last, Finished)
    assert last.reason == "stop"


def test_refusals_become_people_s_words() -> None:
    read = reader()
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 1024}
    assert read.read({"error": error}) == []
    last = read.end()
    assert isinstance(last, Failed)
    assert last.code == "context_overflow"
    assert "5000" in last.message
    assert "1024" in last.message
    read = reader()
    read.read({"error": {"type": "invalid_request_error", "message": "secret prompt text"}})
    last = read.end()
    assert isinstance(last, Failed)
    assert "secret" not in last.message
