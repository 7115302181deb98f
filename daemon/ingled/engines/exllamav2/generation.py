"""One job on the library's generator: what is asked of it, and its results as engine events.

The generator is told ids only. It never sees text: what it would hold back for stop texts or
unfinished characters is done here, so ids arrive as they are sampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch

from ingled.dialects.text_cut import TextCut
from ingled.engines.engine import EngineEvent, Finished, Job, Prefill, Sampling, Tokens

from .tokenizer import TextStream

Reason = Literal["stop", "length", "cancelled"]


class IdsOnly:
    """What the generator asks of a tokenizer, for ids without texts."""

    def __init__(self, size: int) -> None:
        self._pieces = [""] * size
        self._size = size

    def get_vocab_size(self) -> int:
        """Ids from here on are never sampled."""
        return self._size

    def get_id_to_piece_list(self, *_: Any, **__: Any) -> list[str]:
        """No id has a text."""
        return self._pieces


def library_settings(sampling: Sampling) -> Any:
    """Sampling as `ExLlamaV2Sampler.Settings`; what is not named there is switched off."""
    from exllamav2.generator import ExLlamaV2Sampler

    if sampling.temperature == 0:
        return ExLlamaV2Sampler.Settings.greedy()
    return ExLlamaV2Sampler.Settings(
        token_repetition_penalty=1.0,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=0.0 if sampling.top_p >= 1 else sampling.top_p,
        min_p=sampling.min_p,
    )


class Generation:
    """A running job."""

    def __init__(
        self, job: Job, text: TextStream, stop_ids: list[int], room: int, draft_tokens: int
    ) -> None:
        """`room` is how many tokens of answer the context has left."""
        from exllamav2.generator import ExLlamaV2DynamicJob

        self.job = job
        self._text = text
        self._stops = TextCut(job.stop_texts)
        self.library_job: Any = ExLlamaV2DynamicJob(
            input_ids=torch.tensor([job.prompt], dtype=torch.long),
            # The generator ends this much earlier, to have room for a draft.
            max_new_tokens=min(job.max_tokens, room) + draft_tokens,
            gen_settings=library_settings(job.sampling),
            seed=job.sampling.seed,
            stop_conditions=sorted({*job.stop_ids, *stop_ids}),
            return_logits=job.logprobs,
            identifier=job.id,
            # Every slot has pages of its own: nothing is ever passed over.
            max_skips=None,
        )
        #: Whether its prompt has been computed.
        self.decoding = False
        #: Set with the event that ends the job.
        self.reason: Reason | None = None
        # Of a job that goes on, the text is known; half a character or half a stop text may be
        # open at its end.
        for token in job.prompt[len(job.prompt) - job.resumed :]:
            self._stops.feed(self._text.feed(token))

    def read(self, result: dict[str, Any]) -> Iterator[EngineEvent]:
        """Events of one of the generator's results."""
        if result["stage"] == "prefill":
            yield Prefill(
                job=self.job.id,
                # The last token of a prompt is computed with the first step of decode.
                processed=result["curr_progress"] + 1,
                total=result["max_progress"] + 1,
                cached=self._cached(),
            )
        elif result["stage"] == "streaming":
            yield from self._tokens(result)

    def finished(self, reason: Reason) -> Finished:
        """The last event."""
        job = self.library_job
        begun, first, last = job.time_first_prefill, job.time_first_token, job.time_last_token
        return Finished(
            job=self.job.id,
            reason=reason,
            prompt_tokens=len(self.job.prompt),
            cached_tokens=self._cached(),
            completion_tokens=job.new_tokens,
            prefill_ms=_milliseconds(begun, first),
            decode_ms=_milliseconds(first, last),
        )

    def _tokens(self, result: dict[str, Any]) -> Iterator[EngineEvent]:
        ids, logprobs = _sampled(result)
        # A stop id comes among what is held back.
        more_ids, more_logprobs = _sampled(result.get("held", {}))
        ids, logprobs = ids + more_ids, logprobs + more_logprobs
        text = self._stops.feed("".join(self._text.feed(token) for token in ids))
        if result["eos"]:
            self.reason = "length" if result["eos_reason"] == "max_new_tokens" else "stop"
            text += self._stops.finish()
        if self._stops.met:
            self.reason = "stop"
        if ids:
            yield Tokens(job=self.job.id, ids=ids, text=text, logprobs=logprobs)

    def _cached(self) -> int:
        job = self.library_job
        pages: int = job.cached_pages * job.generator.page_size + job.cached_tokens
        return pages


def _sampled(part: dict[str, Any]) -> tuple[list[int], list[float]]:
    """Ids and, where logits were asked for, natural logarithms of their probabilities."""
    if "token_ids" not in part:
        return [], []
    ids = part["token_ids"][0]
    if "logits" not in part:
        return ids.tolist(), []
    likelihoods = part["logits"][0].float().log_softmax(-1)
    return ids.tolist(), likelihoods.gather(1, ids[:, None])[:, 0].tolist()


def _milliseconds(begin: float | None, end: float | None) -> float:
    return 0.0 if begin is None or end is None else max(0.0, (end - begin) * 1000)
