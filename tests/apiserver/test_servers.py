"""Every API server to test on keeps the same promises, whichever it is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.apiserver import (
    NAMESPACES,
    WORKFLOWS,
    ApiServer,
    RequestFailed,
    path_of,
    workflow,
)


async def first_line(server: ApiServer, query: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and the first line of a watch on workflows."""
    url = f"{server.url}{path_of(*WORKFLOWS)}?watch=true&{query}"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=server.ssl or True) as response:
        line: dict[str, Any] = json.loads(await asyncio.wait_for(response.content.readline(), 10))
        return response.status, line


async def watch_when_ready(server: ApiServer, version: str) -> dict[str, Any]:
    """The first line of a watch once the server has stopped to answer 429."""
    while True:
        status, line = await first_line(server, f"resourceVersion={version}")
        if status != 429:
            return line
        assert line["message"] == "storage is (re)initializing"
        await asyncio.sleep(0.05)


async def test_objects_and_cluster_survive_a_restart_and_older_watches_are_410(server: ApiServer) -> None:
    cluster = (await server.get(*NAMESPACES, "", "kube-system"))["metadata"]["uid"]
    start = (await server.list(*WORKFLOWS))["metadata"]["resourceVersion"]
    made = await server.create(*WORKFLOWS, "default", workflow("one", n=1))
    last = (await server.create(*WORKFLOWS, "default", workflow("two", n=1)))["metadata"]["resourceVersion"]
    await server.restart()
    since = (await server.list(*WORKFLOWS))["metadata"]["resourceVersion"]
    assert (await server.get(*WORKFLOWS, "default", "one"))["metadata"]["uid"] == made["metadata"]["uid"]
    assert (await server.get(*NAMESPACES, "", "kube-system"))["metadata"]["uid"] == cluster
    for older in (start, last):  # the last too, though no workflow has changed since: the server itself has written
        line = await watch_when_ready(server, older)
        assert (line["type"], line["object"]["code"], line["object"]["reason"]) == ("ERROR", 410, "Expired")
    after = await server.create(*WORKFLOWS, "default", workflow("three", n=1))
    line = await watch_when_ready(server, since)
    assert line["object"]["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_expired_history_makes_older_watches_410_and_page_tokens_expire(server: ApiServer) -> None:
    for name in ("one", "two", "three"):
        await server.create(*WORKFLOWS, "default", workflow(name, n=1))
    page = await server.list(*WORKFLOWS, limit=1)
    await server.create(*WORKFLOWS, "default", workflow("four", n=1))
    await server.create(*WORKFLOWS, "default", workflow("five", n=1))
    await server.expire_history()
    line = await watch_when_ready(server, page["metadata"]["resourceVersion"])
    assert line["object"]["code"] == 410
    with pytest.raises(RequestFailed) as expired:
        await server.list(*WORKFLOWS, limit=1, **{"continue": page["metadata"]["continue"]})
    assert (expired.value.code, expired.value.status["reason"]) == (410, "Expired")
    rest = await server.list(*WORKFLOWS, **{"continue": expired.value.status["metadata"]["continue"]})
    assert [i["metadata"]["name"] for i in rest["items"]] == ["three", "two"]


async def test_a_namespace_takes_its_objects_along_and_nothing_can_be_made_without_one(server: ApiServer) -> None:
    await server.make_namespaces("team", "team")
    start = (await server.list(*WORKFLOWS))["metadata"]["resourceVersion"]
    made = await server.create(*WORKFLOWS, "team", workflow("one", n=1))
    going = await server.delete(*NAMESPACES, "", "team")
    assert going["status"]["phase"] == "Terminating"
    async with asyncio.timeout(60):  # a real one takes some seconds
        while "team" in {item["metadata"]["name"] for item in (await server.list(*NAMESPACES))["items"]}:
            with pytest.raises(RequestFailed, match=r"being terminated|not found"):
                await server.create(*WORKFLOWS, "team", workflow("two", n=1))
            await asyncio.sleep(0.2)
    with pytest.raises(RequestFailed, match='404: namespaces "team" not found'):
        await server.create(*WORKFLOWS, "team", workflow("two", n=1))
    query = f"resourceVersion={start}&timeoutSeconds=1"
    url = f"{server.url}{path_of(*WORKFLOWS)}?watch=true&{query}"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=server.ssl or True) as stream:
        events = [json.loads(line) async for line in stream.content]
    assert [(e["type"], e["object"]["metadata"]["uid"]) for e in events] == [
        ("ADDED", made["metadata"]["uid"]),
        ("DELETED", made["metadata"]["uid"]),
    ]
    with pytest.raises(RequestFailed, match="403"):
        await server.delete(*NAMESPACES, "", "default")


async def test_the_kubeconfig_names_server_and_credentials(server: ApiServer, tmp_path: Path) -> None:
    config = yaml.safe_load(server.kubeconfig(tmp_path / "kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == server.url
    assert config["current-context"] == config["contexts"][0]["name"]


async def test_a_watch_whose_time_is_over_ends_in_order_though_a_slow_client_has_not_seen_all(
    server: ApiServer,
) -> None:
    count, place = 60, ("", "v1", "events", "default")  # far more than all the buffers in between hold
    start = (await server.list(*place))["metadata"]["resourceVersion"]
    for n in range(count):
        source = {"component": "x" * 400_000}
        body = {"metadata": {"name": f"e{n}"}, "involvedObject": {"namespace": "default"}, "source": source}
        await server.create(*place, {"apiVersion": "v1", "kind": "Event", **body})
    url = f"{server.url}{path_of(*place)}?watch=true&resourceVersion={start}&timeoutSeconds=1"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=server.ssl or True) as response:
        await asyncio.sleep(2)  # the time that was asked for passes
        received = await response.content.read()
    assert 0 < received.count(b"\n") < count
    assert received.endswith(b"}\n")
