"""`ingle fit`: what of a model fits on which card. The figures are `ingled.models.fit`'s."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ingled.models import recommend
from ingled.models.fit import (
    CACHE_TYPES,
    GIB,
    MIB,
    CacheType,
    Fit,
    Memory,
    Plan,
    fits,
    memory_text,
)
from ingled.models.gpu_memory import read_cards
from ingled.models.model_shape import ModelShape, active_parameters, parameters
from ingled.models.weights import LEAST_BITS, MOST_BITS, Weights, exl2_weights

from .fit_target import FitTarget, find_target
from .model_names import complete_installed
from .output import is_terminal, table, usage_error, write_json

#: From the smallest to beyond the largest card there is.
_LEAST_MEMORY, _MOST_MEMORY = GIB, 1024 * GIB
_UNITS = {"m": MIB, "g": GIB, "t": 1024 * GIB}
#: More than a desktop takes: something else is on the card.
_MUCH = 2 * GIB


def _size(context: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Memory of a card: `16GB`, `16 GiB`, `16384MB`; a bare number means GB. 2**30 bytes each."""
    del context, param
    if value is None:
        return None
    match = re.fullmatch(
        r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(?:([MGT])(?:i?B)?)?", value.strip(), re.IGNORECASE
    )
    if match is None:
        raise click.BadParameter(f"{value[:40]!r} is no size: write it like 16GB or 16384MB")
    size = round(float(match[1]) * _UNITS[(match[2] or "g").lower()])
    if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
        raise click.BadParameter(f"{value[:40]!r} is no card's memory: give 1GB to 1024GB")
    return size


def _bits(context: click.Context, param: click.Parameter, value: float | None) -> float | None:
    del context, param
    # Also refuses NaN.
    if value is not None and not LEAST_BITS <= value <= MOST_BITS:
        raise click.BadParameter(f"EXL2 has from {LEAST_BITS} to {MOST_BITS} bits, not {value:g}")
    return value


@click.command()
@click.argument("model", default="gpt-oss-20b", shell_complete=complete_installed)
@click.option(
    "--vram",
    callback=_size,
    metavar="SIZE",
    help="Memory of the card, like 16GB; else it is asked.",
)
@click.option(
    "--context", type=click.IntRange(256, 2**20), help="Tokens of KV cache; shared by all slots."
)
@click.option("--cache", type=click.Choice(CACHE_TYPES), help="Type of the KV cache.")
@click.option("--bpw", type=float, callback=_bits, help="Bits per weight of EXL2.")
@click.option(
    "--no-flash-attn", is_flag=True, help="Without flash-attn, as on most Windows machines."
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.pass_context
def fit(
    context_: click.Context,
    model: str,
    vram: int | None,
    context: int | None,
    cache: CacheType | None,
    bpw: float | None,
    no_flash_attn: bool,
    as_json: bool,
) -> None:
    """Compute what of a model fits on a GPU, and what to choose.

    MODEL is gpt-oss-20b, gpt-oss-120b, an installed model, or a folder with config.json. What you
    give is kept, the rest is chosen. Without --vram and without a card: common sizes.

    Everything is computed, nothing is loaded; a GB is 2**30 bytes, as cards are sold. Ends with
    exit code 1 when it does not fit.
    """
    found = find_target(model)
    if found.weights is not None and bpw is not None:
        usage_error(f"{model} is quantized already: leave --bpw out, or give its source")
    if context is not None and context > found.shape.longest:
        usage_error(f"{found.shape.name} is made for {found.shape.longest:,} tokens at most")
    plan = Plan(paged=not no_flash_attn, expandable_segments=sys.platform != "win32")
    weights = exl2_weights(found.shape, bpw) if bpw is not None else found.weights
    memory = Memory(total=vram) if vram is not None else _card()
    if memory is None:
        _without_card(found, weights, context, cache, plan, as_json)
        return
    answer = _answer(found.shape, memory, weights, context, cache, plan)
    if as_json:
        write_json(_object(found, memory, weights, answer, plan))
    else:
        _write(found, memory, weights, answer, plan)
    if not answer.ok:
        context_.exit(1)


# --- what is computed -------------------------------------------------------------------------


def _card() -> Memory | None:
    """The card with the most memory."""
    return max(read_cards(), key=lambda card: card.total, default=None)


def _answer(
    shape: ModelShape,
    memory: Memory,
    weights: Weights | None,
    tokens: int | None,
    cache: CacheType | None,
    plan: Plan,
) -> Fit:
    if weights is not None and tokens is not None and cache is not None:
        return fits(
            shape, weights, msgspec.structs.replace(plan, tokens=tokens, cache=cache), memory
        )
    best = recommend.recommend(
        shape, memory, weights=weights, tokens=tokens, cache=cache, plan=plan
    )
    return best or recommend.least(
        shape, memory, weights=weights, tokens=tokens, cache=cache, plan=plan
    )


def _rows(
    shape: ModelShape, memory: Memory, weights: Weights | None, plan: Plan
) -> list[recommend.Row]:
    if weights is not None:
        return [recommend.row(shape, weights, memory, plan)]
    return recommend.rows(shape, memory, plan)


# --- for people ------------------------------------------------------------------------------


def _write(
    found: FitTarget, memory: Memory, weights: Weights | None, answer: Fit, plan: Plan
) -> None:
    lines = [f"{found.shape.name} on {_about(memory)}"]
    if found.note:
        lines.append(found.note)
    if answer.ok:
        lines += ["", f"fits: {recommend.summary(answer)}"]
    else:
        lines += ["", f"does not fit: {recommend.refusal(answer)}"]
    lines += ["", *_aligned(_breakdown(answer), left=(0, 2))]
    lines += ["", "tokens of cache that fit, by its type:"]
    lines += _aligned(_token_rows(_rows(found.shape, memory, weights, plan)), left=(0,))
    click.echo("\n".join(lines))


def _about(memory: Memory) -> str:
    name = f"{memory.name}, " if memory.name else "a card of "
    total, used = memory_text(memory.total), memory_text(memory.used)
    if not memory.measured:
        return f"{name}{total}, {used} of it assumed for the desktop"
    text = f"{name}{total}, {used} of it in use"
    if memory.used < _MUCH:
        return text
    return f"{text} (by what, tells `nvidia-smi`; `ingle unload` ends a resident model's share)"


def _breakdown(answer: Fit) -> list[tuple[str, str, str]]:
    rows = [(part.name, memory_text(part.bytes), part.note) for part in answer.parts if part.bytes]
    rows.append(("needed", memory_text(answer.needed), ""))
    headroom = memory_text(answer.memory.headroom)
    note = f"of {memory_text(answer.available)}; {headroom} of headroom besides"
    rows.append(("left" if answer.ok else "missing", memory_text(abs(answer.left)), note))
    return rows


def _token_rows(rows: list[recommend.Row]) -> list[tuple[str, ...]]:
    head = ("WEIGHTS", "SIZE", *(kind.upper() for kind in CACHE_TYPES))
    return [head] + [
        (
            row.label,
            memory_text(row.weight_bytes),
            *(f"{row.tokens[kind]:,}" if row.tokens[kind] else "-" for kind in CACHE_TYPES),
        )
        for row in rows
    ]


def _without_card(
    found: FitTarget,
    weights: Weights | None,
    tokens: int | None,
    cache: CacheType | None,
    plan: Plan,
    as_json: bool,
) -> None:
    cards = [recommend.card(size) for size in recommend.CARDS]
    answers = [_answer(found.shape, memory, weights, tokens, cache, plan) for memory in cards]
    if as_json:
        fits_ = [{"vram": answer.memory.total, "answer": _fit_object(answer)} for answer in answers]
        write_json(_model_object(found) | {"memory": None, "cards": fits_})
        return
    rows = [("CARD", "WEIGHTS", "CONTEXT", "CACHE", "NEEDS", "LEFT")]
    for answer in answers:
        plan_ = answer.plan
        rows.append(
            (
                answer.memory.name,
                answer.weights.label,
                f"{plan_.rounded_tokens:,}",
                plan_.cache,
                memory_text(answer.needed),
                memory_text(answer.left) if answer.ok else "does not fit",
            )
        )
    lines = [f"no NVIDIA card was found: what of {found.shape.name} fits on common sizes"]
    if found.note:
        lines.append(found.note)
    lines += ["", *_aligned(rows, left=(1,)), "", "--vram SIZE computes it for yours"]
    click.echo("\n".join(lines))


def _aligned(rows: Sequence[Sequence[str]], left: tuple[int, ...]) -> list[str]:
    """Rows as lines: columns end at the same place, but for those in `left`, which begin there.

    A terminal gets them cut to its width, a pipe whole.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = table(
        [cell if place in left else cell.rjust(widths[place]) for place, cell in enumerate(row)]
        for row in rows
    ).splitlines()
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    return [line[:width] for line in lines]


# --- for scripts -----------------------------------------------------------------------------


def _object(
    found: FitTarget, memory: Memory, weights: Weights | None, answer: Fit, plan: Plan
) -> dict[str, Any]:
    return _model_object(found) | {
        "memory": {
            "total": memory.total,
            "used": memory.used,
            "headroom": memory.headroom,
            "measured": memory.measured,
            "name": memory.name,
        },
        "answer": _fit_object(answer),
        "tokens_that_fit": [
            {"weights": row.label, "bytes": row.weight_bytes, "tokens": row.tokens}
            for row in _rows(found.shape, memory, weights, plan)
        ],
    }


def _model_object(found: FitTarget) -> dict[str, Any]:
    shape = found.shape
    return {
        "model": shape.name,
        "parameters": sum(parameters(shape).values()),
        "active_parameters": active_parameters(shape),
    }


def _fit_object(answer: Fit) -> dict[str, Any]:
    return {
        "fits": answer.ok,
        "weights": answer.weights.label,
        "bits": answer.weights.bits,
        "context": answer.plan.rounded_tokens,
        "cache": answer.plan.cache,
        "chunk": answer.plan.chunk,
        "flash_attn": answer.plan.paged,
        "parts": {part.name: part.bytes for part in answer.parts},
        "needed": answer.needed,
        "available": answer.available,
        "left": answer.left,
        "host_bytes": answer.weights.host_bytes,
        "advice": "" if answer.ok else recommend.advice(answer),
    }
