"""Every error ingle raises, as one tree.

::

    IngleError                       anything ingle reports
    ├── ProtocolError                bytes or messages that break SPEC.md
    │   ├── Malformed                  "malformed"         not our frames, not msgpack, wrong types
    │   ├── TooLarge                   "too_large"         over a size or nesting limit
    │   ├── VersionMismatch            "version_mismatch"  another protocol version
    │   ├── UnknownMessage             "unknown_message"   a type this version does not have
    │   └── HelloRequired              "hello_required"    a request before `hello`
    ├── ConnectionFailed             the client can't talk to a daemon (never on the wire)
    │   ├── DaemonNotRunning           nothing listens
    │   ├── ConnectionLost             it went away, or fell silent, with requests open
    │   └── ResponseTimeout            no answer in the caller's time
    ├── RequestError                 the daemon refused or failed one request
    │   ├── InvalidRequest             "invalid_request"   a field's value makes no sense
    │   ├── Busy                       "busy"              queue full; see `retry_after_ms`
    │   ├── DeadlineExceeded           "deadline_exceeded" its time ran out before it started
    │   ├── SlowReader                 "slow_reader"       the client did not read its events
    │   ├── ModelNotFound              "model_not_found"   no such model, or its file is gone
    │   ├── ModelInvalid               "model_invalid"     the file is corrupt or of another kind
    │   ├── LoadFailed                 "load_failed"       the engine could not load it
    │   ├── ContextOverflow            "context_overflow"  the prompt is longer than the context
    │   ├── OutOfMemory                "out_of_memory"     the card had no room for this request
    │   ├── WorkerDied                 "worker_died"       the model's process ended
    │   ├── Unsupported                "unsupported"       this engine or model can't do that
    │   ├── ShuttingDown               "shutting_down"     the daemon is stopping
    │   └── InternalError              "internal"          our mistake; the log says more
    └── LocalError                   this machine's set-up, found before any request
        ├── SettingsError              a wrong setting: file, line, suggestion
        ├── StoreError                 the model store: disk, hash, download
        ├── ThreadError                a chat thread: missing, damaged, or its folder's disk
        │   ├── ThreadNameError          what can't be a thread's name
        │   └── ThreadBusy               it answers another question
        └── AlreadyRunning             another daemon holds the lock

`ProtocolError` is the peer's mistake, `InternalError` is ours: they are never mixed.
Every message is one line: what is wrong, then what to do.
"""

from __future__ import annotations

from typing import ClassVar


class IngleError(Exception):
    """Base class. `str(error)` is one line for a person."""

    #: Stable name on the wire; empty for errors that never travel.
    code: ClassVar[str] = ""
    #: Whether the same request may succeed later, unchanged.
    retryable: bool = False

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        #: Milliseconds after which a retry makes sense; None where nothing is known.
        self.retry_after_ms = retry_after_ms


class ProtocolError(IngleError):
    """The peer broke the protocol."""


class Malformed(ProtocolError):
    code = "malformed"


class TooLarge(ProtocolError):
    code = "too_large"


class VersionMismatch(ProtocolError):
    code = "version_mismatch"


class UnknownMessage(ProtocolError):
    code = "unknown_message"


class HelloRequired(ProtocolError):
    code = "hello_required"
    retryable = True


class ConnectionFailed(IngleError):
    """No daemon to talk to."""

    retryable = True


class DaemonNotRunning(ConnectionFailed):
    pass


class ConnectionLost(ConnectionFailed):
    pass


class ResponseTimeout(ConnectionFailed):
    pass


class RequestError(IngleError):
    """The daemon refused or failed one request; other requests go on."""


class InvalidRequest(RequestError):
    code = "invalid_request"


class Busy(RequestError):
    code = "busy"
    retryable = True


class DeadlineExceeded(RequestError):
    code = "deadline_exceeded"
    retryable = True


class SlowReader(RequestError):
    code = "slow_reader"


class ModelNotFound(RequestError):
    code = "model_not_found"


class ModelInvalid(RequestError):
    code = "model_invalid"


class LoadFailed(RequestError):
    code = "load_failed"


class ContextOverflow(RequestError):
    code = "context_overflow"


class OutOfMemory(RequestError):
    code = "out_of_memory"
    retryable = True


class WorkerDied(RequestError):
    code = "worker_died"
    retryable = True


class Unsupported(RequestError):
    code = "unsupported"


class ShuttingDown(RequestError):
    code = "shutting_down"
    retryable = True


class InternalError(RequestError):
    code = "internal"


class LocalError(IngleError):
    """This machine's set-up is wrong; nothing was asked of a daemon."""


class SettingsError(LocalError):
    pass


class StoreError(LocalError):
    pass


class ThreadError(LocalError):
    pass


class ThreadNameError(ThreadError):
    pass


class ThreadBusy(ThreadError):
    retryable = True


class AlreadyRunning(LocalError):
    pass


def _wire_errors(root: type[IngleError]) -> dict[str, type[IngleError]]:
    found = {root.code: root} if root.code else {}
    for child in root.__subclasses__():
        found |= _wire_errors(child)
    return found


#: Wire code → exception class, for every error that can arrive in an `error` event.
WIRE_ERRORS: dict[str, type[IngleError]] = _wire_errors(IngleError)


def from_wire(
    code: str, message: str, retry_after_ms: int | None = None, *, retryable: bool | None = None
) -> IngleError:
    """The exception for an `error` event. A code of a newer daemon becomes a `RequestError`.

    `retryable` is what the event says; it wins over what this version thinks of the code.
    """
    error = WIRE_ERRORS.get(code, RequestError)(message, retry_after_ms=retry_after_ms)
    if retryable is not None:
        error.retryable = retryable
    return error
