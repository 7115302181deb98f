"""Does it fit? The memory that a model resident on a GPU takes, part by part, in bytes.

Owns the formulas and nothing else: no file, no GPU, no torch is touched, so the engine, the
command line and tests all compute the same. Weights come from `weights`, advice is `recommend`'s.

::

    needed    = weights + KV cache + working copy + scratch + rotary tables + activations
                + logits + page buffer + allocator + CUDA context
    available = total − in use by others − headroom
    it fits   ⇔ needed ≤ available

Sources are the allocations of exllamav2 0.3.2 (named by function below), ingle's own layers in
`ingled.engines.exllamav2`, and the caching allocator of PyTorch. A "GB" of a card is 2**30 bytes,
as cards are sold.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Literal, get_args

from msgspec import Struct

from .model_shape import ModelShape, matrices
from .weights import Block, Weights

MIB, GIB = 2**20, 2**30

CacheType = Literal["fp16", "q8", "q6", "q4"]
CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)

#: Tokens of one page of the cache (`generator/dynamic.py`, PAGED_PAGE_SIZE).
PAGE = 256
#: CUDA context, kernels of torch and of the library, workspace of cuBLAS. Drivers differ: 300 to
#: 500 MB are usual for a process with torch.
CONTEXT_BYTES = 500 * MIB
#: Left alone, so that a browser's next tab doesn't end the model.
HEADROOM_BYTES = 300 * MIB
#: What a desktop and the driver take, where no card could be asked.
DESKTOP_BYTES = 600 * MIB
#: Scores that attention without flash-attn computes at a time; the engine's own limit.
SCORES_BYTES = 128 * MIB
#: Copies of those scores that are alive at once: masked, shifted, divided, and in half precision.
_SCORES_COPIES = 3.5

#: PyTorch's caching allocator, `c10/core/AllocatorConfig.h`.
_ROUND, _SMALL, _SMALL_SEGMENT = 512, MIB, 2 * MIB
_LARGE_SEGMENT, _OWN_SEGMENT, _ROUND_LARGE = 20 * MIB, 10 * MIB, 2 * MIB


class Plan(Struct, frozen=True, kw_only=True):
    """How a model is to be loaded."""

    #: Tokens of the KV cache, shared by all that runs at the same time. Rounded up to pages.
    tokens: int = 16_384
    cache: CacheType = "q8"
    #: Tokens of one prefill step at most (`config.max_input_len`).
    chunk: int = 2048
    #: Sequences decoded in one step, and tokens of each (more than 1 with speculation).
    slots: int = 4
    tokens_per_step: int = 1
    #: Paged attention, which needs flash-attn.
    paged: bool = True
    #: Whether PyTorch runs with `expandable_segments:True`, which packs allocations closely.
    expandable_segments: bool = True

    @property
    def rounded_tokens(self) -> int:
        return ceil(self.tokens / PAGE) * PAGE


class Memory(Struct, frozen=True, kw_only=True):
    """A GPU's memory in bytes, before the model is loaded."""

    total: int
    #: By the desktop, the driver and other processes.
    used: int = DESKTOP_BYTES
    #: Left alone on top of that.
    headroom: int = HEADROOM_BYTES
    #: Whether `used` was measured; else it is a guess.
    measured: bool = False
    #: Whether `used` has the loading process's own CUDA context in it already.
    has_context: bool = False
    name: str = ""
    #: The driver's name of the card (`GPU-…`), which CUDA knows too; empty without a card.
    uuid: str = ""


class Part(Struct, frozen=True, kw_only=True):
    """One part of what is needed."""

    name: str
    bytes: int
    #: Where it comes from, for people.
    note: str = ""


class Fit(Struct, frozen=True, kw_only=True):
    """Whether a model fits, with every figure behind the answer."""

    shape: ModelShape
    weights: Weights
    plan: Plan
    memory: Memory
    parts: tuple[Part, ...]

    @property
    def needed(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def available(self) -> int:
        return max(self.memory.total - self.memory.used - self.memory.headroom, 0)

    @property
    def left(self) -> int:
        """What stays free besides the headroom; negative when it doesn't fit."""
        return self.available - self.needed

    @property
    def ok(self) -> bool:
        return self.left >= 0

    def part(self, name: str) -> int:
        """Bytes of one part."""
        return next(part.bytes for part in self.parts if part.name == name)

    def explain(self) -> str:
        """The answer in one line, with the numbers; no advice."""
        model, plan = self.shape.name, self.plan
        # Rounded so that "needs" is never shown below "has" when it is above.
        needs, has = _tenths(ceil(self.needed * 10 / GIB)), _tenths(self.available * 10 // GIB)
        return (
            f"{model} {with_weights(self.weights)} with {plan.rounded_tokens:,} tokens of "
            f"{plan.cache} cache needs {needs}, the card has {has} free for it"
        )


def with_weights(weights: Weights) -> str:
    """`at 4.0 bpw`, `in 16 bits`, `lossless`."""
    label = weights.label
    return f"at {label}" if label.endswith("bpw") else f"in {label}" if "bits" in label else label


def memory_text(size: int) -> str:
    """Bytes of GPU memory for a person, in units of 2**30 and 2**20: `14.5 GB`, `228 MB`."""
    return f"{size / GIB:.1f} GB" if abs(size) >= GIB else f"{size / MIB:.0f} MB"


def _tenths(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10} GB"


def fits(shape: ModelShape, weights: Weights, plan: Plan, memory: Memory) -> Fit:
    """Compute whether `weights`, loaded under `plan`, fit into `memory`."""
    kv = cache_blocks(shape, plan)
    working = working_copy_blocks(shape, plan)
    page = page_buffer_blocks(shape, plan)
    tables = rotary_blocks(shape, plan)
    scratch = [Block(scratch_bytes(shape, plan))] if weights.quantized else []
    resident = [*weights.blocks, *kv, *working, *page, *tables, *scratch]
    slack = reserved(resident, expandable=plan.expandable_segments) - _total(resident)
    per_token = cache_bytes_per_token(shape, plan.cache)
    parts = (
        Part(name="weights", bytes=weights.bytes, note=weights.label),
        Part(name="KV cache", bytes=_total(kv), note=f"{per_token:,} bytes a token"),
        Part(name="working copy", bytes=_total(working), note="one layer's cache, unpacked"),
        Part(name="scratch", bytes=_total(scratch), note="room to dequantize a matrix"),
        Part(name="rotary tables", bytes=_total(tables)),
        Part(
            name="activations",
            bytes=activation_bytes(shape, plan),
            note=f"prefill of {plan.chunk:,} tokens at a time",
        ),
        Part(name="logits", bytes=logits_bytes(shape, plan), note=f"{plan.slots} slots"),
        Part(name="page buffer", bytes=_total(page)),
        Part(name="allocator", bytes=slack, note="rounding and gaps"),
        Part(
            name="CUDA context",
            bytes=0 if memory.has_context else CONTEXT_BYTES,
            note="measured with the rest" if memory.has_context else "assumed",
        ),
    )
    return Fit(shape=shape, weights=weights, plan=plan, memory=memory, parts=parts)


def _total(blocks: Iterable[Block]) -> int:
    return sum(block.bytes * block.copies for block in blocks)


# --- the KV cache ----------------------------------------------------------------------------


def _token_bytes(shape: ModelShape, cache: CacheType) -> tuple[int, int, int]:
    """Bytes of one token in one layer: keys, values, and the scales of each of the two.

    `cache.py`: fp16 has two bytes a value. The others keep one half-precision scale for 32
    values, and the values in one byte (q8; keys of q6) or half a one (q4; values of q6).
    """
    width = shape.key_width
    if cache == "fp16":
        return 2 * width, 2 * width, 0
    scales = 2 * shape.kv_heads * (shape.head_dim // 32)
    half = shape.kv_heads * (shape.head_dim // 2)
    return width if cache != "q4" else half, width if cache == "q8" else half, scales


def cache_bytes_per_token(shape: ModelShape, cache: CacheType) -> int:
    """Bytes of one token in all layers, windows or not: the library keeps full length for all."""
    keys, values, scales = _token_bytes(shape, cache)
    return shape.layers * (keys + values + 2 * scales)


def cache_blocks(shape: ModelShape, plan: Plan) -> list[Block]:
    """`ExLlamaV2CacheBase.create_state_tensors`: keys, values and two of scales for each layer."""
    keys, values, scales = _token_bytes(shape, plan.cache)
    sizes = [keys, values] + ([scales, scales] if scales else [])
    return [Block(size * plan.rounded_tokens, shape.layers) for size in sizes]


def working_copy_blocks(shape: ModelShape, plan: Plan) -> list[Block]:
    """`ExLlamaV2Cache_Q.touch_device`: keys and values of one layer in half precision."""
    if plan.cache == "fp16":
        return []
    return [Block(2 * shape.key_width * plan.rounded_tokens, 2)]


def page_buffer_blocks(shape: ModelShape, plan: Plan) -> list[Block]:
    """`ExLlamaV2DynamicGenerator`, `defrag_buffer`: a page for every kind of cache tensor."""
    if not plan.paged:
        return []
    keys, values, scales = _token_bytes(shape, plan.cache)
    return [Block(size * PAGE) for size in {keys, values, scales} if size]


# --- the library's buffers -------------------------------------------------------------------


def dequantization_limit(shape: ModelShape) -> int:
    """Elements for `config.max_dq_size`: the largest matrix that is ever dequantized whole.

    The library's default reserves 1 GiB for the output layer of gpt-oss, which it then never
    dequantizes (`gemm_half_q_half_cuda`: only matrices whose rows, in steps of 128, are all within
    the limit). Attention and experts still are with this limit.
    """
    return max(
        ceil(matrix.inputs / 128) * 128 * matrix.outputs
        for matrix in matrices(shape)
        if matrix.group != "head"
    )


def scratch_bytes(shape: ModelShape, plan: Plan) -> int:
    """`ExLlamaV2.set_device_map`: the largest `scratch_space_fixed` of all modules.

    Each is room to dequantize its largest matrix, under `dequantization_limit`; attention has its
    normed input besides (`ExLlamaV2Attention.temp_state_size`).
    """
    limit = dequantization_limit(shape)
    state = 2 * plan.chunk * max(shape.query_width, shape.hidden) + 128
    return max(
        2 * min(matrix.inputs * matrix.outputs, limit)
        + (state if matrix.group == "attention" else 0)
        for matrix in matrices(shape)
    )


def rotary_blocks(shape: ModelShape, plan: Plan) -> list[Block]:
    """`ExLlamaV2DeviceContext.prepare_sincos`: sine and cosine for every place and dimension."""
    return [Block(2 * plan.rounded_tokens * shape.head_dim, 2)]


def logits_bytes(shape: ModelShape, plan: Plan) -> int:
    """Logits of one step in half precision; prefill computes none, float32 is on the host."""
    return 2 * plan.slots * plan.tokens_per_step * ceil(shape.vocabulary / 32) * 32


# --- what lives for one step -----------------------------------------------------------------


def activation_bytes(shape: ModelShape, plan: Plan) -> int:
    """The most that is alive within one step of prefill: in the mixture, or in attention.

    Mixture, should one expert get every token: the residual stream, the sum and the last expert's
    output in float32, two norms in half (16 bytes for each of `hidden`); gate, up and three
    products of the clamped SwiGLU in float32, the result in half (22 for each of `intermediate`);
    experts, order, token and two weights (32 for each of `experts_per_token`). Attention: the
    residual stream, a norm and the projection with headroom (20 for each of `hidden`); query,
    output and its float32 form twice (12 for each of `heads × head_dim`); keys and values; two
    sums of exponents for each of `heads`.
    """
    mixture = 16 * shape.hidden + 22 * shape.intermediate + 32 * shape.experts_per_token
    attention = 20 * shape.hidden + 12 * shape.query_width + 4 * shape.key_width + 8 * shape.heads
    step = plan.chunk * max(mixture, attention)
    return step if plan.paged else step + _scores_bytes(shape, plan)


def _scores_bytes(shape: ModelShape, plan: Plan) -> int:
    """Attention without flash-attn: scores in float32, step by step, and a layer's cache copied."""
    scores = min(4 * shape.heads * plan.chunk * plan.rounded_tokens, SCORES_BYTES)
    # A single query against all keys is the smallest step there is.
    scores = max(scores, 4 * shape.heads * plan.rounded_tokens)
    return ceil(_SCORES_COPIES * scores) + 4 * shape.key_width * plan.rounded_tokens


# --- PyTorch's allocator ---------------------------------------------------------------------


def reserved(blocks: Iterable[Block], *, expandable: bool) -> int:
    """What PyTorch takes from the card for allocations that stay, at most.

    Each is rounded up to 512 bytes. With expandable segments they lie side by side; those of up to
    1 MiB in steps of 2 MiB, the others in steps of 20 MiB. Without them, those from 1 to 10 MiB
    share segments of 20 MiB, where what is left over is lost: three matrices of 5.9 MiB waste
    2.2 MiB; and larger ones are rounded up to 2 MiB.
    """
    counts: dict[int, int] = {}
    for size, count in blocks:
        size = ceil(size / _ROUND) * _ROUND
        counts[size] = counts.get(size, 0) + count
    packed = apart = 0
    for size, count in counts.items():
        if size <= _SMALL or expandable:
            packed += size * count
        elif size < _OWN_SEGMENT:
            apart += ceil(count / (_LARGE_SEGMENT // size)) * _LARGE_SEGMENT
        else:
            apart += ceil(size / _ROUND_LARGE) * _ROUND_LARGE * count
    # The last segment of each pool is begun.
    return packed + _SMALL_SEGMENT + (_LARGE_SEGMENT if expandable else 0) + apart
