"""A gpt-oss model's folder, as far as its memory goes: `config.json` and the files' headers.

Reads no tensor. Owns the errors of a folder that can't be judged; shape and sizes are
`model_shape`'s and `weights`' affair.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ingle.errors import ModelInvalid, ModelNotFound

from .model_shape import ModelShape, from_config
from .safetensors_folder import CONFIG_NAME, tensors_on_disk
from .weights import Weights, bits_label, weights_of


def read_shape(folder: Path) -> ModelShape:
    """The shape in a folder's `config.json`.

    Raises `ModelNotFound` if there is none, `Unsupported` for another architecture,
    `ModelInvalid` for a damaged file.
    """
    file = folder / CONFIG_NAME
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFound(
            f"{file} is missing: give a folder with a model in safetensors, or a name of "
            "`ingle models`"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelInvalid(f"{file} can't be read ({reason}): check the path") from error
    try:
        config = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelInvalid(f"{file} is no JSON object: download the model again") from error
    return from_config(config, name=folder.name or str(folder), where=str(file))


def weights_on_disk(folder: Path, shape: ModelShape) -> Weights:
    """What the weights in a folder take on a GPU once they are loaded as they are.

    Raises `ModelNotFound` or `ModelInvalid` for missing or damaged files.
    """
    found = tensors_on_disk(folder)
    weights = weights_of(shape, found.items(), folder.name)
    label = bits_label(weights.bits) if weights.bits is not None else "16 bits"
    return msgspec.structs.replace(weights, label=label)
