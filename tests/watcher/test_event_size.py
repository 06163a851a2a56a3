"""The size limit of a bus applies to the whole event, with all its attributes."""

from __future__ import annotations

import pytest

from kubecdc.cluster.changes import Change
from kubecdc.cluster.objects import Meta
from kubecdc.storage.contracts import Inventoried
from kubecdc.storage.contracts.event import Event
from kubecdc.watcher.capture.entry import Entry, Origin, Removal
from tests.watcher.rig import event_source

NAME = "n" * 253
ORIGIN = Origin(epoch=7, timeline=3, time="2026-01-01T00:00:00.000000Z", synthetic=True)


def entry(limit: int) -> Entry:
    manifest = event_source(metadata={"team": "t" * 300}).spec.resource["changed"]
    return Entry("workflows", "changed", manifest, namespace="", key="workflows/changed", max_event_bytes=limit)


def body(size: int) -> bytes:
    head, tail = b'{"metadata":{"name":"' + NAME.encode() + b'"},"x":"', b'"}'
    return head + b"y" * (size - len(head) - len(tail)) + tail


def update(limit: int, size: int, old: int = 0) -> Event:
    change = Change("MODIFIED", Meta(NAME, "ns", "uid", "12"), body(size))
    return entry(limit).event("UPDATE", change, ORIGIN, old=body(old) if old else None)


def deletion(limit: int, size: int) -> Event:
    removal = Removal("uid", Inventoried("12", "ns", NAME, True), body(size), deselected=True)
    made = entry(limit)
    return made.deletion(removal, ORIGIN, made.selection(""), "Workflow", at="99")


LIMIT = 100_000
AROUND = range(LIMIT - 2_500, LIMIT + 500, 10)


@pytest.mark.parametrize("make", [update, lambda limit, size: update(limit, size - 2_000, 2_000), deletion])
def test_an_event_is_truncated_as_soon_as_it_would_be_too_large_and_no_sooner(make: object) -> None:
    assert callable(make)
    whole = [event for size in AROUND if not (event := make(LIMIT, size)).truncated]
    assert 0 < len(whole) < len(AROUND)
    assert LIMIT - 10 < max(len(event.encode()) for event in whole) <= LIMIT
    assert all(len(make(LIMIT, size).encode()) <= LIMIT for size in AROUND)


def test_the_body_before_is_left_out_first() -> None:
    event = update(LIMIT, LIMIT // 2, LIMIT // 2)
    assert event.truncated
    assert bytes(event.data).endswith(b'"metadata":{"team":"' + b"t" * 300 + b'"}}')
    assert b'"oldBody":null' in bytes(event.data)
    assert body(LIMIT // 2) in bytes(event.data)
