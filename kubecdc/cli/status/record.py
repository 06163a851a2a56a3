"""What a process tells the others through the state that they share in the bus.

Values are JSON. Whoever reads one ignores fields that it does not know, so versions may be mixed.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from kubecdc.facts import Audit, Trouble
from kubecdc.storage.contracts import Bus

PROCESSES = "kubecdc processes"  # a scope, whose keys are holders. No subscription has a blank in its name
NOTES = "kubecdc notes"
LEADER, ENDED = "leader", "ended"  # the keys of notes
PERIOD_SECONDS = 10.0  # between two reports
LIVES = timedelta(seconds=35)  # a report, by the clock of the bus: a process without one is gone, or hangs
KEPT = timedelta(days=7)  # the note of who led last
LAST_WORDS = timedelta(minutes=10)  # more than a pod that crashes is made to wait


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of an EventSource as its leader sees it: all its watches together.

    ``behind`` is that of the watch that is most behind, in seconds; ``rate`` is events per second.
    """

    watches: int = 0
    behind: float = 0.0
    rate: float | None = None
    audit: Audit | None = None
    trouble: Trouble | None = None


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subscription as one of its workers sees it. ``rate`` is events per second."""

    rate: float | None = None
    failed: Trouble | None = None
    breaker: Trouble | None = None
    paused: bool = False
    locked: Trouble | None = None


class Process(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process that is alive. ``at`` is its clock, as are all times in it (Unix time)."""

    holder: str
    at: float
    started: float
    version: str
    watches: bool = False
    works: bool = False
    leads: bool = False
    sources: dict[str, Source] = {}
    subscriptions: dict[str, Subscription] = {}
    troubles: dict[str, Trouble] = {}


class Leader(msgspec.Struct, frozen=True):
    """Who began to lead last, and when."""

    holder: str
    since: float


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a process ended by itself the last time that one did."""

    holder: str
    at: float
    reason: str
    hint: str = ""
    watches: bool = False
    works: bool = False


def keeps(bus: Bus) -> bool:
    """Whether processes report to this bus. A state that takes rare changes only is not used for it."""
    return bus.capabilities.state and bus.state.frequent
