"""Buses on brokers: how many events a second, and how many round trips of a slow network a commit takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import msgspec

from benchmarks.brokers import Broker, redis_server, redis_url
from benchmarks.stage import Stage

DELAY = 25.0  # milliseconds each way
TRIP = 2 * DELAY / 1000  # seconds
COMMIT = 100  # events whose round trips are counted


async def rates(broker: Broker, most: int) -> tuple[dict[str, float], dict[str, float]]:
    """Events a second by what is done with them, ours and the bare client's. The checkpoint is in a file.

    ``most`` is how many events there may be.
    """
    events = min(broker.events, most)
    async with broker.served() as (stage, port):
        store = {} if broker.holds_checkpoint else {"checkpoint": {"sqlite": {"path": str(stage.folder / "store.db")}}}
        stage.programs.environment = broker.environment(port)
        ours = await _ours(stage, "rates", {broker.name: broker.bus(port), **store}, events)
    async with broker.served() as (stage, port):
        stage.programs.environment = broker.environment(port)
        bare = await stage.printed(broker.name, "rates", events)
    return ours, bare


@dataclass(frozen=True)
class Commit:
    """How long a commit takes, in seconds: over a slow network, and over one without delay."""

    slow: float
    fast: float

    @property
    def milliseconds(self) -> float:
        return self.slow * 1000

    @property
    def trips(self) -> float:
        """How many round trips of the slow network it waits for. The work of client and server does not count."""
        return (self.slow - self.fast) / TRIP


async def commits(broker: Broker) -> tuple[Commit, Commit]:
    """A commit of 100 events of 100 objects, with its checkpoint in a Redis as far away; and the messages alone.

    Raises RuntimeError if events did not arrive, or not in order.
    """
    ours = Commit(*[await _committed(broker, delay) for delay in (DELAY, 0.0)])
    bare = Commit(*[await _sent(broker, delay) for delay in (DELAY, 0.0)])
    return ours, bare


async def _committed(broker: Broker, delay: float) -> float:
    async with broker.served() as (stage, server), AsyncExitStack() as stack:
        port = await stage.network(server, delay=delay)
        stage.programs.environment = broker.environment(port)
        spec: dict[str, object] = {broker.name: broker.bus(port)}
        if not broker.holds_checkpoint:
            store = await stage.network(await stack.enter_async_context(redis_server(stage)), delay=delay)
            spec["checkpoint"] = {"redis": {"url": redis_url(store)}}
        return (await _ours(stage, "commits", spec, COMMIT))["seconds"]


async def _sent(broker: Broker, delay: float) -> float:
    async with broker.served() as (stage, server):
        stage.programs.environment = broker.environment(await stage.network(server, delay=delay))
        return (await stage.printed(broker.name, "commits", COMMIT))["seconds"]


async def _ours(stage: Stage, mode: str, spec: Mapping[str, object], events: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks.bus", mode, msgspec.json.encode(spec).decode(), str(events)]
    return await stage.programs.start("bus", argv, piped=True).decoded()
