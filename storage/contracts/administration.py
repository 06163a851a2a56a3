"""Administration: what an operator can see of a bus and do with it.

Redriven dead letters and replayed events are delivered after what is pending of their object, as new deliveries without
attempts. They repeat an event on purpose, under the same event id and with the attribute ``redelivery``; a consumer
sees ``sequence`` go back there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kubecdc.storage.contracts.deliveries import SubscriptionSpec


class Approximate(int):
    """A number that a back end only estimates."""

    def __str__(self) -> str:
        return f"~{int(self)}"


class Unknown(Enum):
    """A value that a back end does not know."""

    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True)
class Worker:
    """A process that has a subscription open."""

    holder: str
    seen: float  # time of its last heartbeat


@dataclass(frozen=True)
class SubscriptionStatus:
    """A registered subscription as the bus knows it. Numbers may be `Approximate`."""

    spec: SubscriptionSpec
    registered: float | Unknown
    pending: int | Unknown  # events not yet acked or dead-lettered
    oldest: float | Unknown | None  # when the oldest of them was committed
    dead_letters: int | Unknown
    workers: tuple[Worker, ...] | Unknown = ()
    gone: int = 0  # events that were deleted from the bus before they were settled, as far as it has noticed


@dataclass(frozen=True)
class DeadLetter:
    """An event that a worker gave up on. Neither retention nor the end of its subscription deletes it.

    ``attempts`` is how many triggers were started for it, ``first`` when it was committed, ``last`` when the worker
    gave up. ``superseded``: a later event of its object has been delivered to the subscription since. UNKNOWN where the
    back end cannot tell.
    """

    id: str  # assigned by the back end
    subscription: str
    event: str  # id of the event, "" if the event cannot be read
    partitionkey: str  # "" if the event cannot be read
    reason: str
    attempts: int
    first: float
    last: float
    superseded: bool | Unknown = UNKNOWN


NO_SUCH_LETTER = "there is no such dead letter"  # why `DeadLetters.redrive` left it


def subscription_ended(name: str) -> str:
    """Why `DeadLetters.redrive` left a dead letter whose subscription was pruned."""
    return f"its subscription {name!r} was ended (`kubecdc bus prune`); a worker that has it registers it again"


class DeadLetters(Protocol):
    """The dead letters of a bus (Capabilities.dead_letter_browse)."""

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Dead letters of one subscription or of all, oldest first. ``after`` is the last id of the page before."""
        ...

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        """One dead letter, with the event as it was stored. None if there is none of that id."""
        ...

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        """Deliver each again to the subscription it was for, oldest first, and delete it here, in one step.

        Returns the reason, by id, for each one that stays. Raises BusFull: then nothing was done; Unavailable: then
        some may have been.
        """
        ...

    async def purge(self, ids: Sequence[str]) -> int:
        """Delete them. Returns how many there were."""
        ...


@dataclass(frozen=True)
class ObjectName:
    """The name of an object. ``resource`` is the plural, with or without ``.<group>``; "" matches any."""

    namespace: str
    name: str
    resource: str = ""

    def matches(self, partitionkey: str) -> bool:
        """Whether events of that partitionkey are about this object."""
        resource, _, place = partitionkey.partition("/")
        if place != f"{self.namespace}/{self.name}":
            return False
        return self.resource in {"", resource, resource.partition(".")[0], resource.rstrip(".")}


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Which retained events to deliver to a subscription again: those that it wants today and that meet all conditions.

    ``since`` is the earliest time of commit. ``first`` is the id of the event to begin with, in the order of commits.
    """

    subscription: str
    since: float | None = None
    first: str = ""
    object: ObjectName | None = None


@dataclass(frozen=True)
class Replayable:
    """What a replay would do: how many events, as far as the back end can tell, and how far back it can reach.

    Events committed up to ``forgotten`` are not replayed, because the bus may not have all of them. None if the bus has
    every event.
    """

    events: int | Unknown
    forgotten: float | None
