"""The scheduler under random events: nothing is lost, nothing runs twice, nobody starves."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingled.scheduler import MAX_PASSED_OVER, Drop, Refuse, Scheduler, Start, Stop, Ticket

PRIORITIES = ("inline", "interactive", "batch")


class SchedulerMachine(RuleBasedStateMachine):
    """A worker and many clients, played by hypothesis; time only moves when a rule says so."""

    @initialize(slots=st.integers(0, 4), queue=st.integers(1, 6))
    def start(self, slots: int, queue: int) -> None:
        self.now = 0.0
        self.serial = 0
        self.scheduler = Scheduler(max_queue=queue, max_per_client=8)
        self.slots = slots
        self.tickets: dict[int, Ticket] = {}
        self.waiting: set[int] = set()
        self.running: set[int] = set()
        self.stopping: set[int] = set()
        self.ended: set[int] = set()
        self.take(self.scheduler.set_slots(slots, self.now))

    def take(self, commands: list[object]) -> None:
        for command in commands:
            match command:
                case Start(key=key, queued_s=queued):
                    assert key in self.waiting
                    assert queued >= 0
                    self.waiting.remove(key)
                    self.running.add(key)
                case Stop(key=key):
                    assert key in self.running
                    assert key not in self.stopping, "stopped twice"
                    self.stopping.add(key)
                case Drop(key=key):
                    assert key in self.waiting
                    self.waiting.remove(key)
                    self.ended.add(key)
                case Refuse(key=key, retry_after_s=after):
                    assert key in self.waiting
                    assert after > 0
                    self.waiting.remove(key)
                    self.ended.add(key)

    @rule(
        client=st.integers(0, 2),
        priority=st.sampled_from(PRIORITIES),
        document=st.one_of(st.none(), st.integers(0, 1)),
        deadline=st.one_of(st.none(), st.floats(0.01, 5)),
    )
    def submit(
        self, client: int, priority: str, document: int | None, deadline: float | None
    ) -> None:
        self.serial += 1
        ticket = Ticket(
            key=self.serial,
            client=client,
            priority=priority,
            supersedes=None if document is None else (client, document),
            deadline=None if deadline is None else self.now + deadline,
        )
        self.tickets[ticket.key] = ticket
        self.waiting.add(ticket.key)
        self.take(self.scheduler.submit(ticket, self.now))
        if document is not None:
            alive = [
                key
                for key in (self.waiting | self.running) - self.stopping
                if self.tickets[key].supersedes == ticket.supersedes
            ]
            assert set(alive) <= {ticket.key}, "an older request of the document lives on"

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.tickets:
            key = data.draw(st.sampled_from(sorted(self.tickets)))
            self.take(self.scheduler.cancel(key, self.now))
            assert key not in self.waiting
            assert key not in self.running or key in self.stopping

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if self.running:
            key = data.draw(st.sampled_from(sorted(self.running)))
            self.running.remove(key)
            self.stopping.discard(key)
            self.ended.add(key)
            self.take(self.scheduler.finished(key, self.now))

    @rule(seconds=st.floats(0.001, 3))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.scheduler.tick(self.now))
        for key in (self.waiting | self.running) - self.stopping:
            deadline = self.tickets[key].deadline
            assert deadline is None or deadline > self.now

    @rule()
    def worker_dies(self) -> None:
        lost = self.scheduler.lose_running()
        assert set(lost) == self.running
        self.ended |= self.running
        self.running.clear()
        self.stopping.clear()
        self.take(self.scheduler.set_slots(self.slots, self.now))

    @invariant()
    def accounts_add_up(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        assert len(self.running) <= self.slots
        assert self.scheduler.busy_slots == len(self.running)
        assert sum(self.scheduler.waiting().values()) == len(self.waiting)
        assert self.waiting | self.running | self.ended == set(self.tickets)
        assert not self.waiting & self.running
        assert not (self.waiting | self.running) & self.ended

    @invariant()
    def no_slot_idles_while_typing_waits(self) -> None:
        if hasattr(self, "scheduler") and len(self.running) < self.slots:
            assert not any(self.tickets[key].priority == "inline" for key in self.waiting)

    @invariant()
    def one_slot_is_kept_for_typing(self) -> None:
        if hasattr(self, "scheduler") and self.slots > 1:
            lower = [key for key in self.running if self.tickets[key].priority != "inline"]
            assert len(lower) <= self.slots - 1


SchedulerMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None
)
TestScheduler = SchedulerMachine.TestCase


def test_a_batch_request_is_passed_over_a_bounded_number_of_times() -> None:
    scheduler = Scheduler()
    scheduler.set_slots(1, 0.0)
    scheduler.submit(Ticket(key="first", client="c", priority="inline"), 0.0)
    scheduler.submit(Ticket(key="batch", client="c", priority="batch"), 0.0)
    running, passed = "first", 0
    while running != "batch":
        name = f"inline-{passed}"
        scheduler.submit(Ticket(key=name, client="c", priority="inline"), 0.0)
        (started,) = scheduler.finished(running, 0.0)
        assert isinstance(started, Start)
        running = started.key
        passed += 1
        assert passed <= MAX_PASSED_OVER + 1, "starved"
    assert passed == MAX_PASSED_OVER + 1


def test_a_full_queue_refuses_with_a_hint_and_takes_again_later() -> None:
    scheduler = Scheduler(max_queue=1)
    scheduler.set_slots(1, 0.0)
    for key in ("running", "waiting"):
        scheduler.submit(Ticket(key=key, client="c", priority="interactive"), 0.0)
    (refused,) = scheduler.submit(Ticket(key="refused", client="c", priority="interactive"), 0.0)
    assert isinstance(refused, Refuse)
    assert refused.retry_after_s > 0
    assert scheduler.finished("running", 4.0) == [Start("waiting", 4.0)]
    assert scheduler.submit(Ticket(key="next", client="c", priority="interactive"), 4.0) == []


def test_a_client_can_not_take_the_whole_queue() -> None:
    scheduler = Scheduler(max_per_client=2)
    for key in (1, 2):
        assert scheduler.submit(Ticket(key=key, client="greedy", priority="batch"), 0.0) == []
    (refused,) = scheduler.submit(Ticket(key=3, client="greedy", priority="batch"), 0.0)
    assert isinstance(refused, Refuse)
    assert scheduler.submit(Ticket(key=4, client="other", priority="batch"), 0.0) == []
