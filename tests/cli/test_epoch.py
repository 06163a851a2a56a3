"""The epoch only grows, even if the Lease and the bus both come back older, and a former leader is refused."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Bus, Term, least_term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.watcher.election.lease import EPOCH
from tests.apiserver import LEASES, WORKFLOWS
from tests.cli.rig import REDIS_BUS, Desk
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer

KEY = "workflows/changed"
CONFIG_MAPS = ("", "v1", "configmaps")
ELECTION = ["--lease-duration", "3s", "--renew-deadline", "2s", "--retry-period", "200ms"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One of its own, to be put back."""
    redis_server.require()
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def put_back(server: RedisServer, copy: Path) -> None:
    """Start it on the copy."""
    server.kill()
    shutil.rmtree(server.folder)
    shutil.copytree(copy, server.folder)
    server.start()


async def lead_once(desk: Desk, url: str, name: str, *options: str) -> int:
    """Have a watcher capture a change; the epoch it did that under."""
    await desk.create(name)
    async with desk.running("run", *ELECTION, *options) as kubecdc:
        await kubecdc.until(f'"name":"{name}"', out=True)
    return await epoch(url)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Bus]:
    bus = await open_bus(RedisSettings(url, partitions=4), holder="an old leader")
    try:
        yield bus
    finally:
        await bus.close()


async def epoch(url: str) -> int:
    async with opened(url) as bus:
        found = await bus.checkpoints.checkpoint(KEY)
    assert found
    return found.term


async def annotation(desk: Desk) -> int:
    return int((await desk.api.get(*LEASES, "default", "kubecdc"))["metadata"]["annotations"][EPOCH])


async def fenced(url: str, term: int) -> None:
    """Whoever held the term, and wakes up now, is refused."""
    async with opened(url) as bus:
        with pytest.raises(LeadershipLost):
            await bus.checkpoints.acquire(KEY, Term(term, "an old leader"))


async def past(term: int) -> None:
    """Wait until the term began a second ago: a restore takes longer."""
    while least_term() <= term:  # noqa: ASYNC110 - the condition is the clock's
        await asyncio.sleep(0.05)


async def test_it_grows_though_the_lease_was_deleted(redis_desk: Desk, redis_url: str) -> None:
    first = await lead_once(redis_desk, redis_url, "a")
    await redis_desk.api.delete(*LEASES, "default", "kubecdc")
    second = await lead_once(redis_desk, redis_url, "b")
    assert (first < second, await annotation(redis_desk)) == (True, second)
    await fenced(redis_url, first)


async def test_it_grows_though_etcd_was_put_back_and_the_lease_is_older(redis_desk: Desk, redis_url: str) -> None:
    first = await lead_once(redis_desk, redis_url, "a")
    old = await redis_desk.api.get(*LEASES, "default", "kubecdc")
    second = await lead_once(redis_desk, redis_url, "b")
    patch = {"metadata": {"annotations": old["metadata"]["annotations"]}, "spec": old["spec"]}
    await redis_desk.api.patch(*LEASES, "default", "kubecdc", patch)
    assert await annotation(redis_desk) == first
    third = await lead_once(redis_desk, redis_url, "c")
    assert (first < second < third, await annotation(redis_desk)) == (True, third)
    await fenced(redis_url, second)


async def test_it_grows_though_redis_came_back_older(desk: Desk, server: RedisServer, tmp_path: Path) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url=server.url))
    first = await lead_once(desk, server.url, "a")
    server.kill()
    shutil.copytree(server.folder, tmp_path / "copy")
    server.start()
    second = await lead_once(desk, server.url, "b")
    put_back(server, tmp_path / "copy")
    assert await epoch(server.url) == first
    await desk.create("c")
    async with desk.running("run", *ELECTION) as kubecdc:
        await kubecdc.until('"name":"b"', out=True)  # again: the bus does not know of it any more
        await kubecdc.until('"name":"c"', out=True)
        third = await epoch(server.url)
        assert (first < second < third, await annotation(desk)) == (True, third)
        await fenced(server.url, second)
        # And under a leader at work: it finds its lead gone, stands by, and goes on under a greater one.
        put_back(server, tmp_path / "copy")
        await desk.create("d")
        await kubecdc.until('(?s)no longer the leader, standing by.*"leading"')
        await desk.create("e")
        await kubecdc.until('"name":"d"', out=True)
        await kubecdc.until('"name":"e"', out=True)
        fourth = await epoch(server.url)
        assert (third < fourth, await annotation(desk)) == (True, fourth)
        assert kubecdc.out.count('"name":"a"') == 0
    await fenced(server.url, third)


async def test_it_grows_though_redis_lost_all_and_there_is_no_lease(
    desk: Desk, server: RedisServer, tmp_path: Path
) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url=server.url))
    first = await lead_once(desk, server.url, "a", "--no-leader-election")
    second = await lead_once(desk, server.url, "b", "--no-leader-election")
    (tmp_path / "nothing").mkdir()
    put_back(server, tmp_path / "nothing")
    await past(second)
    assert first < second < await lead_once(desk, server.url, "c", "--no-leader-election")


async def test_it_grows_though_a_file_is_a_new_one(desk: Desk) -> None:
    await desk.create("a")
    terms = []
    for _ in range(2):
        async with desk.running("run") as kubecdc:
            await kubecdc.until('"name":"a"', out=True)
        (row,) = await desk.rows("checkpoint", "show")
        terms.append(int(row["epoch"]))
        for file in desk.folder.glob("*.db*"):
            file.unlink()
        await past(terms[-1])
    assert terms[0] < terms[1]


async def test_it_grows_though_etcd_was_put_back_and_the_lease_and_the_checkpoint_are_older(laptop: Desk) -> None:
    """And workers that have run the events of the lost terms run what comes after them."""
    kept = {"kubecdc": LEASES, "kubecdc-checkpoint": CONFIG_MAPS}
    await laptop.create("a")

    async def change(number: int) -> None:
        await laptop.api.patch(*WORKFLOWS, "default", "a", {"metadata": {"labels": {"change": f"n-{number}"}}})
        await work.until(f'"change":"n-{number}"', out=True)

    async with laptop.running("work") as work:
        async with laptop.running("watch") as watch:
            await watch.until('"listed"')
            await work.until('"name":"a"', out=True)
        first = await annotation(laptop)
        copy = {name: await laptop.api.get(*kind, "default", name) for name, kind in kept.items()}
        async with laptop.running("watch"):
            for number in range(1, 8):
                await change(number)
        second = await annotation(laptop)
        for name, kind in kept.items():
            found = await laptop.api.get(*kind, "default", name)
            copy[name]["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            await laptop.api.update(*kind, "default", copy[name])
        assert await annotation(laptop) == first < second
        await past(second)
        async with laptop.running("watch"):
            await change(8)
        assert await annotation(laptop) > second
