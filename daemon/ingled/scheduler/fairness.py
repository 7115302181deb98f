"""Whose turn it is: clients of one class share the worker equally, in service received.

Virtual time, as in start-time fair queueing (Goyal, Vin, Cheng 1996): every client has a clock that
advances with the service it gets, and the one that is furthest behind is next. Who comes back
after a pause starts at the present, not with credit for the time it was away.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable


class Fairness:
    """Service by client. A unit is what one request costs before its length is known."""

    #: What is charged when a request starts; its steps are charged as they come.
    UNIT = 16.0

    def __init__(self) -> None:
        self._clocks: dict[Hashable, float] = {}

    def arrived(self, client: Hashable, active: Iterable[Hashable]) -> None:
        """A client without open requests opens one; `active` are those that have some."""
        now = min((self._clocks.get(other, 0.0) for other in active), default=0.0)
        self._clocks[client] = max(self._clocks.get(client, 0.0), now)

    def charge(self, client: Hashable, service: float) -> None:
        """It got service."""
        self._clocks[client] = self._clocks.get(client, 0.0) + service

    def received(self, client: Hashable) -> float:
        """Its clock; the lowest is next."""
        return self._clocks.get(client, 0.0)

    def forget(self, keep: Iterable[Hashable]) -> None:
        """Drop the clocks of clients that are not among `keep` and behind all of those."""
        kept = set(keep)
        least = min((self._clocks.get(client, 0.0) for client in kept), default=None)
        self._clocks = {
            client: clock
            for client, clock in self._clocks.items()
            if client in kept or (least is not None and clock > least)
        }
