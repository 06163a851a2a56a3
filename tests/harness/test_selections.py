"""The judgment of namespaces that come and go finds each kind of fault."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from kubecdc.storage.contracts import Gap
from kubecdc.storage.contracts.event import Action, event_id, partition_key
from tests.harness.history import Change, Restore
from tests.harness.ledger import UNSAVED, Absence, Receipt
from tests.harness.namespaces import Place
from tests.harness.selections import judge
from tests.harness.writer import Writer


class Scene:
    """One namespace, and what a consumer was told of it."""

    def __init__(self) -> None:
        self.place = Place("ns", there=True, periods=[[]], since=[0.0])
        self.writer = Writer(cast(Any, None), cast(Any, None))
        self.receipts: list[Receipt] = []
        self.gaps: list[Gap] = []
        self.version = 0
        self.uids: dict[str, str] = {}  # of names whose object is not the first

    def uid(self, name: str) -> str:
        return self.uids.get(name, f"uid-{name}")

    def change(self, action: Action, name: str = "a", *, told: bool = True, timeline: int = 0, tag: str = "") -> None:
        """A change in the namespace, and the event about it."""
        self.version += 1
        key = partition_key("workflows", "argoproj.io", "ns", name)
        body = {"metadata": {"name": name, "uid": self.uid(name), "resourceVersion": str(self.version)}}
        version = None if action == "DELETE" else self.version
        change = Change(
            action=action,
            uid=self.uid(name),
            version=version,
            partitionkey=key,
            started=0,
            finished=0,
            body=body,
            tag=tag,
        )
        self.place.periods[-1].append(change)
        self.writer.changes.append(change)
        self.writer._live.pop(("ns", name), None)
        if action != "DELETE":
            self.writer._live["ns", name] = body
        if told:
            self.tell(action, self.version, name, timeline=timeline, tag=tag)

    def tell(
        self,
        action: Action,
        version: int,
        name: str = "a",
        *,
        at: int = 0,
        timeline: int = 0,
        synthetic: bool = False,
        tag: str = "",
    ) -> None:
        """An event about the object in that version, ordered by ``at``."""
        id_ = event_id("changed", self.uid(name), str(version), action, timeline)
        self.receipts.append(
            Receipt(
                id=id_,
                key=id_,
                subject="changed",
                uid=self.uid(name),
                version=version,
                action=action,
                partitionkey=partition_key("workflows", "argoproj.io", "ns", name),
                sequence=at or version,
                synthetic=synthetic,
                at=float(len(self.receipts) + 1),
                tag=tag,
            )
        )

    def leave_and_return(self) -> None:
        self.place.periods += [[], []]
        self.place.since += [len(self.receipts) + 0.5] * 2

    def wrong(self, *absences: Absence) -> list[str]:
        return judge([self.place], self.writer, self.receipts, {"ns": self.gaps}, absences=absences).wrong


@pytest.fixture
def scene() -> Scene:
    """The namespace has left and come back, and all of it is as it should be."""
    scene = Scene()
    scene.change("ADD")
    scene.change("UPDATE")
    scene.tell("DELETE", 2, at=5, synthetic=True)
    scene.leave_and_return()
    scene.version = 5
    scene.change("UPDATE", told=False)  # before the list: collapsed
    scene.tell("ADD", 6, timeline=1)
    scene.change("UPDATE", timeline=1)
    return scene


def test_what_is_right_is_right(scene: Scene) -> None:
    assert scene.wrong() == []


def test_a_change_after_the_first_that_was_read_is_lost_unless_a_gap_covers_it(scene: Scene) -> None:
    scene.change("UPDATE", told=False)
    scene.change("UPDATE", timeline=1)
    (wrong,) = scene.wrong()
    assert wrong.startswith("lost: Change(action='UPDATE'")
    scene.gaps.append(Gap("history expired", "7", "9", "2026-01-01T00:00:00Z", 1))
    assert scene.wrong() == []


def test_what_an_old_watch_read_while_it_was_ended_says_nothing_about_the_next() -> None:
    scene = Scene()
    scene.change("ADD")
    scene.leave_and_return()
    scene.change("UPDATE")  # the namespace is selected again, but it is the watch from before that reads this
    scene.change("UPDATE", told=False)
    scene.tell("DELETE", 2, at=2, synthetic=True)
    scene.tell("ADD", 3, timeline=1)
    assert scene.wrong() == []


def test_an_id_that_comes_again_is_found(scene: Scene) -> None:
    again = [i for i, r in enumerate(scene.receipts) if r.action == "ADD"]
    id_ = scene.receipts[again[0]].id
    scene.receipts[again[1]] = dataclasses.replace(scene.receipts[again[1]], id=id_, key=id_)
    assert any("came again" in wrong for wrong in scene.wrong())


def test_so_it_is_unless_a_worker_died_with_it(scene: Scene) -> None:
    again = scene.receipts[1]
    scene.receipts.append(dataclasses.replace(again, at=7.0))
    assert scene.wrong() == [f"{again.id} came again, 5.000 s later"]
    assert scene.wrong(Absence(again.at, again.at)) == []


def test_what_was_refused_does_not_count_as_told(scene: Scene) -> None:
    scene.receipts[-1] = dataclasses.replace(scene.receipts[-1], accepted=False)
    assert any("is told to be" in wrong for wrong in scene.wrong())


def restored() -> Scene:
    """A change was made and told before the copy; another, which the restore undid, took the same version."""
    scene = Scene()
    scene.change("ADD")
    scene.change("UPDATE")
    scene.change("UPDATE", tag="kept")
    put_back = scene.place.aside()
    scene.change("UPDATE", tag="undone")
    put_back()
    scene.version = 3
    scene.place.since = [0.0, 4.5, 4.5]
    scene.tell("UPDATE", 3, timeline=1, synthetic=True, tag="kept")
    scene.change("UPDATE", timeline=1, tag="after")
    return scene


def test_what_a_restore_undid_need_not_come() -> None:
    scene = restored()
    assert scene.wrong() == []
    scene.receipts = [r for r in scene.receipts if r.tag != "undone"]
    assert scene.wrong() == []


def test_what_a_restore_undid_may_end_late_and_must_end() -> None:
    """The namesake that was made after the restore is told first; an audit finds the other gone."""
    scene = Scene()
    put_back = scene.place.aside()
    scene.change("ADD")
    put_back()
    scene.writer.restores.append(Restore(kept=0, at=1))
    scene.uids["a"] = "uid-successor"
    scene.change("ADD")
    assert scene.wrong() == ["the end of changed.uid-a.1.ADD was never told"]
    del scene.uids["a"]
    scene.tell("DELETE", 1, at=3, timeline=1, synthetic=True)
    assert scene.wrong() == []


def test_what_was_made_after_a_restore_is_not_excused_by_what_it_undid() -> None:
    scene = restored()
    scene.change("UPDATE", timeline=1, told=False, tag="lost")  # in a version that an undone change had too
    scene.change("UPDATE", timeline=1, tag="last")
    scene.tell("UPDATE", 5, tag="undone")
    scene.receipts.sort(key=lambda receipt: receipt.timeline)
    (wrong,) = scene.wrong()
    assert wrong.startswith("lost: Change(action='UPDATE'")


def test_a_sequence_that_falls_is_found(scene: Scene) -> None:
    scene.receipts[-1] = dataclasses.replace(scene.receipts[-1], sequence=1)
    assert any("goes back" in wrong for wrong in scene.wrong())


def test_an_end_that_was_never_told_is_found(scene: Scene) -> None:
    scene.change("DELETE", told=False)
    (wrong,) = scene.wrong()
    assert "is told to be" in wrong


def test_a_beginning_after_a_beginning_is_found(scene: Scene) -> None:
    scene.receipts = [r for r in scene.receipts if r.action != "DELETE"]
    assert any("is told to be there" in wrong for wrong in scene.wrong())


def test_a_last_version_that_is_not_told_is_found(scene: Scene) -> None:
    scene.receipts.pop()
    assert any("is told to be" in wrong for wrong in scene.wrong())


def test_an_end_that_only_an_unsaved_second_knew_of_is_forgotten_if_a_gap_covers_it(scene: Scene) -> None:
    before = scene.receipts[-1]
    scene.change("DELETE", told=False)
    scene.uids["a"] = "uid-of-the-next"
    scene.change("ADD", told=False)
    scene.tell("ADD", scene.version, timeline=1, synthetic=True)
    unsaved = Absence(before.at - 4.5, before.at, UNSAVED, epoch=before.epoch)  # it covers all of its events
    (wrong,) = scene.wrong(unsaved)
    assert wrong.endswith(f"comes while {before.id} is told to be there")
    scene.gaps.append(Gap("history expired", "0", "9", "2026-01-01T00:00:00Z", 1))
    assert scene.wrong(unsaved) == []
    assert scene.wrong() == [wrong], "nobody ended before it saved"


def test_so_it_is_of_a_namespace_that_was_left_before(scene: Scene) -> None:
    *_, end, begin, _ = scene.receipts
    before = scene.receipts[-1]
    scene.change("DELETE", told=False)
    scene.uids["a"] = "uid-of-the-next"
    scene.change("ADD", told=False)
    scene.tell("ADD", scene.version, timeline=1, synthetic=True)
    scene.gaps.append(Gap("history expired", "5", "9", "2026-01-01T00:00:00Z", 1))
    assert scene.wrong(Absence((end.at + begin.at) / 2, before.at, UNSAVED, epoch=before.epoch)) == []
    assert scene.wrong(Absence((begin.at + before.at) / 2, before.at, UNSAVED, epoch=before.epoch)) != []
