"""What the API server committed against what the receiver got: the proof that nothing is lost, or what was.

Pure functions over three lists: the changes made, the requests received for **one** subscription, and the gaps its
watch recorded. Nothing here asks the program under test what it thinks it did.

* *collapsed*: a version inside a recorded gap (since < version <= until) of an object of which a later state, or the
  deletion, arrived; or of an object that lived only inside that gap.
* *lost*: neither arrived nor collapsed.
* *order*: per partitionkey, by the first receipt of each event id: what happened later never comes before what happened
  earlier, timelines never fall, and within a timeline no sequence does.
* *misled*: a consumer that does as it is told would believe what is not: an object took the place of another whose end
  was not announced, or at the end something is there that is gone, gone that is there, or not as it is.

*forgotten*: what would be out of order or misled, but that Redis lost the tail in which alone the object was announced,
and a gap then covered its version, or the change, and a restore undid it: Redis' tail and the API's history lost
together, the exception that is promised. So it is with what a ConfigMap lacked when its leader ended.

What a restore of etcd undid may have been delivered or not. What was made after one may be collapsed by the next gap,
wherever that begins: its beginning is a version of a past that never was.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from kubecdc.storage.contracts import Gap
from kubecdc.storage.contracts.event import Action
from tests.harness.history import Change, History, Restore

__all__ = [
    "Absence",
    "Change",
    "Doubt",
    "Duplicate",
    "Receipt",
    "Report",
    "Restore",
    "audit",
    "duplicates",
    "parse_id",
    "timeline_of",
]

LATE = 0.25  # seconds: what a dying worker had sent may be read by the receiver a moment after its death
DEATH = "a worker died with it in flight"
AWAY = "the bus did not answer"
TAIL = "Redis lost its tail"
UNSAVED = "the leader changed before it saved what it had published"
TWICE = "it was published twice, because an answer was lost"
TAKEN = "Redis lost a worker's sign of life, and another took over"


class Absence(NamedTuple):
    """From when to when (monotonic seconds) somebody was not there, and what of the repeats it explains.

    ``epoch``: of the leader that may not have saved all that it had published. Workers may get that much later.
    """

    since: float
    until: float
    cause: str = DEATH
    epoch: int = 0


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A request that the receiver got, as far as the ledger needs it. ``at``: monotonic seconds.

    ``accepted``: the receiver answered 2xx (or was about to); one that it refused does not count as delivered.
    """

    id: str
    key: str  # Idempotency-Key: source, event id, sensor and trigger
    subject: str
    uid: str
    version: int
    action: Action
    partitionkey: str
    sequence: int
    synthetic: bool
    at: float
    accepted: bool = True
    tag: str = ""  # the writer's, where the body has it
    epoch: int = 0  # the term of the leader that published it

    @property
    def timeline(self) -> int:
        """How many restores of etcd had been noticed."""
        return timeline_of(self.id)


@dataclass(frozen=True)
class Duplicate:
    """An event received again. ``cause``: what explains it, "" if nothing does."""

    receipt: Receipt
    first: float
    cause: str


@dataclass(frozen=True)
class Report:
    """What became of the changes. `ok` is the promise; the lists name each offender."""

    gaps: int
    made: int
    delivered: int
    collapsed: int
    deletions_made: int
    deletions_seen: int
    deletions_collapsed: int
    synthetic: int
    duplicates: list[Duplicate]
    out_of_order: list[tuple[Receipt, Receipt]]
    lost: list[Change]
    invented: list[Receipt]
    misled: list[str]
    forgotten: list[str]
    undone: int  # changes that restores of etcd undid

    def caused(self, cause: str) -> int:
        """How many duplicates that explains."""
        return sum(duplicate.cause == cause for duplicate in self.duplicates)

    @property
    def unexplained(self) -> list[Duplicate]:
        """Duplicates that nobody's absence accounts for."""
        return [d for d in self.duplicates if not d.cause]

    @property
    def ok(self) -> bool:
        return not (self.lost or self.out_of_order or self.invented or self.misled)

    def rows(self) -> list[tuple[str, int]]:
        """The report as a table, for people."""
        return [
            ("changes made", self.made),
            ("delivered", self.delivered),
            ("collapsed in a gap", self.collapsed),
            ("duplicates", len(self.duplicates)),
            ("out of order", len(self.out_of_order)),
            ("deletions made", self.deletions_made),
            ("deletions seen", self.deletions_seen),
            ("deletions collapsed", self.deletions_collapsed),
            ("lost", len(self.lost)),
            *([("undone by restores", self.undone)] if self.undone else []),
            *([("forgotten with a tail and the history", len(self.forgotten))] if self.forgotten else []),
        ]

    def __str__(self) -> str:
        lines = [", ".join(f"{name} {count}" for name, count in self.rows()) + f", in {self.gaps} gaps"]
        causes = Counter(duplicate.cause or "unexplained" for duplicate in self.duplicates)
        lines += [f"duplicates: {', '.join(f'{cause} {n}' for cause, n in causes.items())}"] if causes else []
        lines += [f"forgotten: {what}" for what in self.forgotten[:10]]
        lines += [f"lost: {change}" for change in self.lost[:10]]
        lines += [f"out of order: {before.id} came before {after.id}" for before, after in self.out_of_order[:10]]
        lines += [f"misled: {what}" for what in self.misled[:10]]
        lines += [f"invented: {receipt}" for receipt in self.invented[:10]]
        lines += [
            f"unexplained duplicate: {d.receipt.id}, {d.receipt.at - d.first:.3f} s later"
            for d in self.unexplained[:10]
        ]
        return "\n".join(lines)


def parse_id(event_id: str) -> tuple[str, str, int, Action]:
    """``<event name>.<uid>.<resourceVersion>.<action>[.t<timeline>]`` apart. Raises ValueError."""
    head, _, tail = event_id.rpartition(".")
    if tail.startswith("t") and tail[1:].isdigit():
        head, _, tail = head.rpartition(".")
    subject, uid, version = head.rsplit(".", 2)
    actions: dict[str, Action] = {"ADD": "ADD", "UPDATE": "UPDATE", "DELETE": "DELETE"}
    if tail not in actions:
        raise ValueError(f"{event_id!r} is not an event id")
    return subject, uid, int(version), actions[tail]


def timeline_of(event_id: str) -> int:
    """The number after ``.t``, 0 without one."""
    tail = event_id.rpartition(".")[2]
    return int(tail[1:]) if tail.startswith("t") and tail[1:].isdigit() else 0


def audit(
    changes: Sequence[Change],
    receipts: Sequence[Receipt],
    gaps: Iterable[Gap] = (),
    *,
    restores: Sequence[Restore] = (),
    expected: Callable[[Change], bool] | None = None,
    absences: Sequence[Absence] = (),
    window: float = 2.0,
    clock: float = 0.0,
    copies: Mapping[str, int] | None = None,
) -> Report:
    """Compare. ``receipts`` are one subscription's, in the order received; ``expected`` says which changes pass its
    eventTypes and filters (None: all, and then beliefs are checked too); ``absences`` say when a worker was dead or
    stopped, or the bus away, and a duplicate is explained if its event came in one, at most ``window`` seconds before
    one, or was refused; or if two leaders published it, the first of which may not have saved that; or if the bus has
    it as often. ``copies``: how often that is, by the event's id. ``clock``: what a monotonic second is behind the
    clock of the gaps.
    """
    accepted = [receipt for receipt in receipts if receipt.accepted]
    history = History(changes, restores)
    spans = _spans(gaps, clock)
    doubt = Doubt(absences, spans, accepted, history)
    passes = expected or (lambda change: True)
    told = {(r.uid, r.version, r.tag) for r in accepted if r.action != "DELETE"}
    deletions = {r.uid for r in accepted if r.action == "DELETE"}
    latest: dict[str, int] = {}
    for state in told:
        for place in history.states(*state):
            latest[state[0]] = max(place, latest.get(state[0], -1))

    def arrived(change: Change) -> bool:
        if change.action == "DELETE":
            return change.uid in deletions
        return not told.isdisjoint({(change.uid, change.version, change.tag), (change.uid, change.version, "")})

    def collapsed(place: int) -> bool:
        change, life = changes[place], history.lives[changes[place].uid]

        # The next list covers all that came before it; it may have been read just before, and recorded just after.
        after = bisect_left(spans, change.started, key=lambda span: span.time)
        blind = spans[after : after + 2] if history.restored_before(place) else []

        def within(span: _Span, since: int) -> bool:
            born_inside = life.born is not None and since < life.born <= span.until
            if born_inside and life.dead_least <= span.until and life.dead_most > since:
                return True
            if change.version is not None and since < change.version <= span.until:
                return change.uid in deletions or latest.get(change.uid, -1) > place
            return False

        return any(within(span, span.since) for span in spans) or any(within(span, 0) for span in blind)

    wanted = [place for place in history.standing if passes(changes[place])]
    missing = [place for place in wanted if not arrived(changes[place])]
    lost = [changes[place] for place in missing if not collapsed(place)]
    ended = {changes[place].uid for place in wanted if changes[place].action == "DELETE"}
    missing_ends = sum(changes[place].action == "DELETE" for place in missing)
    out_of_order = _out_of_order(accepted, history, doubt)
    misled = _misled(accepted, history, doubt) if expected is None else []
    return Report(
        gaps=len(spans),
        made=len(wanted),
        delivered=len(wanted) - len(missing),
        collapsed=len(missing) - len(lost),
        deletions_made=len(ended),
        deletions_seen=len(ended & deletions),
        deletions_collapsed=missing_ends - sum(change.action == "DELETE" for change in lost),
        synthetic=sum(r.synthetic for r in receipts),
        duplicates=duplicates(receipts, absences, window, copies or {}),
        out_of_order=out_of_order,
        lost=lost,
        invented=_invented(history, receipts, passes),
        misled=misled,
        forgotten=doubt.benefits,
        undone=len(changes) - len(history.standing),
    )


@dataclass(frozen=True)
class _Span:
    """A gap: versions, and when (monotonic) it was over."""

    since: int
    until: int
    time: float

    @classmethod
    def of(cls, gap: Gap, clock: float) -> _Span:
        return cls(int(gap.since or 0), int(gap.until), datetime.fromisoformat(gap.time).timestamp() - clock)

    def covers(self, version: int) -> bool:
        return self.since < version <= self.until


def _spans(gaps: Iterable[Gap], clock: float) -> list[_Span]:
    return sorted((_Span.of(gap, clock) for gap in gaps), key=lambda span: span.time)


class Doubt:
    """What was announced only in a tail that Redis lost, or in what a leader had not saved yet, and whose history was
    lost too: a gap covers the version in which the object was announced, or a restore of etcd undid the change."""

    def __init__(
        self, absences: Sequence[Absence], spans: Sequence[_Span], receipts: Sequence[Receipt], history: History
    ) -> None:
        self._tails = [absence for absence in absences if absence.cause in {TAIL, UNSAVED}]
        self._spans = spans
        self._history = history
        self._told: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in receipts:
            self._told[receipt.uid].append(receipt)
        self.benefits: list[str] = []

    @classmethod
    def of(
        cls,
        absences: Sequence[Absence],
        gaps: Iterable[Gap],
        receipts: Sequence[Receipt],
        history: History,
        clock: float,
    ) -> Doubt:
        """``clock`` is as in `audit`."""
        return cls(absences, _spans(gaps, clock), receipts, history)

    def given(self, before: Receipt, what: str) -> bool:
        """Whether what follows from that receipt is excused; it is noted then."""
        excused = any(
            _within(tail, before) and (self._expired(tail, before) or self._undone(before)) for tail in self._tails
        )
        if excused:
            self.benefits.append(what)
        return excused

    def _expired(self, tail: Absence, before: Receipt) -> bool:
        """Whether nothing that was told of the object until then outlived a tail, this or one before it."""
        told = [receipt for receipt in self._told[before.uid] if receipt.at <= before.at]
        ends = [n for n, receipt in enumerate(told[:-1], 1) if self._is_saved_end(receipt)]
        told = told[max(ends, default=0) :]
        after = [span for span in self._spans if span.time >= tail.since]
        return all(any(_within(lost, receipt) for lost in self._tails) for receipt in told) and any(
            span.covers(told[0].sequence) for span in after
        )

    def _is_saved_end(self, receipt: Receipt) -> bool:
        """Whether nobody knew the object any more after it: its namespace was left, and maybe selected again."""
        return receipt.action == "DELETE" and not any(_within(tail, receipt) for tail in self._tails)

    def _undone(self, before: Receipt) -> bool:
        return self._history.undone(before.uid, before.version, before.tag, before.action)


def _within(tail: Absence, receipt: Receipt) -> bool:
    if tail.cause == UNSAVED:  # a gap begins where the leader had saved, so whether it covers the receipt is decisive
        return tail.since <= receipt.at and receipt.epoch <= tail.epoch
    return tail.since <= receipt.at <= tail.until + LATE


def duplicates(
    receipts: Sequence[Receipt], absences: Sequence[Absence], window: float, copies: Mapping[str, int]
) -> list[Duplicate]:
    """What came again, and why; see `audit`."""
    last: dict[str, Receipt] = {}
    times: Counter[str] = Counter()
    others = [absence for absence in absences if absence.cause != UNSAVED]
    found = []
    for receipt in receipts:
        before = last.get(receipt.key)
        times[receipt.key] += 1
        if before is not None:
            cause = ""
            if not before.accepted:
                cause = "the receiver refused it"
            elif before.epoch != receipt.epoch and any(a.cause == UNSAVED and a.since <= receipt.at for a in absences):
                cause = UNSAVED
            else:
                twice = TWICE if times[receipt.key] <= copies.get(receipt.id, 1) else ""
                cause = next((a.cause for a in others if a.since - window <= before.at <= a.until + LATE), twice)
            found.append(Duplicate(receipt, before.at, cause))
        last[receipt.key] = receipt
    return found


def _out_of_order(receipts: Sequence[Receipt], history: History, doubt: Doubt) -> list[tuple[Receipt, Receipt]]:
    seen: set[str] = set()
    front: dict[str, tuple[float, Receipt]] = {}
    found = []
    for receipt in receipts:
        places = _places(receipt, history)
        if receipt.id in seen or not places:
            continue
        seen.add(receipt.id)
        reached, before = front.get(receipt.partitionkey, (-math.inf, receipt))
        if receipt.timeline > before.timeline:
            reached = -math.inf  # told anew from here
        place = next((place for place in places if place >= reached), None)
        if place is None and receipt.synthetic and receipt.action == "DELETE" and history.ended_unseen(receipt.uid):
            continue  # found late, by a repair; what a consumer believes then is judged by `_misled`
        if place is None or (receipt.timeline, receipt.sequence) < (before.timeline, before.sequence):
            if doubt.given(before, f"{before.id} came before {receipt.id}"):
                front[receipt.partitionkey] = (reached if place is None else place, receipt)
            else:
                found.append((before, receipt))
        else:
            front[receipt.partitionkey] = (place, receipt)
    return found


def _places(receipt: Receipt, history: History) -> list[float]:
    """What the receipt can be about. What happened twice is taken as the first that is not in the past."""
    if receipt.action == "DELETE":
        return history.ends(receipt.uid)
    return history.shown(receipt.uid, receipt.version, receipt.tag)


def _misled(receipts: Sequence[Receipt], history: History, doubt: Doubt) -> list[str]:
    seen: set[str] = set()
    believed: dict[str, Receipt] = {}
    owed: dict[str, Receipt] = {}  # ends that are still to be told
    last: dict[str, Receipt] = {}
    found: list[str] = []

    def say(what: str, before: Receipt | None) -> None:
        if before is None or not doubt.given(before, what):
            found.append(what)

    for receipt in receipts:
        if receipt.id in seen:
            continue
        seen.add(receipt.id)
        last[receipt.partitionkey] = receipt
        before = believed.get(receipt.partitionkey)
        if receipt.action == "DELETE":
            owed.pop(receipt.uid, None)
            if before and before.uid == receipt.uid:
                del believed[receipt.partitionkey]
            continue
        if before and before.uid != receipt.uid:
            if receipt.timeline == before.timeline and history.ended_unseen(before.uid):
                # The watch went on, for the versions had grown past: the end is told when an audit has found it.
                owed[before.uid] = before
            else:
                say(f"{receipt.id} came before the end of {before.id}", before)
        believed[receipt.partitionkey] = receipt
    for receipt in owed.values():
        say(f"the end of {receipt.id} was never told", receipt)
    for lane in believed.keys() | history.alive.keys():
        belief, truth = believed.get(lane), history.alive.get(lane)
        is_so = belief is not None and truth in history.states(belief.uid, belief.version, belief.tag)
        if is_so and last[lane].action == "DELETE":  # a consumer may know objects by their names alone
            say(f"{lane} is there, and the last that is told of it is {last[lane].id}", belief)
        if not is_so:
            what = history.changes[truth] if truth is not None else "gone"
            say(f"{lane} is told to be {belief.id if belief else 'gone'}, and is {what}", belief)
    return found


def _invented(history: History, receipts: Sequence[Receipt], passes: Callable[[Change], bool]) -> list[Receipt]:
    """What nobody committed (an unknown version, the deletion of an object that lives, another object's key), and
    what the filters keep out. A repair may announce as ADD what was an UPDATE: it is judged as what it was sent as."""
    last = {change.uid: change for change in history.changes}

    def genuine(receipt: Receipt) -> bool:
        if receipt.action == "DELETE":
            change = last[receipt.uid] if history.ends(receipt.uid) else None
        else:
            places = history.states(receipt.uid, receipt.version, receipt.tag)
            change = history.changes[places[-1]] if places else None
        return (
            change is not None
            and change.partitionkey == receipt.partitionkey
            and passes(replace(change, action=receipt.action))
            and (receipt.synthetic or receipt.sequence == receipt.version)
        )

    return [receipt for receipt in receipts if not genuine(receipt)]
