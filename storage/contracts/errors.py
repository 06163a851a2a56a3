"""Errors of a bus and its stores, each by what the caller should do about it."""

from __future__ import annotations

from kubecdc.errors import KubecdcError, Unavailable


class BusFull(Unavailable):
    """A subscription's backlog has reached ``maxPending``; the commit was not made.

    The text does not tell how many are pending: it stays the same while it lasts, and so is said once.
    """

    def __init__(self, subscription: str, pending: int, limit: int) -> None:
        super().__init__(
            f"the bus is full: subscription {subscription!r} has {limit} events pending or more (maxPending)",
            hint="start or scale its workers, raise maxPending, "
            "or end the subscription with `kubecdc bus prune` if no manifest names it any more",
        )
        self.subscription = subscription
        self.pending = pending


class NoSubscription(Unavailable):
    """Nobody subscribes to the events of this entry; the commit was not made."""


class CommitMismatch(KubecdcError):
    """The store does not stand at the commit that the batch follows: reload the checkpoint and read again."""

    @classmethod
    def of(cls, key: str, number: int, follows: int) -> CommitMismatch:
        """``number`` is where the checkpoint stands; ``follows`` may be the same, of somebody else's commit."""
        another = "another " if number == follows else ""
        return cls(f"checkpoint {key!r} stands at commit {number}, the batch follows {another}{follows}")


class StateConflict(KubecdcError):
    """Somebody else was faster: the value is not what the change follows. Read it again, and decide again."""


class LeadershipLost(KubecdcError):
    """A newer term holds the checkpoint: stop publishing, stand by again."""


class ClaimLost(KubecdcError):
    """The delivery is no longer ours (its claim lapsed): leave it alone, somebody else has it."""


class Undecodable(KubecdcError):
    """The stored bytes are not an event: dead-letter them."""
