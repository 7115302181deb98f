"""Sampling and the generator's string and page helpers."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

import torch

from .registry import counted, is_none


@counted
def sample_basic(
    logits: torch.Tensor,
    temperature: float,
    top_k: int,
    top_p: float,
    top_a: float,
    min_p: float,
    tfs: float,
    typical: float,
    random: float,
    out_tokens: torch.Tensor,
    out_probs: torch.Tensor,
    out_kprobs: torch.Tensor,
    out_ktokens: torch.Tensor,
    logit_filter: torch.Tensor,
    mirostat: bool,
    mirostat_mu: list[float],
    tau: float,
    eta: float,
    post_temperature: float,
    xtc_mask: torch.Tensor,
    xtc_probability: float = 0.0,
    xtc_threshold: float = 0.1,
    min_temp: float = 0.0,
    max_temp: float = 0.0,
    temp_exponent: float = 1.0,
    smoothing_factor: float = 0.0,
    skew: float = 0.0,
) -> list[float]:
    """Temperature, top-k, top-p and min-p, in this order; `random` (0..1) picks the token."""
    assert logits.dtype == torch.float
    assert out_tokens.dtype == torch.long
    unusual = (
        mirostat
        or xtc_probability > 0
        or top_a > 0
        or 0 < tfs < 1
        or 0 < typical < 1
        or smoothing_factor > 0
        or skew
        or post_temperature != 1
        or max_temp > min_temp
    )
    if unusual:
        raise NotImplementedError("exllamav2_ext stand-in: this feature of the sampler")
    if temperature < 0.01:
        temperature, top_k = 1.0, 1
    for row in range(logits.shape[0]):
        scores = logits[row].view(-1)
        if not is_none(logit_filter):
            scores = scores.masked_fill(~logit_filter[row], float("-inf"))
        logarithms = torch.log_softmax(scores / temperature, -1)
        count = top_k if 0 < top_k < scores.numel() else scores.numel()
        wanted = 1 if is_none(out_kprobs) else out_kprobs.shape[2]
        # A few candidates don't need the whole vocabulary sorted.
        best, ids = logarithms.topk(max(count if count <= 64 else scores.numel(), wanted))
        best, ids = best[:count], ids[:count]
        shares = torch.softmax(best, -1)
        if 0 < top_p < 1:
            kept = int((shares.cumsum(0) - shares < top_p).sum())
            shares, ids = shares[:kept] / shares[:kept].sum(), ids[:kept]
        if 0 < min_p < 1:
            kept = int((shares >= shares[0] * min_p).sum())
            shares, ids = shares[:kept] / shares[:kept].sum(), ids[:kept]
        if not is_none(out_kprobs):
            shown = min(wanted, shares.numel())
            out_kprobs[row].zero_()
            out_ktokens[row].zero_()
            out_kprobs[row, 0, :shown], out_ktokens[row, 0, :shown] = shares[:shown], ids[:shown]
        at = torch.searchsorted(shares.cumsum(0), torch.tensor(random * 0.9998))
        chosen = min(int(at), shares.numel() - 1)
        out_tokens[row, 0], out_probs[row, 0] = ids[chosen], shares[chosen]
    return mirostat_mu


@counted
def apply_rep_penalty(
    sequence: torch.Tensor,
    penalty: float,
    sustain: int,
    decay: int,
    frequency: float,
    presence: float,
    logits: torch.Tensor,
) -> None:
    """In place; the penalty holds for `sustain` tokens back and fades over `decay` more."""
    vocabulary, length = logits.shape[-1], sequence.shape[-1]
    for row in range(sequence.shape[0]):
        scores = logits[row].view(-1)
        now = [penalty, frequency, presence]
        fading = [(1 - penalty), -frequency, -presence]
        left = length if sustain == -1 else sustain
        seen: set[int] = set()
        for token in reversed(sequence[row, max(0, length - left - decay) :].tolist()):
            if token < vocabulary:
                if token not in seen:
                    positive = scores[token] > 0
                    scores[token] = scores[token] / now[0] if positive else scores[token] * now[0]
                    scores[token] -= now[2]
                    seen.add(token)
                scores[token] -= now[1]
            left -= 1
            if left < 0 and decay:
                now = [value + step / decay for value, step in zip(now, fading, strict=True)]


@counted
def logit_filter_exclusive(allowed: torch.Tensor, lists: Iterable[Iterable[int]]) -> None:
    for row, tokens in zip(allowed, lists, strict=True):
        kept = torch.zeros_like(row)
        kept[torch.tensor(list(tokens), dtype=torch.long)] = True
        row &= kept


@counted
def count_match(a: torch.Tensor, b: torch.Tensor, longest: int) -> int:
    """How many tokens at the beginning of two sequences (1, n) are the same."""
    count = min(int(longest), b.shape[1])
    if count <= 0:
        return 0
    different = (a[0, :count] != b[0, :count]).nonzero()
    return int(different[0, 0]) if different.numel() else count


@counted
def partial_strings_match(text: bytes, offsets: bytes, strings: bytes) -> int:
    """Place of the first string in `text`; -2 if its end may begin one; -1 if neither. UTF-32."""
    held = bytes(text).decode("utf-32-le")
    places = struct.unpack(f"<{len(bytes(offsets)) // 4}I", bytes(offsets))
    for begin, end in pairwise(places):
        wanted = bytes(strings)[begin:end].decode("utf-32-le")
        for at in range(len(held)):
            count = min(len(wanted), len(held) - at)
            if held[at : at + count] == wanted[:count]:
                return at if count == len(wanted) else -2
    return -1


@counted
def cache_rotate(cache: torch.Tensor, order: torch.Tensor, temporary: torch.Tensor) -> None:
    """Move pages along a cycle, the first to the place of the last."""
    places = order.tolist()
    temporary.view(-1).copy_(cache[places[0]].view(-1))
    for target, source in pairwise(places):
        cache[target].copy_(cache[source])
    cache[places[-1]].view(-1).copy_(temporary.view(-1))
