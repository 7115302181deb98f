"""A mixture of experts in the library's converter: measured and quantized one expert at a time.

The library prepares all experts of a layer, and holds every variant of each: 20 GiB for 32 experts
and 79 GiB for 128. The output of a mixture is a sum over experts, so what a choice of bits does to
it can be added up expert by expert, with the variants of one in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from exllamav2.conversion import measure as library_measure
from exllamav2.conversion import quantize as library_quantize
from exllamav2.conversion.qparams import get_qparams_reduced, qparams_mlp
from torch import nn

#: The library's names of gate, up and down.
PARTS = ("w1", "w3", "w2")
#: Below this accuracy something is broken, as in the library.
_LEAST_ACCURACY = 0.1


def measure_runs(experts: int) -> int:
    """How many matrices the measuring pass of a mixture quantizes."""
    variants, _ = get_qparams_reduced(qparams_mlp)
    return experts * sum(len(part) for part in variants)


def measure(
    module: Any,
    hidden_states: list[torch.Tensor],
    target_states: list[torch.Tensor],
    quantizers: dict[str, Any],
    _cache: Any,
    _attn_params: Any,
) -> list[dict[str, Any]]:
    """In the place of the library's `measure_moe_mlp`: the accuracy of every choice of bits.

    States are (1, tokens, hidden) a sequence, before and after the layer. Accuracy is
    1 − ‖difference‖ / ‖target‖, the mean over sequences.
    """
    variants, options = get_qparams_reduced(qparams_mlp)
    routed = [_routed(module, states) for states in hidden_states]
    normed, chosen, shares = (torch.cat(parts) for parts in zip(*routed, strict=True))
    added = torch.zeros((len(options), *normed.shape), dtype=torch.float, device=normed.device)
    bits = [0] * len(options)
    shared = quantizers["w1.0"]
    shared.prepare()
    for expert in range(module.num_experts):
        tokens, ranks = (chosen == expert).nonzero(as_tuple=True)
        # The variants are in nobody else's hands: they are gone before the next expert's are made.
        sizes = _add_up(
            module,
            expert,
            _variants(module, expert, quantizers, shared, variants),
            options,
            Routed(tokens, normed[tokens], shares[tokens, ranks][:, None]),
            added,
        )
        bits = [sum(pair) for pair in zip(bits, sizes, strict=True)]
    quantizers.clear()
    results = []
    for number, option in enumerate(options):
        accuracy = _accuracy(hidden_states, target_states, added[number])
        choice = {
            part: variants[place][option[place]].get_dict() for place, part in enumerate(PARTS)
        }
        results.append({"accuracy": accuracy, "total_bits": bits[number], **choice})
    if max(result["accuracy"] for result in results) < _LEAST_ACCURACY:
        raise RuntimeError(f"{module.key}: no choice of bits comes near the original")
    return results


def quantize(
    job: dict[str, Any],
    module: Any,
    _hidden_states: Any,
    _target_states: Any,
    quantizers: dict[str, Any],
    _attn_params: Any,
    strategy: dict[str, Any],
) -> None:
    """In the place of the library's `quant_moe_mlp`: packs and saves every expert."""
    shared = quantizers["w1.0"]
    shared.prepare()
    for expert in range(module.num_experts):
        for part in PARTS:
            quantizer = quantizers.pop(f"{part}.{expert}")
            _prepare(quantizer, part, shared)
            layer = getattr(module, part)[expert]
            library_quantize.quant_linear(job, layer, quantizer, strategy[part])


def _prepare(quantizer: Any, part: str, shared: Any) -> None:
    """Gate and up have the same inputs in all experts, and so one Hessian."""
    if part == "w2":
        quantizer.prepare()
    elif quantizer is not shared:
        quantizer.reuse_h(shared)


class Routed(NamedTuple):
    """The tokens that chose an expert: their places, normed states and shares (tokens, 1)."""

    tokens: torch.Tensor
    normed: torch.Tensor
    shares: torch.Tensor


#: Of gate, up and down: a layer and a size in bits for each variant.
Variants = list[tuple[list[Any], list[int]]]


def _add_up(
    module: Any,
    expert: int,
    tried: Variants,
    options: list[Any],
    mine: Routed,
    added: torch.Tensor,
) -> list[int]:
    """Add to `added` (options, tokens, hidden) what the expert says with every choice of bits;
    its size in bits for each."""
    bits = []
    current = [-1] * len(PARTS)
    for number, option in enumerate(options):
        for place, part in enumerate(PARTS):
            if current[place] != option[place]:
                layers, _ = tried[place]
                weight = layers[option[place]].weight.to(added.device)
                getattr(module, part)[expert].linear.weight = nn.Parameter(weight)
        current = list(option)
        bits.append(sum(tried[place][1][option[place]] for place in range(len(PARTS))))
        if len(mine.tokens):
            inner = module.inner(expert, mine.normed)
            output = module.w2[expert].forward(inner) * mine.shares
            added[number].index_add_(0, mine.tokens, output)
    return bits


def _variants(
    module: Any,
    expert: int,
    quantizers: dict[str, Any],
    shared: Any,
    variants: list[list[Any]],
) -> Variants:
    tried = []
    for place, part in enumerate(PARTS):
        quantizer = quantizers.pop(f"{part}.{expert}")
        _prepare(quantizer, part, shared)
        layer = getattr(module, part)[expert]
        tried.append(library_measure.test_quant(layer, quantizer, variants[place]))
    return tried


def _routed(module: Any, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normed states (tokens, hidden), the experts of each and their shares (tokens, k)."""
    device = module.w1[0].linear.weight.device
    normed = module.post_attention_layernorm.forward(states[0].to(device))
    return (normed, *module.route(normed))


def _accuracy(
    hidden_states: list[torch.Tensor], target_states: list[torch.Tensor], added: torch.Tensor
) -> float:
    errors = []
    begin = 0
    for before, target in zip(hidden_states, target_states, strict=True):
        end = begin + before.shape[1]
        wanted = target[0].to(added.device).float()
        found = before[0].to(added.device).float() + added[begin:end]
        errors.append(float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted)))
        begin = end
    # The library takes logarithms of it.
    return max(1e-6, 1 - sum(errors) / len(errors))
