"""One service's open jobs: which request each serves, and what of its text is whose.

A job is one generation in the worker; a request is what a client waits for. Mostly there is one for
one. When a completion rides along, its job changes hands, and when what is generated turns out not
to be what was typed, the job serves nobody any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ingle.messages import Infill

from .requests import OpenRequest
from .scheduler.ride_along import Ride


@dataclass
class OpenJob:
    """A job from its submission to its end."""

    number: int
    #: Whom it serves; None once that is nobody.
    request: OpenRequest | None
    #: Of completions in a named document.
    ride: Ride | None
    #: Tokens generated so far, for whomever, and their confidence.
    tokens: int = 0
    confidence: float | None = None


class OpenJobs:
    """The table. Numbers go up and are never used again."""

    def __init__(self) -> None:
        self._jobs: dict[int, OpenJob] = {}
        self._last = 0

    def add(self, request: OpenRequest) -> OpenJob:
        """A new job for a request."""
        self._last += 1
        message = request.message
        ride = Ride(message) if isinstance(message, Infill) and message.document else None
        job = self._jobs[self._last] = OpenJob(self._last, request, ride)
        return job

    def get(self, number: int) -> OpenJob | None:
        """A job, None if it is over."""
        return self._jobs.get(number)

    def remove(self, number: int) -> OpenJob | None:
        """A job is over; whom it served is the caller's affair."""
        return self._jobs.pop(number, None)

    def clear(self) -> list[OpenRequest]:
        """All jobs are over; whom they served."""
        jobs, self._jobs = self._jobs, {}
        return [job.request for job in jobs.values() if job.request]

    def of(self, request: OpenRequest) -> OpenJob | None:
        """The job that serves a request."""
        return next((job for job in self._jobs.values() if job.request is request), None)

    def requests(self) -> Iterator[OpenRequest]:
        """Everybody who is served."""
        return (job.request for job in self._jobs.values() if job.request)

    def ridden_by(self, newer: OpenRequest) -> tuple[OpenJob, str] | None:
        """The job of the same document that generates what `newer` wants, and the text so far."""
        message = newer.message
        if not isinstance(message, Infill) or not message.document or message.speculative:
            return None
        for job in self._jobs.values():
            older = job.request
            if older and job.ride and older.client == newer.client and not older.closed:
                text = job.ride.take_over(message)
                if text is not None:
                    return job, text
        return None

    def __bool__(self) -> bool:
        return bool(self._jobs)
