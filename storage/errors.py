"""Errors, sorted by what the caller should do. Each may carry a hint: what the operator does about it.

Library errors are mapped to these at the edge where they arise, with ``raise ... from``.
"""

from __future__ import annotations


class KubecdcError(Exception):
    """Base of everything kubecdc raises on purpose; ``hint`` tells the operator the way out."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def first(error: BaseException) -> BaseException:
    """The error to show of a group: one of ours if there is one; any other error as it is."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [first(e) for e in error.exceptions]
    return next((e for e in leaves if isinstance(e, KubecdcError)), leaves[0])


class UsageError(KubecdcError):
    """The command line or a manifest is wrong: exit code 2, nothing was done."""


class Refused(KubecdcError):
    """Going on would lose or corrupt something, and only an operator can decide: exit code 1."""


class Unavailable(KubecdcError):
    """A peer or store did not do it now. Retry the same call: it either happened or it did not."""


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
