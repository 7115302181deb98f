"""Where a daemon listens: the endpoint file, and sockets set up to talk to it.

The daemon writes `endpoint.json` (0600) into the runtime folder (0700); whoever can read it may
connect. Over `ipc://` the folder is the protection; over `tcp://` CURVE keys always are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import zmq

from . import paths
from .codec import MAX_TRANSPORT_BYTES
from .errors import DaemonNotRunning, LocalError

#: ZMTP heartbeats: how often a silent peer is asked, and when it counts as gone (milliseconds).
ZMTP_HEARTBEAT_MS = 5_000
ZMTP_TIMEOUT_MS = 15_000

NOT_RUNNING = "ingled is not running: start it with `ingle up`"


class Endpoint(msgspec.Struct, kw_only=True, frozen=True):
    """A daemon's address. Keys are CURVE keys in Z85; empty over ipc."""

    url: str
    #: The daemon's public key.
    server_key: str = ""
    #: The client's own key pair.
    public_key: str = ""
    secret_key: str = ""


def endpoint_file() -> Path:
    """`INGLE_ENDPOINT_FILE`, else `endpoint.json` in the runtime folder."""
    override = os.environ.get("INGLE_ENDPOINT_FILE")
    return Path(override) if override else paths.runtime_dir() / "endpoint.json"


def default_url() -> str:
    """The address that a daemon binds unless the settings say otherwise.

    pyzmq's Windows wheels have no `ipc://`; there it is a loopback port with CURVE.
    """
    if sys.platform == "win32":
        return "tcp://127.0.0.1:*"
    return f"ipc://{paths.runtime_dir() / paths.SOCKET_NAME}"


def find_endpoint() -> Endpoint:
    """The running daemon's endpoint.

    Raises `DaemonNotRunning` if there is none, `LocalError` for an unreadable file.
    """
    file = endpoint_file()
    try:
        endpoint = msgspec.json.decode(file.read_bytes(), type=Endpoint)
    except FileNotFoundError:
        raise DaemonNotRunning(NOT_RUNNING) from None
    except (OSError, msgspec.DecodeError) as error:
        raise LocalError(
            f"{file} can't be read ({error}): restart the daemon with `ingle down && ingle up`"
        ) from error
    if not is_listening(endpoint):
        raise DaemonNotRunning(NOT_RUNNING)
    return endpoint


def is_listening(endpoint: Endpoint) -> bool:
    """False if certainly nobody listens. Only a unix socket can tell without a handshake."""
    if not endpoint.url.startswith("ipc://"):
        return True
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(endpoint.url.removeprefix("ipc://"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def configure(socket: zmq.Socket[Any], endpoint: Endpoint) -> None:
    """Options of a client's DEALER socket, before `connect`."""
    socket.setsockopt(zmq.LINGER, 200)
    socket.setsockopt(zmq.HEARTBEAT_IVL, ZMTP_HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, ZMTP_TIMEOUT_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_TRANSPORT_BYTES)
    if endpoint.server_key:
        socket.setsockopt(zmq.CURVE_SERVERKEY, endpoint.server_key.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, endpoint.public_key.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, endpoint.secret_key.encode())
