"""A receiver that is away, as a user sees it: probes, two log lines, no dead letter."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, web

from tests.apiserver import WORKFLOWS
from tests.cli.rig import HTTP, Desk, Running
from tests.ports import free_port
from tests.workers.peer import serving

OBJECTS = 40
BUSES = {"sqlite": "sqlite: {{path: ./kubecdc.db}}", "redis": 'redis: {{url: "{url}", partitions: 4}}'}
BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec:
  {bus}
  redelivery: {{ackWait: 1s, maxDeliveries: 2, backoff: {{duration: 100ms, cap: 500ms}}}}
"""


@dataclass
class Receiver:
    """Answers with the status, or 503 for the object that is poison. ``taken``: the versions of each object."""

    status: int = 503
    poison: str = ""
    requests: int = 0
    taken: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        name = request.headers["ce-partitionkey"].rpartition("/")[2]
        status = 503 if name == self.poison else self.status
        if status == 200:
            self.taken[name].append(int(request.headers["ce-sequence"]))
        return web.Response(status=status)

    async def until(self, objects: int, versions: int) -> None:
        async with asyncio.timeout(60):
            while sum(len(taken) == versions for taken in self.taken.values()) < objects:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def gauge(port: int) -> float:
    async with ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        (value,) = re.findall(r"^kubecdc_trigger_breaker_open\{.*\} (\S+)$", await answer.text(), re.MULTILINE)
    return float(value)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.long)])
def bus(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The field of the EventBus."""
    return BUSES[request.param].format(url=redis_url)


@pytest.mark.long
async def test_an_outage_costs_probes_and_a_poison_becomes_a_dead_letter_alone(desk: Desk, bus: str) -> None:
    receiver, port = Receiver(poison="w-7"), free_port()
    async with serving(receiver.answer) as peer:
        desk.write("bus.yaml", BUS.format(bus=bus))
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("run", "--concurrency", "8", "--metrics-bind-address", f"127.0.0.1:{port}") as kubecdc:
            await kubecdc.until('"listed"')
            for number in range(OBJECTS):
                await desk.create(f"w-{number}")
                await desk.api.patch(*WORKFLOWS, "default", f"w-{number}", {"status": {"phase": "Running"}})
            await kubecdc.until('"the trigger fails for all objects')
            begun = receiver.requests
            await asyncio.sleep(3.5)  # more than three times ackWait: what waits keeps its claim
            assert receiver.requests - begun <= 8 + 3.5 / 0.4 + 2
            assert await gauge(port) == 1
            assert await desk.rows("dlq", "list") == []

            receiver.status = 200
            await receiver.until(OBJECTS - 1, versions=2)
            await kubecdc.until('"the trigger works again"')
            letters = await until_given_up(desk, receiver)
            assert await gauge(port) == 0
    assert {str(letter["object"]).rpartition("/")[2] for letter in letters} == {"w-7"}
    assert all(taken == sorted(set(taken)) for taken in receiver.taken.values())
    check(kubecdc)


async def until_given_up(desk: Desk, receiver: Receiver) -> list[dict[str, object]]:
    """Go on with other objects until there is a dead letter: without them, the poison might be an outage."""
    for number in range(OBJECTS, OBJECTS + 200):
        await desk.create(f"w-{number}")
        async with asyncio.timeout(60):
            while f"w-{number}" not in receiver.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if letters := await desk.rows("dlq", "list"):
            return letters
    raise AssertionError("the poison was not given up")


def check(kubecdc: Running) -> None:
    (opened,) = kubecdc.lines("the trigger fails for all objects")
    (closed,) = kubecdc.lines("the trigger works again")
    assert (opened["sensor"], opened["trigger"]) == ("post", "send")
    assert "503" in str(opened["reason"])
    assert isinstance(closed["waited"], int)
    assert closed["waited"] >= 7
    assert not kubecdc.lines("claim")
