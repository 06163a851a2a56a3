"""The backlog of each subscription, as a metric."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import REGISTRY

from kubecdc.cli import backlog
from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from tests.workers.support import event, until


def pending() -> float | None:
    return REGISTRY.get_sample_value("kubecdc_pending_events", {"subscription": "old/t"})


async def test_the_backlog_of_a_subscription_that_was_pruned_is_no_metric_any_more(tmp_path: Path) -> None:
    bus = await open_bus(SqliteSettings(path=tmp_path / "bus.db"), holder="w")
    await bus.register([SubscriptionSpec("old/t", "workflows", "changed")])
    await bus.publisher.publish(Publication([event(n, key=f"k{n}") for n in range(5)]))
    watch = asyncio.create_task(backlog.watch(bus, {"old/t"}, 1000, period=0.01))
    await until(lambda: pending() == 5)
    await bus.prune("old/t")
    await until(lambda: pending() is None)
    watch.cancel()
    await bus.close()
