"""What the library's converter computes on the GPU."""

from __future__ import annotations

import torch

from .registry import counted, is_none

Slot = tuple[int, float]

#: Values that are held at once.
_AT_ONCE = 1 << 23


@counted
def quantize_err(
    weights: torch.Tensor,
    output: torch.Tensor,
    scale: torch.Tensor,
    zero: float,
    highest: float,
    norm: float,
    low: float,
    high: float,
    grid: int,
) -> None:
    """Error of rounding with `grid + 1` multiples of `scale`, from `low` to `high`, added up."""
    shares = torch.arange(grid + 1) / grid
    factors = low * (1 - shares) + high * shares
    begin = 0
    # A wide matrix is not to be held a hundred times.
    for some in factors.split(max(1, _AT_ONCE // weights.numel())):
        scales = scale[None, None, :] * some[:, None, None]
        rounded = torch.round(weights[None] / scales).clamp_(-zero, highest - zero).mul_(scales)
        errors = rounded.sub_(weights[None]).abs_().pow_(norm).sum((1, 2))
        output[begin : begin + len(some), 0] += errors
        begin += len(some)


@counted
def quantize_range(
    quantized: torch.Tensor,
    scale: torch.Tensor,
    whole: torch.Tensor,
    zero: float,
    highest: float,
    inverse: torch.Tensor,
    weights: torch.Tensor,
    error: torch.Tensor,
    begin: int,
    end: int,
) -> None:
    """GPTQ of rows `begin` to `end`: each row's error is spread over those after it."""
    for row in range(begin, end):
        values = weights[row]
        rounded = _round(values, scale, zero, highest)
        if not is_none(whole):
            whole[row] = rounded.short()
        meant = _meaning(rounded, scale, zero)
        quantized[row] = meant
        error[row] = (values - meant) / inverse[row, row]
        weights[row:end] -= inverse[row, row:end, None] * error[row][None, :]
    if end < weights.shape[0]:
        weights[end:].addmm_(inverse[begin:end, end:].T, error[begin:end], alpha=-1.0)


@counted
def quantize_range_inplace(
    weights: torch.Tensor,
    scale: torch.Tensor,
    whole: torch.Tensor,
    zero: float,
    highest: float,
    begin: int,
    end: int,
) -> None:
    rounded = _round(weights[begin:end], scale, zero, highest)
    if not is_none(whole):
        whole[begin:end] = rounded.short()
    weights[begin:end] = _meaning(rounded, scale, zero)


@counted
def sim_anneal(
    slots: list[list[Slot]],
    max_cost: int,
    initial: float,
    cooling: float,
    least: float,
    iterations: int,
    norm: float,
) -> tuple[list[Slot], list[int], float, int, float]:
    """Greedy, in the place of hundreds of millions of annealing steps: the best reduction of
    error for its bits, while there are bits."""
    chosen = [min(range(len(slot)), key=lambda n: slot[n][0]) for slot in slots]
    cost = sum(slot[n][0] for slot, n in zip(slots, chosen, strict=True))
    while True:
        better = [
            ((slot[at][1] ** norm - error**norm) / max(price - slot[at][0], 1), place, n)
            for place, (slot, at) in enumerate(zip(slots, chosen, strict=True))
            for n, (price, error) in enumerate(slot)
            if error < slot[at][1] and 0 <= price - slot[at][0] <= max_cost - cost
        ]
        if not better:
            break
        _, place, n = max(better)
        cost += slots[place][n][0] - slots[place][chosen[place]][0]
        chosen[place] = n
    taken = [slot[n] for slot, n in zip(slots, chosen, strict=True)]
    errors = [error for _, error in taken]
    return taken, chosen, sum(error**norm for error in errors), cost, max(errors)


def _round(values: torch.Tensor, scale: torch.Tensor, zero: float, highest: float) -> torch.Tensor:
    return (torch.round(values / scale) + zero).clamp(0.0, highest)


def _meaning(whole: torch.Tensor, scale: torch.Tensor, zero: float) -> torch.Tensor:
    return ((whole.half() - torch.tensor(zero, dtype=torch.half)) * scale.half()).float()
