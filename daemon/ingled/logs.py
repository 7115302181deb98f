"""The daemon's log: JSON lines in a rotating file. Prompts and source text never reach it."""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
import sys
import traceback
from pathlib import Path

from ingle import paths

MAX_LOG_BYTES = 2_000_000
KEPT_LOGS = 3

#: Attributes of every LogRecord; what else is there came through `extra`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def log_file() -> Path:
    """The file that `ingle logs` shows."""
    return paths.log_dir() / "ingled.log"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class. Of an exception only type and place: its text could quote a prompt."""
        entry: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            entry["exception"] = type(error).__name__
            entry["at"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames[-6:]]
        return json.dumps(entry, ensure_ascii=False, default=str)


def open_log(level: str, *, also_stderr: bool) -> None:
    """Send the process's logging to the log file, and to standard error for `ingled` by hand."""
    # A full disk must cost log lines, not tracebacks on a standard error that nobody reads.
    logging.raiseExceptions = False
    paths.log_dir().mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        log_file(), maxBytes=MAX_LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8"
    )
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    if also_stderr:
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        root.addHandler(console)
    # Libraries may quote what they handle: only their warnings are wanted.
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Change how much ingle's own loggers say."""
    logging.getLogger("ingled").setLevel(level.upper())
