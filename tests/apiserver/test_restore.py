"""A backup of etcd is put back, or another cluster answers: what a client of any API server sees then."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
import pytest

from tests.apiserver import (
    CRDS,
    NAMESPACES,
    WORKFLOWS,
    ApiServer,
    RequestFailed,
    definition,
    path_of,
    simulator,
    workflow,
)

THINGS = ("example.com", "v1", "things")
THING = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "kept"}}
UNDONE = 500
WATCH = f"{path_of(*WORKFLOWS)}?watch=true&allowWatchBookmarks=true"


async def names(server: ApiServer) -> dict[str, int]:
    return {i["metadata"]["name"]: i["spec"]["n"] for i in (await server.list(*WORKFLOWS))["items"]}


async def version(server: ApiServer) -> int:
    return int((await server.list(*WORKFLOWS, limit=1))["metadata"]["resourceVersion"])


async def test_a_restored_backup_takes_objects_and_versions_back_and_gives_the_versions_out_again(
    server: ApiServer,
) -> None:
    cluster = await server.get(*NAMESPACES, "", "kube-system")
    for name in ("same", "changed", "deleted"):
        await server.create(*WORKFLOWS, "default", workflow(name, n=1))
    before, then = await names(server), await version(server)
    taken = await server.snapshot()
    await server.patch(*WORKFLOWS, "default", "changed", {"spec": {"n": 2}})
    await server.delete(*WORKFLOWS, "default", "deleted")
    # A real server and its controllers write a lot when they come back: more is undone than they can make good by then.
    await server.write_past(str(then + UNDONE))
    later = await server.create(*WORKFLOWS, "default", workflow("made", n=1))
    assert await names(server) == {"same": 1, "changed": 2, "made": 1}
    async with aiohttp.ClientSession(server.url) as session, session.get(WATCH, ssl=server.ssl or True) as stream:
        await asyncio.wait_for(stream.content.readline(), 5)
        await server.restore(taken)
        with contextlib.suppress(aiohttp.ClientPayloadError):  # cut is an end too
            await asyncio.wait_for(stream.content.read(), 10)
    assert await names(server) == before
    assert then <= await version(server) < int(later["metadata"]["resourceVersion"])
    assert (await server.get(*NAMESPACES, "", "kube-system"))["metadata"]["uid"] == cluster["metadata"]["uid"]
    # The counter goes on from where it was, and at last past the versions that the first timeline had.
    again = await server.create(*WORKFLOWS, "default", workflow("other", n=1))
    assert int(again["metadata"]["resourceVersion"]) <= int(later["metadata"]["resourceVersion"])
    await server.write_past(later["metadata"]["resourceVersion"])
    assert await version(server) > int(later["metadata"]["resourceVersion"])


async def test_another_cluster_at_the_same_address_has_another_identity_and_none_of_the_objects(
    server: ApiServer,
) -> None:
    first = (await server.get(*NAMESPACES, "", "kube-system"))["metadata"]["uid"]
    await server.create(*WORKFLOWS, "default", workflow("one", n=1))
    taken, url = await server.snapshot(), server.url
    await server.replace_cluster()
    second = (await server.get(*NAMESPACES, "", "kube-system"))["metadata"]["uid"]
    assert (second != first, await names(server), server.url) == (True, {}, url)
    await server.restore(taken)
    assert (await server.get(*NAMESPACES, "", "kube-system"))["metadata"]["uid"] == first
    assert await names(server) == {"one": 1}


async def test_a_suspended_server_keeps_connections_open_and_answers_once_resumed(server: ApiServer) -> None:
    server.suspend()
    async with aiohttp.ClientSession(server.url) as session:
        asked = asyncio.ensure_future(session.get(path_of(*WORKFLOWS), ssl=server.ssl or True))
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asked), 0.3)
        finally:
            server.resume()
        async with await asyncio.wait_for(asked, 10) as answer:
            assert answer.status in {200, 401}  # a real server wants to know who asks


async def test_kinds_go_and_come_back_with_their_definitions() -> None:
    async with simulator(initializing=0) as api:
        empty = await api.snapshot()
        await api.create(*CRDS, "", definition("things", "example.com", "v1", "Thing"))
        await api.create(*THINGS, "default", THING)
        full = await api.snapshot()
        await api.restore(empty)
        with pytest.raises(RequestFailed, match="404"):
            await api.list(*THINGS)
        await api.restore(full)
        assert [i["metadata"]["name"] for i in (await api.list(*THINGS))["items"]] == ["kept"]


async def test_watches_after_a_restore_start_where_the_backup_stands() -> None:
    async with simulator(initializing=0) as api, aiohttp.ClientSession(api.url) as session:
        await api.create(*WORKFLOWS, "default", workflow("before", n=1))
        older = api.version - 1
        taken = await api.snapshot()
        await api.create(*WORKFLOWS, "default", workflow("lost", n=1))
        ahead = int((await api.create(*WORKFLOWS, "default", workflow("last", n=1)))["metadata"]["resourceVersion"])
        await api.restore(taken)
        async with session.get(f"{WATCH}&resourceVersion={older}") as stream:
            assert json.loads(await stream.content.readline())["object"]["code"] == 410
        async with session.get(f"{WATCH}&resourceVersion={ahead}") as stream:
            # A version that is given out again is not news to who has seen it on the first timeline. The first of
            # them went to the server itself.
            await api.create(*WORKFLOWS, "default", workflow("unseen", n=1))
            await api.create(*WORKFLOWS, "default", workflow("seen", n=1))
            line = json.loads(await asyncio.wait_for(stream.content.readline(), 5))
            assert line["object"]["metadata"]["name"] == "seen"


async def test_restored_and_replaced_clusters_survive_a_new_start_and_the_ledger_tells_the_timelines(
    tmp_path: Path,
) -> None:
    data = tmp_path / "objects.jsonl"
    async with simulator(data=data, initializing=0) as api:
        await api.create(*WORKFLOWS, "default", workflow("one", n=1))
        taken = await api.snapshot()
        await api.create(*WORKFLOWS, "default", workflow("two", n=1))
        await api.create(*WORKFLOWS, "default", workflow("undone", n=1))
        await api.restore(taken)  # and the server writes once by itself
        await api.create(*WORKFLOWS, "default", workflow("three", n=1))
        log, then = api.log(resource="workflows"), api.version
        assert [(e.name, e.timeline) for e in log] == [("one", 0), ("two", 0), ("undone", 0), ("three", 1)]
        assert log[2].rv == log[3].rv
    async with simulator(data=data, initializing=0) as api:
        assert (await names(api), api.version) == ({"one": 1, "three": 1}, then + 1)
        assert api.log(resource="workflows") == log
        await api.replace_cluster("a-uid-of-its-own")
    async with simulator(data=data) as api:
        assert await names(api) == {}
        assert api.simulator.cluster == "a-uid-of-its-own"
        assert len(api.log(resource="workflows")) == 4
