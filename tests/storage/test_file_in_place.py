"""A bus stops when its file is removed: nothing is reported as durable that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.errors import Refused
from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, events


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_was_removed_or_replaced_takes_nothing_more(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "bus.db"
    bus = await open_bus(SqliteSettings(path), holder="test")
    await bus.register([SubscriptionSpec("test/all", SOURCE, SUBJECT)])
    await bus.publisher.publish(Publication(events([1])))
    path.rename(tmp_path / "away.db")
    if replaced:
        await (await open_bus(SqliteSettings(path), holder="other")).close()
    for _ in range(2):
        with pytest.raises(Refused, match="removed or replaced"):
            await bus.publisher.publish(Publication(events([1])))
    await bus.close()
