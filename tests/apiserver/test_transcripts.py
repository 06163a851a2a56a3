"""The simulator against what a real API server (Kubernetes 1.34) was recorded to answer: no drift.

Each script makes the requests of one recorded case again, with what was written in between.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.apiserver import RealApiServer, WatchRules, require_assets, simulator
from tests.apiserver.comparison import Difference, Versions
from tests.apiserver.replay import TRANSCRIPTS, WORKFLOWS, Replay, workflow
from tests.apiserver.resources import BUILT_IN

ALL_WORKFLOWS = "/apis/argoproj.io/v1alpha1/workflows"
SCALE = 0.1
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Server:
    """What the scripts do to the server besides requests."""

    async def compact(self) -> None:
        raise AssertionError("this case is not replayed here")

    async def restart(self) -> None:
        raise AssertionError("this case is not replayed here")

    async def initialized(self) -> None:
        """Wait until watches are taken again after a restart."""
        raise AssertionError("this case is not replayed here")


Script = Callable[[Replay, Server], Awaitable[None]]


async def discovery(r: Replay, server: Server) -> None:
    served = {kind.group for kind in BUILT_IN} | {"argoproj.io"}

    def groups(body: dict[str, Any]) -> dict[str, Any]:
        """Of the groups, those that the simulator has kinds of."""
        return {**body, "groups": {g["name"]: g for g in body["groups"] if g["name"] in served}}

    await r.ask("GET", "/version")
    await r.ask("GET", "/api")
    await r.ask("GET", "/apis", of_it=groups)
    await r.ask("GET", "/apis/argoproj.io/v1alpha1")
    await r.ask("GET", "/apis/coordination.k8s.io/v1")


async def create_read_delete(r: Replay, server: Server) -> None:
    await r.ask("POST", WORKFLOWS, workflow("one", n=1))
    await r.ask("POST", WORKFLOWS, workflow("one", n=1))
    await r.ask("GET", f"{WORKFLOWS}/one")
    await r.ask("GET", f"{WORKFLOWS}/none")
    await r.ask("GET", "/apis/argoproj.io/v1alpha1/namespaces/default/nosuchthings")
    await r.ask("GET", "/apis/nosuch.io/v1/things")
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}
    await r.ask("POST", WORKFLOWS, {**kind, "metadata": {"name": "BAD_name"}, "spec": {}})
    await r.ask("POST", WORKFLOWS, {**kind, "metadata": {"name": "nospec"}})
    await r.ask("POST", WORKFLOWS, "{not json")
    await r.ask("POST", WORKFLOWS, {"apiVersion": "v1", "kind": "Other", "metadata": {"name": "x"}})
    await r.ask("POST", WORKFLOWS, {**kind, "metadata": {"generateName": "gen-"}, "spec": {}})
    await r.ask("DELETE", f"{WORKFLOWS}/one")
    await r.ask("DELETE", f"{WORKFLOWS}/one")
    await r.ask("GET", WORKFLOWS, anonymous=True)
    await r.ask("GET", WORKFLOWS + "?labelSelector=a%3D%3D%3Db")
    await r.ask("GET", WORKFLOWS + "?fieldSelector=spec.nope%3D1")
    await r.ask("GET", WORKFLOWS + "?limit=x")


async def update_conflict(r: Replay, server: Server) -> None:
    one = await r.make("one", n=1)
    await r.patch("one", {"spec": {"n": 2}})
    path, old = f"{WORKFLOWS}/one", one["metadata"]["resourceVersion"]
    await r.ask("PUT", path, {**one, "spec": {"n": 3}})
    await r.ask("PUT", path, workflow("one", n=4))
    await r.ask("PATCH", path, {"metadata": {"resourceVersion": old}, "spec": {"n": 5}}, type_=MERGE)
    await r.ask("PATCH", path, {"spec": {"n": 6}}, type_=MERGE)
    await r.ask("PATCH", path, {"spec": {"n": 6}}, type_=MERGE)
    patch = "application/json-patch+json"
    await r.ask("PATCH", path, [{"op": "test", "path": "/spec/n", "value": 0}], type_=patch)
    await r.ask("PATCH", path, [{"op": "replace", "path": "/spec/n", "value": 7}], type_=patch)
    await r.ask("PATCH", path, {"spec": {"n": 8}}, type_="application/strategic-merge-patch+json")
    await r.ask("PATCH", path + "?fieldManager=a", json.dumps(workflow("one", n=9)), type_=APPLY)
    await r.ask("PATCH", path + "?fieldManager=a&force=true", json.dumps(workflow("one", n=9)), type_=APPLY)
    await r.ask("PATCH", f"{WORKFLOWS}/two?fieldManager=a", json.dumps(workflow("two", n=1)), type_=APPLY)
    uid = {"uid": "00000000-0000-0000-0000-000000000000"}
    recorded = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": uid}
    await r.ask("DELETE", path, recorded)


async def first_objects(r: Replay) -> None:
    """What the recorded server had by the time of the lists."""
    await r.make("gen-sx47w", n=0)
    for i in range(5):
        await r.make(f"p{i}", labels={"half": str(i % 2)}, n=i)


async def list_pages(r: Replay, server: Server) -> None:
    await first_objects(r)
    page = await r.ask("GET", WORKFLOWS + "?limit=2", brief=True)
    await r.make("p9")
    token, first = page["metadata"]["continue"], page["metadata"]["resourceVersion"]
    second = await r.ask("GET", WORKFLOWS + f"?limit=2&continue={token}", brief=True)
    await r.ask("GET", WORKFLOWS + f"?limit=2&continue={second['metadata']['continue']}", brief=True)
    await r.ask("GET", WORKFLOWS + "?limit=2&labelSelector=half%3D1", brief=True)
    await r.ask("GET", WORKFLOWS + "?limit=2&continue=garbage")
    now = await r.version()
    await r.ask("GET", WORKFLOWS + "?resourceVersion=0", brief=True)
    await r.ask("GET", WORKFLOWS + f"?resourceVersion={now}&resourceVersionMatch=NotOlderThan", brief=True)
    await r.ask("GET", WORKFLOWS + f"?resourceVersion={first}&resourceVersionMatch=Exact", brief=True)
    await r.ask("GET", WORKFLOWS + "?resourceVersionMatch=Exact")
    future = int(now) + 100_000
    await r.ask("GET", WORKFLOWS + f"?resourceVersion={future}&resourceVersionMatch=NotOlderThan")
    await r.ask("GET", WORKFLOWS + "?resourceVersion=abc")
    await r.ask("GET", ALL_WORKFLOWS + "?fieldSelector=metadata.name%3Dp1", brief=True)
    await r.ask("GET", ALL_WORKFLOWS + "?fieldSelector=metadata.namespace%3Dother", brief=True)
    for selector in ("half in (0,1)", "half notin (1)", "!half", "half", "half!=1"):
        await r.ask("GET", WORKFLOWS + "?labelSelector=" + quote(selector), brief=True)
    await r.make("p10")
    await server.compact()
    await r.ask("GET", WORKFLOWS + f"?limit=2&continue={token}", brief=True)


async def watch_basics(r: Replay, server: Server) -> None:
    await first_objects(r)
    start = await r.version()

    async def script() -> None:
        await r.make("w1", labels={"track": "yes"}, n=1)
        await r.patch("w1", {"spec": {"n": 2}})
        await r.patch("w1", {"metadata": {"finalizers": ["test/hold"]}})
        await r.delete("w1")
        await r.patch("w1", {"metadata": {"finalizers": None}})

    await r.watch(WORKFLOWS + f"?watch=true&resourceVersion={start}", seconds=3, during=script)
    await r.watch(WORKFLOWS + f"?watch=true&resourceVersion={start}", seconds=1.5)
    await r.watch(f"{WORKFLOWS}?watch=true&fieldSelector=metadata.name%3Dp1", seconds=1.5)
    await r.watch(f"{WORKFLOWS}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dp1", seconds=1.5)


async def watch_selector(r: Replay, server: Server) -> None:
    start = await r.version()

    async def moves() -> None:
        await r.make("s1", labels={"track": "no"}, n=1)
        await r.patch("s1", {"metadata": {"labels": {"track": "yes"}}})
        await r.patch("s1", {"spec": {"n": 2}})
        await r.patch("s1", {"metadata": {"labels": {"track": "no"}}})
        await r.patch("s1", {"metadata": {"labels": {"track": "yes"}}})
        await r.delete("s1")

    path = WORKFLOWS + f"?watch=true&labelSelector=track%3Dyes&resourceVersion={start}"
    await r.watch(path, seconds=3, during=moves)


async def watch_bookmarks(r: Replay, server: Server) -> None:
    await r.quiet("POST", WORKFLOWS, {**workflow("gen-sx47w"), "spec": {}})
    for i in range(5):
        await r.make(f"p{i}", labels={"half": str(i % 2)}, n=i)
    await r.make("p9")
    await r.make("p10")
    await r.make("s1")
    await r.delete("s1")
    start = await r.version()
    query = "?watch=true&allowWatchBookmarks=true&timeoutSeconds=8&labelSelector=none%3Dsuch&resourceVersion="
    await r.watch(WORKFLOWS + query + start, seconds=15, during=lambda: r.make("b1"))
    initial = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    await r.watch(WORKFLOWS + initial + "&allowWatchBookmarks=true&timeoutSeconds=3", seconds=6)
    await r.watch(WORKFLOWS + "?watch=true&sendInitialEvents=true&timeoutSeconds=3", seconds=6)


async def watch_future(r: Replay, server: Server) -> None:
    await r.make("b1")
    for i in range(8):
        await r.make(f"z{i}")
    future = int(await r.version()) + 100_000
    path = WORKFLOWS + f"?watch=true&resourceVersion={future}&timeoutSeconds=5"
    await r.watch(path, seconds=9, during=lambda: r.make("f1"))
    path = WORKFLOWS + f"?watch=true&allowWatchBookmarks=true&resourceVersion={future + 1}&timeoutSeconds=6"
    await r.watch(path, seconds=9, during=lambda: r.make("f2"))
    await r.ask("GET", WORKFLOWS + "?limit=1", brief=True)
    await r.watch(WORKFLOWS + "?watch=true&resourceVersion=abc", seconds=2)


async def watch_compacted(r: Replay, server: Server) -> None:
    await r.make("before")
    start = await r.version()
    await r.make("c1")
    await server.compact()
    await r.watch(WORKFLOWS + f"?watch=true&resourceVersion={start}", seconds=2)
    await r.watch(WORKFLOWS + "?watch=true&resourceVersion=1", seconds=2)


async def watch_restart(r: Replay, server: Server) -> None:
    await r.make("before")
    start = await r.version()
    await r.make("r1")
    await r.make("r2")
    old = (await r.quiet("GET", WORKFLOWS + "?limit=2"))["metadata"]["continue"]
    await r.make("r3")
    last = await r.version()
    await server.compact()
    resume = WORKFLOWS + f"?watch=true&resourceVersion={last}"
    await r.watch(resume, seconds=20, during=server.restart)
    await r.watch(resume, seconds=2)
    await server.initialized()
    await r.watch(resume, seconds=2, during=lambda: r.make("r4"))
    await r.watch(WORKFLOWS + f"?watch=true&resourceVersion={start}", seconds=2)
    await r.watch(WORKFLOWS + "?watch=true&resourceVersion=1", seconds=2)
    await r.ask("GET", WORKFLOWS + f"?limit=2&continue={old}", brief=True)


async def lease(r: Replay, server: Server) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    now = "2026-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now}
    made = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "leader"},
        "spec": {**spec, "leaseTransitions": 0},
    }
    await r.ask("POST", leases, made)
    await r.ask("POST", leases, made)
    got = await r.quiet("GET", f"{leases}/leader")
    await r.ask("PUT", f"{leases}/leader", {**got, "spec": {**got["spec"], "holderIdentity": "b"}})
    await r.ask("PUT", f"{leases}/leader", {**got, "spec": {**got["spec"], "holderIdentity": "c"}})


async def configmap(r: Replay, server: Server) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "checkpoint"}}
    await r.ask("POST", maps, {**made, "data": {"a": "1"}})
    got = await r.quiet("GET", f"{maps}/checkpoint")
    await r.ask("PUT", f"{maps}/checkpoint", {**got, "data": {"a": "2"}})
    await r.ask("PUT", f"{maps}/checkpoint", {**got, "data": {"a": "3"}})
    got = await r.quiet("GET", f"{maps}/checkpoint")
    await r.ask("PUT", f"{maps}/checkpoint", {**got, "data": {"a": "x" * 1_600_000}})
    await r.ask("PUT", f"{maps}/checkpoint", {**made, "data": {"a": "x" * 3_200_000}})


async def list_gzip(r: Replay, server: Server) -> None:
    names = [item.split("@") for item in r.steps[0]["response"]["body"]["items"]]
    for name, _ in sorted(names, key=lambda pair: int(pair[1])):
        await r.make(name, pad="x" * 5000 if name.startswith("g") else "")
    await r.ask("GET", WORKFLOWS, headers={"Accept-Encoding": "gzip"}, brief=True)


SCRIPTS: dict[str, Script] = {
    "discovery": discovery,
    "create-read-delete": create_read_delete,
    "update-conflict": update_conflict,
    "list-pages": list_pages,
    "watch-basics": watch_basics,
    "watch-selector": watch_selector,
    "watch-bookmarks": watch_bookmarks,
    "watch-future": watch_future,
    "watch-compacted": watch_compacted,
    "watch-restart": watch_restart,
    "lease": lease,
    "configmap": configmap,
    "list-gzip": list_gzip,
}


def test_every_recorded_case_has_a_script() -> None:
    assert {path.stem for path in TRANSCRIPTS.glob("*.json")} == set(SCRIPTS)


@pytest.mark.parametrize("case", SCRIPTS)
async def test_the_simulator_answers_as_the_real_server_was_recorded_to(case: str) -> None:
    settings: dict[str, Any] = {"rules": WatchRules(scale=SCALE), "initializing": 0.3, "tokens": ["secret"]}
    async with simulator(**settings) as api:

        class Simulated(Server):
            async def compact(self) -> None:
                api.simulator.store.compact()

            async def restart(self) -> None:
                await api.restart()

            async def initialized(self) -> None:
                await api.faults.initialized()

        async with Replay(case, api.url, scale=SCALE, token="secret") as replay:
            await SCRIPTS[case](replay, Simulated())
            assert replay.done == len(replay.steps)


NOT_REPEATED = {"watch-bookmarks", "watch-future", "watch-restart"}
"""Cases that take a real server long, or whose first answers after a restart are a matter of luck."""


@pytest.mark.long
async def test_the_scripts_say_the_same_to_a_real_server(tmp_path: Path) -> None:
    require_assets()
    server = RealApiServer(tmp_path)
    await server.start()

    class Real(Server):
        async def compact(self) -> None:
            await server.compact()

    try:
        assert isinstance(server.ssl, ssl.SSLContext)
        anonymous = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        for case in SCRIPTS:
            if case in NOT_REPEATED:
                continue
            async with Replay(case, server.url, context=server.ssl, anonymous=anonymous) as replay:
                await replay.quiet("DELETE", WORKFLOWS)
                await SCRIPTS[case](replay, Real())
                assert replay.done == len(replay.steps)
    finally:
        await server.stop()


def test_a_version_that_changes_its_place_is_a_difference() -> None:
    versions = Versions()
    versions.relate("74", "30", "create")
    versions.relate("75", "31", "update")
    versions.relate("74", "30", "read")
    with pytest.raises(Difference, match="stood for 30"):
        versions.relate("74", "31", "read")
    with pytest.raises(Difference, match="breaks the order"):
        versions.relate("76", "29", "list")
