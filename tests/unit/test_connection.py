"""The connection to the daemon, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import product

import pytest

from ingle.errors import DaemonNotRunning, IngleError, VersionMismatch
from ingle.results import Completion
from ingle_lsp.connection import (
    LONGEST_PAUSE,
    TRANSITIONS,
    DaemonClient,
    DaemonConnection,
    Event,
    Link,
    State,
)

DOWN = DaemonNotRunning("ingled is not running: start it with `ingle up`")


class FakeClient:
    def __init__(self) -> None:
        self.lost = False
        self.closed = False

    async def infill(self, prefix: str, suffix: str = "", **fields: object) -> Completion:
        raise AssertionError("not asked for here")

    async def close(self) -> None:
        self.closed = True


class World:
    """A daemon that is up or down, a user, and time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failure: IngleError | Exception | None = None
        self.tries = 0
        self.told: list[str] = []
        self.clients: list[FakeClient] = []
        self.may_start = False
        self.starts = 0
        self.starts_after: float | None = 0.3
        self.exit_code: int | None = None
        self.gate: asyncio.Event | None = None
        self.connection = DaemonConnection(
            connect=self.connect,
            start=self.start,
            may_start=lambda: self.may_start,
            tell=self.told.append,
            clock=lambda: self.now,
            sleep=self.sleep,
            look=lambda: self.mark,
        )
        #: What a cheap look shows.
        self.mark = 0
        self._up_at: float | None = None

    async def connect(self) -> DaemonClient:
        self.tries += 1
        if self.gate is not None:
            await self.gate.wait()
        if self._up_at is not None and self.now >= self._up_at:
            self.failure = None
        if self.failure is not None:
            raise self.failure
        self.clients.append(FakeClient())
        return self.clients[-1]

    def start(self) -> World:
        self.starts += 1
        if self.starts_after is not None:
            self._up_at = self.now + self.starts_after
        return self

    def poll(self) -> int | None:
        return self.exit_code

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_one_connection_for_everybody(world: World) -> None:
    world.gate = asyncio.Event()
    asked = [asyncio.create_task(world.connection.client()) for _ in range(5)]
    await asyncio.sleep(0)
    assert world.connection.state is State.CONNECTING
    world.gate.set()
    clients = await asyncio.gather(*asked)
    assert world.tries == 1
    assert all(client is world.clients[0] for client in clients)


async def test_one_who_gives_up_does_not_end_the_try(world: World) -> None:
    world.gate = asyncio.Event()
    impatient = asyncio.create_task(world.connection.client())
    patient = asyncio.create_task(world.connection.client())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    world.gate.set()
    assert await patient is world.clients[0]


async def test_a_daemon_that_is_down_costs_one_message_and_few_tries(world: World) -> None:
    world.failure = DOWN
    for _ in range(1000):
        assert await world.connection.client() is None
        world.now += 0.1
    assert world.told == [str(DOWN)]
    # 100 seconds: after 0.5, 1, 2, 4, 8 seconds and then every 10.
    assert world.tries <= 16


async def test_the_pause_is_never_longer_than_promised(world: World) -> None:
    world.failure = DOWN
    for _ in range(100):
        await world.connection.client()
        world.now += 0.5
    world.failure = None
    world.now += LONGEST_PAUSE
    assert await world.connection.client() is world.clients[0]


async def test_it_comes_back_when_the_daemon_does(world: World) -> None:
    first = await world.connection.client()
    world.clients[0].lost = True
    second = await world.connection.client()
    assert second is not first
    assert second is world.clients[1]
    await asyncio.sleep(0)
    assert world.clients[0].closed
    assert world.told == []


async def test_every_outage_is_told_once(world: World) -> None:
    for outage in range(1, 4):
        client = await world.connection.client()
        assert client is not None
        world.failure = DOWN
        world.connection.lost(client)
        for _ in range(5):
            assert await world.connection.client() is None
            world.now += 1.0
        assert len(world.told) == outage
        world.failure = None
        world.now += LONGEST_PAUSE


async def test_the_loss_of_an_old_client_is_no_news(world: World) -> None:
    old = await world.connection.client()
    assert old is not None
    world.connection.lost(old)
    new = await world.connection.client()
    world.connection.lost(old)
    assert await world.connection.client() is new


async def test_another_version_is_said_once(world: World) -> None:
    world.failure = VersionMismatch("the peer speaks protocol 9")
    for _ in range(100):
        assert await world.connection.client() is None
        world.now += 1.0
    assert world.told == ["the peer speaks protocol 9"]


async def test_a_wrong_version_after_an_outage_is_said_too(world: World) -> None:
    world.failure = DOWN
    await world.connection.client()
    world.now += 60
    world.failure = VersionMismatch("the peer speaks protocol 9")
    await world.connection.client()
    assert world.told == [str(DOWN), "the peer speaks protocol 9"]


async def test_a_defect_is_a_failed_try_not_a_crash(world: World) -> None:
    world.failure = RuntimeError("source text")
    assert await world.connection.client() is None
    assert world.told == ["no connection to the daemon (RuntimeError)"]
    world.failure = None
    world.now += 60
    assert await world.connection.client() is world.clients[0]


# --- starting the daemon -----------------------------------------------------------------------


async def test_it_is_not_started_without_leave(world: World) -> None:
    world.failure = DOWN
    assert await world.connection.client() is None
    assert world.starts == 0


async def test_it_is_started_with_leave(world: World) -> None:
    world.failure, world.may_start = DOWN, True
    assert await world.connection.client() is world.clients[0]
    assert world.starts == 1
    assert world.told == []


async def test_a_daemon_that_the_user_stopped_stays_stopped(world: World) -> None:
    world.may_start = True
    client = await world.connection.client()
    assert client is not None
    world.failure = DOWN
    world.connection.lost(client)
    assert await world.connection.client() is None
    assert world.starts == 0


async def test_a_daemon_that_ends_at_once_is_not_started_again(world: World) -> None:
    world.failure, world.may_start = DOWN, True
    world.starts_after, world.exit_code = None, 1
    for _ in range(50):
        assert await world.connection.client() is None
        world.now += 5.0
    assert world.starts == 1
    assert world.told == ["ingled could not be started: `ingle up` says why"]


async def test_a_daemon_that_never_answers_is_given_up(world: World) -> None:
    world.failure, world.may_start = DOWN, True
    world.starts_after = None
    assert await world.connection.client() is None
    assert 30 <= world.now < 31
    assert len(world.told) == 1


async def test_another_editor_has_started_it_meanwhile(world: World) -> None:
    world.failure, world.may_start = DOWN, True
    world.starts_after, world.exit_code = 0.0, 1
    assert await world.connection.client() is world.clients[0]
    assert world.told == []


async def test_a_start_that_fails(world: World) -> None:
    world.failure, world.may_start = DOWN, True

    def refuse() -> World:
        raise PermissionError(13, "Permission denied")

    world.connection._start = refuse
    assert await world.connection.client() is None
    assert world.told == ["ingled could not be started (Permission denied): try `ingle up`"]


# --- started by the user's own wish ------------------------------------------------------------


async def test_the_user_can_start_it_without_leave_and_again(world: World) -> None:
    for start in range(1, 4):
        world.failure, world._up_at = DOWN, None
        await world.connection.start()
        assert world.starts == start
        client = await world.connection.client()
        assert client is world.clients[-1]
        world.connection.lost(client)
    assert world.told == []


async def test_starting_works_after_leave_was_used_up_and_in_a_pause(world: World) -> None:
    world.failure, world.may_start = DOWN, True
    world.starts_after, world.exit_code = None, 1
    assert await world.connection.client() is None
    assert await world.connection.client() is None
    assert world.connection.state is State.WAITING
    world.starts_after, world.exit_code = 0.3, None
    await world.connection.start()
    assert world.starts == 2
    assert await world.connection.client() is world.clients[0]


async def test_a_daemon_that_runs_is_not_started(world: World) -> None:
    await world.connection.start()
    await world.connection.start()
    assert (world.starts, world.tries) == (0, 1)


async def test_starting_waits_for_a_try_and_starts_after_it(world: World) -> None:
    world.failure = DOWN
    world.gate = asyncio.Event()
    asked = asyncio.create_task(world.connection.client())
    await asyncio.sleep(0)
    wish = asyncio.create_task(world.connection.start())
    await asyncio.sleep(0)
    world.gate.set()
    assert await asked is None
    await wish
    assert world.starts == 1
    assert await world.connection.client() is world.clients[0]


async def test_a_start_in_vain_says_why_and_can_be_tried_again(world: World) -> None:
    world.failure = DOWN
    world.starts_after, world.exit_code = None, 1
    for start in range(1, 3):
        with pytest.raises(DaemonNotRunning, match="`ingle up` says why"):
            await world.connection.start()
        assert world.starts == start
    # The answer says it.
    assert world.told == []


async def test_a_daemon_of_another_version_is_not_started_over(world: World) -> None:
    world.failure = VersionMismatch("the peer speaks protocol 9")
    with pytest.raises(VersionMismatch):
        await world.connection.start()
    assert world.starts == 0


async def test_a_start_is_told_to_listeners(world: World) -> None:
    world.failure = DOWN
    seen: list[tuple[State, bool]] = []
    world.connection.on_change(
        lambda: seen.append((world.connection.state, world.connection.starting))
    )
    await world.connection.start()
    assert seen[-2:] == [(State.CONNECTING, True), (State.CONNECTED, False)]


async def test_starting_after_the_end_is_refused(world: World) -> None:
    await world.connection.close()
    with pytest.raises(DaemonNotRunning):
        await world.connection.start()
    assert world.starts == 0


# --- quiet, urgent, and a cheap look -------------------------------------------------------------


async def test_a_quiet_question_tells_nothing_but_takes_nothing_away(world: World) -> None:
    world.failure = DOWN
    for _ in range(3):
        assert await world.connection.client(quiet=True) is None
    assert world.told == []
    assert await world.connection.client() is None
    assert await world.connection.client() is None
    assert world.told == [str(DOWN)]
    assert world.tries == 1


async def test_an_urgent_question_tries_now(world: World) -> None:
    world.failure = DOWN
    for tries in range(1, 4):
        assert await world.connection.client(urgent=True) is None
        assert world.tries == tries
    assert world.told == []
    assert world.connection.failure is DOWN


async def test_a_daemon_that_shows_up_is_found_at_once(world: World) -> None:
    world.failure = DOWN
    for _ in range(20):
        await world.connection.client()
        world.now += 10
    world.now -= 9.9
    tries = world.tries
    assert await world.connection.client() is None
    assert world.tries == tries
    world.failure, world.mark = None, 1
    assert await world.connection.client() is world.clients[0]


async def test_a_look_that_stays_different_costs_one_try(world: World) -> None:
    world.failure = DOWN
    await world.connection.client()
    world.mark = 1
    for _ in range(10):
        await world.connection.client()
    assert world.tries == 2


# --- the end -------------------------------------------------------------------------------------


async def test_closing_closes_the_client_and_ends_it(world: World) -> None:
    await world.connection.client()
    await world.connection.close()
    assert world.clients[0].closed
    assert await world.connection.client() is None
    await world.connection.close()


async def test_closing_ends_a_try(world: World) -> None:
    world.gate = asyncio.Event()
    asked = asyncio.create_task(world.connection.client())
    await asyncio.sleep(0)
    await world.connection.close()
    assert world.connection.state is State.CLOSED
    with pytest.raises(asyncio.CancelledError):
        await asked


# --- the table -----------------------------------------------------------------------------------


def illegal() -> Iterator[tuple[State, Event]]:
    for pair in product(State, Event):
        if pair not in TRANSITIONS:
            yield pair


@pytest.mark.parametrize(("state", "event"), list(illegal()))
def test_what_can_not_happen_raises(state: State, event: Event) -> None:
    link = Link()
    link.state = state
    with pytest.raises(ValueError, match=event.name):
        link.apply(event, 0.0)
    assert link.state is state


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)
