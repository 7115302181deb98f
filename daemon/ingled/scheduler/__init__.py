"""Who runs next on one model's worker. Pure policy: calls and a clock in, commands out, no I/O.

::

    scheduler    the policy: events in, commands out
      tickets    what is known of a request; the commands
      entries    one ticket's life as a state table
      fairness   whose turn it is among clients of one class
    ride_along   whether a newer completion is what the running one already generates
"""

from .scheduler import Scheduler
from .tickets import (
    CLASSES,
    Command,
    Drop,
    EndReason,
    Pause,
    Refuse,
    Resume,
    Start,
    Stop,
    Ticket,
)

__all__ = [
    "CLASSES",
    "Command",
    "Drop",
    "EndReason",
    "Pause",
    "Refuse",
    "Resume",
    "Scheduler",
    "Start",
    "Stop",
    "Ticket",
]
