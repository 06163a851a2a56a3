"""The account finds what it is there to find."""

from __future__ import annotations

from tests.harness.fleet import account
from tests.harness.receiver import Line

PUBLISHED = ["a.1", "b.1", "a.2", "b.2"]


def received(*ids: str, answer: int = 200) -> list[Line]:
    return [Line(at=0.0, peer="", method="POST", path="/", answer=answer, id=id_, partitionkey=id_[0]) for id_ in ids]


def test_all_in_order_per_object_is_good() -> None:
    report = account(PUBLISHED, received("b.1", "a.1", "b.2", "a.2"))
    assert (report.lost, report.invented, report.repeated, report.out_of_order) == ([], [], [], [])


def test_each_fault_is_named() -> None:
    lines = received("a.2", "a.1", "a.2", "c.1", "b.1") + received("b.2", answer=503)
    report = account(PUBLISHED, lines)
    assert report.lost == ["b.2"]
    assert report.invented == ["c.1"]
    assert report.repeated == ["a.2"]
    assert report.out_of_order == [("a.2", "a.1")]


def test_a_repeat_after_its_successor_is_no_disorder() -> None:
    report = account(PUBLISHED, received("a.1", "a.2", "a.1", "b.1", "b.2"))
    assert (report.repeated, report.out_of_order) == (["a.1"], [])
