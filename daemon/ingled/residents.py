"""Which models are resident: names to services, the default model, making room.

One model is resident at a time: loading another lets the first finish what it runs, then ends its
worker, so that two never compete for the same memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

import msgspec

from ingle.errors import IngleError, ModelNotFound, Unsupported
from ingle.messages import ModelInfo

from .lifecycle import SpawnWorker
from .metrics import Metrics
from .models.store import Store, engine_for
from .requests import OpenRequest
from .service import ModelService
from .settings import Settings
from .worker.wire import LoadModel

log = logging.getLogger("ingled.residents")

#: Chosen first when the settings name no model.
PREFERRED = "gpt-oss-20b"
SCRIPTED = "scripted"
EXLLAMAV2 = "exllamav2"


class Residents:
    """See the module. Lives in the event loop's thread; the store works in others."""

    def __init__(
        self,
        settings: Settings,
        spawn: SpawnWorker,
        metrics: Metrics,
        store: Callable[[], Store] = Store,
    ) -> None:
        self._settings = settings
        self._spawn = spawn
        self._metrics = metrics
        self._store = store
        self._services: dict[str, ModelService] = {}
        #: What "no model named" means, once it is known.
        self._default: str | None = None
        self._changing = asyncio.Lock()
        #: One line each, for status.
        self.notices: list[str] = []

    def services(self) -> list[ModelService]:
        """Every model that has, had, or should have a worker."""
        return list(self._services.values())

    def find(self, name: str | None) -> ModelService | None:
        """The service of a model that is resident or on its way; None if it must be opened."""
        if self._changing.locked():
            return None
        found = self._services.get(name or self._default or "")
        return found if found and found.state not in ("absent", "failed") else None

    async def submit(self, request: OpenRequest) -> None:
        """Queue a generation for a model that may have to be loaded."""
        service = await self._open(request.message.model, request)
        if not request.closed:
            service.submit(request)

    async def load(self, request: OpenRequest) -> None:
        """Carry out `load`."""
        message = request.message
        service = await self._open(message.model, request, message.engine)
        if not request.closed:
            self._default = service.name
            service.load(request)

    async def load_default(self) -> None:
        """Load the configured model at start; a failure is a notice, not the end."""
        try:
            service = await self._open(None, None)
            service.ensure_loaded()
        except IngleError as error:
            self.notices = [str(error)]
            log.warning("no model at start: %s", error)

    async def unload(self, request: OpenRequest) -> None:
        """Carry out `unload`."""
        name = request.message.model
        if name is not None and name not in self._services:
            raise ModelNotFound(f"{name!r} is not resident: `ingle status` lists what is")
        chosen = [self._services[name]] if name is not None else self.services()
        for service in chosen:
            service.unload()
        for service in chosen:
            await service.wait_gone()
        request.done()

    def cancel(self, request: OpenRequest) -> None:
        """Stop a request, wherever it is."""
        for service in self.services():
            service.cancel(request)
        if not request.running:
            # It had not reached a service yet.
            request.done(finish="cancelled")

    def configure(self, settings: Settings) -> None:
        """Take changed settings."""
        if settings.model.name != self._settings.model.name:
            self._default = None
        self._settings = settings
        for service in self.services():
            service.configure(settings)

    async def catalog(self) -> list[ModelInfo]:
        """The store's models, and others that were loaded or are configured, such as files.

        Resident ones are marked.
        """
        listed: list[ModelInfo] = await asyncio.to_thread(lambda: self._store().list())
        resident = {service.name for service in self.services() if service.state == "ready"}
        others = {
            service.name: ModelInfo(name=service.name, installed=True, engine=service.engine)
            for service in self.services()
        }
        names = {info.name for info in listed}
        configured = self._configured()
        if configured and configured not in names | others.keys():
            is_there = configured == SCRIPTED or await asyncio.to_thread(os.path.exists, configured)
            others[configured] = ModelInfo(name=configured, installed=is_there)
        return [
            msgspec.structs.replace(info, resident=info.name in resident)
            for info in [*listed, *(info for name, info in others.items() if name not in names)]
        ]

    async def close(self, why: IngleError) -> None:
        """End every worker."""
        for service in self.services():
            service.unload(why)
        for service in self.services():
            await service.wait_gone()

    # --- opening -------------------------------------------------------------------------

    async def _open(
        self, name: str | None, request: OpenRequest | None, engine: str | None = None
    ) -> ModelService:
        """The service for a model, with room made for it. Raises `IngleError`."""
        async with self._changing:
            if name is None:
                self._default = self._default or await asyncio.to_thread(self._default_name)
            wanted: str = name or self._default or ""
            service = self._services.get(wanted)
            lives = service is not None and service.state not in ("absent", "failed")
            if service and lives and (engine or service.engine) == service.engine:
                return service
            if request:
                request.progress("loading", None, f"looking for {wanted}")
            fresh = await asyncio.to_thread(self._describe, wanted, engine)
            for other in self.services():
                if request and other.state not in ("absent", "failed"):
                    request.progress("queued", None, f"waiting for {other.name} to finish")
                await other.retire()
            self.notices = []
            fresh_service = ModelService(fresh, self._settings, self._spawn, self._metrics)
            self._services = {wanted: fresh_service}
            return self._services[wanted]

    def _describe(self, name: str, engine: str | None) -> LoadModel:
        """Find and check a model's files; runs in a thread, may hash gigabytes."""
        model = self._settings.model
        wanted = engine or model.engine
        options: dict[str, Any] = {}
        path = ""
        if wanted == SCRIPTED:
            options = msgspec.structs.asdict(self._settings.scripted)
        else:
            stored = self._store().resolve(name)
            path = str(stored.path)
            possible, reason = engine_for(stored.format)
            if not possible:
                raise Unsupported(f"{name} can't run here: {reason}")
            if wanted not in ("auto", possible):
                raise Unsupported(
                    f'the engine {wanted} can\'t run {stored.format}: use `engine = "auto"`'
                )
            wanted = possible
            if wanted == EXLLAMAV2:
                options = msgspec.structs.asdict(self._settings.exllamav2)
        return LoadModel(
            engine=wanted,
            name=name,
            path=path,
            context=model.context,
            slots=model.slots,
            threads=model.threads,
            gpu_layers=model.gpu_layers,
            cache_mb=model.cache_mb,
            options=options,
        )

    def _configured(self) -> str:
        """The model that the settings name; "" if they leave it to us."""
        model = self._settings.model
        return model.name or (SCRIPTED if model.engine == SCRIPTED else "")

    def _default_name(self) -> str:
        configured = self._configured()
        if configured:
            return configured
        installed = [info for info in self._store().list() if info.installed]
        usable = [info.name for info in installed if info.engine]
        if PREFERRED in usable:
            return PREFERRED
        if usable:
            return usable[0]
        raise ModelNotFound(
            "no model is installed: get the small one with `ingle pull smollm2-135m`, "
            "or gpt-oss with `ingle pull gpt-oss-20b`"
        )
