"""A real daemon process in a home of its own, as users have it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingle.blocking_client import Client
from ingle.endpoint import Endpoint
from ingle.errors import IngleError
from support.waiting import wait_until

SCRIPTED: dict[str, dict[str, Any]] = {
    "model": {"engine": "scripted"},
    "scripted": {"tokens_per_second": 500.0},
}


class DaemonUnderTest:
    """`python -m ingled` with its own `INGLE_HOME`."""

    def __init__(self, home: Path, **sections: dict[str, Any]) -> None:
        self.home = home
        self.env = os.environ | {"INGLE_HOME": str(home), "INGLE_WORKER_STDERR": "1"}
        self.env.pop("XDG_RUNTIME_DIR", None)
        self._sections: dict[str, dict[str, Any]] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(**sections)

    # --- life ----------------------------------------------------------------------------

    def start(self, *, ready: bool = True) -> DaemonUnderTest:
        """Start it; wait until it listens, and by default until a model is resident."""
        log = self.home / "stderr.log"
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingled"],
                env=self.env,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
            )
        wait_until(self._listens, what="the daemon listens", timeout=30)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until a model is resident."""
        with self.client() as client:
            wait_until(
                lambda: any(model.state == "ready" for model in client.status().models),
                timeout=timeout,
                what="a resident model",
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, start it again."""
        if self.process:
            self.stop()
        self.start()

    def close(self) -> None:
        """For fixtures: leave nothing behind."""
        if self.process:
            self.stop()

    # --- use -----------------------------------------------------------------------------

    def configure(self, **sections: dict[str, Any]) -> None:
        """Merge settings into its file."""
        for name, values in sections.items():
            self._sections.setdefault(name, {}).update(values)
        lines = []
        for name, values in self._sections.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
        folder = self.home / "config"
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / "config.toml.new"
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(folder / "config.toml")

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        import msgspec

        files = [self.runtime / "endpoint.json"]
        return msgspec.json.decode(files[0].read_bytes(), type=Endpoint)

    @property
    def runtime(self) -> Path:
        """Its runtime folder."""
        code = "from ingle.paths import runtime_dir; print(runtime_dir())"
        if not hasattr(self, "_runtime"):
            self._runtime = Path(
                subprocess.run(
                    [sys.executable, "-c", code],
                    env=self.env,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.strip()
            )
        return self._runtime

    def client(self, name: str = "test", timeout: float = 10.0) -> Client:
        """A new connection."""
        return Client(self.endpoint, name=name, timeout=timeout)

    def log(self) -> str:
        """Its log so far."""
        file = self.home / "log" / "ingled.log"
        return file.read_text() if file.exists() else ""

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"the daemon ended with {self.process.returncode}: "
                f"{(self.home / 'stderr.log').read_text()[-2000:]}"
            )
        try:
            with self.client(timeout=2):
                return True
        except (IngleError, OSError, ValueError):
            return False


#: For the scripted engine: a completion without an end, since it neither repeats itself nor has a
#: space at which a line could be long enough.
ENDLESS_LINE = ".".join(map(str, range(1000)))


@contextmanager
def saying(script: str, **scripted: Any) -> Iterator[DaemonUnderTest]:
    """A running daemon in a folder of its own, whose scripted engine answers everything so."""
    # Short, because sockets live in it.
    folder = Path(tempfile.mkdtemp(prefix="ingle-d-"))
    daemon = DaemonUnderTest(folder, **SCRIPTED)
    daemon.configure(scripted={"script": script} | scripted)
    try:
        yield daemon.start()
    finally:
        daemon.close()
        shutil.rmtree(folder, ignore_errors=True)


def _toml(value: Any) -> str:
    import json

    # TOML knows no surrogates.
    return json.dumps(value, ensure_ascii=False)
