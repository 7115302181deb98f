"""How fast the card is with gpt-oss, and how near to what its memory allows.

With a model: the engine itself, as the daemon runs it. Without one: single layers of the real
width, which say how near to the bound they are and no more: tokens a second of a whole model don't
follow from them.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from exllamav2 import ExLlamaV2Cache

from ingle.errors import IngleError
from ingled.engines.engine import Failed, Finished, Job, ModelSpec, Tokens
from ingled.engines.exllamav2.attention import GptOssAttention
from ingled.engines.exllamav2.engine import ExLlamaV2Engine
from ingled.engines.exllamav2.mixture import GptOssMixture
from ingled.finding import Finding
from ingled.models.fit import memory_text

from . import bound
from .measure import median_seconds
from .resident import layers_of, resident
from .setup import Setup, synchronize
from .synthetic import Model

#: Tokens in the cache while single layers are timed.
_CONTEXT = 1024
#: Bytes of a cached value with its part of a scale, by type of the cache; q6 has keys of 8 bits.
_VALUE_BYTES = {"fp16": 2.0, "q8": 1.0625, "q6": 0.8125, "q4": 0.5625}


def bandwidth(setup: Setup) -> tuple[float, Finding]:
    """Bytes a second of a copy on the card, read and written counted."""
    source = torch.ones((setup.sizes.copied,), dtype=torch.uint8, device=setup.device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), inside=10)
    rate = 2 * setup.sizes.copied / seconds
    return rate, Finding(
        check="speed",
        grade="ok",
        text=f"memory: {rate / 1e9:,.0f} GB a second",
        figures={"bandwidth_bytes_per_s": rate},
    )


def check_layers(setup: Setup, model: Model, rate: float) -> Iterator[Finding]:
    """A finding for attention and one for the mixture: one token, then four."""
    kind = model.config["quantization_config"]["quant_method"].upper()
    with resident(model.folder, tokens=2 * _CONTEXT, chunk=64, batch=4) as loaded:
        for name, layer in (
            ("attention", layers_of(loaded, GptOssAttention)[-1]),
            ("mixture", layers_of(loaded, GptOssMixture)[-1]),
        ):
            parts, figures = [], {}
            for count in (1, 4):
                seconds = _layer_seconds(setup, loaded, layer, count)
                least = bound.layer_bytes(layer, context=_CONTEXT, sequences=count) / rate
                parts.append(f"{count} at a time {seconds * 1e6:,.0f} µs ({least / seconds:.0%})")
                figures[f"seconds_{count}"] = seconds
                figures[f"of_bound_{count}"] = least / seconds
            text = f"one {kind} {name} layer: {', '.join(parts)} of what memory allows"
            yield Finding(check="speed", grade="ok", text=text, figures=figures)


def _layer_seconds(setup: Setup, loaded: Any, layer: Any, count: int) -> float:
    states = setup.normal(setup.generator(), count, 1, setup.sizes.hidden)
    if isinstance(layer, GptOssMixture):
        return median_seconds(lambda: layer.forward(states), inside=20, times=20, warm_up=30)
    cache = ExLlamaV2Cache(loaded, batch_size=count, max_seq_len=2 * _CONTEXT)
    params = layer.Params(count, 1, _CONTEXT, None, None)
    # The library chooses its kernels by the first 400 steps, and records a graph at the 205th.
    warm_up = 450 if setup.sizes.calls > 205 else 3
    return median_seconds(
        lambda: layer.forward(states, cache=cache, attn_params=params, past_len=_CONTEXT),
        inside=20,
        times=20,
        warm_up=warm_up,
    )


def check_model(
    folder: Path, rate: float, *, answer: int = 128, prompts: tuple[int, ...] = (512, 2048)
) -> Iterator[Finding]:
    """Load a model with the engine and time it: answers of `answer` tokens, `prompts` tokens long.

    A model that isn't loaded, because it doesn't fit beside what is there, is a skip.
    """
    engine = ExLlamaV2Engine()
    context = max(prompts) + 2 * answer
    spec = ModelSpec(name=folder.name, path=folder, context=context, slots=4)
    begin = time.perf_counter()
    torch.cuda.reset_peak_memory_stats()
    free_before, _ = torch.cuda.mem_get_info()
    try:
        capabilities = engine.load(spec, lambda _share, _text: None)
    except IngleError as error:
        yield Finding(check="speed", grade="skip", text=f"{folder.name} is not timed: {error}")
        return
    try:
        seconds = time.perf_counter() - begin
        text = f"{folder.name} is loaded in {seconds:.1f} s on {capabilities.device}"
        yield Finding(check="speed", grade="ok", text=text, figures={"load_s": seconds})
        timing = _Timing(engine, answer)
        for tokens in prompts:
            yield _first_token(timing, tokens)
        for count in sorted({1, capabilities.slots}):
            yield _decode(timing, rate, count, context=min(prompts))
        yield _memory(engine, free_before)
    finally:
        engine.unload()


class _Timing:
    """Runs jobs on an engine and takes the time of their tokens."""

    def __init__(self, engine: ExLlamaV2Engine, answer: int) -> None:
        self.engine = engine
        self.answer = answer
        self._numbers = itertools.count(1)
        self._source = _source_tokens(engine)

    def prompt(self, tokens: int) -> list[int]:
        """Program text; every prompt begins otherwise, so that nothing of it is cached."""
        start = next(self._numbers) * 977 % len(self._source)
        endless = itertools.cycle(self._source)
        return list(itertools.islice(endless, start, start + tokens))

    def run(self, prompts: list[list[int]], answer: int) -> tuple[float, list[float]]:
        """Seconds to the first token, and when each step of decode came, of jobs run together."""
        synchronize()
        begin = time.perf_counter()
        for prompt in prompts:
            self.engine.submit(Job(id=next(self._numbers), prompt=prompt, max_tokens=answer))
        left, times = len(prompts), []
        while left:
            events = self.engine.step(1.0)
            now = time.perf_counter()
            for event in events:
                if isinstance(event, Failed):
                    raise RuntimeError(event.message)
                left -= isinstance(event, Finished)
            came = sum(isinstance(event, Tokens) for event in events)
            if came == len(prompts):
                times.append(now)
        return (times[0] - begin if times else float("nan")), times


def _first_token(timing: _Timing, tokens: int) -> Finding:
    timing.run([timing.prompt(tokens)], 1)
    seconds = statistics.median(timing.run([timing.prompt(tokens)], 1)[0] for _ in range(3))
    text = (
        f"first token after {seconds * 1000:,.0f} ms for a prompt of {tokens:,} "
        f"({tokens / seconds:,.0f} tokens a second)"
    )
    figures = {
        "prompt_tokens": tokens,
        "first_token_s": seconds,
        "prefill_tokens_per_s": tokens / seconds,
    }
    return Finding(check="speed", grade="ok", text=text, figures=figures)


def _decode(timing: _Timing, rate: float, count: int, *, context: int) -> Finding:
    steps: list[float] = []
    for _ in range(3):
        _, times = timing.run([timing.prompt(context) for _ in range(count)], timing.answer)
        steps += [after - before for before, after in itertools.pairwise(times)]
    if not steps:
        text = f"{count} at a time: the model ended its answers at once, decode is not timed"
        return Finding(check="speed", grade="warn", text=text)
    seconds = statistics.median(steps)
    resident = timing.engine._resident
    least = (
        bound.step_bytes(
            resident.model,
            context=context + timing.answer // 2,
            sequences=count,
            cache_bytes=_VALUE_BYTES[resident.fit.plan.cache],
        )
        / rate
    )
    text = (
        f"{count} at a time: {count / seconds:,.1f} tokens a second, "
        f"{least / seconds:.0%} of what memory allows"
    )
    figures = {
        "sequences": count,
        "decode_tokens_per_s": count / seconds,
        "step_s": seconds,
        "of_bound": least / seconds,
    }
    return Finding(check="speed", grade="ok", text=text, figures=figures)


def _memory(engine: ExLlamaV2Engine, free_before: int) -> Finding:
    """What was taken at most, against what `ingle fit` computes."""
    fit = engine._resident.fit
    peak = torch.cuda.max_memory_reserved()
    free, _ = torch.cuda.mem_get_info()
    figures = {
        "computed_bytes": fit.needed,
        "peak_reserved_bytes": peak,
        "taken_bytes": free_before - free,
    }
    right = peak <= fit.needed
    text = f"memory: {memory_text(peak)} at most, computed {memory_text(fit.needed)}"
    remedy = "" if right else "report both figures: `ingle fit` computes too little"
    return Finding(
        check="speed", grade="ok" if right else "warn", text=text, remedy=remedy, figures=figures
    )


def _source_tokens(engine: ExLlamaV2Engine) -> list[int]:
    """Tokens of this package's own source: what programmers send."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return engine.tokenizer.encode("\n".join(file.read_text(encoding="utf-8") for file in files))
