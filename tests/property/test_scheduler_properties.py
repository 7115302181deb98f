"""The scheduler under random events: nothing is lost, nothing runs twice, nobody starves."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingled.scheduler import (
    CLASSES,
    Command,
    Drop,
    Pause,
    Refuse,
    Resume,
    Scheduler,
    Start,
    Stop,
    Ticket,
)
from ingled.scheduler.entries import TRANSITIONS, Entry, Event, State
from ingled.scheduler.scheduler import MAX_PASSED_OVER, TURN_STEPS


class SchedulerMachine(RuleBasedStateMachine):
    """A worker and many clients, played by hypothesis; time only moves when a rule says so."""

    @initialize(slots=st.integers(0, 4), queue=st.integers(1, 6), exclusive=st.booleans())
    def start(self, slots: int, queue: int, exclusive: bool) -> None:
        self.now = 0.0
        self.serial = 0
        self.scheduler = Scheduler(max_queue=queue, max_per_client=8)
        self.slots = slots
        self.exclusive = exclusive
        self.tickets: dict[int, Ticket] = {}
        self.waiting: set[int] = set()
        #: In the worker: computing, told to pause, paused.
        self.running: set[int] = set()
        self.pausing: set[int] = set()
        self.paused: set[int] = set()
        #: Told to end, and not over yet; also in one of the three above.
        self.stopping: set[int] = set()
        self.ended: set[int] = set()
        #: Since the invariants were last looked at.
        self.started_last: set[int] = set()
        self.take(self.scheduler.set_slots(slots, self.now, exclusive=exclusive))

    @property
    def holding(self) -> set[int]:
        return self.running | self.pausing

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            key = command.key
            assert isinstance(key, int)
            match command:
                case Start(queued_s=queued):
                    assert key in self.waiting
                    assert queued >= 0
                    self.waiting.remove(key)
                    self.running.add(key)
                    self.started_last.add(key)
                case Pause():
                    assert key in self.running - self.stopping
                    assert self.tickets[key].priority not in ("inline", "prefetch")
                    self.running.remove(key)
                    self.pausing.add(key)
                case Resume(paused_s=paused):
                    assert key in self.paused - self.stopping
                    assert paused >= 0
                    self.paused.remove(key)
                    self.running.add(key)
                case Stop():
                    assert key in self.holding | self.paused
                    assert key not in self.stopping, "stopped twice"
                    self.stopping.add(key)
                case Drop():
                    assert key in self.waiting
                    self.waiting.remove(key)
                    self.ended.add(key)
                case Refuse(retry_after_s=after):
                    assert key in self.waiting
                    assert after > 0
                    self.waiting.remove(key)
                    self.ended.add(key)

    @rule(
        client=st.integers(0, 2),
        priority=st.sampled_from(CLASSES),
        document=st.one_of(st.none(), st.integers(0, 1)),
        affinity=st.one_of(st.none(), st.integers(0, 1)),
        deadline=st.one_of(st.none(), st.floats(0.01, 5)),
    )
    def submit(
        self,
        client: int,
        priority: str,
        document: int | None,
        affinity: int | None,
        deadline: float | None,
    ) -> None:
        self.serial += 1
        ticket = Ticket(
            key=self.serial,
            client=client,
            priority=priority,
            supersedes=None if document is None else (client, document),
            affinity=affinity,
            deadline=None if deadline is None else self.now + deadline,
        )
        self.tickets[self.serial] = ticket
        self.waiting.add(self.serial)
        self.take(self.scheduler.submit(ticket, self.now))
        if document is not None:
            alive = [key for key in self.live if self.tickets[key].supersedes == ticket.supersedes]
            assert set(alive) <= {ticket.key}, "an older request of the document lives on"

    @property
    def live(self) -> set[int]:
        return (self.waiting | self.holding | self.paused) - self.stopping

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.tickets:
            key = data.draw(st.sampled_from(sorted(self.tickets)))
            self.take(self.scheduler.cancel(key, self.now))
            assert key not in self.live

    @rule(data=st.data())
    def worker_pauses(self, data: st.DataObject) -> None:
        if self.pausing:
            key = data.draw(st.sampled_from(sorted(self.pausing)))
            self.pausing.remove(key)
            self.paused.add(key)
            self.take(self.scheduler.paused(key, self.now))

    @rule(data=st.data(), steps=st.integers(1, TURN_STEPS + 1))
    def worker_steps(self, data: st.DataObject, steps: int) -> None:
        if self.running:
            key = data.draw(st.sampled_from(sorted(self.running)))
            self.take(self.scheduler.progressed(key, self.now, steps))

    @rule(data=st.data())
    def worker_finishes(self, data: st.DataObject) -> None:
        # A paused job ends only because it was told to; one that runs may end by itself, even
        # while it is being told to pause.
        able = self.holding | (self.paused & self.stopping)
        if able:
            key = data.draw(st.sampled_from(sorted(able)))
            for places in (self.running, self.pausing, self.paused, self.stopping):
                places.discard(key)
            self.ended.add(key)
            self.take(self.scheduler.finished(key, self.now))

    @rule(data=st.data(), deadline=st.one_of(st.none(), st.floats(0.01, 5)))
    def ride_along(self, data: st.DataObject, deadline: float | None) -> None:
        able = self.running - self.stopping
        if able:
            key = data.draw(st.sampled_from(sorted(able)))
            old = self.tickets[key]
            self.tickets[key] = Ticket(
                key=key,
                client=old.client,
                priority="inline",
                supersedes=old.supersedes,
                affinity=old.affinity,
                deadline=None if deadline is None else self.now + deadline,
            )
            self.take(self.scheduler.rebase(key, self.tickets[key], self.now))

    @rule(seconds=st.floats(0.001, 3))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.scheduler.tick(self.now))
        for key in self.live:
            deadline = self.tickets[key].deadline
            assert deadline is None or deadline > self.now

    @rule()
    def worker_dies(self) -> None:
        lost = self.scheduler.lose_running()
        assert set(lost) == self.holding | self.paused
        self.ended |= set(lost)  # type: ignore[arg-type]
        for places in (self.running, self.pausing, self.paused, self.stopping):
            places.clear()
        self.take(self.scheduler.set_slots(self.slots, self.now, exclusive=self.exclusive))

    @invariant()
    def accounts_add_up(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        assert len(self.holding) <= self.slots
        assert self.scheduler.busy_slots == len(self.holding)
        queued = self.waiting | (self.paused - self.stopping)
        assert sum(self.scheduler.waiting().values()) == len(queued)
        places = [self.waiting, self.running, self.pausing, self.paused, self.ended]
        assert sum(map(len, places)) == len(self.tickets)
        assert set().union(*places) == set(self.tickets)

    def waits_for_its_prefix(self, key: int) -> bool:
        affinity = self.tickets[key].affinity
        leaving = {self.tickets[other].affinity for other in self.stopping & self.holding}
        return affinity is not None and affinity in leaving

    @invariant()
    def no_slot_idles_while_typing_waits(self) -> None:
        """Unless for the slot in which its prompt's beginning is, which is being given up."""
        if hasattr(self, "scheduler") and len(self.holding) < self.slots:
            inline = [key for key in self.waiting if self.tickets[key].priority == "inline"]
            assert all(map(self.waits_for_its_prefix, inline))

    @invariant()
    def nobody_starts_beside_the_one_that_leaves_its_prefix(self) -> None:
        if hasattr(self, "scheduler"):
            for key in self.started_last:
                assert not self.waits_for_its_prefix(key)
            self.started_last.clear()

    @invariant()
    def typing_waits_for_a_slot_only_as_long_as_a_step_takes(self) -> None:
        """Every slot that a lower class has is being given up, or one is that suffices."""
        if not hasattr(self, "scheduler"):
            return
        waiting = sum(self.tickets[key].priority == "inline" for key in self.waiting)
        leaving = len(self.pausing | (self.stopping & self.holding))
        entries = self.scheduler._entries
        keeps = [
            key
            for key in self.running - self.stopping
            if self.tickets[key].priority != "inline"
            # A due one has its single step.
            and not (entries[key].protected and not entries[key].steps)
        ]
        assert waiting <= leaving or not keeps

    @invariant()
    def lower_classes_leave_the_engine_to_typing(self) -> None:
        if not hasattr(self, "scheduler") or not self.exclusive:
            return
        inline = [key for key in self.holding if self.tickets[key].priority == "inline"]
        lower = [
            key
            for key in self.running - self.stopping
            if self.tickets[key].priority != "inline" and not self.scheduler._entries[key].protected
        ]
        assert not inline or not lower

    @invariant()
    def one_slot_is_kept_for_typing(self) -> None:
        if hasattr(self, "scheduler") and self.slots > 1:
            lower = [key for key in self.holding if self.tickets[key].priority != "inline"]
            assert len(lower) <= self.slots - 1

    @invariant()
    def guesses_are_alone(self) -> None:
        if hasattr(self, "scheduler"):
            guesses = [key for key in self.live if self.tickets[key].priority == "prefetch"]
            assert len(guesses) <= 1
            assert not guesses or len(self.live) == 1


SchedulerMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None
)
TestScheduler = SchedulerMachine.TestCase


# --- single promises ------------------------------------------------------------------------------


def ticket(key: str, priority: str = "interactive", client: str = "c") -> Ticket:
    return Ticket(key=key, client=client, priority=priority)  # type: ignore[arg-type]


def test_a_batch_request_is_passed_over_a_bounded_number_of_times() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(1, 0.0)
    scheduler.submit(ticket("first", "inline"), 0.0)
    scheduler.submit(ticket("batch", "batch"), 0.0)
    running, passed = "first", 0
    while running != "batch":
        scheduler.submit(ticket(f"inline-{passed}", "inline"), 0.0)
        (started,) = scheduler.finished(running, 0.0)
        assert isinstance(started, Start)
        running = str(started.key)
        passed += 1
        assert passed <= MAX_PASSED_OVER + 1, "starved"
    assert passed == MAX_PASSED_OVER + 1


@pytest.mark.parametrize("exclusive", [False, True])
def test_typing_without_an_end_lets_an_answer_take_a_step_now_and_then(exclusive: bool) -> None:
    """One slot: the answer is paused, and after eight completions gets one step, not more."""
    scheduler = Scheduler()
    scheduler.set_slots(1, 0.0, exclusive=exclusive)
    scheduler.submit(ticket("chat"), 0.0)
    assert scheduler.submit(ticket("inline-0", "inline"), 0.0) == [Pause("chat")]
    assert scheduler.paused("chat", 0.0) == [Start("inline-0", 0.0)]
    passed = 1
    while True:
        assert scheduler.submit(ticket(f"inline-{passed}", "inline"), 0.0) == []
        (command,) = scheduler.finished(f"inline-{passed - 1}", 0.0)
        if command.key == "chat":
            break
        passed += 1
        assert passed <= MAX_PASSED_OVER
    assert command == Resume("chat", 0.0, report=True)
    assert passed == MAX_PASSED_OVER
    assert scheduler.progressed("chat", 0.0) == [Pause("chat")]
    assert scheduler.paused("chat", 0.0) == [Start(f"inline-{passed}", 0.0)]


def test_an_engine_that_shares_its_arithmetic_is_left_to_typing() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(4, 0.0, exclusive=True)
    for name in ("a", "b"):
        scheduler.submit(ticket(name), 0.0)
    commands = scheduler.submit(ticket("i", "inline"), 1.0)
    assert commands == [Pause("a"), Pause("b"), Start("i", 0.0)]
    assert scheduler.paused("a", 1.5) == []
    assert scheduler.paused("b", 1.5) == []
    assert scheduler.finished("i", 2.0) == [Resume("a", 0.5), Resume("b", 0.5)]


def test_an_engine_that_batches_for_free_pauses_nobody_while_there_are_slots() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(4, 0.0)
    for name in ("a", "b", "c", "d"):
        scheduler.submit(ticket(name), 0.0)
    assert scheduler.waiting()["interactive"] == 1
    assert scheduler.submit(ticket("i", "inline"), 1.0) == [Start("i", 0.0)]
    # The kept slot is taken: the youngest of the lowest class makes room.
    assert scheduler.submit(ticket("j", "inline"), 1.0) == [Pause("c")]


def test_a_chat_takes_the_place_of_a_review() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(2, 0.0)
    scheduler.submit(ticket("review", "batch"), 0.0)
    assert scheduler.submit(ticket("chat"), 0.0) == [Pause("review")]
    # Asked once.
    assert scheduler.submit(ticket("typing", "inline"), 0.0) == [Start("typing", 0.0)]
    assert scheduler.paused("review", 0.5) == [Start("chat", 0.5)]


def test_a_newer_request_of_a_document_takes_over_the_slot_of_the_older_one() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(4, 0.0)

    def typed(key: str) -> Ticket:
        return Ticket(key=key, client="c", priority="inline", supersedes="d", affinity="d")

    scheduler.submit(typed("older"), 0.0)
    assert scheduler.submit(typed("newer"), 1.0) == [Stop("older")]
    # Others don't wait with it.
    assert scheduler.submit(ticket("else", "inline"), 1.0) == [Start("else", 0.0)]
    assert scheduler.finished("older", 1.25) == [Start("newer", 0.25)]


def test_clients_of_a_class_take_turns() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(1, 0.0)
    for number in range(4):
        scheduler.submit(ticket(f"greedy-{number}", client="greedy"), 0.0)
    scheduler.submit(ticket("modest-0", client="modest"), 0.0)
    order = ["greedy-0"]
    while scheduler.busy_slots:
        scheduler.progressed(order[-1], 0.0, 100)
        commands = scheduler.finished(order[-1], 0.0)
        order += [str(command.key) for command in commands]
    assert order == ["greedy-0", "modest-0", "greedy-1", "greedy-2", "greedy-3"]


def test_who_was_away_gets_no_credit_for_it() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(1, 0.0)
    scheduler.submit(ticket("a-0", client="a"), 0.0)
    scheduler.submit(ticket("a-1", client="a"), 0.0)
    scheduler.progressed("a-0", 0.0, 10_000)
    for number in range(3):
        scheduler.submit(ticket(f"b-{number}", client="b"), 0.0)
    order = ["a-0"]
    while scheduler.busy_slots:
        scheduler.progressed(order[-1], 0.0, 100)
        order += [str(command.key) for command in scheduler.finished(order[-1], 0.0)]
    assert order.index("a-1") <= 3


def test_guesses_end_at_the_first_sign_of_work() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(4, 0.0)
    assert scheduler.submit(ticket("guess", "prefetch"), 0.0) == [Start("guess", 0.0)]
    assert scheduler.submit(ticket("chat"), 0.0) == [Stop("guess"), Start("chat", 0.0)]
    (refused,) = scheduler.submit(ticket("another", "prefetch"), 0.0)
    assert isinstance(refused, Refuse)


def test_a_pause_that_crosses_an_end() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(1, 0.0)
    scheduler.submit(ticket("chat"), 0.0)
    assert scheduler.submit(ticket("typing", "inline"), 0.0) == [Pause("chat")]
    assert scheduler.cancel("chat", 0.0) == [Stop("chat")]
    assert scheduler.paused("chat", 0.0) == [Start("typing", 0.0)]
    assert scheduler.ending("chat") == "cancelled"
    assert scheduler.finished("chat", 0.0) == []


def test_a_full_queue_refuses_with_a_hint_and_takes_again_later() -> None:
    scheduler = Scheduler(max_queue=1)
    scheduler.set_slots(1, 0.0)
    for key in ("running", "waiting"):
        scheduler.submit(ticket(key), 0.0)
    (refused,) = scheduler.submit(ticket("refused"), 0.0)
    assert isinstance(refused, Refuse)
    assert refused.retry_after_s > 0
    assert scheduler.finished("running", 4.0) == [Start("waiting", 4.0)]
    assert scheduler.submit(ticket("next"), 4.0) == []


def test_a_client_can_not_take_the_whole_queue() -> None:
    scheduler = Scheduler(max_per_client=2)
    for key in ("1", "2"):
        assert scheduler.submit(ticket(key, "batch", "greedy"), 0.0) == []
    (refused,) = scheduler.submit(ticket("3", "batch", "greedy"), 0.0)
    assert isinstance(refused, Refuse)
    assert scheduler.submit(ticket("4", "batch", "other"), 0.0) == []


def test_an_illegal_transition_raises() -> None:
    for state in State:
        for event in Event:
            entry = Entry(ticket("t"), 0.0, 1, state)
            if (state, event) in TRANSITIONS:
                entry.apply(event)
                assert entry.state is TRANSITIONS[state, event]
            else:
                with pytest.raises(ValueError, match="can't happen"):
                    entry.apply(event)
