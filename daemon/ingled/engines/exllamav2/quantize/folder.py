"""A quantized model's folder: what goes with the weights, and what config.json says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

#: What a model needs besides weights; anything else in the source stays there.
_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "LICENSE",
    "USAGE_POLICY",
)


def finish(source: Path, folder: Path, quantization: dict[str, Any]) -> None:
    """Copy the small files, and write `quantization` into `config.json`."""
    for name in _SMALL_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "exl2"} | quantization
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
