"""update, patch and delete, on the simulated and on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.triggers.k8s.operations import merged
from tests.apiserver import ApiServer, LocalSimulator, RealApiServer, RequestFailed, require_assets
from tests.workers.k8s.rig import CONFIGMAPS, Bench, Body, bench, config_map, parameter, source
from tests.workers.support import event

JSON, MERGE = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
APPLIED = {"operation": "patch", "patchStrategy": APPLY, "force": True}
DEPLOYMENTS = ("apps", "v1", "deployments")


def deployment(name: str = "d", *, image: str = "a", **spec: Any) -> Body:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}}
    selector = {"matchLabels": {"app": name}}
    metadata = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"selector": selector, "template": template, **spec},
    }


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealApiServer]:
    require_assets()
    api = RealApiServer(tmp_path / "real")
    await api.start()
    yield api
    await api.stop()


async def get(api: ApiServer, name: str = "one") -> Body:
    return await api.get(*CONFIGMAPS, "default", name)


async def test_update_sets_what_the_source_says_and_keeps_the_rest(api: LocalSimulator, it: Bench) -> None:
    first = config_map(data={"a": "1", "b": "2", "empty": "x"}, immutable=False)
    await api.create(*CONFIGMAPS, "default", first)
    await it.done(source(config_map(data={"a": "9", "b": None, "empty": ""}), operation="update"))
    found = await get(api)
    assert found["data"] == {"a": "9", "empty": ""}, "zero values count, null removes"
    assert found["immutable"] is False
    assert "labels" not in found["metadata"], "only what is created is labeled"


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": 0, "b": False, "c": "", "d": []}, {"a": 0, "b": False, "c": "", "d": []}),
    ],
)
def test_an_update_is_a_json_merge_patch(old: Any, new: Any, result: Any) -> None:
    assert merged(old, new) == result


async def test_update_replaces_lists_whole(api: LocalSimulator, it: Bench) -> None:
    await api.create(*DEPLOYMENTS, "default", deployment(replicas=3, paused=True))
    changed = {**deployment(image="b"), "spec": {"replicas": 0, "paused": False}}
    changed["spec"]["template"] = {"spec": {"containers": [{"name": "other", "image": "b"}]}}
    await it.done(source(changed, operation="update"))
    found = await api.get(*DEPLOYMENTS, "default", "d")
    assert (found["spec"]["replicas"], found["spec"]["paused"]) == (0, False)
    assert [c["name"] for c in found["spec"]["template"]["spec"]["containers"]] == ["other"]
    assert found["spec"]["template"]["metadata"]["labels"] == {"app": "d"}


@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_what_is_missing_is_created(api: LocalSimulator, it: Bench, operation: str) -> None:
    for _ in range(2):
        await it.done(source(config_map(data={"a": "1", "none": None}), operation=operation))
    assert (await get(api))["data"] == {"a": "1"}


@pytest.mark.parametrize("config", [{"operation": "update"}, {"operation": "patch"}, APPLIED])
async def test_an_object_that_is_being_deleted_is_waited_for_and_made_anew(
    api: LocalSimulator, it: Bench, config: Body
) -> None:
    held = {"name": "one", "finalizers": ["example.com/held"]}
    uid = (await api.create(*CONFIGMAPS, "default", config_map(metadata=held)))["metadata"]["uid"]
    await api.delete(*CONFIGMAPS, "default", "one")
    wanted = source(config_map(data={"b": "1"}), **config)
    assert await it.run(wanted) == Retry(
        f"{config['operation']} ConfigMap default/one: it is being deleted, and will be made anew once it is gone"
    )
    # That it ends may be just what the event is for.
    await it.done(source(config_map(metadata={**held, "finalizers": []}), operation="update"))
    await it.done(wanted)
    found = await get(api)
    assert (found["metadata"]["uid"] != uid, found["data"]) == (True, {"b": "1"})


async def test_an_update_that_meets_others_begins_anew_with_the_fresh_object(
    api: LocalSimulator, it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    changes = 0
    objects = await it.cluster.objects()
    replace = objects.replace

    async def beaten(*given: Any) -> Body:
        nonlocal changes
        changes += 1
        if changes <= 2:
            await api.patch(*CONFIGMAPS, "default", "one", {"data": {f"other{changes}": "x"}})
        return await replace(*given)

    monkeypatch.setattr(objects, "replace", beaten)
    await it.done(source(config_map(data={"mine": "1"}), operation="update"))
    assert (await get(api))["data"] == {"a": "1", "other1": "x", "other2": "x", "mine": "1"}
    changes = -99
    outcome = await it.run(source(config_map(data={"mine": "2"}), operation="update"))
    assert outcome == Retry("update ConfigMap default/one: others have changed it at the same time, 5 times in a row")


async def test_a_live_object_is_what_parameters_write_into(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CONFIGMAPS, "default", config_map(data={"a": "1", "count": "5"}))
    named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}}
    given = [parameter("data.count", "body.n"), parameter("data.a", value="x") | {"operation": "append"}]
    config = source(named, operation="update", liveObject=True, parameters=given)
    given.append({"src": {"dependencyName": "other", "dataKey": "x"}, "dest": "data.other"})  # of no event here
    await it.done(config)
    assert (await get(api))["data"] == {"a": "1x", "count": "100"}
    await api.delete(*CONFIGMAPS, "default", "one")
    outcome = await it.run(config)
    assert isinstance(outcome, Retry)
    assert 'update ConfigMap default/one: 404 configmaps "one" not found' in outcome.reason


async def test_a_json_patch_has_its_operations_beside_the_object_that_they_change(
    api: LocalSimulator, it: Bench
) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    operations = [{"op": "replace", "path": "/data/a", "value": "?"}, {"op": "add", "path": "/data/b", "value": "2"}]
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "patch": operations}
    given = [parameter("patch.0.value", "body.n")]
    await it.done(source(document, operation="patch", patchStrategy=JSON, parameters=given))
    assert (await get(api))["data"] == {"a": "100", "b": "2"}
    tested = {**document, "patch": [{"op": "test", "path": "/data/a", "value": "other"}]}
    assert isinstance(await it.run(source(tested, operation="patch", patchStrategy=JSON)), Failure)


async def test_delete_is_done_if_there_is_nothing(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    for _ in range(2):
        await it.done(source(config_map(), operation="delete"))
    with pytest.raises(RequestFailed):
        await get(api)


async def test_apply_names_its_manager_and_takes_fields_of_others_only_by_force(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    config = source(config_map(data={"a": "2", "b": "1"}), operation="patch", patchStrategy=APPLY)
    outcome = await it.run(config)
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith("patch ConfigMap default/one: 409 Apply failed with 1 conflict")
    assert outcome.reason.endswith("write `force: true` to take the fields over")
    await it.done({**config, "force": True, "fieldManager": "boss"})
    found = await get(api)
    assert found["data"] == {"a": "2", "b": "1"}
    assert ("boss", "Apply") in {(m["manager"], m["operation"]) for m in found["metadata"]["managedFields"]}
    await it.done(source(config_map("new"), operation="patch", patchStrategy=APPLY))
    assert (await get(api, "new"))["metadata"]["managedFields"][0]["manager"] == "kubecdc"


async def test_an_operation_may_come_from_the_event(api: LocalSimulator, it: Bench) -> None:
    trigger = [parameter("k8s.operation", "operation")]
    for operation, count in (("create", 1), ("update", 1), ("delete", 0), ("delete", 0)):
        to = it.route(source(config_map()), parameters=trigger)
        request = to.request(event(data={"operation": operation, "body": {}}))
        assert await to.trigger.execute(request) == Success()
        assert len((await api.list(*CONFIGMAPS, "default"))["items"]) == count


async def test_argos_own_test_values(api: LocalSimulator, it: Bench) -> None:
    """standard-k8s_test.go: create, update, patch and delete one Deployment; a parameter that is prepended."""
    await api.make_namespaces("fake")
    metadata = {"namespace": "fake", "name": "test", "labels": {"name": "test"}}
    made: Body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replica": "1"}}
    await it.done(source(made), namespace="fake")
    for operation, label in (("update", {"update": "ok"}), ("patch", {"foo": "bar"})):
        metadata["labels"] = {"name": "test", **label}
        await it.done(source(made, operation=operation, patchStrategy=MERGE), namespace="fake")
    found = await api.get(*DEPLOYMENTS, "fake", "test")
    assert {"name": "test", "update": "ok", "foo": "bar"}.items() <= found["metadata"]["labels"].items()
    await it.done(source(made, operation="delete"), namespace="fake")
    assert (await api.list(*DEPLOYMENTS, "fake"))["items"] == []
    given = [parameter("metadata.name", "name.first") | {"operation": "prepend"}]
    to = it.route(source(made, parameters=given), namespace="fake")
    request = to.request(event(data={"name": {"first": "fake", "last": "user"}}))
    assert request.document["metadata"]["name"] == "faketest"


@pytest.mark.long
async def test_the_same_on_a_real_server(real: RealApiServer, tmp_path: Path) -> None:
    async with bench(real.kubeconfig(tmp_path / "kubeconfig")) as it:
        await it.done(source(deployment(replicas=0)))
        await it.done(source(deployment(replicas=0)))
        outcome = await it.run(source(deployment(replicas=0)), event(2))
        assert isinstance(outcome, Failure)
        second = {"spec": {"template": {"spec": {"containers": [{"name": "second", "image": "b"}]}}}}
        identity = {k: v for k, v in deployment().items() if k != "spec"}
        await it.done(source({**identity, **second}, operation="patch", patchStrategy=STRATEGIC))
        await it.done(source({**identity, "spec": {"paused": True, "minReadySeconds": 5}}, operation="update"))
        await it.done(source({**identity, "spec": {"paused": False, "minReadySeconds": 0}}, operation="update"))
        found = await real.get(*DEPLOYMENTS, "default", "d")
        names = [c["name"] for c in found["spec"]["template"]["spec"]["containers"]]
        assert sorted(names) == ["main", "second"], "a strategic merge patch merges lists by key"
        assert not found["spec"].get("paused")
        assert not found["spec"].get("minReadySeconds")
        await it.done(source({**identity, "spec": {"replicas": 0}}, operation="patch", patchStrategy=APPLY, force=True))
        applied = {k: v for k, v in deployment(image="").items() if k != "metadata"} | {
            "metadata": {"name": "bad_Name"}
        }
        outcome = await it.run(source(applied))
        assert isinstance(outcome, Failure)
        assert outcome.reason.startswith(
            'create Deployment default/bad_Name: 422 Deployment.apps "bad_Name" is invalid'
        )
        await it.done(source(identity, operation="delete"))
        generated = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "job-"}}
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        generated["spec"] = {"suspend": True, "template": {"spec": pod}}
        for number in (1, 2, 1):
            await it.done(source(generated), event(number))
        assert len((await real.list("batch", "v1", "jobs", "default"))["items"]) == 2
        kind = {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "c"}}
        outcome = await it.run(source(kind))
        assert isinstance(outcome, Retry)
        assert "the API server does not serve CronJob of batch/v1beta1, it prefers batch/v1" in outcome.reason
