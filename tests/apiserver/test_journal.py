"""Objects and counter survive a kill of the simulator's process."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests.apiserver import (
    CRDS,
    NAMESPACES,
    WORKFLOWS,
    RequestFailed,
    SimulatorProcess,
    client_of,
    definition,
    path_of,
    workflow,
)
from tests.apiserver.local import simulator


async def test_a_killed_simulator_comes_back_with_objects_counter_cluster_and_ledger(tmp_path: Path) -> None:
    server = SimulatorProcess(tmp_path, "--initializing", "0")
    await server.start()
    try:
        await server.create(*CRDS, "", definition("things", "example.com", "v1", "Thing"))
        thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "kept"}}
        await server.create("example.com", "v1", "things", "default", thing)
        await server.create(*WORKFLOWS, "default", workflow("gone"))
        await server.create(*WORKFLOWS, "default", workflow("kept", n=1))
        await server.patch(*WORKFLOWS, "default", "kept", {"spec": {"n": 2}})
        await server.delete(*WORKFLOWS, "default", "gone")
        before = await server.list(*WORKFLOWS)
        cluster, log, port = await server.get(*NAMESPACES, "", "kube-system"), await server.log(), server.port
        await server.kill()
        await server.start()
        assert server.port == port
        assert (await server.list(*WORKFLOWS))["items"] == before["items"]
        assert [i["spec"] for i in before["items"]] == [{"n": 2}]
        assert await server.get(*NAMESPACES, "", "kube-system") == cluster
        assert (await server.log())[: len(log)] == log
        assert (await server.get("example.com", "v1", "things", "default", "kept"))["metadata"]["name"] == "kept"
        made = await server.create(*WORKFLOWS, "default", workflow("after"))
        own = 1  # what the server writes when it starts
        assert int(made["metadata"]["resourceVersion"]) == int(before["metadata"]["resourceVersion"]) + own + 1
        watch = f"{server.url}{path_of(*WORKFLOWS)}?watch=true&resourceVersion=2"
        async with aiohttp.ClientSession() as session, session.get(watch) as stream:
            assert json.loads(await stream.content.readline())["object"]["code"] == 410
    finally:
        await server.stop()


async def test_users_and_certificates_survive_a_kill(tmp_path: Path) -> None:
    server = SimulatorProcess(tmp_path, "--token", "root", "--rbac", "--tls", str(tmp_path / "tls"))
    await server.start()
    try:
        carol = client_of(await server.kubeconfig_of(tmp_path / "carol", "carol"))
        root = client_of(server.kubeconfig(tmp_path / "root"))
        assert server.url.startswith("https://")
        for _ in range(2):
            with pytest.raises(RequestFailed, match=r'403.*User "carol" cannot list'):
                await carol.list(*WORKFLOWS)
            assert (await root.list(*WORKFLOWS))["items"] == []
            await server.kill()
            await server.start()
        await carol.close()
        await root.close()
    finally:
        await server.stop()


async def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    data = tmp_path / "objects.jsonl"
    async with simulator(data=data) as api:
        await api.create(*WORKFLOWS, "default", workflow("whole"))
        version = api.version
    with data.open("ab") as file:
        file.write(b'{"kind":["argoproj.io","v1alpha1","workfl')
    for starts in (1, 2):
        async with simulator(data=data) as api:
            assert api.version == version + starts  # at each the server writes once
            assert [i["metadata"]["name"] for i in (await api.list(*WORKFLOWS))["items"]] == ["whole"]


async def test_expired_history_stays_expired_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "objects.jsonl"
    async with simulator(data=data) as api:
        for name in ("a", "b", "c"):
            await api.create(*WORKFLOWS, "default", workflow(name))
        page = await api.list(*WORKFLOWS, limit=1)
        await api.delete(*WORKFLOWS, "default", "b")
    async with simulator(data=data) as api:
        rest = await api.list(*WORKFLOWS, limit=5, **{"continue": page["metadata"]["continue"]})
        assert [i["metadata"]["name"] for i in rest["items"]] == ["b", "c"]
        await api.expire_history()
    async with simulator(data=data) as api, aiohttp.ClientSession(api.url) as session:
        query = f"limit=5&continue={page['metadata']['continue']}"
        async with session.get(f"{path_of(*WORKFLOWS)}?{query}") as response:
            assert response.status == 410
