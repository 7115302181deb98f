"""A CPU stand-in for the functions of flash-attn that ExLlamaV2 calls; for tests only."""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

import torch

__version__ = "2.7.4"
calls: Counter[str] = Counter()

Window = tuple[int, int]


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    calls["flash_attn_func"] += 1
    lengths = torch.full((q.shape[0],), k.shape[1])
    output, lse = attend(q, k, v, lengths, causal, softmax_scale, window_size, softcap)
    return (output, lse, None) if return_attn_probs else output


def flash_attn_varlen_func(*_: Any, **__: Any) -> NoReturn:
    raise NotImplementedError("flash_attn stand-in: flash_attn_varlen_func")


def flash_attn_with_kvcache(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    k: torch.Tensor | None = None,
    v: torch.Tensor | None = None,
    rotary_cos: None = None,
    rotary_sin: None = None,
    cache_seqlens: torch.Tensor | int | None = None,
    cache_batch_idx: None = None,
    cache_leftpad: None = None,
    block_table: torch.Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Any:
    """New keys and values, if given, are written to the cache behind the `cache_seqlens` known."""
    calls["flash_attn_with_kvcache"] += 1
    assert cache_seqlens is not None
    batch, queries = q.shape[:2]
    known = torch.as_tensor(cache_seqlens).long().expand(batch).tolist()
    outputs, sums = [], []
    for row, length in enumerate(known):
        if block_table is None:
            places = torch.arange(k_cache.shape[1])
            keys, values = k_cache[row], v_cache[row]
        else:
            assert block_table.dtype == torch.int32
            page = k_cache.shape[1]
            pages = block_table[row].long()[:, None] * page
            places = (pages + torch.arange(page)[None, :]).view(-1)
            keys, values = k_cache.flatten(0, 1), v_cache.flatten(0, 1)
        if k is not None and v is not None:
            new = places[length : length + queries]
            keys[new], values[new] = k[row], v[row]
            length += queries
        output, lse = attend(
            q[row : row + 1],
            keys[places[:length]][None],
            values[places[:length]][None],
            torch.tensor([length]),
            causal,
            softmax_scale,
            window_size,
            softcap,
        )
        outputs.append(output)
        sums.append(lse)
    output, lse = torch.cat(outputs), torch.cat(sums)
    return (output, lse) if return_softmax_lse else output


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor,
    causal: bool,
    scale: float | None,
    window: Window,
    softcap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q (batch, queries, heads, dim), k and v (batch, keys, kv_heads, dim), of which `lengths`
    (batch,) count; the last query is at the last key. → output like q, float32 log-sum-exp
    (batch, heads, queries)."""
    queries, heads, dim = q.shape[1:]
    repeats = heads // k.shape[2]
    wide_k = k.float().repeat_interleave(repeats, 2).transpose(1, 2)
    wide_v = v.float().repeat_interleave(repeats, 2).transpose(1, 2)
    scores = q.float().transpose(1, 2) @ wide_k.transpose(2, 3)
    scores = scores * (dim**-0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    at_key = torch.arange(k.shape[1])[None, None, :]
    at_query = (lengths[:, None] - queries + torch.arange(queries)[None, :])[:, :, None]
    seen = at_key < lengths[:, None, None]
    left, right = window[0], 0 if causal else window[1]
    if right >= 0:
        seen = seen & (at_key <= at_query + right)
    if left >= 0:
        seen = seen & (at_key >= at_query - left)
    scores = scores.masked_fill(~seen[:, None], float("-inf"))
    lse = torch.logsumexp(scores, -1)
    shares = torch.exp(scores - lse.masked_fill(lse == float("-inf"), 0.0)[..., None])
    return (shares @ wide_v).transpose(1, 2).contiguous().to(q.dtype), lse
