"""Attention of gpt-oss: a learned sink for every head, windows of the model's own size.

A sink is one more logit in the softmax of its head, with a value of zero. It is applied to the
output of an attention without sinks, by the log-sum-exp of its logits:
output · sigmoid(lse − sink). Reference: `eager_attention_forward` of transformers' gpt_oss.

Half precision throughout, except for scores, softmax and the residual stream. The library's own
output projection is not used: with a float32 residual and no norm after it, that kernel writes
half precision into a float32 buffer.
"""

from __future__ import annotations

from typing import Any

import torch
from exllamav2 import attn as library
from exllamav2.attn import ExLlamaV2Attention
from exllamav2.ext import exllamav2_ext as extension
from exllamav2.ext import none_tensor

from ingled.models.fit import SCORES_BYTES

from .linear import AdaptableLinear, HeadroomLinear

#: The library's value for "not allowed" in half-precision masks.
MASKED = -65504.0


class GptOssAttention(ExLlamaV2Attention):
    """See the module. `sliding_window` is 0 for full attention."""

    def __init__(self, model: Any, key: str, layer_idx: int, sliding_window: int) -> None:
        super().__init__(model, key, layer_idx, sliding_window=sliding_window)
        self._replace("q_proj", AdaptableLinear)
        self._replace("k_proj", AdaptableLinear)
        self._replace("v_proj", AdaptableLinear)
        self._replace("o_proj", HeadroomLinear)
        #: float32 (heads,)
        self.sinks: torch.Tensor | None = None

    def _replace(self, name: str, kind: type[AdaptableLinear]) -> None:
        old = getattr(self, name)
        new = kind.like(old)
        setattr(self, name, new)
        self.submodules[self.submodules.index(old)] = new

    def load(self, device_context: bool = True) -> None:
        super().load(device_context)
        sinks = self.load_multi(self.key + ".self_attn", ["sinks"])["sinks"]
        self.sinks = sinks.float()

    def unload(self) -> None:
        super().unload()
        self.sinks = None

    def extra_tensors(self) -> dict[str, torch.Tensor]:
        """Tensors that the converter must keep besides the linear layers: key → tensor."""
        name = self.key + ".self_attn"
        return {f"{name}.sinks": self.load_multi(name, ["sinks"], cpu=True)["sinks"]}

    def scratch_space_fixed(self) -> int:
        return self.temp_state_size() + self.temp_dq_size()  # type: ignore[no-any-return]

    def update_loras(self) -> None:
        """Nothing to do: low-rank updates belong to the linear layers here."""

    # --- forward -------------------------------------------------------------------------

    def forward(
        self,
        hidden_states: torch.Tensor,
        cache: Any = None,
        attn_params: Any = None,
        past_len: int | None = None,
        intermediates: bool = False,
        loras: Any = None,
        **kwargs: Any,
    ) -> Any:
        """float32 (batch, tokens, hidden) → the same, this block added."""
        if loras:
            raise NotImplementedError("gpt-oss takes low-rank updates of its linear layers only")
        if isinstance(attn_params, ExLlamaV2Attention.PagedParams):
            return self.forward_paged(hidden_states, cache, attn_params)
        return self.forward_torch(
            hidden_states, cache, attn_params, past_len, intermediates, **kwargs
        )

    def forward_paged(
        self,
        hidden_states: torch.Tensor,
        cache: Any = None,
        attn_params: Any = None,
        loras: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        """As `forward`, on a cache of pages that several sequences share."""
        page = attn_params.page_size
        batch, tokens, _hidden = hidden_states.shape
        before = attn_params.get_cache_seqlens(self.device_idx)
        table = attn_params.get_block_index(self.device_idx)
        longest = attn_params.max_cache_seqlen
        place = (self.layer_idx, batch, 0)
        # A quantized cache is unpacked as far as it is used; one with a block size of 1 only
        # after the new keys are known, below.
        keys, values = cache.get_kv_state(
            *place, longest if cache.q_block > 1 else 0, page, before, table
        )
        offsets = attn_params.get_rope_offsets(self.device_idx)
        positions = before if offsets is None else before + offsets
        into = None
        if attn_params.is_sequential:
            # One sequence in neighbouring pages: new keys go straight to their place.
            first = attn_params.first_index
            into = (keys[:, first : first + tokens], values[:, first : first + tokens])
        query, key, value = self._projected(hidden_states, positions, into)
        known = before
        if into is not None:
            known = attn_params.get_cache_seqlens_after(self.device_idx)
        if cache.q_block == 1:
            cache.get_kv_state(*place, longest, page, before, table)
        output, lse = library.flash_attn_with_kvcache(
            q=query,
            k=None if into else key,
            v=None if into else value,
            k_cache=_paged(keys, page),
            v_cache=_paged(values, page),
            cache_seqlens=known,
            block_table=table,
            causal=True,
            softmax_scale=self.scaling,
            window_size=self._window,
            return_softmax_lse=True,
        )
        cache.store_kv_state(*place, tokens, page, before, table)
        output = self._with_sinks(output, lse).view(batch, tokens, -1)
        return hidden_states + self.o_proj.forward(output)

    def _projected(
        self,
        hidden_states: torch.Tensor,
        positions: torch.Tensor,
        into: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Norm, projections and rotary embedding: query, key, value (batch, tokens, heads, dim).

        `positions` int32 (batch,) are of the first new token. Key and value are written to `into`
        if that is given.
        """
        batch, tokens, _ = hidden_states.shape
        fused = self.q_handle is not None and not self.has_low_rank
        context = self.model.get_device_context(self.device_idx, scratch=fused)
        sin, cos = context.sin[self.rope_index], context.cos[self.rope_index]
        query_shape = (batch, tokens, self.num_attention_heads, self.head_dim)
        key_shape = (batch, tokens, self.num_key_value_heads, self.head_dim)
        if fused:
            query = torch.empty(query_shape, device=hidden_states.device, dtype=torch.half)
            key, value = into or (
                torch.empty(key_shape, device=hidden_states.device, dtype=torch.half),
                torch.empty(key_shape, device=hidden_states.device, dtype=torch.half),
            )
            extension.q_attn_forward_1(
                self.q_handle,
                hidden_states,
                batch,
                tokens,
                0,
                positions,
                query,
                key,
                value,
                sin,
                cos,
                [],
                none_tensor,
            )
            return query, key, value
        normed = self.pre_layernorm.forward(hidden_states)
        query = self.q_proj.forward(normed).view(query_shape)
        key = self.k_proj.forward(normed).view(key_shape)
        value = self.v_proj.forward(normed).view(key_shape)
        for states, heads in (
            (query, self.num_attention_heads),
            (key, self.num_key_value_heads),
        ):
            extension.rope_(states, sin, cos, 0, heads, self.head_dim, positions, True)
        if into is None:
            return query, key, value
        into[0].copy_(key)
        into[1].copy_(value)
        return query, *into

    @property
    def has_low_rank(self) -> bool:
        """Whether a projection that the library's fused kernel would compute is adapted."""
        return any(layer.low_rank for layer in (self.q_proj, self.k_proj, self.v_proj))

    # --- attention functions, called by the library's `forward_torch` ----------------------

    def _attn_flash(
        self,
        batch_size: int,
        q_len: int,
        q_states: torch.Tensor,
        k_states: torch.Tensor,
        v_states: torch.Tensor,
        attn_params: Any,
        cfg: Any,
        causal: bool = True,
    ) -> torch.Tensor:
        if self.layer_idx in attn_params.block_diag_layers:
            raise NotImplementedError("gpt-oss has no block-diagonal attention")
        output, lse, _ = library.flash_attn_func(
            q_states,
            k_states,
            v_states,
            causal=causal,
            softmax_scale=self.scaling,
            window_size=self._window,
            return_attn_probs=True,
        )
        return self._with_sinks(output, lse).reshape(batch_size, q_len, -1)

    def _attn_torch(
        self,
        batch_size: int,
        q_len: int,
        q_states: torch.Tensor,
        k_states: torch.Tensor,
        v_states: torch.Tensor,
        attn_params: Any,
        cfg: Any,
        causal: bool = True,
    ) -> torch.Tensor:
        """Queries (batch, q_len, heads, dim) against all keys so far (batch, keys, kv_heads, dim).

        In steps over the queries, so that scores never take more than `SCORES_BYTES`.
        """
        mask = None
        if attn_params.input_mask is not None:
            mask = attn_params.get_attn_mask(q_states.device)
        keys, values = k_states.transpose(1, 2), v_states.transpose(1, 2)
        total = keys.shape[2]
        row_bytes = 4 * batch_size * self.num_attention_heads * total
        step = max(1, min(q_len, SCORES_BYTES // row_bytes))
        outputs = []
        for begin in range(0, q_len, step):
            end = min(begin + step, q_len)
            last = total - q_len + end
            first = 0
            if self.sliding_window:
                first = max(0, total - q_len + begin - self.sliding_window + 1)
            outputs.append(
                self._attend(
                    q_states[:, begin:end],
                    keys[:, :, first:last],
                    values[:, :, first:last],
                    None if mask is None else mask[..., begin:end, first:last],
                )
            )
        return torch.cat(outputs, dim=1).reshape(batch_size, q_len, -1)

    #: xformers knows no sinks.
    _attn_xformers = _attn_torch

    def _attend(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """The last query sees the last key. → (batch, queries, heads, dim)"""
        batch, queries, _, dim = query.shape
        kv_heads, count = keys.shape[1], keys.shape[2]
        groups = self.num_key_value_groups
        # Query heads that share a key-value head become rows of one product.
        rows = query.transpose(1, 2).reshape(batch, kv_heads, groups * queries, dim) * self.scaling
        scores = torch.matmul(rows, keys.transpose(2, 3)).float()
        scores = scores.view(batch, kv_heads, groups, queries, count)
        at_query = torch.arange(count - queries, count, device=scores.device)[:, None]
        at_key = torch.arange(count, device=scores.device)[None, :]
        hidden = at_key > at_query
        if self.sliding_window:
            hidden = hidden | (at_query - at_key >= self.sliding_window)
        if mask is not None:
            scores = scores + mask.float().unsqueeze(2)
        scores = scores.masked_fill(hidden, MASKED)
        sinks = self._sinks.view(1, kv_heads, groups, 1, 1).expand(batch, -1, -1, queries, 1)
        highest = torch.maximum(scores.amax(-1, keepdim=True), sinks)
        weights = (scores - highest).exp_()
        total = weights.sum(-1, keepdim=True) + (sinks - highest).exp()
        weights = (weights / total).to(values.dtype)
        output = torch.matmul(weights.view(batch, kv_heads, groups * queries, count), values)
        return output.view(batch, kv_heads * groups, queries, dim).transpose(1, 2)

    # --- parts ---------------------------------------------------------------------------

    @property
    def _sinks(self) -> torch.Tensor:
        if self.sinks is None:
            raise RuntimeError(f"{self.key} is not loaded")
        return self.sinks

    @property
    def _window(self) -> tuple[int, int]:
        """flash-attn counts the keys to the left of the query, which sees itself besides."""
        return (self.sliding_window - 1, 0) if self.sliding_window else (-1, -1)

    def _with_sinks(self, output: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
        """`output` (batch, queries, heads, dim), `lse` float32 (batch, heads, queries)."""
        share = torch.sigmoid(lse - self._sinks.view(1, -1, 1)).transpose(1, 2).unsqueeze(-1)
        return (output.float() * share).to(output.dtype)


def _paged(states: torch.Tensor, page: int) -> torch.Tensor:
    """(1, tokens, heads, dim) → (pages, page, heads, dim)"""
    return states.view(states.shape[1] // page, page, states.shape[2], states.shape[3])
