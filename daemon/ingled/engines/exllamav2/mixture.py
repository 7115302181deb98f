"""The mixture of experts of gpt-oss: a biased router, softmax after top-k, clamped SwiGLU.

Reference: `GptOssMLP` of transformers. The device-to-host synchronizations are counted: one a
layer, to learn which experts are needed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from exllamav2.moe_mlp import ExLlamaV2MoEMLP

from .linear import HEADROOM, ExpertDownLinear, ExpertLinear, RouterLinear

#: Slope of the sigmoid in SwiGLU, as trained.
ALPHA = 1.702


class GptOssMixture(ExLlamaV2MoEMLP):
    """See the module."""

    def __init__(self, model: Any, key: str, layer_idx: int) -> None:
        super().__init__(model, key, layer_idx)
        config = model.config
        hidden, inner, experts = config.hidden_size, config.intermediate_size, self.num_experts
        self.w1 = [ExpertLinear(model, key, n, "gate", hidden, inner) for n in range(experts)]
        self.w3 = [ExpertLinear(model, key, n, "up", hidden, inner) for n in range(experts)]
        self.w2 = [ExpertDownLinear(model, key, n, "down", inner, hidden) for n in range(experts)]
        self.gate = RouterLinear(model, f"{key}.mlp.router", hidden, experts, True, pad32=False)
        self.submodules = [
            self.post_attention_layernorm,
            self.gate,
            *self.w1,
            *self.w2,
            *self.w3,
        ]
        self.limit = config.swiglu_limit
        #: The router in float32: (experts, hidden) and (experts,).
        self._router: tuple[torch.Tensor, torch.Tensor] | None = None

    def load(self) -> None:
        with torch.inference_mode():
            for module in self.submodules:
                module.load()
            self._router = (self.gate.linear.weight.float(), self.gate.linear.bias.float())

    def unload(self) -> None:
        super().unload()
        self._router = None

    def is_quant(self) -> bool:
        # Not by a handle of the fused kernel, which is never made.
        return bool(self.w1[0].is_quant())

    def scratch_space_fixed(self) -> int:
        """Bytes: only the fused kernel, which is never made, would need more."""
        return self.temp_dq_size()  # type: ignore[no-any-return]

    scratch_space = scratch_space_fixed

    # --- forward -------------------------------------------------------------------------

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """float32 (batch, tokens, hidden) → the same, this block added."""
        return self.forward_torch(hidden_states, *args, **kwargs)

    def forward_torch(
        self,
        hidden_states: torch.Tensor,
        cache: Any = None,
        attn_params: Any = None,
        past_len: int | None = None,
        intermediates: bool = False,
        loras: Any = None,
        **_: Any,
    ) -> Any:
        """As `forward`. With `intermediates`, a dict of what the converter calibrates with: the
        input of every expert (`post_norm`), and of every expert's down projection
        (`pre_down.N`) on all tokens, so that no expert goes without data."""
        if loras:
            raise NotImplementedError("gpt-oss takes low-rank updates of its linear layers only")
        hidden = hidden_states.shape[-1]
        normed = self.post_attention_layernorm.forward(hidden_states.view(-1, hidden))
        chosen, weights = self.route(normed)
        if intermediates:
            return self._with_intermediates(hidden_states, normed, chosen, weights)
        if normed.shape[0] == 1:
            added = self._one_token(normed, chosen, weights)
        else:
            added = self._many_tokens(normed, chosen, weights)
        return hidden_states + added.view(hidden_states.shape)

    def route(self, normed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens, hidden) → experts int64 (tokens, k) and weights float32 (tokens, k)."""
        if self._router is None:
            raise RuntimeError(f"{self.key} is not loaded")
        logits, chosen = F.linear(normed.float(), *self._router).topk(self.num_experts_per_token)
        return chosen, torch.softmax(logits, dim=-1)

    def _one_token(
        self, normed: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        # The layer's one synchronization. All else runs on all chosen experts at once where it
        # can: a decode step is bound by the number of kernels as much as by their size.
        experts = chosen[0].tolist()
        gate = torch.cat([self.w1[expert].forward(normed) for expert in experts])
        up = torch.cat([self.w3[expert].forward(normed) for expert in experts])
        inner = self._activated(gate, up) / HEADROOM
        down = torch.cat(
            [self.w2[expert].forward_scaled(inner[n : n + 1]) for n, expert in enumerate(experts)]
        )
        return (weights * HEADROOM) @ down.float()

    def _many_tokens(
        self, normed: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        flat = chosen.view(-1)
        # The layer's one synchronization.
        counts = torch.bincount(flat, minlength=self.num_experts).tolist()
        order = flat.argsort(stable=True)
        tokens, shares = order // chosen.shape[1], weights.view(-1)[order]
        added = torch.zeros_like(normed, dtype=torch.float)
        begin = 0
        for expert, count in enumerate(counts):
            if count:
                mine = slice(begin, begin + count)
                inner = self.inner(expert, normed[tokens[mine]])
                output = self.w2[expert].forward(inner) * shares[mine, None]
                added.index_add_(0, tokens[mine], output)
            begin += count
        return added

    def _with_intermediates(
        self,
        hidden_states: torch.Tensor,
        normed: torch.Tensor,
        chosen: torch.Tensor,
        weights: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        result = {"post_norm": normed}
        shares = torch.zeros(
            (normed.shape[0], self.num_experts), dtype=torch.float, device=normed.device
        ).scatter_(1, chosen, weights)
        added = torch.zeros_like(normed, dtype=torch.float)
        for expert in range(self.num_experts):
            inner = self.inner(expert, normed)
            result[f"pre_down.{expert}"] = inner
            added += self.w2[expert].forward(inner) * shares[:, expert, None]
        result["hidden_states"] = hidden_states + added.view(hidden_states.shape)
        return result

    def inner(self, expert: int, normed: torch.Tensor) -> torch.Tensor:
        """An expert's hidden layer: float16 (tokens, hidden) → float16 (tokens, inner)."""
        return self._activated(self.w1[expert].forward(normed), self.w3[expert].forward(normed))

    def _activated(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Clamped SwiGLU, in float32, → float16."""
        gate = gate.float().clamp(max=self.limit)
        up = up.float().clamp(-self.limit, self.limit)
        return (gate * torch.sigmoid(ALPHA * gate) * (up + 1)).half()
