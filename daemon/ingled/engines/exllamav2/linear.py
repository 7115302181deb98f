"""Linear layers of gpt-oss: expert matrices, headroom against half overflow, low-rank updates.

All are subclasses of the library's, so its loader, its converter and its quantized kernels work
on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from exllamav2.linear import ExLlamaV2Linear
from torch import nn

from .mxfp4 import Part, expert_weight

#: gpt-oss was trained in bfloat16 and its residual stream passes what half precision can hold.
#: Inputs of the two projections that write to it are scaled down by this power of two before the
#: half-precision matrix product, and its result is scaled up again in float32.
HEADROOM = 32.0


@dataclass(frozen=True)
class LowRankUpdate:
    """A LoRA's part in one matrix: adds (x · a) · b. float16, the adapter's scale in `b`."""

    #: (in, rank)
    a: torch.Tensor
    #: (rank, out)
    b: torch.Tensor


class AdaptableLinear(ExLlamaV2Linear):
    """A linear layer that low-rank updates can be attached to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.low_rank: list[LowRankUpdate] = []

    @classmethod
    def like(cls, layer: ExLlamaV2Linear) -> AdaptableLinear:
        """A new layer with the shape and key of a not yet loaded one of the library's."""
        return cls(
            layer.model,
            layer.key,
            layer.in_features,
            layer.out_features,
            layer.has_bias,
            prescale=layer.prescale,
        )

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """float16 (..., in) → float16 (..., out)."""
        return self._updated(hidden_states, super().forward(hidden_states, *args, **kwargs))

    def unload(self) -> None:
        super().unload()
        self.low_rank = []

    def _updated(self, hidden_states: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        for update in self.low_rank:
            output = output + (hidden_states @ update.a) @ update.b
        return output


class HeadroomLinear(AdaptableLinear):
    """A projection into the float32 residual stream. See `HEADROOM`."""

    def load(self, w: Any = None, *args: Any, **kwargs: Any) -> Any:
        w = self.load_weight() if w is None else w
        if isinstance(w, dict) and "bias" in w:
            # The quantized kernel adds the bias itself, to the scaled product.
            w["bias"] = (w["bias"].float() / HEADROOM).half()
        return super().load(w, *args, **kwargs)

    def get_bias_tensor(self) -> torch.Tensor:
        bias: torch.Tensor = super().get_bias_tensor()
        return bias if self.q_handle is None else (bias.float() * HEADROOM).half()

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """float16 (..., in) → float32 (..., out)."""
        return self.forward_scaled(hidden_states / HEADROOM).float() * HEADROOM

    def forward_scaled(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """An input already divided by `HEADROOM` → the output divided by it, both float16."""
        if self.q_handle is not None:
            return super().forward(hidden_states)
        output = torch.matmul(hidden_states, self.get_weight_tensor_dq())
        if self.has_bias:
            output += self.get_bias_tensor() / HEADROOM
        return self._updated(hidden_states, output)


class ExpertLinear(AdaptableLinear):
    """One projection of one expert, from a fused tensor or from the converter's single ones."""

    def __init__(
        self, model: Any, layer: str, expert: int, part: Part, in_features: int, out_features: int
    ) -> None:
        key = f"{layer}.mlp.experts.{expert}.{part}_proj"
        super().__init__(model, key, in_features, out_features, True)
        self.layer, self.expert, self.part = layer, expert, part

    def load_weight(self, override_key: str | None = None, cpu: bool = False) -> Any:
        found = super().load_weight(override_key, cpu)
        if found is not None:
            return found
        device = "cpu" if cpu else self.device()
        weight, bias = expert_weight(self.model.config, self.layer, self.part, self.expert, device)
        return (
            nn.Parameter(weight, requires_grad=False),
            nn.Parameter(bias, requires_grad=False),
        )

    def weight_footprint(self) -> int:
        """Bytes of the loaded layer."""
        files = self.model.config.tensor_file_map
        if self.key + ".q_weight" in files or self.key + ".weight" in files:
            return super().weight_footprint()  # type: ignore[no-any-return]
        return self.assumed_footprint  # type: ignore[no-any-return]


class ExpertDownLinear(HeadroomLinear, ExpertLinear):
    """The projection of an expert that writes to the residual stream."""


class RouterLinear(ExLlamaV2Linear):
    """The router: the only linear layer that stays in half precision, with its bias."""

    def get_weight(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the converter writes: weight (experts, hidden) and bias (experts,)."""
        return self.linear.weight.data, self.linear.bias.data
