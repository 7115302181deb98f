"""A worker's life: the state table, deaths and back-off, without processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import get_args

import pytest

from ingle.errors import IngleError, LoadFailed, WorkerDied
from ingle.messages import Message, ModelState
from ingled.lifecycle import MAX_DEATHS, TRANSITIONS, Lifecycle, Occurrence
from ingled.worker.wire import Loaded, Loading, LoadModel, LoadRefused

LOAD = LoadModel(
    engine="scripted",
    name="m",
    context=256,
    slots=1,
    threads=0,
    gpu_layers=0,
    cache_mb=0,
    options={},
)
LOADED = Loaded(
    slots=1, context=256, device="d", dialect="x", memory_bytes=1, limits=[], exclusive=False
)


class FakeWorker:
    """Notes what it is told; the test makes it speak and die."""

    def __init__(self, say: Callable[[Message], None], die: Callable[[int], None]) -> None:
        self.pid = 42
        self.say = say
        self.die = die
        self.told: list[str] = []

    def send(self, message: Message) -> None:
        self.told.append(type(message).__name__)

    def quit(self) -> None:
        self.told.append("quit")

    def kill(self) -> None:
        self.told.append("kill")


class Owner:
    """Notes what became of the worker."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.errors: list[IngleError] = []

    def worker_ready(self, loaded: Loaded) -> None:
        self.heard.append("ready")

    def worker_said(self, message: Message) -> None:
        self.heard.append("said")

    def worker_progress(self) -> None:
        self.heard.append("progress")

    def worker_lost(self, error: IngleError) -> None:
        self.heard.append("lost")
        self.errors.append(error)

    def worker_failed(self, error: IngleError) -> None:
        self.heard.append("failed")
        self.errors.append(error)

    def worker_gone(self) -> None:
        self.heard.append("gone")


class World:
    """A lifecycle with every worker it ever started."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.workers: list[FakeWorker] = []
        self.life = Lifecycle("m", LOAD, self._spawn, self.owner)

    def _spawn(self, say: Callable[[Message], None], die: Callable[[int], None]) -> FakeWorker:
        self.workers.append(FakeWorker(say, die))
        return self.workers[-1]


@pytest.fixture
async def world() -> World:
    return World()


async def test_from_absent_to_ready_and_back(world: World) -> None:
    world.life.ensure()
    world.life.ensure()
    (worker,) = world.workers
    assert worker.told == ["LoadModel"]
    worker.say(Loading(fraction=0.5, detail="half"))
    assert (world.life.state, world.life.progress) == ("loading", 0.5)
    worker.say(LOADED)
    assert (world.life.state, world.life.pid) == ("ready", 42)
    world.life.unload()
    assert worker.told[-1] == "quit"
    assert world.life.state == "stopping"
    worker.die(0)
    await world.life.wait_gone()
    assert world.life.state == "absent"
    assert world.owner.heard == ["progress", "ready", "gone"]


async def test_deaths_back_off_ever_longer_and_end(world: World) -> None:
    world.life.ensure()
    loop = asyncio.get_running_loop()
    delays = []
    deaths = 0
    while world.life.state != "failed":
        deaths += 1
        world.workers[-1].say(LOADED)
        world.workers[-1].die(-9)
        if world.life.retry_at is not None:
            delays.append(world.life.retry_at - loop.time())
            world.life.retry()
    assert deaths == MAX_DEATHS
    assert delays == sorted(delays)
    assert delays[-1] > 5 * delays[0]
    assert world.life.state == "failed"
    assert isinstance(world.owner.errors[0], WorkerDied)
    assert "signal 9" in str(world.owner.errors[0])
    assert isinstance(world.owner.errors[-1], LoadFailed)


async def test_a_finished_answer_forgives_deaths(world: World) -> None:
    world.life.ensure()
    for _ in range(3 * MAX_DEATHS):
        world.workers[-1].say(LOADED)
        world.life.job_succeeded()
        world.workers[-1].die(1)
        assert world.life.state == "backoff"
        world.life.retry()


async def test_a_refusal_is_final_until_asked_again(world: World) -> None:
    world.life.ensure()
    world.workers[0].say(LoadRefused(code="load_failed", message="no memory"))
    assert world.life.state == "failed"
    world.workers[0].die(0)
    assert world.owner.heard == ["failed"]
    world.life.ensure()
    assert world.life.state == "starting"


async def test_a_process_that_can_not_be_started_is_a_failure_not_a_hang() -> None:
    owner = Owner()

    def spawn(say: object, die: object) -> FakeWorker:
        raise OSError(11, "Resource temporarily unavailable")

    life = Lifecycle("m", LOAD, spawn, owner)
    life.ensure()
    assert life.state == "failed"
    assert "temporarily unavailable" in str(owner.errors[0])
    await life.wait_gone()


async def test_words_of_a_worker_that_was_replaced_do_not_count(world: World) -> None:
    world.life.ensure()
    world.workers[0].say(LoadRefused(code="load_failed", message="no"))
    world.life.ensure()
    world.workers[0].say(LOADED)
    world.workers[0].die(0)
    assert world.life.state == "starting"
    world.workers[1].say(LOADED)
    assert world.life.state == "ready"


def test_the_table_knows_only_real_states_and_every_state_can_be_left() -> None:
    states, occurrences = set(get_args(ModelState)), set(get_args(Occurrence))
    assert {state for state, _ in TRANSITIONS} == states
    assert set(TRANSITIONS.values()) == states
    assert {occurrence for _, occurrence in TRANSITIONS} == occurrences


async def test_what_the_table_does_not_know_raises(world: World) -> None:
    with pytest.raises(RuntimeError, match="can't happen"):
        world.life.retry()
