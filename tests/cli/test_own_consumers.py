"""Consumers of one's own on Redis: the code of docs/consumers.md, as it stands there, beside kubecdc's processes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis.commits.publisher import partition
from kubecdc.storage.testing.actors import until
from tests.apiserver import WORKFLOWS
from tests.cli.rig import REDIS_BUS, Desk

pytestmark = pytest.mark.long

GUIDE = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text()
IN_PYTHON, PLAIN = re.findall(r"<!-- run by tests/cli/\w+\.py -->\n```python\n(.+?)```", GUIDE, re.DOTALL)
(DONE,) = re.findall(r"```lua\n(.+?)```", GUIDE, re.DOTALL)
PREFIX = "{kubecdc:default}"
BILLING = """\
  subscriptions: [{name: billing, eventSourceName: workflows, eventName: changed}]
"""


class Died(Exception):
    """The consumer, in the middle of an event."""


@pytest.fixture
def desk(redis_desk: Desk, redis_url: str) -> Desk:
    redis_desk.write("bus.yaml", REDIS_BUS.format(url=redis_url).replace("partitions: 4", "partitions: 64") + BILLING)
    return redis_desk


def defined(code: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"DONE": DONE}
    exec(code, names)
    consume: Callable[..., Any] = names["consume"]
    return consume


async def backlog(desk: Desk) -> dict[str, tuple[int, int]]:
    """What each subscription is owed, and its dead letters."""
    return {row["subscription"]: (row["pending"], row["dead"]) for row in await desk.rows("bus", "show")}


async def forgotten(desk: Desk, url: str, *, but: int) -> None:
    """Wait until the bus has forgotten all but so many events; a leader tidies when it begins."""
    bus = (desk.manifests / "bus.yaml").read_text()
    desk.write("bus.yaml", bus + "  retention: 1ms\n")
    async with desk.running("watch"), Redis.from_url(url) as redis, asyncio.timeout(60):
        while sum([await redis.xlen(f"{PREFIX}:events:1:{part}") for part in range(64)]) != but:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def consume(url: str, dies_at: int, **more: Any) -> list[tuple[str, str]]:
    """Run the plain consumer until it dies at its n-th event; type and object of what it has begun."""
    begun: list[tuple[str, str]] = []

    def handle(body: bytes) -> None:
        data = msgspec.json.decode(body)["data"]
        begun.append((data["type"], data["body"]["metadata"]["name"]))
        if len(begun) == dies_at:
            raise Died

    async with asyncio.timeout(60):
        with pytest.raises(Died):
            await asyncio.to_thread(defined(PLAIN), url, "billing", handle, **more)
    return begun


async def test_a_plain_consumer_counts_down_goes_on_where_it_died_and_lets_the_bus_forget(
    desk: Desk, redis_url: str
) -> None:
    names = ["a", "b", "c", "d"]
    async with desk.running("run") as kubecdc:
        for name in names:
            await desk.create(name)
        for name in names:
            await kubecdc.until(f'"type":"ADD".*"name":"{name}"', out=True)
        assert await backlog(desk) == {"billing": (4, 0), "print/line": (0, 0)}
        first = await consume(redis_url, 2)
        assert await backlog(desk) == {"billing": (3, 0), "print/line": (0, 0)}
        for name in names:
            await desk.api.patch(*WORKFLOWS, "default", name, {"metadata": {"labels": {"phase": "done"}}})
            await kubecdc.until(f'"type":"UPDATE".*"name":"{name}"', out=True)
        second = await consume(redis_url, 7)
        assert second[0] == first[1], "what it had in hand comes again, first"
        for name in names:
            assert [type_ for type_, of in first[:1] + second if of == name] == ["ADD", "UPDATE"]
        assert await consume(redis_url, 1) == second[-1:]
        assert await backlog(desk) == {"billing": (1, 0), "print/line": (0, 0)}
    again = await desk.call("replay", "--subscription", "billing", "--object", "default/a", "--yes")
    assert again.out == "2 events will be delivered to billing again\n", again.err
    copies = await consume(redis_url, 3)
    assert copies == [second[-1], ("ADD", "a"), ("UPDATE", "a")]
    assert await backlog(desk) == {"billing": (1, 0), "print/line": (0, 0)}
    await forgotten(desk, redis_url, but=1)


async def test_two_plain_consumers_share_the_streams(desk: Desk, redis_url: str) -> None:
    halves: list[list[str]] = [[], []]
    for name in (f"flow-{number}" for number in range(12)):
        halves[partition(f"workflows.argoproj.io/default/{name}", 64) % 2].append(name)
    async with desk.running("run") as kubecdc:
        for name in sorted(halves[0] + halves[1]):
            await desk.create(name)
            await kubecdc.until(f'"name":"{name}"', out=True)
        begun = await asyncio.gather(
            *(consume(redis_url, len(half), mine=lambda part, i=i: part % 2 == i) for i, half in enumerate(halves))
        )
    assert [sorted(name for _, name in some) for some in begun] == [sorted(half) for half in halves]
    assert (await backlog(desk))["billing"] == (2, 0), "the one that each had in hand"


async def test_in_python_attempts_delays_and_dead_letters_come_with_it(desk: Desk, redis_url: str) -> None:
    seen: set[str] = set()

    def handle(event: Event) -> None:
        name = event.partitionkey.rpartition("/")[2]
        seen.add(name)
        if name == "bad":
            raise ValueError("nobody can bill that")
        if name == "later":
            raise OSError("away")

    async def owes(pending: int, dead: int) -> bool:
        async with Redis.from_url(redis_url, decode_responses=True) as redis:
            number = await redis.hget(f"{PREFIX}:subscriptions", "billing")
            assert isinstance(number, str)
            owed = await redis.hget(f"{PREFIX}:subscription:{number}", "pending") or 0
            letters = await redis.xlen(f"{PREFIX}:letters")
        return len(seen) == 3 and (int(owed), letters) == (pending, dead)

    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        consuming = asyncio.create_task(defined(IN_PYTHON)(redis_url, handle))
        for name in ("good", "bad", "later"):
            await desk.create(name)
        await until(lambda: owes(1, 1))
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        (letter,) = await desk.rows("dlq", "list")
        assert letter["reason"] == "nobody can bill that"
        assert (await desk.call("dlq", "redrive", "--all")).out == "1 redriven\n"
        assert (await backlog(desk))["billing"] == (2, 0)
        await desk.create("after")  # the leader goes on
        await until(lambda: owes(3, 0))
        assert not watch.lines("no longer the leader")


async def test_what_a_consumer_of_another_name_had_read_is_forgotten_with_its_subscription(
    desk: Desk, redis_url: str
) -> None:
    async with desk.running("run") as kubecdc:
        for name in ("a", "b"):
            await desk.create(name)
            await kubecdc.until(f'"name":"{name}"', out=True)
    async with Redis.from_url(redis_url) as redis:
        number = (await redis.hget(f"{PREFIX}:subscriptions", "billing")).decode()  # type: ignore[union-attr]
        streams: dict[Any, Any] = {f"{PREFIX}:events:1:{part}": ">" for part in range(64)}
        assert len(await redis.xreadgroup(f"{number}:billing", "mine", streams)) == 2
    bus = (desk.manifests / "bus.yaml").read_text()
    desk.write("bus.yaml", bus.replace("subscriptions: [{", "subscriptions: []  # [{"))
    assert (await desk.call("bus", "prune", "--yes")).out == "billing removed\n"
    await forgotten(desk, redis_url, but=0)
