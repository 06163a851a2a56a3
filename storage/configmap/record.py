"""One checkpoint in memory, and what a step makes of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import msgspec

from kubecdc.storage.contracts import Checkpoint, CheckpointDelta, Gap, Inventoried, State, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost

GAPS = 10  # kept of a checkpoint; older ones are dropped, for a ConfigMap must not grow for ever
_revisions = itertools.count(1)
ROW = 8  # bytes of an object in the inventory, beside its texts


@dataclass(frozen=True)
class Stamp:
    """Which step of which term a checkpoint stands at; ``token`` tells apart two of one number."""

    number: int = 0
    term: int = 0
    token: str = ""


@dataclass
class Held:
    """A checkpoint. ``ours``: this process has taken it. ``lost``: it was, and then somebody else has moved it."""

    key: str
    stamp: Stamp = Stamp()
    state: State | None = None
    gaps: list[Gap] = field(default_factory=list)
    inventory: dict[str, Inventoried] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    ours: bool = False
    lost: bool = False
    revision: int = field(default_factory=lambda: next(_revisions))  # another with each change of inventory or bodies

    @property
    def checkpoint(self) -> Checkpoint:
        """As the contract has it."""
        return Checkpoint(self.key, self.stamp.number, self.stamp.term, self.state)

    def is_next(self, delta: CheckpointDelta, term: Term) -> bool:
        """Whether the step is the next one; False if it is the last one. Raises LeadershipLost, CommitMismatch."""
        self.require(term)
        if self.lost:
            raise CommitMismatch(f"checkpoint {self.key!r} was moved by somebody else")
        return delta.is_next(self.key, self.stamp.number, self.stamp.token)

    def require(self, term: Term) -> None:
        """Raise LeadershipLost if a newer term has it."""
        if self.stamp.term > term.number:
            raise LeadershipLost(
                f"checkpoint {self.key!r} belongs to term {self.stamp.term}, ours is {term.number} ({term.holder})"
            )

    def urgent(self, delta: CheckpointDelta) -> bool:
        """Whether the step may not wait: all but the position and the inventory must be there before what follows.

        The mark `listing`, a timeline (or ids would come again for other content), when the first start was, a gap.
        """
        return (
            delta.gap is not None
            or self.state is None
            or msgspec.structs.replace(self.state, position=delta.state.position) != delta.state
        )

    def take(self, delta: CheckpointDelta, term: Term) -> None:
        """Make the step."""
        self.revision = next(_revisions)
        self.stamp = Stamp(delta.follows + 1, term.number, delta.token)
        self.state = delta.state
        for uid, known in delta.upserts.items():
            self.inventory[uid] = known._replace(intended=False)
            self.bodies.pop(uid, None)
        self.bodies.update(delta.bodies)
        for uid in delta.removals:
            self.inventory.pop(uid, None)
            self.bodies.pop(uid, None)
        if delta.gap:
            self.gaps = [*self.gaps, delta.gap][-GAPS:]

    def intend(self, delta: CheckpointDelta) -> None:
        """What comes before a step whose events are published elsewhere."""
        self.revision = next(_revisions)
        for uid, new in delta.upserts.items():
            known = self.inventory.get(uid)
            if known is None:
                self.inventory[uid] = new._replace(intended=True)
            elif new.passed and not known.passed:
                self.inventory[uid] = known._replace(passed=True)

    def reset(self) -> bool:
        """Forget state and inventory. False: there was no state."""
        self.revision = next(_revisions)
        self.inventory, self.bodies = {}, {}
        if self.state is None:
            return False
        self.stamp = Stamp(self.stamp.number + 1, self.stamp.term)
        self.state = None
        return True


def size(delta: CheckpointDelta) -> int:
    """Bytes that the objects of a step take at most."""
    rows = sum(ROW + len(uid) + sum(map(len, known[:3])) for uid, known in delta.upserts.items())
    return rows + sum(map(len, delta.bodies.values()))
