"""The fit, whatever is asked: more never takes less, and what is recommended fits."""

from __future__ import annotations

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from ingled.models import recommend
from ingled.models.fit import CACHE_TYPES, GIB, CacheType, Fit, Memory, Plan, fits, reserved
from ingled.models.model_shape import GPT_OSS_20B, GPT_OSS_120B, ModelShape
from ingled.models.weights import LEAST_BITS, MOST_BITS, Block, exl2_weights, half_weights

shapes = st.one_of(
    st.sampled_from([GPT_OSS_20B, GPT_OSS_120B]),
    st.builds(
        lambda layers, width, kv, groups, experts, inner: ModelShape(
            name="any",
            layers=layers,
            hidden=32 * width,
            heads=kv * groups,
            kv_heads=kv,
            head_dim=64,
            experts=experts,
            experts_per_token=1,
            intermediate=32 * inner,
            vocabulary=1024,
        ),
        layers=st.integers(1, 8),
        width=st.integers(2, 64),
        kv=st.integers(1, 8),
        groups=st.integers(1, 8),
        experts=st.integers(1, 16),
        inner=st.integers(2, 64),
    ),
)
bits = st.floats(LEAST_BITS, MOST_BITS)
plans = st.builds(
    Plan,
    tokens=st.integers(1, 131_072),
    cache=st.sampled_from(CACHE_TYPES),
    chunk=st.sampled_from([256, 512, 1024, 2048]),
    slots=st.integers(1, 16),
    tokens_per_step=st.integers(1, 8),
    paged=st.booleans(),
    expandable_segments=st.booleans(),
)
memories = st.builds(
    Memory, total=st.integers(GIB, 160 * GIB), used=st.integers(0, 8 * GIB), measured=st.booleans()
)


def _needed(shape: ModelShape, weight_bits: float, plan: Plan) -> int:
    return fits(shape, exl2_weights(shape, weight_bits), plan, Memory(total=GIB)).needed


@given(shape=shapes, weight_bits=bits, plan=plans, more=st.integers(1, 100_000))
def test_more_tokens_never_take_less(
    shape: ModelShape, weight_bits: float, plan: Plan, more: int
) -> None:
    larger = msgspec.structs.replace(plan, tokens=plan.tokens + more)
    assert _needed(shape, weight_bits, plan) <= _needed(shape, weight_bits, larger)


@given(shape=shapes, one=bits, other=bits, plan=plans)
def test_more_bits_never_take_less(shape: ModelShape, one: float, other: float, plan: Plan) -> None:
    fewer, more = sorted((one, other))
    assert _needed(shape, fewer, plan) <= _needed(shape, more, plan)


@given(shape=shapes, weight_bits=bits, plan=plans, change=st.sampled_from(["slots", "chunk"]))
def test_more_at_a_time_never_takes_less(
    shape: ModelShape, weight_bits: float, plan: Plan, change: str
) -> None:
    larger = msgspec.structs.replace(plan, **{change: getattr(plan, change) * 2})
    assert _needed(shape, weight_bits, plan) <= _needed(shape, weight_bits, larger)


@given(shape=shapes, weight_bits=bits, plan=plans)
def test_no_part_is_negative_and_quantized_weights_are_smaller(
    shape: ModelShape, weight_bits: float, plan: Plan
) -> None:
    weights = exl2_weights(shape, weight_bits)
    fit = fits(shape, weights, plan, Memory(total=GIB))
    assert all(part.bytes >= 0 for part in fit.parts)
    assert all(block.bytes > 0 and block.copies > 0 for block in weights.blocks)
    assert weights.bytes < half_weights(shape).bytes


@given(
    blocks=st.lists(
        st.builds(Block, st.integers(1, 64 * 2**20), st.integers(1, 50)), min_size=1, max_size=20
    ),
    expandable=st.booleans(),
    more=st.integers(1, 2**21),
)
def test_the_allocator_never_takes_less_than_it_gives(
    blocks: list[Block], expandable: bool, more: int
) -> None:
    taken = reserved(blocks, expandable=expandable)
    assert taken >= sum(block.bytes * block.copies for block in blocks)
    largest = max(blocks)
    grown = [*blocks, Block(largest.bytes, 1)]
    assert reserved(grown, expandable=expandable) >= taken
    # Without expandable segments one of 9 MB may have 20 MiB for itself, one of 11 MB never has.
    if expandable:
        assert reserved([Block(largest.bytes + more)], expandable=True) >= reserved(
            [Block(largest.bytes)], expandable=True
        )


@given(
    shape=st.sampled_from([GPT_OSS_20B, GPT_OSS_120B]),
    memory=memories,
    tokens=st.none() | st.integers(256, 131_072),
    cache=st.none() | st.sampled_from(CACHE_TYPES),
    paged=st.booleans(),
)
def test_what_is_recommended_fits(
    shape: ModelShape,
    memory: Memory,
    tokens: int | None,
    cache: CacheType | None,
    paged: bool,
) -> None:
    plan = Plan(paged=paged)
    best = recommend.recommend(shape, memory, tokens=tokens, cache=cache, plan=plan)
    if best is None:
        smallest = recommend.least(shape, memory, tokens=tokens, cache=cache, plan=plan)
        assert not smallest.ok
        assert recommend.refusal(smallest)
        return
    assert best.ok
    assert best.needed <= memory.total - memory.used - memory.headroom
    assert best.plan.tokens >= (recommend.LEAST_TOKENS if tokens is None else tokens)
    assert cache in (None, best.plan.cache)
    assert best.plan.paged == paged


@given(memory=memories, more=st.integers(1, 64 * GIB))
def test_a_larger_card_is_never_recommended_fewer_bits(memory: Memory, more: int) -> None:
    small = recommend.recommend(GPT_OSS_20B, memory)
    larger = msgspec.structs.replace(memory, total=memory.total + more)
    assume(small is not None)
    large = recommend.recommend(GPT_OSS_20B, larger)
    assert small is not None
    assert large is not None
    assert (large.weights.bits or 0) >= (small.weights.bits or 0)


@given(weight_bits=bits, plan=plans, memory=memories)
def test_the_most_tokens_are_the_most(weight_bits: float, plan: Plan, memory: Memory) -> None:
    fit = fits(GPT_OSS_20B, exl2_weights(GPT_OSS_20B, weight_bits), plan, memory)
    tokens = recommend.most_tokens(fit)
    assert tokens % 256 == 0
    if tokens:
        assert _with(fit, tokens).ok
    if tokens < GPT_OSS_20B.longest:
        assert not _with(fit, tokens + 1).ok


def _with(fit: Fit, tokens: int) -> Fit:
    plan = msgspec.structs.replace(fit.plan, tokens=tokens)
    return fits(fit.shape, fit.weights, plan, fit.memory)
