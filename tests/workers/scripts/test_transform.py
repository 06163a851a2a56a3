"""The transform of a dependency: what filters, parameters and triggers see, and what a failure becomes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route, build
from kubecdc.workers.scripts import process
from kubecdc.workers.scripts.runner import Scripts
from kubecdc.workers.sensor.transform import Transform
from kubecdc.workers.triggers.contract import Context
from tests.workers.peer import saying, serving
from tests.workers.scripts.support import consuming
from tests.workers.support import MemorySubscription, event, http_trigger, sensor, settings, until

JQ = {"jq": ".body.n += 1 | {kind: .type, n: .body.n, odd: [null, 1.50]}"}


async def test_filters_and_the_trigger_see_the_new_data_and_the_same_context() -> None:
    passes = {"data": [{"path": "kind", "type": "string", "value": ["^ADD$"]}]}
    left_out = {"data": [{"path": "type", "type": "string", "value": ["^ADD$"]}]}
    async with Scripts() as scripts:
        async with consuming(scripts, JQ, filters=passes) as consumer:
            (delivery,) = await consumer.subscription.settled(event())
            (request,) = consumer.trigger.requests
        async with consuming(scripts, JQ, filters=left_out) as consumer:
            (out,) = await consumer.subscription.settled(event())
            assert (out.calls, consumer.data) == (["ack"], [])
    assert delivery.calls == ["start", "ack"]
    assert bytes(request.event.data) == b'{"kind":"ADD","n":101,"odd":[null,1.50]}'
    assert request.values.data == {"kind": "ADD", "n": 101, "odd": [None, 1.5]}
    assert request.event == msgspec.structs.replace(event(), data=request.event.data)
    assert request.idempotency_key == f"workflows/{event().id}/s/t"


async def test_parameters_and_the_body_of_a_request_are_of_the_new_data() -> None:
    def taken(dest: str, **src: Any) -> dict[str, Any]:
        return {"src": {"dependencyName": "dep", **src}, "dest": dest}

    payload = [taken("n", dataKey="n"), taken("raw", dataKey="odd", useRawData=True), taken("id", contextKey="id")]
    async with Scripts() as scripts, serving(saying(200)) as peer:
        for http in ({}, {"payload": payload}):
            manifest = http_trigger(peer.url, http)
            dependency = {"name": "dep", "eventSourceName": "workflows", "eventName": "changed", "transform": JQ}
            made = sensor(manifest, dependencies=[dependency])
            (trigger,) = made.spec.triggers
            route = Route(made, trigger, build(trigger, Context("s", 4)))
            subscription, stop = MemorySubscription(), asyncio.Event()
            task = asyncio.create_task(consume(subscription, route, settings(scripts=scripts), stop=stop))
            async with asyncio.timeout(60):
                await subscription.give(event()).settled.wait()
            stop.set()
            await task
            await route.trigger.close()
    as_it_is, built = (request.body for request in peer.received)
    assert as_it_is == b'{"kind":"ADD","n":101,"odd":[null,1.50]}'
    assert msgspec.json.decode(built) == {"n": "101", "raw": [None, 1.5], "id": event().id}


async def test_one_that_fails_makes_a_dead_letter_without_an_attempt() -> None:
    async with Scripts() as scripts, consuming(scripts, {"script": "return event.body.missing.name"}) as consumer:
        (delivery,) = await consumer.subscription.settled(event())
    assert (delivery.calls, consumer.data) == (["dead_letter"], [])
    assert delivery.reason == "transform.script: script:1: attempt to index field 'missing' (a nil value)"


@pytest.mark.parametrize("none", [{}, {"jq": ""}, {"script": ""}])
async def test_an_empty_transform_is_none_and_starts_nothing(none: dict[str, str]) -> None:
    async with Scripts() as scripts, consuming(scripts, none) as consumer:
        await consumer.subscription.settled(event())
        assert scripts.pids == []
    assert bytes(consumer.trigger.requests[0].event.data) == bytes(event().data)


async def test_a_stop_while_it_runs_returns_the_event_and_is_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 60.0)
    async with Scripts() as scripts:
        async with consuming(scripts, {"jq": "last(range(1e12))"}) as consumer:
            delivery = consumer.subscription.give(event())
            await until(lambda: bool(scripts.pids))
        assert (delivery.calls, delivery.delay) == (["nack"], 0.0)
        assert scripts.pids == []


def test_the_program_is_known_by_its_field() -> None:
    given = Transform.model_validate({"script": "return event"}).program
    assert given
    assert (given.kind, given.text) == ("lua", "return event")
    assert Transform().program is None
