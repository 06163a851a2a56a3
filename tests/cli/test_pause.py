"""Pausing a subscription by a command or in the manifest: nothing is delivered, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import yaml
from aiohttp import web

from tests.cli.rig import HTTP, Desk, Running
from tests.cli.test_outage import BUS, BUSES
from tests.workers.peer import serving

NAME = "post/send"
CHECK = 2.0  # seconds in which the workers look at the bus again


@dataclass
class Receiver:
    """Takes everything. ``hold``: answers only once it is set."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        name = request.headers["ce-partitionkey"].rpartition("/")[2]
        self.requests.append(name)
        await self.hold.wait()
        self.taken.append(name)
        return web.Response()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.taken) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.hold.set()
    async with serving(receiver.answer) as peer:
        receiver.url = peer.url
        yield receiver


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.long)])
def desk(request: pytest.FixtureRequest, desk: Desk, redis_url: str, receiver: Receiver) -> Desk:
    bus = BUS.format(bus=BUSES[request.param].format(url=redis_url))
    desk.write("sensor.yaml", f"{bus}---\n{HTTP.format(url=receiver.url)}")
    return desk


async def shown(desk: Desk) -> tuple[object, object]:
    """What `bus show` says of the pause and the backlog."""
    (row,) = await desk.rows("bus", "show")
    return row["paused"], row["pending"]


async def said(desk: Desk, *command: str) -> str:
    done = await desk.call("bus", *command)
    assert done.code == 0, done.err
    return done.out.strip()


async def captured(kubecdc: Running, desk: Desk, *names: str) -> None:
    """Create objects, and wait until their events are in the bus."""
    _, before = await shown(desk)
    for name in names:
        await desk.create(name)
    async with asyncio.timeout(20):
        while (await shown(desk))[1] != int(str(before)) + len(names):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.long
async def test_a_paused_subscription_is_not_delivered_until_it_is_resumed(desk: Desk, receiver: Receiver) -> None:
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
        await desk.create("a")
        await receiver.until(1)
        assert await said(desk, "pause", NAME) == f"{NAME} paused"
        await kubecdc.until('"paused"')
        await captured(kubecdc, desk, "b", "c")
        assert await shown(desk) == ("command", 2)
        assert await said(desk, "pause", NAME) == f"{NAME} paused", "once more"
    async with desk.running("run") as kubecdc:  # as after a restart of the machine
        await kubecdc.until('"paused"')
        await asyncio.sleep(CHECK)
        assert receiver.requests == ["a"]
        assert await said(desk, "resume", NAME) == f"{NAME} resumed"
        await kubecdc.until('"resumed"')
        await receiver.until(3)
        assert (await shown(desk))[0] == "no"
    assert sorted(receiver.taken) == ["a", "b", "c"]
    assert await desk.rows("dlq", "list") == []


@pytest.mark.long
async def test_what_is_in_work_when_it_is_paused_is_returned(desk: Desk, receiver: Receiver) -> None:
    receiver.hold.clear()
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
        await desk.create("a")
        async with asyncio.timeout(20):
            while not receiver.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await said(desk, "pause", NAME)
        await kubecdc.until('"paused"')
        await asyncio.sleep(3.5)  # that is what a run is given to end
        receiver.hold.set()
        assert await shown(desk) == ("command", 1)
        await said(desk, "resume", NAME)
        await receiver.until(1)
    assert receiver.taken == ["a"]
    assert await shown(desk) == ("no", 0)


async def test_a_trigger_that_a_manifest_pauses_keeps_its_events(desk: Desk, receiver: Receiver) -> None:
    path = desk.manifests / "sensor.yaml"
    bus, sensor = yaml.safe_load_all(path.read_text())
    sensor["spec"]["triggers"][0]["paused"] = True
    desk.write("sensor.yaml", yaml.safe_dump_all([bus, sensor]))
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"paused"')
        await kubecdc.until('"listed"')
        await captured(kubecdc, desk, "a", "b")
        assert await shown(desk) == ("manifest", 2)
        done = await desk.call("bus", "resume", NAME)
        assert (done.code, "paused: true" in done.err) == (0, True)
        await asyncio.sleep(CHECK)
        assert receiver.requests == []
    sensor["spec"]["triggers"][0]["paused"] = False
    desk.write("sensor.yaml", yaml.safe_dump_all([bus, sensor]))
    async with desk.running("run"):
        await receiver.until(2)
    assert sorted(receiver.taken) == ["a", "b"]


async def test_what_cannot_be_paused_is_said(desk: Desk) -> None:
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
    done = await desk.call("bus", "pause", "no/such")
    assert (done.code, "there is no subscription 'no/such'" in done.err) == (1, True)
    bus, sensor = yaml.safe_load_all((desk.manifests / "sensor.yaml").read_text())
    bus["spec"]["subscriptions"] = [{"name": "own", "eventSourceName": "workflows", "eventName": "changed"}]
    desk.write("sensor.yaml", yaml.safe_dump_all([bus, sensor]))
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"|"resumed"|leading')
        await asyncio.sleep(0.5)
    done = await desk.call("bus", "pause", "own")
    assert done.code == 2
    assert "a consumer of your own" in done.err


async def test_what_is_paused_is_pruned_only_by_its_name(desk: Desk, receiver: Receiver) -> None:
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
    await said(desk, "pause", NAME)
    manifest = (desk.manifests / "sensor.yaml").read_text()
    desk.write("sensor.yaml", manifest.split("---")[0])
    done = await desk.call("bus", "prune", "--yes")
    assert done.err.strip() == f"{NAME} is kept: it is paused; resume it, or prune it by name"
    assert await said(desk, "prune", NAME, "--yes") == f"{NAME} removed"
    desk.write("sensor.yaml", manifest)
    async with desk.running("run") as kubecdc:
        await kubecdc.until("leading")
        await desk.create("a")
        await receiver.until(1)
