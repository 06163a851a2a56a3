"""Triggers that the manifests add, change and take away while the worker is at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from kubecdc.current import Current
from kubecdc.metrics import Kept
from kubecdc.storage.contracts import Publication
from kubecdc.storage.pauses import pause, resume
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.deliveries.delivery import SqliteDelivery
from kubecdc.workers import claim, pauses, worker
from kubecdc.workers.plan import Plan, plan_of, subscriptions
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.settings import Settings
from tests import metrics_page
from tests.exported import REGISTRY
from tests.workers.peer import serving
from tests.workers.support import event, into, sensor, until
from tests.workers.working import redelivery, settled, working

Lines = list[Mapping[str, object]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "CHECK_SECONDS", 0.05)


def log_line(name: str, **more: Any) -> dict[str, Any]:
    return {"template": {"name": name, "log": {}}, **more}


def http(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"template": {"name": name, "http": {"url": url, **more}}}


@asynccontextmanager
async def running(bus: SqliteBus, made: Sensor, lines: Lines) -> AsyncIterator[Current[Plan]]:
    """A worker, and its plan."""
    await bus.register(subscriptions([made]))
    async with working(bus, made, render=into(lines)) as plan:
        yield plan


async def become(bus: SqliteBus, plan: Current[Plan], made: Sensor) -> None:
    """As a process does it: registered first."""
    await bus.register(subscriptions([made]))
    plan.replace(plan_of([made]))


async def owed(bus: SqliteBus, name: str) -> object:
    return next(s.pending for s in await bus.subscriptions() if s.spec.name == name)


def triggers(lines: Lines) -> list[str]:
    return sorted(str(line["trigger"]) for line in lines)


async def test_a_trigger_is_added_and_removed_while_another_goes_on(bus: SqliteBus) -> None:
    lines: Lines = []
    async with running(bus, sensor(log_line("a")), lines) as plan:
        await bus.publisher.publish(Publication([event(0)]))
        await until(lambda: triggers(lines) == ["a"])
        await become(bus, plan, sensor(log_line("a"), log_line("b")))
        await bus.publisher.publish(Publication([event(1)]))
        await until(lambda: triggers(lines) == ["a", "a", "b"])
        await become(bus, plan, sensor(log_line("a")))
        await bus.publisher.publish(Publication([event(2)]))
        await until(lambda: triggers(lines) == ["a", "a", "a", "b"])
        assert await owed(bus, "s/b") == 1, "it is kept for it"
        await become(bus, plan, sensor(log_line("b")))
        await until(lambda: triggers(lines) == ["a", "a", "a", "b", "b"])


async def test_a_delivery_in_flight_ends_with_the_trigger_that_began_it(bus: SqliteBus) -> None:
    """And it is not repeated. What waits in line goes to the new version, in order."""
    asked: list[tuple[str, str]] = []
    held = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers["ce-sequence"].lstrip("0") or "0"))
        if request.path == "/old":
            await held.wait()
        return web.Response()

    async with serving(answer) as peer, running(bus, sensor(http("t", f"{peer.url}/old")), []) as plan:
        await bus.publisher.publish(Publication([event(0, key="k"), event(1, key="k")]))
        await until(lambda: asked == [("/old", "0")])
        await become(bus, plan, sensor(http("t", f"{peer.url}/new")))
        await bus.publisher.publish(Publication([event(2, key="k"), event(3, key="other")]))
        with pytest.raises(TimeoutError):  # the new one begins when the old one has ended
            async with asyncio.timeout(0.3):
                await until(lambda: len(asked) > 1)
        held.set()
        await settled(bus)
    assert asked[0] == ("/old", "0") and [number for path, number in asked if path == "/old"] == ["0"]
    assert [number for path, number in asked if path == "/new" and number != "3"] == ["1", "2"]
    assert await bus.dead_letters.page() == []


async def test_one_that_is_the_same_in_other_manifests_is_not_touched(bus: SqliteBus) -> None:
    asked: list[str] = []
    held = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        await held.wait()
        return web.Response()

    async with serving(answer) as peer:
        same = http("same", f"{peer.url}/same")
        async with running(bus, sensor(same, log_line("b")), []) as plan:
            await bus.publisher.publish(Publication([event(0)]))
            await until(lambda: asked == ["/same"])
            for n in range(5):
                await become(bus, plan, sensor(log_line(f"b{n}"), same))
                await asyncio.sleep(0.02)
            held.set()
            async with asyncio.timeout(60):
                while await owed(bus, "s/same"):  # noqa: ASYNC110 - no bus tells
                    await asyncio.sleep(0.01)
    assert asked == ["/same"]


async def test_a_stop_hurries_a_trigger_that_ends_because_it_was_changed(
    bus: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "PATIENCE", 600.0)
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(60), serving(answer) as peer:
        made = sensor(http("t", f"{peer.url}/old"))
        async with running(bus, made, []) as plan:
            await bus.publisher.publish(Publication([event(0)]))
            await until(lambda: asked == ["/old"])
            await become(bus, plan, sensor(http("t", f"{peer.url}/new")))
            await asyncio.sleep(0.05)
    assert await owed(bus, "s/t") == 1 and asked == ["/old"]


async def test_what_runs_too_long_when_its_trigger_is_changed_runs_again_under_the_new_version(
    bus: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "PATIENCE", 0.2)
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/old":
            await asyncio.Event().wait()
        return web.Response()

    async with serving(answer) as peer, running(bus, sensor(http("t", f"{peer.url}/old")), []) as plan:
        await bus.publisher.publish(Publication([event(0)]))
        await until(lambda: asked == ["/old"])
        await become(bus, plan, sensor(http("t", f"{peer.url}/new")))
        await settled(bus)
    assert asked == ["/old", "/new"]


async def test_a_success_that_the_bus_does_not_take_for_long_is_not_given_up_for_a_change(
    bus: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would run again: the claim has not lapsed."""
    monkeypatch.setattr(claim, "PATIENCE", 0.1)
    monkeypatch.setattr(Settings, "of", partial(_impatient, Settings.of))
    lines: Lines = []
    away, tried = asyncio.Event(), asyncio.Event()
    ack = SqliteDelivery.ack

    async def late(self: SqliteDelivery) -> None:
        tried.set()
        await away.wait()
        await ack(self)

    monkeypatch.setattr(SqliteDelivery, "ack", late)
    async with running(bus, sensor(log_line("t")), lines) as plan:
        await bus.publisher.publish(Publication([event(0)]))
        await tried.wait()
        await become(bus, plan, sensor(log_line("t", retryStrategy={"steps": 2})))
        await asyncio.sleep(0.5)  # longer than what runs, and what is settled at a stop, would have
        away.set()
        await settled(bus)
    assert len(lines) == 1


def _impatient(of: Any, *given: Any, **more: Any) -> Settings:
    made: Settings = of(*given, **more)
    return replace(made, grace=0.05, settle=0.05)


async def test_a_trigger_that_is_added_while_it_is_paused_in_the_bus_waits(bus: SqliteBus) -> None:
    lines: Lines = []
    async with running(bus, sensor(log_line("a")), lines) as plan:
        await bus.register(subscriptions([sensor(log_line("b"))]))
        await pause(bus, "s/b")
        await bus.publisher.publish(Publication([event(0)]))
        await until(lambda: triggers(lines) == ["a"])
        await asyncio.sleep(0.2)  # the workers look
        await become(bus, plan, sensor(log_line("a"), log_line("b")))
        await bus.publisher.publish(Publication([event(1)]))
        await until(lambda: triggers(lines) == ["a", "a"])
        assert "b" not in triggers(lines)
        await resume(bus, "s/b")
        await until(lambda: triggers(lines) == ["a", "a", "b", "b"])


async def test_what_is_counted_of_a_subscription_ends_when_no_trigger_has_it(bus: SqliteBus) -> None:
    """Whatever part counts it: these are all metrics of the product that have a subscription or a Sensor."""
    found = metrics_page.definitions().values()
    counted = [metric for metric in found if isinstance(metric, Kept) and "subscription" in metric.labels]
    assert {"kubecdc_gone_events", "kubecdc_stale_deliveries"} <= {metric.name for metric in counted}
    both = [{"name": name, "eventSourceName": "workflows", "eventName": "changed"} for name in ("dep", "other")]

    def made(*triggers: dict[str, Any]) -> Sensor:
        return sensor(*triggers, dependencies=both)

    def count(*subscriptions: str) -> list[object]:
        return [
            metric.at(*(name if label == "subscription" else "" for label in metric.labels))
            for metric in counted
            for name in subscriptions
        ]

    def exported(**labels: str) -> dict[str, float]:
        samples = [sample for family in REGISTRY.collect() for sample in family.samples]
        return {sample.name: sample.value for sample in samples if labels.items() <= sample.labels.items()}

    stays = log_line("stays")
    async with running(bus, made(log_line("goes"), stays), []) as plan:
        await until(lambda: "kubecdc_subscription_paused" in exported(subscription="s/goes/other"))
        before = count("s/goes/dep", "s/goes/other", "s/stays/dep")
        await become(bus, plan, made(log_line("goes", paused=True), stays))
        await until(lambda: exported(subscription="s/goes/other").get("kubecdc_subscription_paused") == 1)
        assert count("s/goes/dep", "s/goes/other", "s/stays/dep") == before, "a change resets nothing"
        await become(bus, plan, made({"template": {"name": "goes", "conditions": "other", "log": {}}}, stays))
        await until(lambda: not exported(subscription="s/goes/dep") and not exported(subscription="s/goes/other"))
        count("s/goes")
        await become(bus, plan, made(stays))
        await until(lambda: not exported(subscription="s/goes"))
        assert not exported(sensor="s", trigger="goes")
        assert count("s/stays/dep") == before[2::3]


async def test_a_worker_without_a_trigger_has_nothing_to_do(bus: SqliteBus) -> None:
    async with running(bus, sensor(log_line("a")), []) as plan:
        plan.replace({})
    async with asyncio.timeout(60):
        await worker.run(bus, Current({}), redelivery(), stop=asyncio.Event())


def test_a_trigger_is_another_one_if_what_it_does_differs() -> None:
    def planned(made: Sensor) -> object:
        return plan_of([made])["s/a"]

    first = planned(sensor(log_line("a")))
    assert planned(sensor(log_line("a"), log_line("b"))) == first
    for other in (
        sensor(log_line("a", paused=True)),
        sensor(log_line("a", retryStrategy={"steps": 2})),
        sensor(log_line("a"), loggingFields={"x": "y"}),
        sensor({"template": {"name": "a", "log": {"intervalSeconds": 5}}}),
        sensor(log_line("a"), dependencies=[{"name": "d", "eventSourceName": "workflows", "eventName": "other"}]),
    ):
        assert planned(other) != first
