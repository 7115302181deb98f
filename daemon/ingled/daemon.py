"""The daemon process: lock, log, settings, signals, and the order in which things start and stop.

`ingled` runs it in the foreground; `ingle up` starts it in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence

import zmq.asyncio

from ingle import paths
from ingle.endpoint import default_url
from ingle.errors import IngleError, SettingsError
from ingle.version import __version__

from . import settings as settings_module
from .broker import Broker
from .front import Front
from .listen import Listener, publish, withdraw
from .lock import InstanceLock
from .logs import open_log, set_level
from .metrics import Metrics
from .residents import Residents
from .settings import Settings, load_settings
from .worker_process import WorkerProcess

log = logging.getLogger("ingled.daemon")


class Daemon:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = zmq.asyncio.Context()
        self._listener = Listener(self._context)
        metrics = Metrics()
        self._residents = Residents(
            settings,
            lambda on_message, on_exit: WorkerProcess(
                self._context, self._listener, on_message, on_exit
            ),
            metrics,
        )
        self._front = Front(
            self._context,
            self._listener,
            lambda identity, frames: self._broker.on_frames(identity, frames),
            lambda identity: self._broker.on_gone(identity),
            lambda identity: self._broker.on_overflow(identity),
        )
        self._broker = Broker(self._front, self._residents, settings, metrics)

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        url = self._settings.daemon.listen or default_url()
        endpoint = self._front.bind(url, self._settings.daemon.allowed_client_keys)
        self._broker.endpoint_url = endpoint.url
        self._stop_on_signals()
        vital = [
            asyncio.create_task(self._front.serve()),
            asyncio.create_task(self._broker.heartbeats()),
        ]
        tasks = [*vital, asyncio.create_task(self._follow_settings())]
        publish(endpoint)
        log.info("listening", extra={"url": endpoint.url, "version": __version__})
        if self._settings.model.load_at_start:
            tasks.append(asyncio.create_task(self._residents.load_default()))
        stopped = asyncio.create_task(self._broker.stopped())
        # A vital task that ends before the stop has failed, and takes the daemon with it.
        finished, _ = await asyncio.wait([*vital, stopped], return_when="FIRST_COMPLETED")
        withdraw()
        log.info("stopping")
        await self._broker.drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._front.close()
        self._listener.close()
        self._context.destroy(linger=500)
        for task in finished - {stopped}:
            task.result()
        log.info("stopped")

    def _stop_on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Windows' event loops have no signal handlers; there Ctrl-C raises KeyboardInterrupt.
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._broker.stop)

    async def _follow_settings(self) -> None:
        """Apply changes of the settings file as they are saved."""
        from watchfiles import awatch

        folder = paths.config_dir()
        file = settings_module.settings_file()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            changes = awatch(folder, recursive=False, debounce=200, step=50)
        except OSError as error:
            log.warning("%s can't be watched: %s", folder, error)
            self._broker.notices = [f"{folder} can't be watched: changes need a restart"]
            return
        async for _ in changes:
            try:
                new = await asyncio.to_thread(load_settings, file)
            except SettingsError as error:
                log.warning("settings not applied: %s", error)
                self._broker.notices = [f"settings not applied: {error}"]
                continue
            self._apply(new)

    def _apply(self, new: Settings) -> None:
        changed = settings_module.changed(self._settings, new)
        if not changed:
            self._broker.notices = []
            return
        reload_names = settings_module.needs_reload(self._settings, new)
        restart_names = settings_module.needs_restart(self._settings, new)
        self._settings = new
        set_level(new.daemon.log_level)
        self._broker.configure(new)
        self._broker.notices = [
            f"{', '.join(names)}: {when}"
            for names, when in (
                (reload_names, "takes effect at the next load (`ingle unload`, then ask)"),
                (restart_names, "takes effect after `ingle down && ingle up`"),
            )
            if names
        ]
        log.info("settings applied", extra={"changed": changed, "notices": self._broker.notices})


async def _run(settings: Settings) -> None:
    await Daemon(settings).run()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `ingled`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given in (["-V"], ["--version"]):
        print(f"ingled {__version__}")
        return
    if given:
        known = given in (["-h"], ["--help"])
        print(
            "Usage: ingled [--version]\n\n"
            "Runs the daemon in the foreground. Its settings are in the file that\n"
            "`ingle config path` names; start it in the background with `ingle up`.",
            file=sys.stdout if known else sys.stderr,
        )
        raise SystemExit(0 if known else 2)
    lock = InstanceLock()
    try:
        settings = load_settings()
        lock.acquire()
        open_log(settings.daemon.log_level, also_stderr=sys.stderr.isatty())
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            runner.run(_run(settings))
    except IngleError as error:
        if logging.getLogger().handlers:
            log.error("%s", error)
        print(f"ingled: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"ingled: {where}{error.strerror or error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        lock.release()


def _event_loop() -> asyncio.AbstractEventLoop:
    """pyzmq needs the selector loop on Windows."""
    if sys.platform == "win32":
        return asyncio.SelectorEventLoop()
    return asyncio.new_event_loop()


if __name__ == "__main__":
    main()
