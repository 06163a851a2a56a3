"""Objects as large as an API server lets them be, and larger than the bus carries."""

from __future__ import annotations

from typing import Any

import msgspec

from kubecdc.storage.redis.bus import CAPABILITIES
from tests.apiserver import WORKFLOWS, path_of, workflow
from tests.cli.rig import Desk, Running

SIZE = 1_400_000  # bytes; etcd takes 1.5 MiB


def large(name: str, size: int) -> dict[str, Any]:
    """A Workflow that ran very many steps."""
    nodes: dict[str, Any] = {}
    while size > 0:
        node = step(name, len(nodes))
        nodes[node["id"]] = node
        size -= len(msgspec.json.encode(node)) + len(node["id"]) + 4
    return {**workflow(name, entrypoint="all"), "status": {"phase": "Running", "nodes": nodes}}


def step(name: str, number: int) -> dict[str, Any]:
    return {
        "id": f"{name}-{number:010}",
        "name": f"{name}.step({number})",
        "displayName": f"step({number}:é{number})",
        "type": "Pod",
        "templateName": "process",
        "phase": "Succeeded",
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:01:00Z",
        "message": "x" * 20_000,  # and few steps: managedFields name every field again
        "children": [f"{name}-{number + 1:010}"],
    }


async def lines(work: Running) -> dict[str, Any]:
    """What was delivered of two objects, by name, once both are: a large one takes longer than the one after it."""
    await work.until(r"\n.*\n", out=True)
    found = [msgspec.json.decode(line) for line in work.out.splitlines()]
    assert len(found) == 2
    return {line["data"]["body"]["metadata"]["name"]: line for line in found}


async def test_an_object_of_one_and_a_half_megabytes_arrives_whole(redis_desk: Desk) -> None:
    async with redis_desk.running("watch") as watch, redis_desk.running("work") as work:
        await watch.until('"leading"')
        made = await redis_desk.api.create(*WORKFLOWS, "default", large("large", SIZE))
        assert len(msgspec.json.encode(made)) >= SIZE
        await redis_desk.create("next")
        whole = (await lines(work))["large"]
    assert whole["data"]["body"] == made
    assert "truncated" not in whole["eventContext"]


async def test_an_object_above_what_redis_carries_goes_with_its_metadata_only(redis_desk: Desk) -> None:
    """No etcd takes it, but an aggregated API server may serve it."""
    simulator = redis_desk.api.simulator
    target = simulator.kinds.resolve(path_of(*WORKFLOWS, "default", "huge"))
    assert target
    body = large("huge", CAPABILITIES.max_event_bytes)
    body["metadata"]["namespace"] = "default"
    async with redis_desk.running("watch") as watch, redis_desk.running("work") as work:
        await watch.until('"leading"')
        simulator.routes.registry.put_as_is(target.kind, body)
        await redis_desk.create("next")
        line = (await lines(work))["huge"]
    assert line["eventContext"]["truncated"] is True
    body = line["data"]["body"]
    assert body.keys() == {"apiVersion", "metadata"}
    assert (body["metadata"]["name"], body["metadata"]["namespace"]) == ("huge", "default")
