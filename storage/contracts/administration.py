"""Administration: what an operator sees of a bus, and may do with it.

Redriven dead letters and replayed events come behind what is pending of their object, as fresh deliveries without
attempts. So ``sequence`` falls there: it is a repetition on purpose, under the same event id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kubecdc.storage.contracts.deliveries import SubscriptionSpec


@dataclass(frozen=True)
class Worker:
    """A process that has a subscription open."""

    holder: str
    seen: float  # when it last said so


@dataclass(frozen=True)
class SubscriptionStatus:
    """A registered subscription as the bus knows it."""

    spec: SubscriptionSpec
    registered: float
    pending: int  # events not yet acked or dead-lettered
    oldest: float | None  # when the oldest of them was committed
    dead_letters: int
    workers: tuple[Worker, ...] = ()


@dataclass(frozen=True)
class DeadLetter:
    """An event that was given up on. It outlives the subscription it was for, and retention.

    ``attempts`` is how many triggers were started for it, ``first`` when it was committed, ``last`` when it was
    given up.
    """

    id: str  # the back end's own
    subscription: str
    event: str  # its id, "" if it cannot be read
    partitionkey: str  # likewise
    reason: str
    attempts: int
    first: float
    last: float


class DeadLetters(Protocol):
    """The dead letters of a bus (Capabilities.dead_letter_browse)."""

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Of one subscription or of all, oldest first; ``after`` is the id that the page before ended with."""
        ...

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        """One of them, with the event as it was stored."""
        ...

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        """Owe each to the subscription it was for, oldest first, and take it away from here, in one step.

        Returns why, by id, for those that stay. Raises BusFull, Unavailable: then nothing was done.
        """
        ...

    async def purge(self, ids: Sequence[str]) -> int:
        """Forget them for ever. Returns how many there were."""
        ...


@dataclass(frozen=True)
class ObjectName:
    """An object, by name. ``resource`` is its plural, with or without ``.<group>``, "" for any."""

    namespace: str
    name: str
    resource: str = ""

    def matches(self, partitionkey: str) -> bool:
        """Whether events of that partitionkey are of this object."""
        resource, _, place = partitionkey.partition("/")
        if place != f"{self.namespace}/{self.name}":
            return False
        return self.resource in {"", resource, resource.partition(".")[0], resource.rstrip(".")}


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Which retained events a subscription is to be owed again: all that it wants today and that meet every condition.

    ``since`` is when they were committed, at the earliest; ``first`` is the id of the event to begin with, in the
    order of commits.
    """

    subscription: str
    since: float | None = None
    first: str = ""
    object: ObjectName | None = None


@dataclass(frozen=True)
class Replayable:
    """What a replay would do: how many events, and how far back it could reach.

    What was committed up to ``forgotten`` is not replayed, for the bus may not have all of it. None: it has everything.
    """

    events: int
    forgotten: float | None
