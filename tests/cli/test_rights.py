"""`kubecdc run` as a user who may little: one line with the way out, and no restart once the cause is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from tests.apiserver import WORKFLOWS, ApiServer, LocalSimulator, RealApiServer, require_assets, workflow
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import ALICE, Desk, Running

QUIET = 2.5  # seconds: two more tries, which must not be said


async def delivered(api: ApiServer, kubecdc: Running, name: str, namespace: str) -> None:
    await api.create(*WORKFLOWS, namespace, workflow(name))
    await kubecdc.until(f'"name":"{name}"', out=True, seconds=40)


async def only_line(kubecdc: Running) -> str:
    """The one line that says what is forbidden, its hint included."""
    await kubecdc.until("cannot list resource")
    await asyncio.sleep(QUIET)
    (line,) = kubecdc.lines("cannot list resource")
    return f"{line['event']} | {line['hint']}"


async def test_a_role_of_one_namespace_is_enough_for_an_entry_of_that_namespace(
    api: LocalSimulator, alice: Desk
) -> None:
    await api.make_namespaces("one", "two")
    await bind(api, ALICE, READ, namespace="one")
    alice.entry(namespace="one")
    async with alice.running("run") as kubecdc:
        await delivered(api, kubecdc, "a", "one")
    assert not kubecdc.lines("forbidden (403)")
    (remark,) = kubecdc.lines("the cluster's identity is not checked")
    assert remark["hint"] == "grant get on the namespace kube-system"


async def all_namespaces_with_a_role_of_one(api: ApiServer, desk: Desk) -> None:
    await api.make_namespaces("one", "two")
    await bind(api, ALICE, READ, namespace="one")
    async with desk.running("run") as kubecdc:
        line = await only_line(kubecdc)
        assert 'cannot list resource "workflows" in API group "argoproj.io" at the cluster scope' in line
        assert "ClusterRole" in line
        assert "`namespaces`" in line
        await bind(api, ALICE, READ)
        await kubecdc.until("recovered", seconds=40)
        await delivered(api, kubecdc, "a", "default")


async def test_a_role_of_one_namespace_is_not_enough_for_all_and_a_cluster_role_mends_it(
    api: LocalSimulator, alice: Desk
) -> None:
    await all_namespaces_with_a_role_of_one(api, alice)


@pytest.mark.long
async def test_a_real_server_is_as_strict_and_as_soon_mended(tmp_path: Path) -> None:
    require_assets()
    real = RealApiServer(tmp_path / "server")
    await real.start()
    try:
        desk = Desk(tmp_path, cast(LocalSimulator, real))  # of which it uses the kubeconfig only
        await real.kubeconfig_of(desk.kubeconfig, "alice")
        await all_namespaces_with_a_role_of_one(real, desk)
    finally:
        await real.stop()


@pytest.mark.long
async def test_a_forbidden_namespace_is_named_and_the_others_go_on(api: LocalSimulator, alice: Desk) -> None:
    await api.make_namespaces("one", "two")
    await bind(api, ALICE, READ, namespace="one")
    alice.entry(namespaces=["one", "two"])
    async with alice.running("run") as kubecdc:
        await delivered(api, kubecdc, "a", "one")
        line = await only_line(kubecdc)
        assert 'in the namespace "two"' in line
        assert "grant this user get, list and watch" in line
        await bind(api, ALICE, READ, namespace="two")
        await kubecdc.until("recovered", seconds=40)
        await delivered(api, kubecdc, "b", "two")


async def test_a_right_that_is_taken_away_is_one_line_and_nothing_is_missed_until_it_is_back(
    api: LocalSimulator, alice: Desk
) -> None:
    await bind(api, ALICE, READ)
    async with alice.running("run") as kubecdc:
        await delivered(api, kubecdc, "a", "default")
        role = ("rbac.authorization.k8s.io", "v1", "clusterroles", "", "test-alice")
        rules = (await api.get(*role))["rules"]
        await api.patch(*role, {"rules": []})
        api.cut_streams(mid_line=False)
        await only_line(kubecdc)
        await api.create(*WORKFLOWS, "default", workflow("b"))
        await api.patch(*role, {"rules": rules})
        await kubecdc.until('"name":"b"', out=True, seconds=40)
    assert kubecdc.out.count('"name":"a"') == 1


async def test_the_right_to_watch_is_told_from_that_to_list(api: LocalSimulator, alice: Desk) -> None:
    await bind(api, ALICE, [{**READ[0], "verbs": ["get", "list"]}])
    await alice.create("a")
    async with alice.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)  # what can be had is had
        await kubecdc.until("cannot watch resource")
        await asyncio.sleep(QUIET)
        assert len(kubecdc.lines("cannot watch resource")) == 1
