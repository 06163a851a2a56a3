"""What electing by Lease takes of the cluster: asked by `validate --cluster`, said by who watches without it."""

from __future__ import annotations

import asyncio

import pytest

from tests.apiserver import LEASES, NAMESPACES, LocalSimulator
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import ALICE, REDIS_BUS, Desk

pytestmark = pytest.mark.long

GROUP = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
QUICK = ["--lease-duration", "3s", "--renew-deadline", "2s", "--retry-period", "200ms"]
QUIET = 1.5  # seconds: several more tries, which must not be said


@pytest.fixture
async def reader(api: LocalSimulator, alice: Desk) -> Desk:
    """A desk of a user who may read, and a bus in a Redis that nobody asks."""
    await bind(api, ALICE, READ)
    alice.write("bus.yaml", REDIS_BUS.format(url="redis://127.0.0.1:1/0"))
    return alice


async def test_validate_names_the_verbs_that_lack_and_the_commands_that_grant_them(
    api: LocalSimulator, reader: Desk
) -> None:
    done = await reader.call("validate", "--cluster")
    assert done.code == 1
    _, line = done.err.splitlines()
    problem, _, hint = line.partition("; ")
    assert problem == (
        "EventBus default, leader election: "
        "not allowed to get, create, update leases.coordination.k8s.io in namespace default"
    )
    assert hint.startswith("`kubectl create role kubecdc-leases -n default --verb=get,create,update ")
    await bind(api, ALICE, [{**GROUP, "verbs": ["get", "create"]}], namespace="default")
    done = await reader.call("validate", "--cluster")
    assert "not allowed to update leases" in done.err


async def test_a_role_for_the_one_lease_is_enough_for_that_one(api: LocalSimulator, reader: Desk) -> None:
    named = {**GROUP, "verbs": ["get", "update"], "resourceNames": ["kubecdc"]}
    await bind(api, ALICE, [{**GROUP, "verbs": ["create"]}, named], namespace="default")
    done = await reader.call("validate", "--cluster")
    assert (done.code, done.err) == (0, "")
    assert "the Lease default/kubecdc can be used for leader election" in done.out
    done = await reader.call("validate", "--cluster", "--lease-name", "other")
    assert "not allowed to get, update leases" in done.err
    done = await reader.call("validate", "--cluster", "--lease-namespace", "ops")
    assert "in namespace ops" in done.err


async def test_where_no_lease_elects_no_right_is_asked_for(reader: Desk) -> None:
    done = await reader.call("validate", "--cluster", "--no-leader-election")
    assert (done.code, "Lease" in done.out) == (0, False), done.err
    (reader.manifests / "bus.yaml").unlink()
    assert (await reader.call("validate", "--cluster")).code == 0, "SQLite elects by its file"
    assert "leases" in (await reader.call("validate", "--cluster", "--leader-election")).err


async def test_validate_finds_that_the_namespace_of_the_lease_is_not_there(desk: Desk) -> None:
    done = await desk.call("validate", "--cluster", "--leader-election", "--lease-namespace", "ops")
    assert (done.code, "there is no namespace ops for the Lease; `kubectl create namespace ops`" in done.err) == (
        1,
        True,
    )
    await desk.api.create(*NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ops"}})
    done = await desk.call("validate", "--cluster", "--leader-election", "--lease-namespace", "ops")
    assert (done.code, done.err) == (0, "")


async def test_who_watches_without_the_right_says_it_once_and_leads_once_it_is_granted(
    api: LocalSimulator, alice: Desk
) -> None:
    await bind(api, ALICE, READ)
    async with alice.running("watch", "--leader-election", *QUICK) as one:
        await one.until("forbidden")
        await asyncio.sleep(QUIET)
        (line,) = one.lines("forbidden")
        assert "kubectl create role kubecdc-leases -n default --verb=get,create,update" in str(line["hint"])
        await bind(api, ALICE, [{**GROUP, "verbs": ["get", "create", "update"]}], namespace="default")
        await one.until("recovered")
        await one.until('"listed"')


async def test_an_api_server_that_is_away_at_the_start_is_waited_for(desk: Desk) -> None:
    desk.api.silence()
    async with desk.running("watch", "--leader-election", *QUICK) as one:
        await one.until('"watch":"lease default/kubecdc"')
        assert not one.lines("lease taken")
        desk.api.silence(False)
        await one.until('"listed"')
        assert one.err.count('"watch":"lease default/kubecdc","hint"') == 1


async def test_a_namespace_that_is_not_there_is_said_once_and_waited_for(desk: Desk) -> None:
    desk.api.fail(404, method="POST", path="/leases", count=5)
    async with desk.running("watch", "--leader-election", *QUICK) as one:
        await one.until("cannot be written [(]404[)]")
        await one.until('"listed"')
        (line,) = one.lines("cannot be written (404)")
        assert line["hint"] == "create the namespace default, or name another one with --lease-namespace"
    assert [item["metadata"]["name"] for item in (await desk.api.list(*LEASES, "default"))["items"]] == ["kubecdc"]


async def test_conflicting_writes_of_others_do_not_end_the_lead(desk: Desk) -> None:
    async with desk.running("watch", "--leader-election", *QUICK) as one:
        await one.until('"listed"')
        for number in range(20):
            note = {"metadata": {"annotations": {"note": str(number)}}}
            await desk.api.patch(*LEASES, "default", "kubecdc", note)
            await asyncio.sleep(0.1)
        assert not one.lines("no longer the leader")
    assert (await desk.api.get(*LEASES, "default", "kubecdc"))["metadata"]["annotations"]["note"] == "19"
