"""The finished folder, reloaded and held against its own weights, a layer at a time.

Two streams of states go through the model: one through ingle's layers and the library's kernels,
one through plain float32 arithmetic with the same weights dequantized. What they say in the end
must be the same but for rounding; a tensor packed wrongly or permuted shows at once. Both take the
experts that the first chooses: where two are equally good, rounding decides. What is not quantized
is compared with the original, so that no bias, sink or norm is lost. How far the model is from its
original is another question, which the choice of bits answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from exllamav2 import ExLlamaV2, ExLlamaV2Config, device
from exllamav2.attn import ExLlamaV2Attention
from exllamav2.stloader import STFile

from ingle.errors import LoadFailed
from ingled.engines.exllamav2 import mxfp4
from ingled.engines.exllamav2.attention import GptOssAttention
from ingled.engines.exllamav2.mixture import GptOssMixture
from ingled.engines.exllamav2.rope import inverse_frequencies
from ingled.engines.exllamav2.selfcheck import reference
from ingled.models.checkpoint import read_shape
from ingled.models.model_shape import matrices
from ingled.quantization import Checked, Step

#: Nats per token.
MEAN, LARGEST = 1.5e-3, 3e-2
_EXPERT_BIAS = re.compile(r"(.+)\.mlp\.experts\.(\d+)\.(gate|up|down)_proj\.bias")


def check(
    target: Path, ids: torch.Tensor, original: Any, lossless: bool, report: Callable[[Step], None]
) -> Checked:
    """Reload `target` and compare, on `ids` (sequences, tokens).

    `original` is the configuration of its source; with `lossless` the experts too must be the same
    bit by bit. Raises `LoadFailed` where the difference is more than rounding.
    """
    config = ExLlamaV2Config(str(target))
    _require_kept(config, original)
    model = ExLlamaV2(config)
    model.load(lazy=True)
    with torch.inference_mode():
        divergences = _divergences(model, ids, original if lossless else None, report)
    mean, largest = float(divergences.mean()), float(divergences.max())
    if mean > MEAN or largest > LARGEST:
        raise LoadFailed(
            f"{target} says something else than its weights mean (divergence {mean:.1e}, at most "
            f"{largest:.1e}; allowed are {MEAN:.1e} and {LARGEST:.1e}): run `ingle doctor --deep`"
        )
    size = sum(file.stat().st_size for file in target.glob("*.safetensors"))
    return Checked(
        bytes=size,
        bits_per_weight=_bits(target, config),
        divergence_mean=mean,
        divergence_max=largest,
        tokens=ids.numel(),
        exact=True if lossless else None,
    )


def _divergences(
    model: Any, ids: torch.Tensor, original: Any | None, report: Callable[[Step], None]
) -> torch.Tensor:
    found = wanted = torch.empty(0)
    params = ExLlamaV2Attention.Params(ids.shape[0], ids.shape[1], 0, None, None)
    for number, module in enumerate(model.modules):
        report(Step(stage="checking", done=number, total=len(model.modules)))
        module.load()
        if original is not None and isinstance(module, GptOssMixture):
            _require_exact(module, original)
        if number == 0:
            # The embedding stays on the CPU; all else is on the card.
            found = module.forward(ids).float().to(device._torch_device(0))
            wanted = found.clone()
        else:
            attends = isinstance(module, GptOssAttention)
            wanted = _plain(model.config, module, wanted, found)
            found = module.forward(found, None, params if attends else None)
        module.unload()
    # Beyond the vocabulary there is padding.
    found = found[..., : model.config.vocab_size]
    return torch.nn.functional.kl_div(
        found.float().log_softmax(-1),
        wanted.log_softmax(-1).to(found.device),
        log_target=True,
        reduction="none",
    ).sum(-1)


def _require_kept(config: Any, original: Any) -> None:
    """Tensors that are not quantized, and expert biases, are those of the source."""
    for key, file in config.tensor_file_map.items():
        if ".q_" in key:
            continue
        single = _EXPERT_BIAS.fullmatch(key)
        if single:
            layer, expert, part = single[1], int(single[2]), single[3]
            wanted = mxfp4.expert_bias(original, layer, part, expert)  # type: ignore[arg-type]
        else:
            wanted = STFile.open(original.tensor_file_map[key]).get_tensor(key, device="cpu")
        found = STFile.open(file).get_tensor(key, device="cpu")
        if not torch.equal(found.half(), wanted.half()):
            raise LoadFailed(f"{key} in {file} is not the original's: the converter is wrong")


def _require_exact(module: GptOssMixture, original: Any) -> None:
    for part, layers in (("gate", module.w1), ("up", module.w3), ("down", module.w2)):
        for expert, layer in enumerate(layers):
            weight, _ = mxfp4.expert_weight(original, module.key, part, expert, layer.device())  # type: ignore[arg-type]
            if not torch.equal(layer.get_weight_tensor_dq().T, weight):
                raise LoadFailed(
                    f"{layer.key} is not what it was in MXFP4: the transcoder is wrong"
                )


# --- the same in float32 ----------------------------------------------------------------------


def _plain(config: Any, module: Any, states: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
    """States after a module. `beside` are the other stream's before it."""
    if isinstance(module, GptOssAttention):
        return states + _attention(config, module, states)
    if isinstance(module, GptOssMixture):
        normed = module.post_attention_layernorm.forward(beside)
        chosen, _ = module.route(normed.flatten(0, 1))
        return states + _mixture(config, module, states, chosen.unflatten(0, beside.shape[:2]))
    if module.key == "lm_head":
        return states @ module.get_weight_tensor_dq().float()[:, : config.vocab_size]
    return reference.norm(states, module.weight, config.norm_eps)


def _attention(config: Any, module: GptOssAttention, states: torch.Tensor) -> torch.Tensor:
    layer: dict[str, torch.Tensor] = {}
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        linear = getattr(module, name)
        layer[f"self_attn.{name}.weight"] = linear.get_weight_tensor_dq().T
        layer[f"self_attn.{name}.bias"] = linear.get_bias_tensor()
    normed = reference.norm(states, module.pre_layernorm.weight, config.norm_eps)
    cosine, sine = _rotary(config, states.shape[1], states.device)
    about = {"head_dim": config.head_dim}
    query, key, value = reference.projected(about, layer, normed, cosine, sine)
    attended = reference.attention(query, key, value, module.sinks, window=module.sliding_window)
    return reference.linear(layer, "self_attn.o_proj", attended.output.flatten(-2))


def _rotary(config: Any, tokens: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    yarn, dimensions, theta = config.gpt_oss_yarn, config.head_dim, config.rotary_embedding_base
    if yarn is None:
        turns = torch.arange(0, dimensions, 2, device=device) / dimensions
        frequencies, scale = theta**-turns, 1.0
    else:
        frequencies = inverse_frequencies(yarn, dimensions, theta, device)
        scale = yarn.attention_factor
    angles = torch.arange(tokens, device=device)[:, None, None] * frequencies
    return angles.cos() * scale, angles.sin() * scale


def _mixture(
    config: Any, module: GptOssMixture, states: torch.Tensor, chosen: torch.Tensor
) -> torch.Tensor:
    router, bias = module.gate.get_weight()
    layer: dict[str, Any] = {
        "mlp.router.weight": router,
        "mlp.router.bias": bias,
        "mlp.experts.gate_up_proj": _Experts(lambda n: _between(module.w1[n], module.w3[n])),
        "mlp.experts.gate_up_proj_bias": _Experts(
            lambda n: _alternate(module.w1[n].get_bias_tensor(), module.w3[n].get_bias_tensor())
        ),
        "mlp.experts.down_proj": _Experts(lambda n: module.w2[n].get_weight_tensor_dq()),
        "mlp.experts.down_proj_bias": _Experts(lambda n: module.w2[n].get_bias_tensor()),
    }
    about = {
        "num_experts_per_tok": config.num_experts_per_token,
        "num_local_experts": config.num_experts,
        "swiglu_limit": config.swiglu_limit,
    }
    normed = reference.norm(states, module.post_attention_layernorm.weight, config.norm_eps)
    return reference.mixture(about, layer, normed, chosen)


class _Experts:
    """Fused tensors, one expert at a time: a whole layer in float32 would not fit."""

    def __init__(self, tensor: Callable[[int], torch.Tensor]) -> None:
        self._tensor = tensor

    def __getitem__(self, expert: int) -> torch.Tensor:
        return self._tensor(expert)


def _between(gate: Any, up: Any) -> torch.Tensor:
    return _alternate(gate.get_weight_tensor_dq(), up.get_weight_tensor_dq())


def _alternate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return torch.stack([gate, up], dim=-1).flatten(-2)


def _bits(target: Path, config: Any) -> float:
    """Bits in the files for each parameter of the decoder's matrices."""

    def sizes() -> Iterator[int]:
        for key, file in config.tensor_file_map.items():
            if key.startswith("model.layers.") and "_proj." in key and not key.endswith(".bias"):
                begin, end = STFile.open(file).get_dict()[key]["data_offsets"]
                yield end - begin

    shape = read_shape(target)
    elements = sum(
        one.inputs * one.outputs * one.copies for one in matrices(shape) if one.group != "head"
    )
    return round(8 * sum(sizes()) / elements, 3)
