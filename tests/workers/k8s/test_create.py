"""create: once for an event, whatever is repeated or lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubecdc.workers.objects.marks import EVENT_ID, EVENT_SOURCE, SENSOR, TIMESTAMP, TRACEPARENT, TRIGGER
from kubecdc.workers.outcome import Failure, Retry, Success
from tests.apiserver import LocalSimulator
from tests.harness.proxy import Proxy
from tests.workers.k8s.rig import CONFIGMAPS, Bench, Body, bench, config_map, parameter, source
from tests.workers.support import event

GENERATED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}, "data": {"a": "1"}}


async def names(api: LocalSimulator, namespace: str = "default") -> list[str]:
    page = await api.list(*CONFIGMAPS, namespace)
    return [item["metadata"]["name"] for item in page["items"]]


async def test_an_object_has_argos_labels_and_the_id_of_its_event(api: LocalSimulator, it: Bench) -> None:
    await it.done(source(config_map()))
    found = await api.get(*CONFIGMAPS, "default", "one")
    labels = found["metadata"]["labels"]
    assert (labels[SENSOR], labels[TRIGGER]) == ("s", "t")
    assert labels[TIMESTAMP].isdigit()
    assert found["metadata"]["annotations"] == {EVENT_SOURCE: "workflows", EVENT_ID: event().id}
    assert found["data"] == {"a": "1"}


async def test_an_object_names_the_trace_of_its_event_and_a_repetition_is_done_whatever_its_trace_is(
    api: LocalSimulator, it: Bench
) -> None:
    for span in ("b7ad6b7169203331", "00f067aa0ba902b7"):
        traceparent = f"00-0af7651916cd43dd8448eb211c80319c-{span}-01"
        await it.done(source(config_map()), event(traceparent=traceparent))
    found = await api.get(*CONFIGMAPS, "default", "one")
    assert found["metadata"]["annotations"][TRACEPARENT].split("-")[2] == "b7ad6b7169203331"


async def test_a_generated_name_is_the_same_for_a_repeated_event_and_another_for_others(
    api: LocalSimulator, it: Bench
) -> None:
    for number in (1, 1, 2, 1):
        await it.done(source(GENERATED), event(number))
    found = await names(api)
    assert len(found) == 2
    assert all(name.startswith("made-") and len(name) == len("made-") + 12 for name in found)


async def test_a_long_prefix_is_cut_as_kubernetes_does(api: LocalSimulator, it: Bench) -> None:
    await it.done(source({**GENERATED, "metadata": {"generateName": "x" * 80}}))
    assert [len(name) for name in await names(api)] == [63]


async def test_somebody_elses_object_of_that_name_is_a_failure(api: LocalSimulator, it: Bench) -> None:
    await it.done(source(config_map()))
    for other in (event(2), event(source="others")):  # an id is only unique within its source
        outcome = await it.run(source(config_map()), other)
        assert outcome == Failure(
            "create ConfigMap one: there is such an object already, and it was not made for this event"
        )
    await it.done(source(config_map()))


async def test_an_object_that_is_being_deleted_is_waited_for(api: LocalSimulator, it: Bench) -> None:
    held = {"name": "one", "finalizers": ["example.com/held"]}
    await api.create(*CONFIGMAPS, "default", {**config_map(), "metadata": held})
    await api.delete(*CONFIGMAPS, "default", "one")
    outcome = await it.run(source(config_map()))
    assert outcome == Retry("create ConfigMap one: another object has the name, and is being deleted")


async def test_a_lost_reply_makes_one_object(api: LocalSimulator, tmp_path: Path) -> None:
    async with Proxy(api.simulator.port) as proxy:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        kubeconfig.write_text(kubeconfig.read_text().replace(f":{api.simulator.port}", f":{proxy.port}"))
        async with bench(kubeconfig) as it:
            await it.done(source(config_map("first")), event(7))
            proxy.drop_reply(b"POST")
            outcome = await it.run(source(GENERATED))
            assert isinstance(outcome, Retry)
            assert proxy.dropped == 1
            assert len(await names(api)) == 2, "the request has arrived"
            await it.done(source(GENERATED))
    assert len(await names(api)) == 2


async def test_repetitions_at_the_same_time_make_one_object(api: LocalSimulator, it: Bench) -> None:
    outcomes = await asyncio.gather(*(it.run(source(GENERATED)) for _ in range(8)))
    assert outcomes == [Success()] * 8
    assert len(await names(api)) == 1


async def test_an_answer_that_never_comes_ends_with_the_timeout(api: LocalSimulator, it: Bench) -> None:
    await it.done(source(config_map("first")), event(7))
    api.suspend()
    outcome = await it.run(source(config_map(), timeout=1))
    assert outcome == Retry("create ConfigMap one: no answer within 1 s")
    api.resume()
    await it.done(source(config_map()))


@pytest.mark.parametrize("sensor", ["", "other"])
async def test_the_namespace_is_that_of_the_object_or_else_of_the_sensor(
    api: LocalSimulator, it: Bench, sensor: str
) -> None:
    await it.done(source(config_map()), namespace=sensor)
    assert await names(api, sensor or "default") == ["one"]
    placed = {**config_map("two"), "metadata": {"name": "two", "namespace": "default"}}
    await it.done(source(placed), namespace=sensor)
    assert "two" in await names(api)


async def test_a_kind_without_namespaces_gets_none(api: LocalSimulator, it: Bench) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": []}
    await it.done(source({**role, "metadata": {"name": "r", "namespace": "default"}}), namespace="other")
    found = await api.get("rbac.authorization.k8s.io", "v1", "clusterroles", "", "r")
    assert "namespace" not in found["metadata"]


async def test_parameters_write_into_the_object(api: LocalSimulator, it: Bench) -> None:
    given = [
        parameter("metadata.name", "body.metadata.name") | {"operation": "prepend"},
        parameter("data.n", "body.n"),
        parameter("metadata.labels.who", value="me"),
    ]
    await it.done(source(config_map("-copy"), parameters=given))
    found = await api.get(*CONFIGMAPS, "default", "w1-copy")
    assert found["data"] == {"a": "1", "n": "100"}
    assert found["metadata"]["labels"]["who"] == "me"


async def test_inline_yaml_is_an_object_too(api: LocalSimulator, it: Bench) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {at: '12:30', 7: seven}\n"
    await it.done({"source": {"inline": text}, "parameters": [parameter("data.n", "body.n")]})
    found = await api.get(*CONFIGMAPS, "default", "one")
    assert found["data"] == {"at": "12:30", "7": "seven", "n": "100"}


async def test_what_the_server_writes_is_not_sent_back(api: LocalSimulator, it: Bench) -> None:
    stale: Body = {"name": "one", "resourceVersion": "7", "uid": "u", "managedFields": [], "creationTimestamp": None}
    await it.done(source({**config_map(), "metadata": stale}))


async def test_the_object_belongs_to_the_object_of_the_event_where_asked(api: LocalSimulator, it: Bench) -> None:
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w", "uid": "u-1"}}
    await it.done(source(config_map(), ownerReference=True), event(data={"type": "UPDATE", "body": body}))
    found = await api.get(*CONFIGMAPS, "default", "one")
    assert found["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u-1"}
    ]


async def test_an_owner_in_another_namespace_is_refused(api: LocalSimulator, it: Bench) -> None:
    metadata = {"name": "w", "uid": "u-1", "namespace": "other"}
    data = {"type": "UPDATE", "body": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata}}
    outcome = await it.run(source(config_map(), ownerReference=True), event(data=data))
    assert isinstance(outcome, Failure)
    assert "its owner would be in another namespace, other" in outcome.reason
    await it.done(source(config_map(), ownerReference=True), event(data=data), namespace="other")


@pytest.mark.parametrize("data", [{"type": "DELETE", "body": {}}, {"type": "ADD", "body": {"kind": "Workflow"}}])
async def test_an_object_that_cannot_own_is_a_dead_letter(it: Bench, data: object) -> None:
    to = it.route(source(config_map(), ownerReference=True))
    with pytest.raises(Exception, match="the object of the event"):
        to.request(event(data=data))
