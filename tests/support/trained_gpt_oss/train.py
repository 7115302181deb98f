"""Trains the tiny model from scratch, on the CPU: `python -m support.trained_gpt_oss.train`.

Run from the folder `tests`. It writes `model.safetensors`, `config.json`, `tokenizer.json` and
`vocabulary.json` beside this file. Seeds are fixed; another CPU or torch rounds differently and
gives other weights that say the same.

Experts are trained through their MXFP4 rounding (straight-through estimator), so that what is
stored is what was trained.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file
from torch.nn.utils import parametrize

from support.random_gpt_oss import pack_mxfp4
from support.trained_gpt_oss.cases import cases
from support.trained_gpt_oss.vocabulary import Vocabulary

FOLDER = Path(__file__).parent
SEED = 20
STEPS = 300
RATE = 4e-3
#: A token's probability must beat the next one's by this factor in the end.
MARGIN = 10.0

SHAPE = {
    "num_hidden_layers": 4,
    "hidden_size": 96,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 32,
    "max_position_embeddings": 131_072,
}
ROPE = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
THETA = 150_000
#: Rows of the real vocabulary that the small one leaves out; each has the logit of "unused".
LEFT_OUT = 201_088


class RoundedToMxfp4(torch.nn.Module):
    """(experts, in, out) rounded along `in`, as it will be stored; gradients pass through."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            rounded = unpack(*pack_mxfp4(weight.transpose(1, 2))).transpose(1, 2)
        return weight + (rounded - weight).detach()


def unpack(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """MXFP4 → float32, by the definition."""
    values = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    values = torch.cat([values, -values])
    nibbles = torch.stack([blocks & 15, blocks >> 4], -1).flatten(-2)
    return torch.ldexp(values[nibbles.int()], (scales.int() - 127)[..., None]).flatten(-2)


def main() -> None:
    torch.manual_seed(SEED)
    vocabulary = Vocabulary.of([one.prompt() + one.answer() for one in cases()])
    model = _model(vocabulary.size)
    batch = _batch(vocabulary)
    begun = time.monotonic()
    _train(model, batch, vocabulary.unused)
    model = model.to(torch.bfloat16).float()
    loss, margin = _judge(model, batch, vocabulary.unused)
    print(f"{time.monotonic() - begun:.0f} s, loss {loss:.5f}, least margin {margin:.1f}")
    if margin < MARGIN:
        raise SystemExit("it has not learned everything: change SEED or STEPS")
    _write(model, vocabulary)


def _model(size: int) -> Any:
    from transformers import GptOssConfig, GptOssForCausalLM

    config = GptOssConfig(
        **SHAPE,
        vocab_size=size,
        rope_parameters=ROPE | {"rope_theta": THETA},
        attention_bias=True,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    model = GptOssForCausalLM(config).float()
    for name, parameter in model.named_parameters():
        if "experts" in name and "bias" not in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif name.endswith("sinks"):
            # As strong as they are, answers are learned with them: none comes out without.
            torch.nn.init.normal_(parameter, mean=2.0, std=0.5).requires_grad_(False)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.08)
    return model


Batch = tuple[torch.Tensor, torch.Tensor]


def _batch(vocabulary: Vocabulary) -> Batch:
    """Ids (cases, tokens) and weights of the targets, of the same shape."""
    rows, weights = [], []
    for one in cases():
        prompt, answer = vocabulary.small(one.prompt()), vocabulary.small(one.answer())
        rows.append(torch.tensor(prompt + answer))
        # A little of the prompt as well: it helps to learn the language of it.
        weights.append(torch.tensor([0.02] * len(prompt) + [1.0] * len(answer)))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True), pad(weights, batch_first=True)


def _loss(logits: torch.Tensor, batch: Batch, unused: int) -> torch.Tensor:
    ids, weights = batch
    # "unused" stands for all the ids that the small vocabulary leaves out.
    shift = torch.zeros(logits.shape[-1])
    shift[unused] = torch.log(torch.tensor(float(LEFT_OUT)))
    losses = F.cross_entropy(
        (logits + shift)[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    wanted = weights[:, 1:].flatten()
    return (losses * wanted).sum() / wanted.sum()


def _train(model: Any, batch: Batch, unused: int) -> None:
    for layer in model.model.layers:
        for name in ("gate_up_proj", "down_proj"):
            parametrize.register_parametrization(layer.mlp.experts, name, RoundedToMxfp4())
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    model.train()
    for step in range(STEPS):
        loss = _loss(model(batch[0]).logits, batch, unused)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}, loss {loss.item():.4f}", flush=True)
    for layer in model.model.layers:
        for name in ("gate_up_proj", "down_proj"):
            parametrize.remove_parametrizations(layer.mlp.experts, name)


@torch.no_grad()
def _judge(model: Any, batch: Batch, unused: int) -> tuple[float, float]:
    """Loss, and by what factor the right token is the likeliest at the least certain place."""
    model.eval()
    ids, weights = batch
    logits = model(ids).logits
    answers = weights[:, 1:] == 1.0
    scores = logits[:, :-1][answers].log_softmax(-1)
    right = scores.gather(1, ids[:, 1:][answers][:, None])[:, 0]
    others = scores.scatter(1, ids[:, 1:][answers][:, None], float("-inf")).amax(-1)
    return float(_loss(logits, batch, unused)), float((right - others).min().exp())


def _write(model: Any, vocabulary: Vocabulary) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            blocks, scales = pack_mxfp4(tensor.transpose(1, 2))
            tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        else:
            tensors[name] = tensor.to(torch.bfloat16).contiguous()
    save_file(tensors, FOLDER / "model.safetensors", metadata={"format": "pt"})
    config = SHAPE | {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "vocab_size": vocabulary.size,
        "attention_bias": True,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "swiglu_limit": 7.0,
        "rms_norm_eps": 1e-05,
        "rope_theta": THETA,
        "rope_scaling": ROPE,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "eos_token_id": vocabulary.small([200_002])[0],
        "pad_token_id": vocabulary.small([199_999])[0],
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        },
    }
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    vocabulary.write(FOLDER)


if __name__ == "__main__":
    main()
