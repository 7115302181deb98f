"""The shape of a gpt-oss model: its dimensions, and every tensor that follows from them.

Owns the published shapes, the reading of a `config.json` that was parsed already, and the exact
list of tensors with their sizes. What those take in a GPU's memory is `weights`' affair.

Sources: `GptOssForCausalLM` of transformers for names and shapes of the tensors; the gpt-oss model
card (https://arxiv.org/abs/2508.10925, table 1) for the published dimensions and counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from ingle.errors import ModelInvalid, Unsupported

ARCHITECTURE = "GptOssForCausalLM"
SLIDING, FULL = "sliding_attention", "full_attention"
#: Values that share a scale in MXFP4, two to a byte.
MXFP4_GROUP = 32

#: Beyond every model there is; keeps a damaged file from asking for astronomic figures.
_LIMIT, _MOST_LAYERS = 2**24, 1024

Group = Literal["embedding", "head", "norms", "attention", "router", "experts"]


class ModelShape(Struct, frozen=True, kw_only=True):
    """Dimensions of a gpt-oss model, under transformers' meaning of each."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_per_token: int
    #: Width of one expert.
    intermediate: int
    vocabulary: int
    sliding_window: int = 128
    #: One for each layer. It changes no size: the library keeps the whole cache for all of them.
    layer_types: tuple[str, ...] = ()
    #: Whether the output layer uses the embedding's weights.
    tied: bool = False
    #: Tokens the model was made for, prompt and answer together.
    longest: int = 131_072

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim


class Tensor(NamedTuple):
    """One tensor of a checkpoint."""

    name: str
    shape: tuple[int, ...]
    group: Group
    #: As safetensors names it.
    dtype: Literal["BF16", "U8"] = "BF16"

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * (1 if self.dtype == "U8" else 2)


class Matrix(NamedTuple):
    """Weight matrices that are quantized, all of one size: `copies` in the whole model."""

    group: Group
    inputs: int
    outputs: int
    copies: int
    has_bias: bool


def _alternating(layers: int) -> tuple[str, ...]:
    return tuple(FULL if layer % 2 else SLIDING for layer in range(layers))


def _published(name: str, layers: int, experts: int) -> ModelShape:
    return ModelShape(
        name=name,
        layers=layers,
        hidden=2880,
        heads=64,
        kv_heads=8,
        head_dim=64,
        experts=experts,
        experts_per_token=4,
        intermediate=2880,
        vocabulary=201_088,
        layer_types=_alternating(layers),
    )


GPT_OSS_20B = _published("gpt-oss-20b", layers=24, experts=32)
GPT_OSS_120B = _published("gpt-oss-120b", layers=36, experts=128)

#: The models whose shape is known without their files.
PUBLISHED = {shape.name: shape for shape in (GPT_OSS_20B, GPT_OSS_120B)}

#: Field → the keys of config.json that may hold it: transformers', then OpenAI's own file.
_KEYS = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "experts": ("num_local_experts", "num_experts"),
    "experts_per_token": ("num_experts_per_tok", "experts_per_token"),
    "intermediate": ("intermediate_size",),
    "vocabulary": ("vocab_size",),
}


def from_config(config: Mapping[str, Any], *, name: str, where: str = "config.json") -> ModelShape:
    """The shape in a parsed `config.json`. `where` names the file in errors.

    Raises `Unsupported` for another architecture, `ModelInvalid` for missing or absurd values.
    """
    architecture = _architecture(config)
    if architecture != ARCHITECTURE:
        raise Unsupported(
            f"{where} is of {architecture}: the fit is known for {ARCHITECTURE} alone; other "
            "models run as GGUF with the llamacpp engine"
        )
    sizes = {field: _size(config, keys, where) for field, keys in _KEYS.items()}
    if sizes["layers"] > _MOST_LAYERS:
        raise ModelInvalid(f"{where} names {sizes['layers']} layers: the file is damaged")
    shape = ModelShape(
        name=name,
        **sizes,
        sliding_window=_optional(config, "sliding_window", 128, where, least=0),
        layer_types=_layer_types(config, sizes["layers"], where),
        tied=config.get("tie_word_embeddings") is True,
        longest=_optional(config, "max_position_embeddings", 131_072, where),
    )
    _check(shape, where)
    return shape


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    if isinstance(named, list) and named:
        return str(named[0])[:80]
    # OpenAI's own file names the type of the model only.
    return ARCHITECTURE if config.get("model_type") == "gpt_oss" else "an unnamed architecture"


def _size(config: Mapping[str, Any], keys: tuple[str, ...], where: str) -> int:
    for key in keys:
        if config.get(key) is not None:
            return _whole(config[key], key, where, least=1)
    raise ModelInvalid(f"{where} lacks {keys[0]}: download the whole model again")


def _optional(
    config: Mapping[str, Any], key: str, default: int, where: str, *, least: int = 1
) -> int:
    value = config.get(key)
    return default if value is None else _whole(value, key, where, least=least)


def _whole(value: Any, key: str, where: str, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LIMIT:
        raise ModelInvalid(
            f"{where}: {key} is {str(value)[:40]!r}, not a whole number from {least} to {_LIMIT}: "
            "the file is damaged or of another model"
        )
    return value


def _layer_types(config: Mapping[str, Any], layers: int, where: str) -> tuple[str, ...]:
    types = config.get("layer_types")
    if types is None:
        return _alternating(layers)
    if (
        not isinstance(types, list)
        or len(types) != layers
        or any(kind not in (SLIDING, FULL) for kind in types)
    ):
        raise ModelInvalid(
            f"{where}: layer_types must name {SLIDING} or {FULL} for each of {layers} layers"
        )
    return tuple(types)


def _check(shape: ModelShape, where: str) -> None:
    """What must hold between the dimensions."""
    if shape.heads % shape.kv_heads:
        raise ModelInvalid(
            f"{where}: {shape.heads} attention heads can't share {shape.kv_heads} key-value heads"
        )
    if shape.experts_per_token > shape.experts:
        raise ModelInvalid(
            f"{where}: {shape.experts_per_token} experts per token of {shape.experts} in all"
        )
    for width, key in ((shape.hidden, "hidden_size"), (shape.intermediate, "intermediate_size")):
        if width % MXFP4_GROUP:
            raise ModelInvalid(f"{where}: {key} is {width}, not a multiple of {MXFP4_GROUP}")


def tensors(shape: ModelShape, *, mxfp4: bool = False) -> Iterator[Tensor]:
    """Every tensor of the checkpoint; with `mxfp4`, the experts as OpenAI publishes them.

    MXFP4 keeps a matrix (in, out) as nibbles, uint8 (out, in/32, 16), and scales, uint8
    (out, in/32).
    """
    hidden = shape.hidden
    yield Tensor("model.embed_tokens.weight", (shape.vocabulary, hidden), "embedding")
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for tensor in _layer(shape, mxfp4=mxfp4):
            yield tensor._replace(name=prefix + tensor.name)
    yield Tensor("model.norm.weight", (hidden,), "norms")
    if not shape.tied:
        yield Tensor("lm_head.weight", (shape.vocabulary, hidden), "head")


def _layer(shape: ModelShape, *, mxfp4: bool) -> Iterator[Tensor]:
    hidden, inner, experts = shape.hidden, shape.intermediate, shape.experts
    yield Tensor("input_layernorm.weight", (hidden,), "norms")
    for part, inputs, outputs in _projections(shape):
        yield Tensor(f"self_attn.{part}_proj.weight", (outputs, inputs), "attention")
        yield Tensor(f"self_attn.{part}_proj.bias", (outputs,), "attention")
    yield Tensor("self_attn.sinks", (shape.heads,), "attention")
    yield Tensor("post_attention_layernorm.weight", (hidden,), "norms")
    yield Tensor("mlp.router.weight", (experts, hidden), "router")
    yield Tensor("mlp.router.bias", (experts,), "router")
    for part, inputs, outputs in (("gate_up", hidden, 2 * inner), ("down", inner, hidden)):
        name = f"mlp.experts.{part}_proj"
        if mxfp4:
            groups = (experts, outputs, inputs // MXFP4_GROUP)
            yield Tensor(f"{name}_blocks", (*groups, MXFP4_GROUP // 2), "experts", "U8")
            yield Tensor(f"{name}_scales", groups, "experts", "U8")
        else:
            yield Tensor(name, (experts, inputs, outputs), "experts")
        yield Tensor(f"{name}_bias", (experts, outputs), "experts")


def _projections(shape: ModelShape) -> tuple[tuple[str, int, int], ...]:
    return (
        ("q", shape.hidden, shape.query_width),
        ("k", shape.hidden, shape.key_width),
        ("v", shape.hidden, shape.key_width),
        ("o", shape.query_width, shape.hidden),
    )


def matrices(shape: ModelShape) -> list[Matrix]:
    """The matrices that EXL2 quantizes: attention, experts (gate, up, down apart) and the head."""
    found = [
        Matrix("attention", inputs, outputs, shape.layers, True)
        for _, inputs, outputs in _projections(shape)
    ]
    every = shape.layers * shape.experts
    found.append(Matrix("experts", shape.hidden, shape.intermediate, 2 * every, True))
    found.append(Matrix("experts", shape.intermediate, shape.hidden, every, True))
    # The library loads a head of its own even when it is tied to the embedding.
    found.append(Matrix("head", shape.hidden, shape.vocabulary, 1, False))
    return found


def parameters(shape: ModelShape) -> dict[Group, int]:
    """Parameters by group. gpt-oss-20b: 20,914,757,184 in all; -120b: 116,829,156,672."""
    counts: dict[Group, int] = {}
    for tensor in tensors(shape):
        counts[tensor.group] = counts.get(tensor.group, 0) + tensor.elements
    return counts


def active_parameters(shape: ModelShape) -> int:
    """Parameters that one token uses: all but the embedding and the experts it isn't sent to."""
    counts = parameters(shape)
    experts = counts["experts"] * shape.experts_per_token // shape.experts
    return sum(counts.values()) - counts["embedding"] - counts["experts"] + experts
