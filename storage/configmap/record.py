"""One checkpoint in memory, and the effect of each step on it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import msgspec

from kubecdc.storage.contracts import Checkpoint, CheckpointDelta, Gap, Inventoried, State, Term
from kubecdc.storage.contracts.errors import CommitMismatch

GAPS = 10  # kept of a checkpoint; older ones are dropped, because a ConfigMap must not grow without end
_revisions = itertools.count(1)
ROW = 8  # bytes of an object in the inventory, besides its texts


@dataclass(frozen=True)
class Stamp:
    """The last step of a checkpoint, and its term. ``token`` tells apart two steps of the same number."""

    number: int = 0
    term: int = 0
    token: str = ""


@dataclass
class CheckpointRecord:
    """A checkpoint. ``ours``: this process has acquired it. ``lost``: it was ours until another process changed it."""

    key: str
    stamp: Stamp = Stamp()
    state: State | None = None
    gaps: list[Gap] = field(default_factory=list)
    inventory: dict[str, Inventoried] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    ours: bool = False
    lost: bool = False
    revision: int = field(default_factory=lambda: next(_revisions))  # changes with each change of inventory or bodies

    @property
    def checkpoint(self) -> Checkpoint:
        """As `storage.contracts` has it."""
        return Checkpoint(self.key, self.stamp.number, self.stamp.term, self.state)

    def is_next(self, delta: CheckpointDelta) -> bool:
        """Whether the step is the next one; False if it is the last one. Raises CommitMismatch."""
        if self.lost:
            raise CommitMismatch.changed(self.key, self.stamp.number)
        return delta.is_next(self.key, self.stamp.number, self.stamp.token)

    def is_urgent(self, delta: CheckpointDelta) -> bool:
        """Whether the step must be written at once, because it changes more than position and inventory.

        This may be `listing`, a timeline (or ids would be used again for other content), the first start, or a gap.
        """
        return (
            delta.gap is not None
            or self.state is None
            or msgspec.structs.replace(self.state, position=delta.state.position) != delta.state
        )

    def apply(self, delta: CheckpointDelta, term: Term) -> None:
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
        """Record the objects of a step whose events are published elsewhere."""
        self.revision = next(_revisions)
        for uid, new in delta.upserts.items():
            known = self.inventory.get(uid)
            if known is None:
                self.inventory[uid] = new._replace(intended=True)
            elif new.passed and not known.passed:
                self.inventory[uid] = known._replace(passed=True)

    def reset(self) -> bool:
        """Delete state and inventory. False if there was no state."""
        self.revision = next(_revisions)
        self.inventory, self.bodies = {}, {}
        if self.state is None:
            return False
        self.stamp = Stamp(self.stamp.number + 1, self.stamp.term)
        self.state = None
        return True

    def inherit(self, gone: CheckpointRecord) -> None:
        """Take the gaps of a checkpoint that is removed."""
        known = {gap.time for gap in self.gaps}
        gaps = [gap for gap in gone.gaps if gap.time not in known]
        named = [replace(gap, reason=f"{gap.reason} ({gone.key})") for gap in gaps]
        self.gaps = [*self.gaps, *named][-GAPS:]


def size(delta: CheckpointDelta) -> int:
    """The bytes that the objects of a step take at most."""
    rows = sum(ROW + len(uid) + sum(map(len, known[:3])) for uid, known in delta.upserts.items())
    return rows + sum(map(len, delta.bodies.values()))
