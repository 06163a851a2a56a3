"""The metrics of the workers: what they count, and that they end with what they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from kubecdc.current import Current
from kubecdc.storage.contracts import Publication
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.workers import worker
from kubecdc.workers.metrics import TriggerMetrics
from kubecdc.workers.outcome import Outcome, Retry, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.plan import plan_of, subscriptions
from kubecdc.workers.request import TriggerRequest
from tests.exported import REGISTRY
from tests.storage.redis_server import RedisServer
from tests.workers.support import FakeTrigger, event, into, log_trigger, route, sensor, settings, until

CAPTURED = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # when `event` says that it was


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    made = await open_bus(SqliteSettings(path=tmp_path / "bus.db"), holder="w")
    yield made
    await made.close()


def exported(**labels: str) -> dict[str, float]:
    """All series that have these labels, by name and the other labels."""
    return {
        " ".join((sample.name, *(value for name, value in sample.labels.items() if name not in labels))): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


async def test_the_series_of_a_trigger_end_with_its_worker(bus: SqliteBus) -> None:
    trigger, paused = log_trigger(), {"template": {"name": "other", "log": {}}, "paused": True}
    made = sensor(trigger, paused)
    made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": "ends"})})
    await bus.register(subscriptions([made]))
    await bus.publisher.publish(Publication([event(n, key=f"k{n}") for n in range(3)]))
    lines: list[Mapping[str, object]] = []
    stop = asyncio.Event()
    running = asyncio.create_task(
        worker.run(bus, Current(plan_of([made])), Redelivery(), stop=stop, render=into(lines))
    )
    await until(lambda: exported(sensor="ends", trigger="t").get("kubecdc_deliveries_total acked") == 3)
    has_its_key = {"kubecdc_subscription_key_missing": 0}
    await until(lambda: exported(subscription="ends/t") == {"kubecdc_subscription_paused": 0, **has_its_key})
    assert exported(subscription="ends/other") == {"kubecdc_subscription_paused": 1, **has_its_key}
    stop.set()
    await running
    assert exported(sensor="ends") == exported(subscription="ends/t") == exported(subscription="ends/other") == {}


async def test_a_run_that_repeats_another_is_a_retry_in_the_same_attempt_or_a_later_one(bus: SqliteBus) -> None:
    outcomes: list[Outcome] = [Retry("a"), Retry("b"), Retry("c"), Success()]

    async def behaviour(_: TriggerRequest[Any]) -> Outcome:
        return outcomes.pop(0)

    strategy = {"steps": 2, "duration": "1ms", "jitter": 0}
    of = route(FakeTrigger(behaviour), log_trigger(retryStrategy=strategy))
    of.metrics = TriggerMetrics("retries", "t")
    await bus.register(subscriptions([sensor(log_trigger())]))
    await bus.publisher.publish(Publication([event()]))
    stop = asyncio.Event()
    quick = settings(backoff=Redelivery.model_validate({"backoff": {"duration": "1ms"}}).backoff.schedule())
    running = asyncio.create_task(consume(bus.subscription("s/t", prefetch=1), of, quick, stop=stop))
    await until(lambda: exported(sensor="retries").get("kubecdc_deliveries_total t acked") == 1)
    found = exported(sensor="retries")
    assert found["kubecdc_trigger_retries_total t"] == 3
    assert found["kubecdc_deliveries_total t retried"] == 1
    stop.set()
    await running
    of.metrics.close()


async def test_partitions_are_exported_while_a_worker_holds_them(shared_redis: RedisServer) -> None:
    made = await open_redis(RedisSettings(shared_redis.url, name="partitions-held", partitions=4), holder="w")
    try:
        of = sensor(log_trigger())
        of = of.model_copy(update={"metadata": of.metadata.model_copy(update={"name": "held"})})
        await made.register(subscriptions([of]))
        deliveries = made.subscription("held/t", prefetch=1).deliveries()
        waiting = asyncio.ensure_future(anext(deliveries))
        await until(lambda: exported(subscription="held/t") == {"kubecdc_partitions_held": 4})
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await cast(Any, deliveries).aclose()
        assert exported(subscription="held/t") == {}
    finally:
        await made.close()


def aged(**given: Any) -> Event:
    return msgspec.structs.replace(event(), **given)


def test_change_to_ack_is_measured_for_events_that_come_for_the_first_time() -> None:
    metrics = TriggerMetrics("latency", "t")
    for event_, now in (
        (aged(), CAPTURED + 0.2),
        (aged(), CAPTURED + 40),
        (aged(), CAPTURED - 5),  # our clock is behind
        (aged(time="2026-01-01T00:00:10Z"), CAPTURED + 12),
        (aged(redelivery="replay"), CAPTURED + 1e6),
        (aged(time="yesterday"), CAPTURED),
    ):
        metrics.acked(event_, now)
    found = exported(sensor="latency")
    assert found["kubecdc_change_to_ack_seconds_count t"] == 4
    assert found["kubecdc_change_to_ack_seconds_sum t"] == pytest.approx(42.2)
    assert found["kubecdc_change_to_ack_seconds_bucket t 0.1"] == 1
    assert found["kubecdc_change_to_ack_seconds_bucket t 2.5"] == 3
    metrics.close()
    assert exported(sensor="latency") == {}
