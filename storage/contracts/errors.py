"""Errors of a bus and its stores. Each class stands for what the caller should do about it."""

from __future__ import annotations

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts.leadership import Term


class BusFull(Unavailable):
    """A subscription's backlog has reached ``maxPending``. The commit was not made.

    The text does not say how many events are pending, so that it stays the same and is logged once.
    """

    def __init__(self, subscription: str, pending: int, limit: int) -> None:
        super().__init__(
            f"the bus is full: subscription {subscription!r} has {limit} or more events pending (maxPending)",
            hint="start or scale its workers, raise maxPending, "
            "or end the subscription with `kubecdc bus prune` if no manifest names it any more",
        )
        self.subscription = subscription
        self.pending = pending


class NoSubscription(Unavailable):
    """The subscription does not exist, or nobody subscribes to the events of an entry. Nothing was done."""

    @classmethod
    def to_event(cls, source: str, subject: str) -> NoSubscription:
        """No subscription wants the event ``subject`` of the event source ``source``: the commit was not made."""
        return cls(
            f"nobody subscribes to event {subject!r} of event source {source!r}",
            hint="start `kubecdc work` with a Sensor for it, or name it in the EventBus's `subscriptions`",
        )

    @classmethod
    def of(cls, name: str) -> NoSubscription:
        """A subscription of that name is not registered."""
        return cls(
            f"subscription {name!r} is not registered in the bus",
            hint="start a worker that has it; if it was pruned, a restart of its workers registers it again",
        )

    @classmethod
    def ended(cls, name: str) -> NoSubscription:
        """It was pruned while it was in use."""
        return cls(f"subscription {name!r} was ended in the meantime")


class CommitMismatch(KubecdcError):
    """The checkpoint is not at the commit that the batch follows: reload the checkpoint and read again."""

    @classmethod
    def of(cls, key: str, number: int, follows: int) -> CommitMismatch:
        """``number`` is the checkpoint's last commit. It may equal ``follows`` if another process made that commit."""
        another = "another " if number == follows else ""
        return cls(f"checkpoint {key!r} is at commit {number}, the batch follows {another}{follows}")

    @classmethod
    def changed(cls, key: str, number: int) -> CommitMismatch:
        """Another process made commit ``number`` while this one was waiting."""
        return cls(f"another process moved checkpoint {key!r} to commit {number}")


class StateConflict(KubecdcError):
    """Another process changed the value first: read it again, and decide again."""

    @classmethod
    def of(cls, scope: str, key: str) -> StateConflict:
        """The value of ``key`` is not the one that the change follows."""
        return cls(f"another process changed the state {key!r} of {scope!r}")


class LeadershipLost(KubecdcError):
    """A newer term has the bus: stop publishing, and stand by again."""

    @classmethod
    def require(cls, newest: int, term: Term) -> None:
        """Raise it if the newest term that the store knows is newer than ours."""
        if newest > term.number:
            raise cls(f"the bus belongs to term {newest}, ours is {term.number} ({term.holder})")


class ClaimLost(KubecdcError):
    """The delivery is no longer ours, because its claim lapsed: leave it alone, another worker has it."""

    @classmethod
    def lapsed(cls, event: object) -> ClaimLost:
        """``event`` names the event as the back end knows it."""
        return cls(f"the claim on event {event} has lapsed, and another worker may have it")

    @classmethod
    def settled(cls, event: object, how: str) -> ClaimLost:
        """It was already settled here, in another way."""
        return cls(f"event {event} is already settled here ({how})")


class Undecodable(KubecdcError):
    """The stored bytes are not an event: dead-letter them."""


class Locked(Unavailable):
    """The event is stored, encrypted with a key that this process does not have. It waits, since the key may come."""

    @classmethod
    def of(cls, key: str, known: str) -> Locked:
        """``key`` is the name of the key, ``known`` says which there are."""
        return cls(
            f"the encryption key {key} is not here: {known}",
            hint="give the EventBus that key too, in `encryption.keys`, until nothing is encrypted with it",
        )
