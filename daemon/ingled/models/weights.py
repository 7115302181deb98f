"""What a model's weights take in a GPU's memory once ExLlamaV2 has loaded them.

Owns one description for every source of weights: bits per weight that somebody thinks about, a
lossless transcode, half precision, or the headers of real files. Pure: tensors come in as names,
types and shapes. What else a GPU must hold is `fit`'s affair.

Where the library keeps what (exllamav2 0.3.2):

- the embedding stays in the host's memory (`ExLlamaV2.set_device_map`, `embed_cpu`);
- a matrix (in, out) in EXL2 is `q_weight` (packed bits), `q_scale` (4 bits a group and column),
  `q_scale_max` and `q_groups` (2 and 4 bytes a group) and `q_invperm` (int32 in the file). After
  loading it has `q_perm`, `q_invperm` and `q_group_map` instead of the last (2, 2 and 4 bytes a
  row; `ext.make_q_matrix`). "Bits per weight" counts all of the file's (`QParams.total_bits`);
- norms, biases and the router are half precision; ingle keeps the router and the sinks in float32
  besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, prod
from typing import NamedTuple

from msgspec import Struct

from .model_shape import Matrix, ModelShape, matrices, tensors

#: What the library's converter can reach with its options for mixtures of experts.
LEAST_BITS, MOST_BITS = 2.3, 8.0
#: Bits of the output layer when nobody says otherwise: what the converter makes of its default,
#: 6, for which it keeps a part of the rows in 8.
HEAD_BITS = 6.39
#: Rows that share a scale; the converter takes 32, 64 or 128.
_GROUP = 64
#: Bits and group of the lossless transcode: MXFP4's own groups, the values in six bits.
LOSSLESS_BITS, _LOSSLESS_GROUP = 6, 32


class Block(NamedTuple):
    """`copies` allocations of `bytes` each."""

    bytes: int
    copies: int = 1


class Weights(Struct, frozen=True, kw_only=True):
    """Loaded weights. `label` says what they are, for people: `4.0 bpw`."""

    label: str
    #: Every allocation on the GPU.
    blocks: tuple[Block, ...]
    #: What stays in the host's memory.
    host_bytes: int
    #: Whether attention and head are quantized, which need room to be dequantized into.
    quantized: bool
    #: Bits per weight where they are known.
    bits: float | None = None

    @property
    def bytes(self) -> int:
        """On the GPU."""
        return sum(block.bytes * block.copies for block in self.blocks)


class TensorInfo(NamedTuple):
    """A tensor in a safetensors file: its type as the format names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def exl2_weights(shape: ModelShape, bits: float, *, head_bits: float = HEAD_BITS) -> Weights:
    """Weights quantized by the library's converter to `bits` per weight on average.

    Its choice differs from matrix to matrix; each is taken at the average here.
    """
    blocks = [*_small_tensors(shape)]
    for matrix in matrices(shape):
        blocks += _exl2(matrix, head_bits if matrix.group == "head" else bits)
    return _weights(shape, bits_label(bits), blocks, quantized=True, bits=bits)


def bits_label(bits: float) -> str:
    """`4.0 bpw`, `4.25 bpw`."""
    return f"{round(float(bits), 2)} bpw"


def lossless_weights(shape: ModelShape) -> Weights:
    """Experts transcoded from MXFP4 to six bits bit by bit; all else in half precision."""
    blocks = [*_small_tensors(shape)]
    for matrix in matrices(shape):
        if matrix.group == "experts":
            blocks += _packed(matrix, _packed_bytes(matrix, LOSSLESS_BITS), _LOSSLESS_GROUP)
        else:
            blocks += _half(matrix)
    return _weights(shape, "lossless", blocks, quantized=True, bits=None)


def half_weights(shape: ModelShape) -> Weights:
    """Everything in half precision: what MXFP4 and bf16 checkpoints become when loaded as such."""
    blocks = [*_small_tensors(shape)]
    for matrix in matrices(shape):
        blocks += _half(matrix)
    return _weights(shape, "16 bits", blocks, quantized=False, bits=16.0)


def weights_of(shape: ModelShape, found: Iterable[tuple[str, TensorInfo]], label: str) -> Weights:
    """Weights from the tensors of real files: EXL2, MXFP4 or floating point, also mixed."""
    blocks: list[Block] = []
    host, quantized, has_head = 0, False, False
    for name, tensor in found:
        if name.startswith("model.embed_tokens."):
            host += 2 * prod(tensor.shape)
            continue
        has_head = has_head or name.startswith("lm_head.")
        quantized = quantized or name.endswith(".q_weight")
        blocks += _loaded(name, tensor)
    if not has_head:
        blocks.append(Block(2 * shape.hidden * shape.vocabulary))
    return Weights(
        label=label,
        blocks=tuple(blocks),
        host_bytes=host,
        quantized=quantized,
        bits=_bits_per_weight(shape, blocks) if quantized else None,
    )


def _weights(
    shape: ModelShape, label: str, blocks: list[Block], *, quantized: bool, bits: float | None
) -> Weights:
    embedding = 2 * shape.vocabulary * shape.hidden
    return Weights(
        label=label,
        blocks=tuple(blocks),
        host_bytes=embedding,
        quantized=quantized,
        bits=bits,
    )


def _small_tensors(shape: ModelShape) -> Iterator[Block]:
    """Norms, sinks and router, as `_loaded` has them."""
    for tensor in tensors(shape):
        if tensor.group in ("norms", "router") or tensor.name.endswith(".sinks"):
            yield from _loaded(tensor.name, TensorInfo(tensor.dtype, tensor.shape))


def _exl2(matrix: Matrix, bits: float) -> list[Block]:
    groups = ceil(matrix.inputs / _GROUP)
    overhead = groups * (matrix.outputs // 2 + 6) + 4 * matrix.inputs
    total = ceil(matrix.inputs * matrix.outputs * bits / 8)
    return _packed(matrix, total - overhead, _GROUP)


def _packed_bytes(matrix: Matrix, bits: int) -> int:
    return matrix.inputs * matrix.outputs * bits // 8


def _packed(matrix: Matrix, weight: int, group: int) -> list[Block]:
    """An EXL2 matrix after loading; `weight` bytes of packed bits."""
    groups = ceil(matrix.inputs / group)
    parts = (
        weight,
        groups * matrix.outputs // 2,
        2 * groups,
        4 * groups,
        2 * matrix.inputs,
        2 * matrix.inputs,
        4 * matrix.inputs,
        2 * matrix.outputs if matrix.has_bias else 0,
    )
    return [Block(part, matrix.copies) for part in parts if part]


def _half(matrix: Matrix) -> list[Block]:
    bias = [Block(2 * matrix.outputs, matrix.copies)] if matrix.has_bias else []
    return [Block(2 * matrix.inputs * matrix.outputs, matrix.copies), *bias]


def _loaded(name: str, tensor: TensorInfo) -> list[Block]:
    """The allocations that one tensor of a file becomes."""
    elements = prod(tensor.shape)
    if name.endswith((".q_weight", ".q_scale")):
        return [Block(4 * elements)]
    if name.endswith((".q_scale_max", ".q_groups")):
        return [Block(2 * elements)]
    if name.endswith(".q_invperm"):
        return [Block(2 * elements, 2), Block(4 * elements)]
    if name.endswith("_scales"):
        # Used up with the blocks.
        return []
    fused = 2 if ".experts.gate_up_proj" in name else 1
    if name.endswith("_blocks"):
        # Two values a byte, two bytes a value; experts, and gate and up, are loaded apart.
        count = fused * tensor.shape[0]
        return [Block(4 * elements // count, count)]
    if name.endswith((".experts.gate_up_proj", ".experts.down_proj", "_proj_bias")):
        count = fused * tensor.shape[0]
        return [Block(2 * elements // count, count)]
    if ".router." in name:
        return [Block(2 * elements), Block(4 * elements)]
    if name.endswith(".sinks"):
        return [Block(4 * elements)]
    return [Block(2 * elements)]


def _bits_per_weight(shape: ModelShape, blocks: list[Block]) -> float:
    """Bits on the GPU for each parameter of the quantized matrices."""
    elements = sum(matrix.inputs * matrix.outputs * matrix.copies for matrix in matrices(shape))
    return round(8 * sum(block.bytes * block.copies for block in blocks) / elements, 2)
