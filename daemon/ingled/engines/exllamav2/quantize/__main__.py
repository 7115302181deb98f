"""`python -m ingled.engines.exllamav2.quantize FOLDER`: one JSON report a line on standard output.

FOLDER has a `request.json`; what is made goes there as well. What the library prints goes to
`convert.log`. Exit code 0 when the model is whole and checked, 1 otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ingle import paths
from ingle.errors import IngleError
from ingled.quantization import (
    JOB_FILE,
    LOG_FILE,
    MODEL_FOLDER,
    REQUEST_FILE,
    Failure,
    Report,
    Request,
    Step,
)

Tell = Callable[[Report], None]


def main(folder: Path) -> int:
    """Run to the end; the exit code."""
    tell = _teller(folder / LOG_FILE)
    request = msgspec.json.decode((folder / REQUEST_FILE).read_bytes(), type=Request)
    tell(Step(stage="reading", detail="starting ExLlamaV2"))
    try:
        _quantize(request, folder, tell)
    except IngleError as error:
        tell(Failure(message=str(error), resumable=(folder / JOB_FILE).exists()))
        return 1
    except KeyboardInterrupt:
        return 1
    # Whatever breaks in the library: its own words are in the log.
    except Exception as error:
        import traceback

        traceback.print_exc()
        words = " ".join(str(error).split())[:200]
        tell(
            Failure(
                message=f"the converter failed ({type(error).__name__}: {words}): report it with "
                f"{folder / LOG_FILE}",
                resumable=True,
            )
        )
        return 1
    return 0


def _quantize(request: Request, folder: Path, tell: Tell) -> None:
    from ingled.engines.exllamav2.library import check_versions, install

    check_versions()
    from ingled.engines.exllamav2.device import configure_allocator, require_card

    # Before the library builds its kernels, for minutes, where there is no card.
    require_card()
    configure_allocator()
    install()
    from exllamav2 import ExLlamaV2Config

    from ingled.engines.exllamav2.tokenizer import JsonTokenizer

    source = Path(request.source)
    tokenizer = JsonTokenizer(source)
    encoding = _harmony(tokenizer, source)
    target = folder / MODEL_FOLDER
    target.mkdir(exist_ok=True)
    # It imports the converter, which takes Ctrl-C for itself until `adapt` gives it back.
    from . import calibration, check, convert, transcode

    def sequences(count: int, length: int) -> Any:
        return calibration.sequences(tokenizer, encoding, count, length)

    original = ExLlamaV2Config(request.source)
    if request.bits is None:
        transcode.check_source(original)
        transcode.run(original, target, tell)
    else:
        convert.Conversion(request, folder, target, sequences, tell).run()
    tell(check.check(target, sequences(2, 96), original, request.bits is None, tell))


def _harmony(tokenizer: Any, source: Path) -> Any:
    """openai-harmony's encoding; None for a vocabulary without its control tokens."""
    from ingled.dialects.harmony import CONTROL_IDS

    if any(tokenizer.special(text) != token for text, token in CONTROL_IDS.items()):
        return None
    from ingled.dialects.harmony_vocabulary import load_encoding

    return load_encoding(source, paths.cache_dir())


def _teller(log: Path) -> Tell:
    """Writes to what is standard output now. The library prints: that goes to the log."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
    return lambda report: _write(output, report)


def _write(output: Any, report: Report) -> None:
    output.write(msgspec.json.encode(report) + b"\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
