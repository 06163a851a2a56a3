"""Impersonation, as a user sees it: the rights of the other count, in every command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.apiserver import LEASES, WORKFLOWS, LocalSimulator, RealApiServer, require_assets, simulator, workflow
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import Desk

READER = {"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}
READERS = {"kind": "Group", "name": "readers", "apiGroup": "rbac.authorization.k8s.io"}
LEASE = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """An administrator's desk. Objects of team-a may be read by `readers`, those of team-b by nobody else."""
    async with simulator(rbac=True) as api:
        yield await prepared(Desk(tmp_path, api))


async def prepared(desk: Desk) -> Desk:
    for namespace in ("team-a", "team-b"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await desk.api.create("", "v1", "namespaces", "", body)
        await desk.api.create(*WORKFLOWS, namespace, workflow(f"of-{namespace}"))
    await bind(desk.api, READERS, READ, namespace="team-a")
    await bind(desk.api, READER, LEASE, namespace="team-a")
    return desk


def impersonate(desk: Desk, **fields: Any) -> None:
    config = yaml.safe_load(desk.kubeconfig.read_text())
    config["users"][0]["user"].update(fields)
    desk.kubeconfig.write_text(yaml.safe_dump(config))


async def test_no_more_is_read_than_the_impersonated_user_may(desk: Desk) -> None:
    await read_as_reader(desk)


@pytest.mark.long
async def test_a_real_server_is_told_the_same(tmp_path: Path) -> None:
    require_assets()
    real = RealApiServer(tmp_path / "server")
    await real.start()
    try:
        await read_as_reader(await prepared(Desk(tmp_path, cast(LocalSimulator, real))))
    finally:
        await real.stop()


async def read_as_reader(desk: Desk) -> None:
    impersonate(desk, **{"as": "reader", "as-groups": ["readers"]})
    elects = ("--leader-election", "--lease-namespace", "team-a")
    async with desk.running("run", *elects) as kubecdc:
        await kubecdc.until('User \\\\"reader\\\\" cannot list resource')
        lease = await desk.api.get(*LEASES, "team-a", "kubecdc")
        assert lease["spec"]["holderIdentity"]
        assert kubecdc.out == ""
    desk.entry(namespace="team-a")
    async with desk.running("run", *elects) as kubecdc:
        await kubecdc.until('"name":"of-team-a"', out=True)
        await desk.api.create(*WORKFLOWS, "team-a", workflow("later"))
        await kubecdc.until('"name":"later"', out=True)
    assert "of-team-b" not in kubecdc.out


@pytest.mark.long
async def test_each_command_that_reaches_the_cluster_takes_the_options(desk: Desk) -> None:
    def denied(text: str) -> bool:
        return "not allowed to get, list, watch workflows.argoproj.io in all namespaces" in text

    done = await desk.call("validate", "--cluster")
    assert done.code == 0, done.err
    done = await desk.call("validate", "--cluster", "--as", "reader", "--as-group", "readers")
    assert (done.code, denied(done.err)) == (1, True), done.err
    desk.entry(namespace="team-a")
    done = await desk.call("validate", "--cluster", "--as=x", "--as-group=a", "--as-group=readers")
    assert done.code == 0, done.err
    async with desk.running("run", "--as", "x", "--as-group", "readers") as kubecdc:
        await kubecdc.until('"name":"of-team-a"', out=True)
    desk.environment |= {"KUBECDC_AS": "reader", "KUBECDC_AS_GROUP": "a readers"}
    done = await desk.call("validate", "--cluster")
    assert done.code == 0, done.err
    del desk.environment["KUBECDC_AS_GROUP"]
    done = await desk.call("validate", "--cluster")
    assert (done.code, "in namespace team-a" in done.err) == (1, True), done.err
    done = await desk.call("audit")
    assert (done.code, 'User "reader" cannot' in done.err) == (1, True), done.err


@pytest.mark.long
async def test_a_group_without_a_user_is_a_usage_error(desk: Desk) -> None:
    for command in (("watch",), ("validate", "--cluster")):
        for option in ("--as-group=readers", "--as-uid=1"):
            done = await desk.call(*command, option)
            assert (done.code, "--as" in done.err) == (2, True), done.err


async def test_who_may_not_impersonate_is_told_the_right_that_lacks(desk: Desk) -> None:
    await desk.api.kubeconfig_of(desk.kubeconfig, "nobody")
    async with desk.running("run", "--as", "reader") as kubecdc:
        await kubecdc.until(r'"event":"forbidden \(403\).*cannot impersonate resource')
        (line,) = kubecdc.lines("cannot impersonate resource")
        assert "grant the verb impersonate" in str(line["hint"])
