"""Objects of the simulator: what is stored, and what a watch shows of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.apiserver import CRDS, WORKFLOWS, LocalSimulator, RequestFailed, definition, path_of, simulator, workflow


async def lines(api: LocalSimulator, query: str, count: int, *, namespace: str = "default") -> list[dict[str, Any]]:
    """The first ``count`` lines of a watch on workflows."""
    url = f"{api.url}{path_of(*WORKFLOWS, namespace)}?watch=true&{query}"
    found: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        while len(found) < count:
            found.append(json.loads(await asyncio.wait_for(response.content.readline(), 5)))
    return found


async def test_a_watch_from_a_version_shows_every_change_after_it() -> None:
    async with simulator() as api:
        start = api.version
        await api.create(*WORKFLOWS, "default", workflow("one", n=1))
        await api.patch(*WORKFLOWS, "default", "one", {"spec": {"n": 2}})
        await api.delete(*WORKFLOWS, "default", "one")
        seen = await lines(api, f"resourceVersion={start}", 3)
        assert [line["type"] for line in seen] == ["ADDED", "MODIFIED", "DELETED"]
        versions = [int(line["object"]["metadata"]["resourceVersion"]) for line in seen]
        assert versions == [start + 1, start + 2, start + 3]
        assert seen[2]["object"]["spec"] == {"n": 2}
        assert [e.type for e in api.log(start)] == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_definition_posted_later_makes_the_resource_appear_and_its_deletion_makes_it_vanish() -> None:
    kind = ("example.com", "v1", "things")
    async with simulator() as api:
        with pytest.raises(RequestFailed) as missing:
            await api.list(*kind)
        assert (missing.value.code, missing.value.status) == (404, "404 page not found\n")
        crd = await api.create(*CRDS, "", definition("things", "example.com", "v1", "Thing"))
        assert crd["status"]["conditions"][1]["type"] == "Established"
        thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "any": ["thing"]}
        await api.create(*kind, "default", thing)
        assert (await api.list(*kind))["items"][0]["any"] == ["thing"]
        await api.delete(*CRDS, "", "things.example.com")
        with pytest.raises(RequestFailed, match="404"):
            await api.list(*kind)


async def test_what_is_not_simulated_is_refused_by_name() -> None:
    async with simulator() as api:
        with pytest.raises(RequestFailed, match=r"501.*query parameter shardSelector"):
            await api.list(*WORKFLOWS, shardSelector="x")
