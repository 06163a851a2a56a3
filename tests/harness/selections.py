"""What a consumer was told of namespaces that come and go, against what was done in them.

A namespace that is selected begins with a list, so what was changed before that may be collapsed. From the first change
that came as such, each one that was made while the namespace was selected must have come, or lie in a recorded gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubecdc.storage.contracts import Gap
from tests.harness.ledger import Receipt
from tests.harness.namespaces import Place
from tests.harness.writer import Writer


@dataclass
class Verdict:
    """``must``: how many changes had to come, one by one. `wrong` names each offence."""

    must: int = 0
    synthetic: int = 0
    periods: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.periods} periods, {self.must} changes that had to come, {self.synthetic} synthetic events"
        return "\n".join([counts, *self.wrong[:20]])


def judge(
    places: Sequence[Place], writer: Writer, receipts: Sequence[Receipt], gaps: Mapping[str, Sequence[Gap]]
) -> Verdict:
    """``receipts`` are one subscription's, in the order received, and no worker died: each event comes once. ``gaps``
    are those of each namespace."""
    verdict = Verdict(synthetic=sum(r.synthetic for r in receipts), periods=sum(len(p.periods) for p in places))
    verdict.wrong += [f"{id_} came {n} times" for id_, n in Counter(r.id for r in receipts).items() if n > 1]
    _in_order(receipts, verdict)
    told = _believed(receipts, verdict)
    there = {
        (place.name, body["metadata"]["name"]): (body["metadata"]["uid"], int(body["metadata"]["resourceVersion"]))
        for place in places
        if place.selected
        for body in writer.bodies(place.name)
    }
    verdict.wrong += [
        f"{what} is told to be {told.get(what)}, and is {there.get(what)}" for what in told.keys() ^ there.keys()
    ]
    verdict.wrong += [
        f"{what} is told to be {told[what]}, and is {there[what]}"
        for what in told.keys() & there.keys()
        if told[what] != there[what]
    ]
    for place in places:
        _complete(place, [r for r in receipts if _place(r) == place.name], gaps.get(place.name, ()), verdict)
    return verdict


def _place(receipt: Receipt) -> str:
    return receipt.partitionkey.split("/")[1]


def _in_order(receipts: Sequence[Receipt], verdict: Verdict) -> None:
    last: dict[str, Receipt] = {}
    for receipt in receipts:
        before = last.get(receipt.partitionkey, receipt)
        if (receipt.timeline, receipt.sequence) < (before.timeline, before.sequence):
            verdict.wrong.append(f"{receipt.id} goes back from {before.id}")
        last[receipt.partitionkey] = receipt


def _believed(receipts: Sequence[Receipt], verdict: Verdict) -> dict[tuple[str, str], tuple[str, int]]:
    """What a consumer that applies the events in their order believes to be there: uid and version, by name."""
    held: dict[tuple[str, str], tuple[str, int]] = {}
    for receipt in receipts:
        what = (_place(receipt), receipt.partitionkey.rsplit("/", 1)[1])
        known = held.get(what)
        if receipt.action == "DELETE":
            if known is None or known[0] != receipt.uid:
                verdict.wrong.append(f"{receipt.id} ends what was never told")
            held.pop(what, None)
            continue
        if (receipt.action == "ADD") is not (known is None) or (known and known[0] != receipt.uid):
            verdict.wrong.append(f"{receipt.id} comes while {known} is told to be there")
        held[what] = receipt.uid, receipt.version
    return held


def _complete(place: Place, receipts: Sequence[Receipt], gaps: Sequence[Gap], verdict: Verdict) -> None:
    came = {(r.uid, r.version) for r in receipts if r.action != "DELETE"}
    changed = {(r.uid, r.version): r.timeline for r in receipts if r.action == "UPDATE" and not r.synthetic}
    begun: dict[int, float] = {}  # when each timeline was first heard of
    for receipt in receipts:
        begun.setdefault(receipt.timeline, receipt.at)
    for changes, since in list(zip(place.periods, place.since, strict=True))[::2]:  # in which it was selected
        read = {
            at: changed[c.uid, c.version] for at, c in enumerate(changes) if c.version and (c.uid, c.version) in changed
        }
        # A watch that was being ended when the namespace was selected again may have read some of it before.
        first = min((at for at, timeline in read.items() if begun[timeline] >= since), default=None)
        if first is None:
            continue
        for change in changes[first:]:
            if change.version is None:  # of deletions, belief tells
                continue
            verdict.must += 1
            excused = any(int(gap.since or 0) < change.version <= int(gap.until) for gap in gaps)
            if (change.uid, change.version) not in came and not excused:
                verdict.wrong.append(f"lost: {change}")
