"""A whole small model of gpt-oss's real width, on every path the engine takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from exllamav2 import ExLlamaV2Cache
from exllamav2 import attn as library

from ingled.finding import Finding

from . import reference
from .measure import divergence
from .products import REMEDY
from .resident import resident
from .setup import Setup
from .synthetic import Model

#: Nats per token. Simulated with the error of half-precision sums: 1e-4; with a window of one
#: token more or no sinks: 3e-2 and more, at small sizes.
MEAN, MAX = 1.5e-3, 3e-2
_PAGE = 256

Way = Callable[[Setup, Any, torch.Tensor], torch.Tensor]


def check(setup: Setup, model: Model) -> Iterator[Finding]:
    """One finding for every way through the model, with flash-attn and without."""
    sizes = setup.sizes
    generator = setup.generator()
    ids = torch.randint(0, sizes.vocabulary, (2, sizes.tokens), generator=generator)
    wanted = torch.cat(
        [reference.logits(model.config, model.weights, row[None].to(setup.device)) for row in ids]
    )
    ways: dict[str, Way] = {
        "prefill": _prefill,
        "prefill in chunks": _chunks,
        f"{sizes.decoded} tokens decoded": _decode,
    }
    pages = -(-sizes.tokens // _PAGE)
    with resident(model.folder, tokens=2 * pages * _PAGE, chunk=sizes.tokens, batch=2) as loaded:
        if library.has_flash_attn_with_paged:
            found = _paged(setup, loaded, ids)
            yield _finding(model, "two requests in pages", divergence(found, wanted))
        for flash in (True, False) if library.has_flash_attn else (False,):
            loaded.config.no_flash_attn = not flash
            for name, way in ways.items():
                found = way(setup, loaded, ids[:1])
                how = f"{name}, {'flash-attn' if flash else 'torch'}"
                yield _finding(model, how, divergence(found.to(setup.device), wanted[:1]))


def _finding(model: Model, how: str, found: torch.Tensor) -> Finding:
    kind = model.config["quantization_config"]["quant_method"].upper()
    mean, largest = float(found.mean()), float(found.max())
    figures = {"divergence_mean": mean, "divergence_max": largest}
    values = f"divergence {mean:.1e}, at most {largest:.1e}"
    if mean <= MEAN and largest <= MAX:
        text = f"{kind}, {how}: {values}"
        return Finding(check="model", grade="ok", text=text, figures=figures)
    text = f"{kind}, {how}: {values}; allowed are {MEAN:.1e} and {MAX:.1e}"
    return Finding(check="model", grade="fail", text=text, remedy=REMEDY, figures=figures)


def _prefill(setup: Setup, loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    return _in_pieces(loaded, ids, [setup.sizes.tokens])


def _chunks(setup: Setup, loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    size = setup.sizes.tokens // 4 - 3
    count, rest = divmod(setup.sizes.tokens, size)
    return _in_pieces(loaded, ids, [size] * count + ([rest] if rest else []))


def _decode(setup: Setup, loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    decoded = setup.sizes.decoded
    return _in_pieces(loaded, ids, [setup.sizes.tokens - decoded] + [1] * decoded)


def _in_pieces(loaded: Any, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    cache = ExLlamaV2Cache(loaded, max_seq_len=-(-ids.shape[1] // _PAGE) * _PAGE)
    return torch.cat([loaded.forward(part, cache=cache) for part in ids.split(sizes, dim=1)], dim=1)


def _paged(setup: Setup, loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    """Two prompts in pages that lie among each other, then both decoded in the same steps."""
    tokens, decoded = setup.sizes.tokens, setup.sizes.decoded
    pages = -(-tokens // _PAGE)
    cache = ExLlamaV2Cache(loaded, max_seq_len=2 * pages * _PAGE)
    table = torch.arange(2 * pages, dtype=torch.int).view(pages, 2).T.contiguous()

    def step(rows: slice, begin: int, end: int) -> torch.Tensor:
        count = table[rows].shape[0]
        params = library.ExLlamaV2Attention.PagedParams(
            batch_size=count,
            block_index=table[rows],
            cache_seqlens=torch.full((count,), begin, dtype=torch.int),
            max_cache_seqlen=begin,
            page_size=_PAGE,
            q_len=end - begin,
        )
        result = loaded.forward_chunk(ids[rows, begin:end], cache=cache, attn_params=params)
        logits: torch.Tensor = result["logits"].to(setup.device)
        return logits

    prompt = tokens - decoded
    both = [
        torch.cat([step(slice(row, row + 1), 0, prompt // 2),
                   step(slice(row, row + 1), prompt // 2, prompt)], dim=1)
        for row in range(2)
    ]  # fmt: skip
    steps = [step(slice(0, 2), at, at + 1) for at in range(prompt, tokens)]
    return torch.cat([torch.cat(both), *steps], dim=1)
