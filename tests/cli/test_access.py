"""`kubecdc validate --cluster`: what the cluster lacks or forbids, a line each, with the way out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
import yaml

from tests.apiserver import (
    NAMESPACES,
    WORKFLOWS,
    LocalSimulator,
    RealApiServer,
    require_assets,
    simulator,
    workflow,
)
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import ALICE, SENSOR, SOURCE, Desk, Done


async def validate(desk: Desk, *args: str) -> Done:
    return await desk.call("validate", "--cluster", *args)


async def test_a_cluster_that_has_and_allows_all_is_said_so(api: LocalSimulator, alice: Desk) -> None:
    await bind(api, ALICE, READ)
    before = len(api.log())
    done = await validate(alice)
    assert (done.code, done.err) == (0, "")
    assert f"the cluster at {api.url} has every resource" in done.out
    assert len(api.log()) == before, "nothing is written"


@pytest.mark.long
async def test_a_real_server_answers_the_same(tmp_path: Path) -> None:
    require_assets()
    real = RealApiServer(tmp_path / "server")
    await real.start()
    try:
        desk = Desk(tmp_path, cast(LocalSimulator, real))  # of which it uses the kubeconfig only
        await real.kubeconfig_of(desk.kubeconfig, "alice")
        done = await validate(desk)
        assert (done.code, "not allowed to get, list, watch workflows.argoproj.io" in done.err) == (1, True), done.err
        await bind(real, ALICE, READ)
        async with asyncio.timeout(60):
            while (done := await validate(desk)).code:  # the server remembers a refusal for a second
                assert "not allowed" in done.err
        # A role for the one Lease by its name; a name cannot be asked for at creation.
        elects = ("validate", "--cluster", "--leader-election")
        lacks = "not allowed to get, create, update leases.coordination.k8s.io in namespace default"
        assert lacks in (await desk.call(*elects)).err
        leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
        named = {**leases, "resourceNames": ["kubecdc"], "verbs": ["get", "update"]}
        await bind(real, ALICE, [{**leases, "verbs": ["create"]}, named], namespace="default")
        async with asyncio.timeout(60):
            while (done := await desk.call(*elects)).code:
                assert "not allowed" in done.err
        desk.entry(resource="workflow")
        assert "write 'workflows'" in (await validate(desk)).err
        desk.entry(group="", version="v1", resource="namespaces", namespace="a")
        assert "namespaces are not namespaced" in (await validate(desk)).err
        desk.entry(group="nowhere.io")
        assert "does not serve nowhere.io/v1alpha1" in (await validate(desk)).err
    finally:
        await real.stop()


async def test_every_right_that_lacks_is_one_line_with_the_command_that_grants_it(
    api: LocalSimulator, alice: Desk
) -> None:
    await bind(api, ALICE, [{**READ[0], "verbs": ["list"]}])
    done = await validate(alice)
    assert done.code == 1
    heading, line = done.err.splitlines()
    assert heading == f"kubecdc: 1 problem with the cluster at {api.url}"
    problem, _, hint = line.partition("; ")
    assert problem == (
        "EventSource workflows, spec.resource.changed: "
        "not allowed to get, watch workflows.argoproj.io in all namespaces"
    )
    role = "clusterrole kubecdc-workflows --verb=get,list,watch --resource=workflows.argoproj.io"
    assert hint.startswith(f"`kubectl create {role}`")
    assert "kubectl create clusterrolebinding" in line


async def test_a_role_of_one_namespace_is_enough_for_that_namespace_only(api: LocalSimulator, alice: Desk) -> None:
    await api.make_namespaces("one", "two", "three")
    await bind(api, ALICE, READ, namespace="one")
    alice.entry(namespace="one")
    assert (await validate(alice)).code == 0
    alice.entry(namespaces=["one", "two", "three"])
    done = await validate(alice)
    assert done.code == 1
    assert [line.partition(";")[0].rpartition(" ")[2] for line in done.err.splitlines()[1:]] == ["two", "three"]
    assert "kubectl create role kubecdc-workflows -n two " in done.err


async def test_selected_namespaces_need_the_list_of_namespaces_too(api: LocalSimulator, alice: Desk) -> None:
    for name, labels in (("one", {"team": "ml"}), ("two", {"team": "ml"}), ("three", {})):
        metadata = {"name": name, "labels": labels}
        await api.create(*NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    await bind(api, ALICE, READ, namespace="one")
    alice.entry(namespaceSelector={"matchLabels": {"team": "ml"}})
    done = await validate(alice)
    assert "not allowed to list, watch namespaces (for `namespaceSelector`)" in done.err
    see = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}
    await bind(api, ALICE, [see])
    done = await validate(alice)
    assert done.code == 1
    assert [line.partition(";")[0].rpartition(" ")[2] for line in done.err.splitlines()[1:]] == ["two"]
    await bind(api, ALICE, READ, namespace="two")
    assert (await validate(alice)).code == 0


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"group": "argoproj.oi"}, "does not serve argoproj.oi/v1alpha1", "kubectl api-versions"),
        ({"version": "v9"}, "does not serve argoproj.io/v9", "CRD"),
        ({"resource": "workflowz"}, "argoproj.io/v1alpha1 has no resource 'workflowz'", "kubectl api-resources"),
        ({"resource": "workflow"}, "has no resource 'workflow'", "write 'workflows'"),
        (
            {"group": "", "version": "v1", "resource": "namespaces", "namespace": "a"},
            "namespaces are not namespaced",
            "`namespace`",
        ),
    ],
)
async def test_a_resource_that_is_not_there_is_named_with_what_may_be_meant(
    desk: Desk, fields: dict[str, object], message: str, hint: str
) -> None:
    desk.entry(**fields)
    done = await validate(desk)
    assert done.code == 1
    (line,) = done.err.splitlines()[1:]
    assert message in line
    assert hint in line


async def test_problems_of_several_entries_are_told_together(desk: Desk) -> None:
    source = yaml.safe_load(SOURCE)
    source["spec"]["resource"]["other"] = {**source["spec"]["resource"]["changed"], "group": "nowhere.io"}
    source["spec"]["resource"]["third"] = {**source["spec"]["resource"]["changed"], "resource": "wf"}
    desk.write("source.yaml", yaml.safe_dump(source))
    for event in ("other", "third"):
        desk.write(f"{event}.yaml", SENSOR.replace("name: print", f"name: {event}").replace("changed", event))
    done = await validate(desk)
    assert done.code == 1
    assert [line.partition(":")[0] for line in done.err.splitlines()[1:]] == [
        "EventSource workflows, spec.resource.other",
        "EventSource workflows, spec.resource.third",
    ]


@pytest.mark.long
@pytest.mark.parametrize("status", [404, 501, 403])
async def test_without_access_reviews_a_real_list_and_watch_tell(desk: Desk, status: int) -> None:
    await desk.create("a")
    desk.api.fail(status, path="selfsubjectaccessreviews")
    assert (await validate(desk)).code == 0
    desk.api.fail(403, path="watch=true")
    done = await validate(desk)
    assert (done.code, "not allowed to watch workflows.argoproj.io" in done.err) == (1, True), done.err
    desk.api.fail(403, path="/workflows")
    done = await validate(desk)
    assert "not allowed to list, watch workflows.argoproj.io" in done.err


async def test_discovery_that_is_not_for_us_leaves_it_to_the_reviews(desk: Desk) -> None:
    desk.api.fail(403, path="/apis/argoproj.io/v1alpha1[?]?$")
    assert (await validate(desk)).code == 0


async def test_an_error_of_the_server_is_the_problem_of_that_entry(desk: Desk) -> None:
    desk.api.fail(503, path="/apis/argoproj.io/v1alpha1[?]?$")
    done = await validate(desk)
    assert (done.code, "answered 503" in done.err, "spec.resource.changed" in done.err) == (1, True, True)


@pytest.mark.long
async def test_a_cluster_that_is_away_or_a_wrong_token_is_one_line(desk: Desk, tmp_path: Path) -> None:
    async with simulator(tokens=["good"]) as api:
        api.kubeconfig(desk.kubeconfig)
        desk.kubeconfig.write_text(desk.kubeconfig.read_text().replace("good", "expired"))
        done = await validate(desk)
        assert (done.code, "does not accept the credentials" in done.err) == (1, True)
    done = await validate(desk)
    assert (done.code, "cannot be reached" in done.err, len(done.err.splitlines())) == (1, True, 2)
    done = await validate(desk, "--context", "nowhere")
    assert done.code == 2


async def test_manifests_are_checked_first(desk: Desk) -> None:
    desk.entry(eventTypes=["CREATED"])
    await desk.api.stop()
    done = await validate(desk)
    assert (done.code, "CREATED" in done.err, "cannot be reached" in done.err) == (2, True, False)


async def test_without_the_option_no_cluster_is_asked(desk: Desk) -> None:
    await desk.api.create(*WORKFLOWS, "default", workflow("a"))
    await desk.api.stop()
    assert (await desk.call("validate")).code == 0
