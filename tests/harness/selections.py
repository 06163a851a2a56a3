"""What a consumer was told of namespaces that come and go, against what was done in them.

A namespace that is selected begins with a list, so what was changed before that may be collapsed. From the first change
that came as such, each one that was made while the namespace was selected must have come, or lie in a recorded gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubecdc.storage.contracts import Gap
from tests.harness.history import Change, History
from tests.harness.ledger import Absence, Doubt, Receipt, duplicates
from tests.harness.namespaces import Place
from tests.harness.writer import Writer


@dataclass
class Verdict:
    """``must``: how many changes had to come, one by one; ``again``: how many events came more than once. `wrong`
    names each offense, ``forgotten`` what is none because of what a leader had not saved."""

    must: int = 0
    again: int = 0
    synthetic: int = 0
    periods: int = 0
    forgotten: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.periods} periods, {self.must} changes that had to come, {self.synthetic} synthetic events"
        counts += f", {self.again} repeated, {len(self.forgotten)} forgotten"
        return "\n".join([counts, *self.wrong[:20]])


def judge(
    places: Sequence[Place],
    writer: Writer,
    receipts: Sequence[Receipt],
    gaps: Mapping[str, Sequence[Gap]],
    *,
    absences: Sequence[Absence] = (),
    window: float = 0.0,
    atomic: bool = True,
    clock: float = 0.0,
    copies: Mapping[str, int] | None = None,
) -> Verdict:
    """``receipts`` are one subscription's, in the order received. ``gaps`` are those of each namespace. ``absences``,
    ``window``, ``clock`` and ``copies`` explain why an event came again, or an end was never told, as in
    `tests.harness.ledger.audit`. If the bus is not ``atomic``, what was about to be published may have been, so its
    end is told in any case."""
    verdict = Verdict(synthetic=sum(r.synthetic for r in receipts), periods=sum(len(p.periods) for p in places))
    again = duplicates(receipts, absences, window, copies or {})
    verdict.again = len(again)
    verdict.wrong += [f"{d.receipt.id} came again, {d.receipt.at - d.first:.3f} s later" for d in again if not d.cause]
    firsts: dict[str, Receipt] = {}
    for receipt in receipts:
        if receipt.accepted:
            firsts.setdefault(receipt.id, receipt)
    receipts = list(firsts.values())
    history = History(writer.changes, writer.restores)
    doubts = {place.name: Doubt.of(absences, gaps.get(place.name, ()), receipts, history, clock) for place in places}
    _in_order(receipts, doubts, verdict)
    told = _believed(receipts, history, doubts, verdict, exact=atomic and not writer.restores)
    there = {
        (place.name, body["metadata"]["name"]): (body["metadata"]["uid"], int(body["metadata"]["resourceVersion"]))
        for place in places
        if place.selected
        for body in writer.bodies(place.name)
    }
    for what in told.keys() | there.keys():
        belief = told.get(what)
        believed = (belief.uid, belief.version) if belief else None
        offense = f"{what} is told to be {believed}, and is {there.get(what)}"
        if believed != there.get(what) and not (belief and doubts[what[0]].given(belief, offense)):
            verdict.wrong.append(offense)
    for place in places:
        _complete(place, [r for r in receipts if _place(r) == place.name], gaps.get(place.name, ()), verdict)
        verdict.forgotten += doubts[place.name].benefits
    return verdict


def _state(change: Change) -> tuple[str, int, str]:
    """After a restore, the same version may have another content; the writer's tag tells them apart."""
    return change.uid, change.version or 0, change.tag


def _place(receipt: Receipt) -> str:
    return receipt.partitionkey.split("/")[1]


def _in_order(receipts: Sequence[Receipt], doubts: Mapping[str, Doubt], verdict: Verdict) -> None:
    last: dict[str, Receipt] = {}
    for receipt in receipts:
        before = last.get(receipt.partitionkey, receipt)
        if (receipt.timeline, receipt.sequence) < (before.timeline, before.sequence):
            offense = f"{receipt.id} goes back from {before.id}"
            if not doubts[_place(receipt)].given(before, offense):
                verdict.wrong.append(offense)
        last[receipt.partitionkey] = receipt


def _believed(
    receipts: Sequence[Receipt], history: History, doubts: Mapping[str, Doubt], verdict: Verdict, *, exact: bool
) -> dict[tuple[str, str], Receipt]:
    """What a consumer that applies the events in their order believes to be there: the last event, by name.

    Only if ``exact``, nothing begins or ends twice. A watch may go on after a restore, for the versions had grown past:
    then an audit finds what the restore undid, and its end is told late. Until then an object may change or end that
    was deleted before, or was made unseen.
    """
    held: dict[tuple[str, str], Receipt] = {}
    owed: dict[str, Receipt] = {}  # ends that are still to be told
    for receipt in receipts:
        what = (_place(receipt), receipt.partitionkey.rsplit("/", 1)[1])
        known = held.get(what)
        if receipt.action == "DELETE":
            late = owed.pop(receipt.uid, None)
            if known and known.uid == receipt.uid:
                del held[what]
            elif late is None and exact:
                verdict.wrong.append(f"{receipt.id} ends what was never told")
            continue
        if known and known.uid != receipt.uid:
            if receipt.timeline == known.timeline and history.ended_unseen(known.uid):
                owed[known.uid] = known
            else:
                offense = f"{receipt.id} comes while {known.id} is told to be there"
                if not doubts[what[0]].given(known, offense):
                    verdict.wrong.append(offense)
        elif (receipt.action == "ADD") is not (known is None) and exact:
            verdict.wrong.append(f"{receipt.id} comes while {known.id if known else 'nothing'} is told to be there")
        held[what] = receipt
    verdict.wrong += [f"the end of {receipt.id} was never told" for receipt in owed.values()]
    return held


def _complete(place: Place, receipts: Sequence[Receipt], gaps: Sequence[Gap], verdict: Verdict) -> None:
    came = {(r.uid, r.version, r.tag) for r in receipts if r.action != "DELETE"}
    changed = {(r.uid, r.version, r.tag): r.timeline for r in receipts if r.action == "UPDATE" and not r.synthetic}
    begun: dict[int, float] = {}  # when each timeline was first heard of
    for receipt in receipts:
        begun.setdefault(receipt.timeline, receipt.at)
    for changes, since in list(zip(place.periods, place.since, strict=True))[::2]:  # in which it was selected
        read = {at: changed[_state(c)] for at, c in enumerate(changes) if _state(c) in changed}
        # A watch that was being ended when the namespace was selected again may have read some of it before.
        first = min((at for at, timeline in read.items() if begun[timeline] >= since), default=None)
        if first is None:
            continue
        for change in changes[first:]:
            if change.version is None:  # of deletions, belief tells
                continue
            verdict.must += 1
            excused = any(int(gap.since or 0) < change.version <= int(gap.until) for gap in gaps)
            if _state(change) not in came and not excused:
                verdict.wrong.append(f"lost: {change}")
