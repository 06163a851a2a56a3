"""A consumer in another language: the SQL of docs/consumers.md works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import apsw

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqlite.file.connection import rows
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, event, pending
from tests.storage.conftest import SqliteHarness

GUIDE = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text()
CLAIM, ACK, NACK = re.findall(r"```sql\n(.+?)```", GUIDE, re.DOTALL)
NAME = "billing"


class Consumer:
    """Knows the file and the three statements, nothing else."""

    def __init__(self, path: Path, holder: str) -> None:
        self.db = apsw.Connection(str(path))
        self.db.set_busy_timeout(5000)
        self.holder = holder

    def claim(self, now: float) -> list[tuple[dict[str, Any], str]]:
        bindings = {"token": f"{self.holder}-{now}", "holder": self.holder, "now": now, "name": NAME}
        return [
            ({"subscription": subscription, "seq": seq, "token": bindings["token"]}, str(body, "utf-8"))
            for subscription, seq, _, body in rows(self.db, CLAIM, bindings)
        ]

    def settle(self, sql: str, claim: dict[str, Any], now: float = 0.0) -> bool:
        rows(self.db, sql, claim | ({"now": now} if sql == NACK else {}))
        return self.db.changes() == 1


async def test_the_statements_of_the_readme_take_return_and_settle(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    await (await Leader.take(bus)).commit(event(1), event(2), event(3, "b"))
    one, two = Consumer(harness.path, "one"), Consumer(harness.path, "two")
    now = 2e9

    first, other = one.claim(now)
    assert {first[1], other[1]} == {event(1).encode().decode(), event(3, "b").encode().decode()}
    assert two.claim(now) == [], "the rest of the lane waits"
    assert one.settle(ACK, first[0])
    assert not one.settle(ACK, first[0])
    assert await pending(bus, NAME) == 2

    assert one.settle(NACK, other[0], now)
    ((claim, body),) = two.claim(now + 9)
    assert body == event(2).encode().decode()
    assert [body for _, body in one.claim(now + 10)] == [event(3, "b").encode().decode()]

    ((late, _),) = [taken for taken in one.claim(now + 39) if taken[0]["seq"] == claim["seq"]]
    assert not two.settle(ACK, claim), "its claim has lapsed"
    assert one.settle(ACK, late)
    for consumer in (one, two):
        consumer.db.close()
