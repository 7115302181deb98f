"""Tiny gpt-oss checkpoints with random weights, as folders, and transformers' word on them.

For parity: a random model exercises every weight, and any error in the arithmetic shows. With all
experts active no rounding can flip the router. It is chaotic, so a quantized form is compared
with its own dequantized weights, never with the original.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Layout = Literal["bf16", "mxfp4"]
Tensors = dict[str, torch.Tensor]

VOCABULARY = 512
WINDOW = 8
YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
THETA = 150_000.0
_FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def build(
    folder: Path,
    *,
    experts: int = 8,
    active: int = 8,
    layers: int = 4,
    hidden: int = 64,
    seed: int = 1,
    layout: Layout = "bf16",
    modern_rope: bool = False,
) -> Path:
    """Write a checkpoint; the same for the same arguments.

    `modern_rope` writes transformers 5's `rope_parameters`, otherwise the published `rope_scaling`.
    """
    from transformers import GptOssForCausalLM

    config = _config(experts, active, layers, hidden)
    model = GptOssForCausalLM(config).to(torch.bfloat16)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: _random(name, tensor.shape, generator).to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = config.to_dict() | {"architectures": ["GptOssForCausalLM"]}
    if not modern_rope:
        written.pop("rope_parameters", None)
        written |= {"rope_theta": THETA, "rope_scaling": YARN}
    if layout == "mxfp4":
        tensors = _with_packed_experts(tensors)
        written["quantization_config"] = {"quant_method": "mxfp4"}
    (folder / "config.json").write_text(json.dumps(written, default=str), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_tokenizer(folder)
    return folder


def reference(folder: Path) -> Any:
    """The checkpoint in transformers: float32, eager attention, MXFP4 decoded by transformers."""
    from transformers import GptOssConfig, GptOssForCausalLM

    read = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    read.pop("quantization_config", None)
    model = GptOssForCausalLM._from_config(
        GptOssConfig(**read), attn_implementation="eager", dtype=torch.float32
    )
    model.load_state_dict(unpacked(load_file(folder / "model.safetensors")))
    return model.eval()


def unpacked(tensors: Tensors) -> Tensors:
    """Every tensor in float32, MXFP4 decoded by transformers."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    plain = {}
    for name, tensor in tensors.items():
        if name.endswith("_blocks"):
            whole = name.removesuffix("_blocks")
            plain[whole] = convert_moe_packed_tensors(
                tensor, tensors[f"{whole}_scales"], dtype=torch.float32
            )
        elif not name.endswith("_scales"):
            plain[name] = tensor.float()
    return plain


def divergence(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of `logits` from `wanted`, both (…, vocabulary), per token."""
    return torch.nn.functional.kl_div(
        logits.float().log_softmax(-1),
        wanted.float().log_softmax(-1),
        log_target=True,
        reduction="none",
    ).sum(-1)


def pack_mxfp4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(…, in) → blocks uint8 (…, in/32, 16) and scales uint8 (…, in/32), to the nearest value."""
    groups = weight.float().unflatten(-1, (-1, 32))
    exponents = torch.floor(torch.log2(groups.abs().amax(-1).clamp(min=1e-30))) - 2
    scaled = groups / torch.exp2(exponents)[..., None]
    nibbles = (scaled.abs()[..., None] - _FP4).abs().argmin(-1) + torch.where(scaled < 0, 8, 0)
    nibbles = nibbles.to(torch.uint8)
    return (nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)).contiguous(), (exponents + 127).to(
        torch.uint8
    )


def _config(experts: int, active: int, layers: int, hidden: int) -> Any:
    from transformers import GptOssConfig

    return GptOssConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=experts,
        num_experts_per_tok=active,
        intermediate_size=hidden,
        vocab_size=VOCABULARY,
        sliding_window=WINDOW,
        max_position_embeddings=131_072,
        rope_parameters=YARN | {"rope_theta": THETA},
        attention_bias=True,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        layer_types=["sliding_attention", "full_attention"] * (layers // 2),
    )


#: Standard deviation of a tensor, by the end of its name; the first that fits.
_SCALES = (
    ("sinks", 1.5),
    ("bias", 0.3),
    ("router.weight", 0.4),
    ("embed_tokens.weight", 1.0),
    ("proj", 0.3),
    ("weight", 0.25),
)


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(shape, generator=generator)
    if "norm" in name:
        return 1 + 0.1 * drawn
    return drawn * next(scale for end, scale in _SCALES if name.endswith(end))


def _with_packed_experts(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    packed = {}
    for name, tensor in tensors.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            packed[f"{name}_blocks"], packed[f"{name}_scales"] = pack_mxfp4(tensor.transpose(1, 2))
        else:
            packed[name] = tensor
    return packed


def _write_tokenizer(folder: Path) -> None:
    """A byte-level vocabulary, trained on this file, filled up to `VOCABULARY`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(Path(__file__).read_text(encoding="utf-8").split("\n"), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2]}', encoding="utf-8")
