"""What the replays of all back ends have in common: how much one copies, and in which steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kubecdc.counts import counted
from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import Replayable

K = TypeVar("K")
E = TypeVar("E")


@dataclass(frozen=True)
class ReplayPlan(ABC):
    """The events of a replay, found before any of them is copied. ``pending`` is the subscription's backlog.

    Events committed up to ``forgotten`` may be missing from the bus; 0 if none is.
    """

    name: str  # of the subscription
    subscription: int
    pending: int
    forgotten: float

    @property
    @abstractmethod
    def events(self) -> int:
        """How many events there are to copy."""

    @property
    def replayable(self) -> Replayable:
        """The plan in the terms of the contract."""
        return Replayable(self.events, self.forgotten or None)

    def require_room(self, max_pending: int) -> None:
        """Raise Unavailable if the replay would fill the subscription, which would block the watcher."""
        if self.events and self.pending + self.events > max_pending:
            raise Unavailable(
                f"a replay of {counted(self.events, 'event')} would bring subscription {self.name!r}, which has "
                f"{self.pending} pending, above maxPending {max_pending}",
                hint="replay fewer events at a time, wait for its workers, or raise maxPending",
            )


def in_steps(
    objects: Iterable[tuple[K, Sequence[E], int]], *, events: int, size: int | None = None
) -> Iterator[list[tuple[K, Sequence[E]]]]:
    """Objects, each as key, events and bytes, in steps of whole objects.

    A step ends once it has that many events, or that many bytes.
    """
    step: list[tuple[K, Sequence[E]]] = []
    count = total = 0
    for key, of, more in objects:
        step.append((key, of))
        count, total = count + len(of), total + more
        if count >= events or (size is not None and total >= size):
            yield step
            step, count, total = [], 0, 0
    if step:
        yield step


def not_retained(event: str, source: str, subject: str) -> UsageError:
    """The bus does not have the event that a replay should begin with."""
    return UsageError(
        f"event {event!r} of {source}/{subject} is not retained",
        hint="it was never in this bus, or is older than the EventBus's `retention`",
    )
