"""The ledger must find every kind of fault, and must not excuse one by another."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from kubecdc.storage.contracts import Gap
from kubecdc.storage.contracts.event import Action, event_id
from tests.harness.ledger import DEATH, TAIL, TWICE, UNSAVED, Absence, Change, Receipt, Restore, audit, parse_id


class World:
    """Writes on objects, one after another, and what a faultless receiver got of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.version = 100
        self.changes: list[Change] = []
        self.receipts: list[Receipt] = []

    def write(self, action: Action, uid: str, name: str = "") -> None:
        self.version += 1
        key = f"workflows.argoproj.io/default/{name or uid}"
        told = None if action == "DELETE" else self.version
        self.changes.append(
            Change(
                action=action,
                uid=uid,
                version=told,
                partitionkey=key,
                started=self.now,
                finished=self.now + 0.4,
                body={"metadata": {"name": name or uid}},
            )
        )
        identity = event_id("changed", uid, str(self.version), action)
        self.receipts.append(
            Receipt(
                id=identity,
                key=f"src/{identity}/sensor/post",
                subject="changed",
                uid=uid,
                version=self.version,
                action=action,
                partitionkey=key,
                sequence=self.version,
                synthetic=False,
                at=self.now + 0.5,
            )
        )
        self.now += 1.0

    def take(self, action: Action, uid: str, n: int = 0) -> Receipt:
        """Remove the n-th receipt of that kind and return it."""
        found = [r for r in self.receipts if r.action == action and r.uid == uid][n]
        self.receipts.remove(found)
        return found


def gap(since: int, until: int) -> Gap:
    return Gap("410", str(since), str(until), "2026-01-01T00:00:00Z", 0)


@pytest.fixture
def world() -> World:
    """``a`` (101, 103, 105), ``b`` (102), ``c`` (104 to 106, then d under its name from 107)."""
    w = World()
    w.write("ADD", "a")
    w.write("ADD", "b")
    w.write("UPDATE", "a")
    w.write("ADD", "c", "c")
    w.write("UPDATE", "a")
    w.write("DELETE", "c", "c")
    w.write("ADD", "d", "c")
    w.write("UPDATE", "b")
    return w


def test_a_faultless_run_is_ok(world: World) -> None:
    report = audit(world.changes, world.receipts)
    assert report.ok
    assert (report.made, report.delivered, report.collapsed) == (8, 8, 0)
    assert (report.deletions_made, report.deletions_seen) == (1, 1)
    assert report.duplicates == []


@pytest.mark.parametrize("n", range(8))
def test_each_dropped_change_is_lost(world: World, n: int) -> None:
    del world.receipts[n]
    report = audit(world.changes, world.receipts)
    assert report.lost == [world.changes[n]]
    assert not report.ok


def test_a_lost_deletion_is_named(world: World) -> None:
    world.take("DELETE", "c")
    report = audit(world.changes, world.receipts)
    assert [(c.action, c.uid) for c in report.lost] == [("DELETE", "c")]
    assert (report.deletions_made, report.deletions_seen) == (1, 0)


def test_a_swapped_pair_of_one_object_is_out_of_order(world: World) -> None:
    first, second = (i for i, r in enumerate(world.receipts) if r.uid == "a" and r.action == "UPDATE")
    world.receipts[first], world.receipts[second] = world.receipts[second], world.receipts[first]
    report = audit(world.changes, world.receipts)
    assert [(x.version, y.version) for x, y in report.out_of_order] == [(105, 103)]
    assert report.lost == []


def test_a_swap_between_objects_is_in_order(world: World) -> None:
    world.receipts[0], world.receipts[1] = world.receipts[1], world.receipts[0]
    assert audit(world.changes, world.receipts).ok


def test_a_successor_before_the_deletion_of_its_predecessor_is_out_of_order(world: World) -> None:
    world.receipts.append(world.take("DELETE", "c"))
    assert [(x.uid, y.uid) for x, y in audit(world.changes, world.receipts).out_of_order] == [("d", "c")]


def test_a_synthetic_deletion_goes_before_its_successor(world: World) -> None:
    deletion = world.take("DELETE", "c")
    repaired = replace(deletion, version=104, sequence=106, synthetic=True, id="changed.c.104.DELETE")
    world.receipts.insert(4, repaired)
    report = audit(world.changes, world.receipts)
    assert report.ok
    assert (report.deletions_seen, report.synthetic) == (1, 1)


def test_an_update_after_the_deletion_of_its_object_is_out_of_order(world: World) -> None:
    world.receipts.append(replace(world.take("ADD", "c")))
    assert len(audit(world.changes, world.receipts).out_of_order) == 1


def test_a_repeat_of_an_event_does_not_disturb_the_order_but_is_a_duplicate(world: World) -> None:
    world.receipts.append(replace(world.receipts[0], at=world.now))
    report = audit(world.changes, world.receipts)
    assert report.ok
    assert len(report.duplicates) == 1
    assert report.unexplained == report.duplicates


@pytest.mark.parametrize(
    ("killed_at", "explained"), [(0.5, True), (2.4, True), (0.3, True), (2.6, False), (0.2, False), (9.0, False)]
)
def test_a_duplicate_is_explained_only_by_a_death_soon_after_its_receipt(
    world: World, killed_at: float, explained: bool
) -> None:
    world.receipts.append(replace(world.receipts[0], at=20.0))
    report = audit(world.changes, world.receipts, absences=[Absence(killed_at, killed_at)], window=2.0)
    assert [bool(d.cause) for d in report.duplicates] == [explained]


def test_a_duplicate_is_explained_by_a_pause_in_which_its_event_came(world: World) -> None:
    world.receipts.append(replace(world.receipts[6], at=30.0))
    assert not audit(world.changes, world.receipts, absences=[Absence(1.0, 9.0)]).unexplained
    assert audit(world.changes, world.receipts, absences=[Absence(1.0, 5.0)]).unexplained


def test_one_death_does_not_explain_the_repeat_of_a_repeat(world: World) -> None:
    world.receipts += [replace(world.receipts[0], at=3.0), replace(world.receipts[0], at=30.0)]
    report = audit(world.changes, world.receipts, absences=[Absence(1.0, 1.0)])
    assert [bool(d.cause) for d in report.duplicates] == [True, False]


def test_a_version_inside_a_gap_is_collapsed_if_a_later_state_arrived(world: World) -> None:
    world.take("UPDATE", "a", 0)
    assert audit(world.changes, world.receipts, [gap(102, 104)]).collapsed == 1
    assert audit(world.changes, world.receipts, [gap(102, 104)]).ok


def test_a_version_at_the_start_of_a_gap_is_outside_and_at_its_end_inside(world: World) -> None:
    world.take("UPDATE", "a", 0)
    assert len(audit(world.changes, world.receipts, [gap(103, 107)]).lost) == 1
    assert audit(world.changes, world.receipts, [gap(101, 103)]).ok


def test_a_version_outside_every_gap_does_not_collapse(world: World) -> None:
    world.take("UPDATE", "a", 0)
    report = audit(world.changes, world.receipts, [gap(103, 110), gap(99, 102)])
    assert [c.version for c in report.lost] == [103]
    assert report.collapsed == 0


def test_the_last_state_does_not_collapse(world: World) -> None:
    world.take("UPDATE", "b")
    assert [c.version for c in audit(world.changes, world.receipts, [gap(100, 110)]).lost] == [108]


def test_an_earlier_state_does_not_justify_a_collapse(world: World) -> None:
    world.take("UPDATE", "a", 1)
    assert [c.version for c in audit(world.changes, world.receipts, [gap(100, 110)]).lost] == [105]


def test_a_version_collapses_if_the_deletion_of_its_object_arrived(world: World) -> None:
    world.take("ADD", "c")
    assert audit(world.changes, world.receipts, [gap(103, 104)]).collapsed == 1


def test_an_object_that_lived_only_inside_one_gap_collapses_whole(world: World) -> None:
    world.take("ADD", "c")
    world.take("DELETE", "c")
    report = audit(world.changes, world.receipts, [gap(103, 106)])
    assert report.ok
    assert (report.collapsed, report.deletions_collapsed, report.deletions_seen) == (2, 1, 0)


def test_a_deletion_after_the_gap_in_which_its_object_was_made_is_lost(world: World) -> None:
    world.take("ADD", "c")
    world.take("DELETE", "c")
    assert len(audit(world.changes, world.receipts, [gap(103, 105)]).lost) == 2


def test_the_deletion_inside_a_gap_of_an_object_that_was_announced_is_lost(world: World) -> None:
    world.take("DELETE", "c")
    assert [c.action for c in audit(world.changes, world.receipts, [gap(104, 107)]).lost] == ["DELETE"]


def test_two_gaps_do_not_make_one(world: World) -> None:
    world.take("ADD", "c")
    world.take("DELETE", "c")
    assert len(audit(world.changes, world.receipts, [gap(103, 104), gap(105, 106)]).lost) == 2


def test_a_change_that_the_filter_drops_is_not_expected(world: World) -> None:
    world.take("ADD", "b")
    report = audit(world.changes, world.receipts, expected=lambda c: not (c.uid == "b" and c.action == "ADD"))
    assert report.ok
    assert report.made == 7


def test_an_event_that_the_filter_should_have_dropped_is_found(world: World) -> None:
    report = audit(world.changes, world.receipts, expected=lambda c: not (c.uid == "b" and c.action == "ADD"))
    assert [r.id for r in report.invented] == ["changed.b.102.ADD"]


def test_a_repair_may_announce_as_add_what_was_an_update(world: World) -> None:
    at = next(i for i, r in enumerate(world.receipts) if r.version == 103)
    world.receipts[at] = replace(world.receipts[at], action="ADD", synthetic=True, id="changed.a.103.ADD")
    assert audit(world.changes, world.receipts, [gap(102, 103)]).ok


def test_an_event_that_was_only_refused_is_lost_and_its_repeat_is_explained(world: World) -> None:
    world.receipts[2] = replace(world.receipts[2], accepted=False)
    assert [c.version for c in audit(world.changes, world.receipts).lost] == [103]
    world.receipts.insert(3, replace(world.receipts[2], accepted=True, at=2.9))
    report = audit(world.changes, world.receipts)
    assert report.ok
    assert [d.cause for d in report.duplicates] == ["the receiver refused it"]


def test_a_deletion_of_known_version_is_judged_by_it(world: World) -> None:
    world.take("ADD", "c")
    world.take("DELETE", "c")
    world.changes = [replace(c, version=106) if c.action == "DELETE" else c for c in world.changes]
    assert audit(world.changes, world.receipts, [gap(103, 106)]).ok
    assert len(audit(world.changes, world.receipts, [gap(103, 105)]).lost) == 2


def test_what_nobody_committed_is_invented(world: World) -> None:
    stranger = replace(world.receipts[0], uid="z")
    unknown_version = replace(world.receipts[0], version=999, sequence=999, id="changed.a.999.UPDATE")
    deletion = replace(world.receipts[0], action="DELETE", id="changed.a.101.DELETE")
    other_lane = replace(world.receipts[0], partitionkey="workflows.argoproj.io/default/b")
    other_sequence = replace(world.receipts[0], sequence=7)
    for receipt in (stranger, unknown_version, deletion, other_lane, other_sequence):
        assert audit(world.changes, [*world.receipts, receipt]).invented == [receipt]


def test_any_single_drop_or_swap_in_a_random_run_is_found() -> None:
    rng = random.Random(4)
    w = World()
    live: dict[str, str] = {}
    for n in range(400):
        name = f"o{rng.randrange(12)}"
        if name not in live:
            live[name] = f"uid{n}"
            w.write("ADD", live[name], name)
        elif rng.random() < 0.2:
            w.write("DELETE", live.pop(name), name)
        else:
            w.write("UPDATE", live[name], name)
    assert audit(w.changes, w.receipts).ok
    for n in range(len(w.receipts)):
        dropped = audit(w.changes, w.receipts[:n] + w.receipts[n + 1 :])
        assert dropped.lost == [w.changes[n]]
        later = next((i for i in range(n + 1, 400) if w.receipts[i].partitionkey == w.receipts[n].partitionkey), None)
        if later is not None:
            swapped = list(w.receipts)
            swapped[n], swapped[later] = swapped[later], swapped[n]
            assert audit(w.changes, swapped).out_of_order


def test_an_id_is_read_from_its_end() -> None:
    assert parse_id("a.dotted.name.0-1.42.UPDATE") == ("a.dotted.name", "0-1", 42, "UPDATE")
    assert parse_id("changed.0-1.42.DELETE.t3") == ("changed", "0-1", 42, "DELETE")


@pytest.fixture
def restored(world: World) -> World:
    """A copy after ``d`` was made (107); then b was changed (108), e made (109), d deleted (110), and all three undone:
    the next timeline tells that, and a is changed under a version that b had."""
    w = world
    w.write("ADD", "e")
    w.write("DELETE", "d", "c")
    w.version = 107
    told = {r.uid: r for r in w.receipts if r.action != "DELETE"}
    w.receipts += [again(told["a"]), again(told["b"], version=102, action="ADD"), again(told["d"], action="ADD")]
    w.receipts.append(again(told["e"], action="DELETE", sequence=107))
    w.write("UPDATE", "a")
    w.receipts[-1] = again(w.receipts[-1], synthetic=False)
    return w


RESTORE = Restore(kept=7, at=10)


def again(receipt: Receipt, **changes: object) -> Receipt:
    """The receipt as of the next timeline."""
    made = replace(receipt, **{"synthetic": True, **changes})  # type: ignore[arg-type]
    made = replace(made, sequence=max(made.sequence if "sequence" in changes else 0, made.version))
    return replace(made, id=f"changed.{made.uid}.{made.version}.{made.action}.t1", key=f"{made.id}.t1")


def test_a_restore_that_was_told_under_the_next_timeline_is_ok(restored: World) -> None:
    report = audit(restored.changes, restored.receipts, restores=[RESTORE])
    assert report.ok, str(report)
    assert (report.made, report.undone) == (8, 3)


@pytest.mark.parametrize("uid", ["b", "d", "e"])
def test_what_a_restore_undid_must_be_told(restored: World, uid: str) -> None:
    kept = [r for r in restored.receipts if not (r.uid == uid and r.timeline)]
    report = audit(restored.changes, kept, restores=[RESTORE])
    assert not report.ok
    assert any(uid in what or "default/c" in what for what in report.misled)


def test_what_a_restore_undid_need_not_have_come(restored: World) -> None:
    kept = [r for r in restored.receipts if not (r.uid == "b" and r.version == 108)]
    assert audit(restored.changes, kept, restores=[RESTORE]).ok
    assert not audit(restored.changes, kept).ok


def test_the_past_may_not_be_told_again_without_a_next_timeline(restored: World) -> None:
    same = [replace(r, id=r.id.removesuffix(".t1") + (".x" if r.timeline else "")) for r in restored.receipts]
    assert audit(restored.changes, same, restores=[RESTORE]).out_of_order


def test_a_change_after_a_restore_is_lost_unless_a_later_gap_explains_it(restored: World) -> None:
    restored.write("UPDATE", "a")
    restored.receipts[-1] = again(restored.receipts[-1], synthetic=False)
    kept = [r for r in restored.receipts if not (r.uid == "a" and r.version == 108)]
    assert [c.version for c in audit(restored.changes, kept, restores=[RESTORE]).lost] == [108]
    late, early = Gap("x", "110", "109", "1970-01-01T00:10:00Z", 0), Gap("x", "110", "109", "1970-01-01T00:00:00Z", 0)
    assert audit(restored.changes, kept, [late], restores=[RESTORE]).ok
    others = [Gap("x", "500", "90", f"1970-01-01T00:0{n}:00Z", 0) for n in (1, 2)]
    assert audit(restored.changes, kept, [late, *others], restores=[RESTORE]).lost, "the third gap is too late"
    assert audit(restored.changes, kept, [early], restores=[RESTORE]).lost


def test_equal_versions_of_two_pasts_are_told_apart_by_their_tags(world: World) -> None:
    world.changes = [replace(c, tag=str(n)) for n, c in enumerate(world.changes)]
    world.version = 107
    world.write("UPDATE", "b")
    world.changes[-1] = replace(world.changes[-1], tag="new")
    old = [replace(r, tag="7") if r.version == 108 else r for r in world.receipts[:-1]]
    report = audit(world.changes, old, restores=[Restore(kept=7, at=8)])
    assert [c.tag for c in report.lost] == ["new"]
    assert report.misled


def test_an_end_that_was_never_told_is_found_though_a_successor_was(world: World) -> None:
    world.take("DELETE", "c")
    assert [what.split()[0] for what in audit(world.changes, world.receipts).misled] == ["changed.d.107.ADD"]


@pytest.mark.parametrize("told", [True, False])
def test_an_end_that_a_restore_undid_may_be_told_late_but_not_never(world: World, told: bool) -> None:
    """``d`` is deleted and ``f`` takes its name and is deleted too, unseen; then all of it is undone, and the versions
    have grown past when ``d`` is changed: the watch goes on, and a repair finds the end of ``f``."""
    world.write("DELETE", "d", "c")
    world.write("ADD", "f", "c")
    world.write("DELETE", "f", "c")
    world.take("DELETE", "f")
    made = next(r for r in world.receipts if r.uid == "f")
    world.version += 50
    world.write("UPDATE", "d", "c")
    restores = [Restore(kept=8, at=11)]
    if told:
        world.receipts.append(again(made, action="DELETE", sequence=world.version))
        world.receipts.append(again(world.receipts[-2]))
    report = audit(world.changes, world.receipts, restores=restores)
    if told:
        assert report.ok, str(report)
    else:
        assert [what for what in report.misled if "never told" in what], str(report)


# -- Redis


def test_each_cause_of_a_duplicate_is_counted_by_its_name(world: World) -> None:
    world.receipts += [replace(world.receipts[0], at=20.0), replace(world.receipts[6], at=21.0)]
    absences = [Absence(0.4, 0.7, TAIL), Absence(world.receipts[6].at, world.receipts[6].at)]
    report = audit(world.changes, world.receipts, absences=absences, window=0.1)
    assert [d.cause for d in report.duplicates] == [TAIL, DEATH]
    assert f"duplicates: {TAIL} 1, {DEATH} 1" in str(report)


def test_a_duplicate_that_the_bus_has_twice_is_explained_and_a_third_one_is_not(world: World) -> None:
    first = world.receipts[0]
    world.receipts += [replace(first, at=20.0), replace(first, at=21.0)]
    report = audit(world.changes, world.receipts, copies={first.id: 2})
    assert [d.cause for d in report.duplicates] == [TWICE, ""]


@pytest.mark.parametrize(
    ("epochs", "since", "cause"),
    [((1, 2), 0.0, UNSAVED), ((1, 1), 0.0, ""), ((1, 2), 30.0, ""), ((2, 1), 0.0, UNSAVED)],
)
def test_what_two_leaders_published_is_explained_by_the_end_of_one_before_it_came_again(
    world: World, epochs: tuple[int, int], since: float, cause: str
) -> None:
    first = world.receipts[0] = replace(world.receipts[0], epoch=epochs[0])
    world.receipts.append(replace(first, at=20.0, epoch=epochs[1]))
    report = audit(world.changes, world.receipts, absences=[Absence(since, since + 1.0, UNSAVED)])
    assert [d.cause for d in report.duplicates] == [cause]
    assert report.caused(UNSAVED) == (cause == UNSAVED)


@pytest.mark.parametrize("cause", [TAIL, UNSAVED])
@pytest.mark.parametrize(
    ("tail", "history", "excused"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_an_end_is_forgotten_only_if_both_a_tail_and_history_were_lost(
    world: World, tail: bool, history: bool, excused: bool, cause: str
) -> None:
    """An object was announced; its end, of which nobody knows any more, never came."""
    world.take("DELETE", "c")
    world.receipts = [replace(receipt, epoch=1) for receipt in world.receipts]
    absences = [Absence(3.4, 3.6, cause, epoch=1)] if tail else []
    report = audit(world.changes, world.receipts, [gap(103, 106)] if history else [], absences=absences)
    assert bool(report.forgotten) is excused
    assert bool(report.misled) is not excused


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_end_is_not_forgotten_that_the_next_leader_told_of(world: World, epoch: int) -> None:
    """What it announced, it has in its inventory."""
    world.take("DELETE", "c")
    world.receipts = [replace(receipt, epoch=epoch) for receipt in world.receipts]
    unsaved = Absence(3.4, 3.6, UNSAVED, epoch=1)
    report = audit(world.changes, world.receipts, [gap(103, 106)], absences=[unsaved])
    assert bool(report.misled) is (epoch == 2)


def test_an_end_is_not_forgotten_of_an_object_that_was_known_before_the_tail(world: World) -> None:
    """Its inventory is older than the tail, so its end has to be told."""
    world.write("UPDATE", "d", "c")
    world.write("DELETE", "d", "c")
    world.take("DELETE", "d")
    tail = Absence(8.4, 8.6, TAIL)  # of the UPDATE
    report = audit(world.changes, world.receipts, [gap(108, 110)], absences=[tail])
    assert not report.forgotten
    assert report.misled


@pytest.mark.parametrize("both", [True, False])
def test_an_end_is_forgotten_of_an_object_that_only_tails_told_of(world: World, both: bool) -> None:
    """It was announced, and after the first tail was lost once more, which was in the next."""
    world.write("ADD", "e")
    world.write("UPDATE", "e")
    world.write("DELETE", "e")
    world.take("DELETE", "e")
    added, updated = (receipt for receipt in world.receipts if receipt.uid == "e")
    tails = [Absence(added.at - 0.1, added.at + 0.1, TAIL)] if both else []
    tails += [Absence(updated.at - 0.1, updated.at + 0.1, TAIL)]
    report = audit(world.changes, world.receipts, [gap(added.version - 1, updated.version + 1)], absences=tails)
    assert bool(report.forgotten) is both
    assert bool(report.misled) is not both


@pytest.mark.parametrize("tail", [True, False])
def test_what_a_restore_undid_is_forgotten_with_the_tail_that_told_it(world: World, tail: bool) -> None:
    """Redis and etcd both come back as they were before the UPDATE, so its version is given out again unnoticed."""
    world.changes = [replace(change, tag=str(n)) for n, change in enumerate(world.changes)]
    world.receipts = [replace(receipt, tag=str(n)) for n, receipt in enumerate(world.receipts)]
    told = len(world.receipts)
    world.write("UPDATE", "a")
    world.write("UPDATE", "a")
    world.version -= 2
    world.write("UPDATE", "a")
    world.changes = [replace(change, tag=str(n)) for n, change in enumerate(world.changes)]
    for n in range(told, len(world.receipts)):
        world.receipts[n] = replace(world.receipts[n], tag=str(n))
    absences = [Absence(8.0, 10.0, TAIL)] if tail else []
    report = audit(world.changes, world.receipts, restores=[Restore(kept=8, at=10)], absences=absences)
    assert report.ok is tail, str(report)
    assert bool(report.forgotten) is tail


@pytest.mark.parametrize("tail", [True, False])
def test_an_end_that_a_restore_undid_is_forgotten_with_the_tail_that_told_it(world: World, tail: bool) -> None:
    """The object goes on from before its end, under versions that are given out again, and then ends again."""
    world.write("DELETE", "a")
    world.version -= 2
    world.write("UPDATE", "a")
    world.write("UPDATE", "a")
    world.write("DELETE", "a")
    absences = [Absence(8.0, 8.6, TAIL)] if tail else []
    report = audit(world.changes, world.receipts, restores=[Restore(kept=8, at=9)], absences=absences)
    assert report.ok is tail, str(report)
    assert bool(report.forgotten) is tail
