"""The library's model with gpt-oss's layers in the place of its own."""

from __future__ import annotations

from typing import Any

from exllamav2.attn import ExLlamaV2Attention
from exllamav2.moe_mlp import ExLlamaV2MoEMLP

from .architecture import SLIDING
from .attention import GptOssAttention
from .mixture import GptOssMixture


def replace_layers(model: Any) -> None:
    """Put gpt-oss's layers into an `ExLlamaV2` that was built and not yet loaded."""
    config = model.config
    for place, module in enumerate(model.modules):
        if type(module) is ExLlamaV2Attention:
            sliding = config.layer_types[module.layer_idx] == SLIDING
            model.modules[place] = GptOssAttention(
                model, module.key, module.layer_idx, config.sliding_window if sliding else 0
            )
        elif type(module) is ExLlamaV2MoEMLP:
            model.modules[place] = GptOssMixture(model, module.key, module.layer_idx)
    model.modules_dict = {
        part.key: part for module in model.modules for part in (module.submodules or [module])
    }
