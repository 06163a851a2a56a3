"""What is encrypted fits into a message: compressed if it has to be, and without its body if that is not enough."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from kubecdc.storage.contracts import Batch, Publication, Term
from kubecdc.storage.contracts.event import Event, truncated
from kubecdc.storage.encryption.keyring import KeyRing
from kubecdc.storage.encryption.publisher import SealingPublisher
from kubecdc.storage.testing.actors import KEY, event, step
from tests.storage.keys import NEW, KeyFolder

LIMIT = 20_000
TERM = Term(1, "one")


class Limited:
    """A queue that carries so many bytes, and says what it was given."""

    under_way = 1

    def __init__(self) -> None:
        self.given: list[Event] = []

    def fit(self, event: Event) -> Event:
        return event if len(event.encode()) <= LIMIT else truncated(event)

    async def publish(self, publication: Publication) -> None:
        self.given += publication.events

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return batch

    async def commit(self, batch: Batch, *, term: Term) -> None:
        self.given += batch.events


def made(size: int, *, noise: bool = False) -> Event:
    """An event whose data has that many bytes, which compress well or not."""
    text = random.Random(size).randbytes(size // 2).hex() if noise else "x" * size
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": text}
    data = {"type": "ADD", "body": body, "oldBody": None, "group": "", "version": "v1", "resource": "secrets"}
    return msgspec.structs.replace(event(1), data=msgspec.Raw(msgspec.json.encode(data)))


@pytest.fixture
async def ring(tmp_path: Path) -> KeyRing:
    ring = KeyFolder(tmp_path / "secrets").write(NEW).ring(NEW)
    await ring.refresh()
    return ring


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        (made(10_000), True),
        (made(16_000, noise=True), True),  # too large once it is encrypted, and compressed it is not
        (made(19_000), True),
        (made(500_000), True),
        (made(40_000, noise=True), False),
    ],
    ids=["small", "noise that was small enough", "small enough without encryption", "compressible", "noise"],
)
async def test_an_event_is_carried(given: Event, whole: bool, ring: KeyRing) -> None:
    inner = Limited()
    publisher = SealingPublisher(inner, ring)
    expected = given if whole else truncated(given)
    assert publisher.fit(given) == expected
    await publisher.publish(Publication([given]))
    batch = publisher.prepare(Batch(KEY, [given], step(0)), term=TERM)
    assert list(batch.events) == [expected], "so that it is counted"
    await publisher.commit(batch, term=TERM)
    await publisher.commit(Batch(KEY, [given], step(0)), term=TERM)
    assert len(inner.given) == 3
    for carried in inner.given:
        assert len(carried.encode()) <= LIMIT
        assert ring.open(carried) == expected
