"""The log: standard error, one line a record, and never a document's text.

pygls, cattrs and asyncio put messages and their parameters into what they log, and those carry
source text. So of other packages' records only the fixed part is written: the template without
its arguments, and where and with what kind of exception it happened.
"""

from __future__ import annotations

import logging
import sys
import traceback

from pygls.exceptions import JsonRpcException

#: Packages whose records are written whole: ours, which take care themselves.
_OURS = ("ingle_lsp", "ingle")


class SafeFormatter(logging.Formatter):
    """One line a record; see the module."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] in _OURS
        message = record.getMessage() if ours else str(record.msg)
        line = message.split("\n")[0]
        if record.exc_info and record.exc_info[0] is not None:
            line += f" ({_place_of(record.exc_info[1])})"
        return f"ingle-lsp {record.levelname.lower()}: {line}"


def _place_of(error: BaseException | None) -> str:
    """Kind and place of an exception; not its message, which may quote anything."""
    if error is None:
        return "unknown"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


def is_news(record: logging.LogRecord) -> bool:
    """False for what an editor got as the answer to its request: pygls logs it once more."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, JsonRpcException) or record.name.split(".")[0] in _OURS


def configure() -> None:
    """Log warnings to standard error; of pygls, which warns of every late cancel, errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter())
    handler.addFilter(is_news)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("pygls", "lsprotocol", "cattrs"):
        logging.getLogger(name).setLevel(logging.ERROR)
