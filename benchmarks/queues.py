"""Buses on brokers: how many events a second, and how many round trips of a slow network a commit takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import msgspec

from benchmarks.brokers import Broker, redis_server, redis_url
from benchmarks.stage import Stage

DELAY = 25.0  # milliseconds each way
TRIP = 2 * DELAY / 1000  # seconds
COMMIT = 100  # events whose round trips are counted


async def rates(broker: Broker, events: int) -> tuple[dict[str, float], dict[str, float]]:
    """Events a second by what is done with them, ours and the bare client's. The checkpoint is in a file."""
    async with broker.served() as (stage, port):
        store = {} if broker.holds_checkpoint else {"checkpoint": {"sqlite": {"path": str(stage.folder / "store.db")}}}
        stage.programs.environment = broker.environment(port)
        ours = await _ours(stage, "rates", {broker.name: broker.bus(port), **store}, events)
    async with broker.served() as (stage, port):
        stage.programs.environment = broker.environment(port)
        bare = await stage.printed(broker.name, "rates", events)
    return ours, bare


async def trips(broker: Broker) -> tuple[float, float]:
    """Round trips of a commit of 100 events, with its checkpoint in a Redis as far away; and of the bare messages."""
    async with broker.served() as (stage, server):
        port = await stage.network(server, delay=DELAY)
        stage.programs.environment = broker.environment(port)
        if broker.holds_checkpoint:
            ours = await _ours(stage, "trips", {broker.name: broker.bus(port)}, COMMIT)
        else:
            async with redis_server(stage) as store:
                url = redis_url(await stage.network(store, delay=DELAY))
                spec = {broker.name: broker.bus(port), "checkpoint": {"redis": {"url": url}}}
                ours = await _ours(stage, "trips", spec, COMMIT)
    async with broker.served() as (stage, server):
        stage.programs.environment = broker.environment(await stage.network(server, delay=DELAY))
        bare = await stage.printed(broker.name, "trips", COMMIT)
    return ours["seconds"] / TRIP, bare["seconds"] / TRIP


async def _ours(stage: Stage, mode: str, spec: Mapping[str, object], events: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks.bus", mode, msgspec.json.encode(spec).decode(), str(events)]
    return await stage.programs.start("bus", argv, piped=True).decoded()
