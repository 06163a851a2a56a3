"""Which answers of the API server are a success, a retry or a failure. The table of docs/k8s-trigger.md."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.discovery import NotServed
from kubecdc.cluster.errors import ApiError
from kubecdc.workers.access import corrected
from kubecdc.workers.objects.answer import judge
from kubecdc.workers.objects.kinds import guess
from kubecdc.workers.outcome import Failure, Retry
from tests.apiserver import LocalSimulator
from tests.apiserver.resources import definition
from tests.harness.proxy import Proxy
from tests.workers.k8s.rig import CONFIGMAPS, Bench, bench, config_map, source
from tests.workers.support import event

CRDS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")


@pytest.mark.parametrize("operation", ["create", "update", "patch", "delete"])
@pytest.mark.parametrize("status", [401, 403, 410, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_retried(api: LocalSimulator, it: Bench, operation: str, status: int) -> None:
    method = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}[operation]
    if operation != "create":
        await api.create(*CONFIGMAPS, "default", config_map())
    api.faults.fail(status, method=method, retry_after=7 if status == 429 else None)
    outcome = await it.run(source(config_map(), operation=operation))
    assert isinstance(outcome, Retry), outcome
    assert outcome.after == (7 if status == 429 else None)
    assert outcome.reason.startswith(f"{operation} ConfigMap default/one: ")
    api.faults.clear()
    await it.done(source(config_map(), operation=operation))


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_what_is_rejected_for_good_is_a_failure(api: LocalSimulator, it: Bench, status: int) -> None:
    api.faults.fail(status, method="POST", message="not this one")
    outcome = await it.run(source(config_map()))
    assert outcome == Failure(f"create ConfigMap default/one: {status} not this one")


async def test_what_a_gateway_rejects_is_no_word_of_the_api_server(it: Bench) -> None:
    error = ApiError("bad gateway", status=400, text="<html>")
    assert judge("create", error) == Retry("create: 400 <html>")


@pytest.mark.parametrize("name", [".", "..", "../../namespaces/default", "a/../..", "%2e%2e", "a?b", "a#b", "default/"])
@pytest.mark.parametrize("operation", ["create", "update", "patch", "delete"])
async def test_no_name_of_an_event_leads_to_another_object(
    api: LocalSimulator, it: Bench, operation: str, name: str
) -> None:
    """A client that resolves `..` in a path would delete the namespace, and with `.` all objects in it."""
    await api.create(*CONFIGMAPS, "default", config_map())
    for document in (config_map(name), {**config_map(), "metadata": {"name": "x", "namespace": name}}):
        outcome = await it.run(source(document, operation=operation))
        assert isinstance(outcome, Failure) or not {".", "/", "%"} & set(name)
    assert (await api.get("", "v1", "namespaces", "", "default"))["status"]["phase"] == "Active"
    assert [item["metadata"]["name"] for item in (await api.list(*CONFIGMAPS, "default"))["items"]] == ["one"]


async def test_a_missing_right_names_the_command_that_grants_it(api: LocalSimulator, it: Bench) -> None:
    api.faults.fail(403, method="POST", message="configmaps is forbidden")
    outcome = await it.run(source(config_map()))
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(
        "create ConfigMap default/one: 403 configmaps is forbidden; `kubectl create role kubecdc-configmaps -n default "
        "--verb=get,create --resource=configmaps` and "
    )


async def test_an_object_that_the_server_calls_invalid_is_a_failure(api: LocalSimulator, it: Bench) -> None:
    outcome = await it.run(
        source({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}})
    )
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith('create Workflow default/w: 422 Workflow.argoproj.io "w" is invalid: spec')


async def test_a_namespace_that_is_missing_is_waited_for(api: LocalSimulator, it: Bench) -> None:
    outcome = await it.run(source(config_map()), namespace="later")
    assert isinstance(outcome, Retry)
    assert 'create ConfigMap later/one: 404 namespaces "later" not found' in outcome.reason
    await api.make_namespaces("later")
    await it.done(source(config_map()), namespace="later")


async def test_a_kind_that_is_missing_is_waited_for_and_one_that_changes_is_looked_up_again(
    api: LocalSimulator, it: Bench
) -> None:
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}}
    outcome = await it.run(source(thing))
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("create Thing: the API server does not serve Thing of example.com/v1; install its")
    await api.create(*CRDS, "", definition("thingies", "example.com", "v1", "Thing"))
    await it.done(source(thing))
    assert (await api.get("example.com", "v1", "thingies", "default", "x"))["kind"] == "Thing"
    await api.delete(*CRDS, "", "thingies.example.com")
    await api.create(*CRDS, "", definition("things", "example.com", "v1", "Thing", namespaced=False))
    assert isinstance(await it.run(source(thing)), Retry), "it is told that the path is gone"
    await it.done(source(thing))
    assert "namespace" not in (await api.get("example.com", "v1", "things", "", "x"))["metadata"]


async def test_discovery_is_asked_once(api: LocalSimulator, it: Bench) -> None:
    await it.done(source(config_map()), event(1))
    before = api.simulator.asked
    await it.done(source(config_map("two")), event(2))
    assert api.simulator.asked == before + 1


async def test_many_events_at_once_ask_no_more_than_twice(api: LocalSimulator, it: Bench) -> None:
    before = api.simulator.asked
    await asyncio.gather(*(it.done(source(config_map(f"n{n}")), event(n)) for n in range(32)))
    assert api.simulator.asked - before <= 32 + 2


async def test_rules_have_the_plural_that_the_server_says(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CRDS, "", definition("thingies", "example.com", "v1", "Thing", namespaced=False))
    discovery = (await it.cluster.objects()).discovery
    guessed = AccessRule(guess("example.com/v1", "Thing", "one"), ("get",), kind="Thing")
    exact = await corrected(discovery, guessed)
    assert (guessed.resource.resource, guessed.resource.namespace) == ("things", "one")
    assert (exact.resource.resource, exact.resource.namespace) == ("thingies", "")
    with pytest.raises(NotServed, match=r"does not serve Thong of example\.com/v1"):
        await corrected(discovery, AccessRule(guess("example.com/v1", "Thong", ""), ("get",), kind="Thong"))


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("Ingress", "ingresses"),
        ("NetworkPolicy", "networkpolicies"),
        ("Gateway", "gateways"),
        ("Endpoints", "endpoints"),
    ],
)
def test_a_plural_is_guessed_without_a_server(kind: str, plural: str) -> None:
    assert guess("v1", kind, "").resource == plural


async def test_a_server_that_is_away_is_retried(api: LocalSimulator, it: Bench) -> None:
    await api.stop()
    outcome = await it.run(source(config_map()))
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("create ConfigMap: the API server at http://127.0.0.1:")


@pytest.mark.parametrize("operation", ["update", "patch", "delete"])
async def test_a_lost_reply_is_repeated(api: LocalSimulator, tmp_path: Path, operation: str) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    async with Proxy(api.simulator.port) as proxy:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        kubeconfig.write_text(kubeconfig.read_text().replace(f":{api.simulator.port}", f":{proxy.port}"))
        async with bench(kubeconfig) as it:
            await it.done(source(config_map("first")), event(7))
            proxy.drop_reply({"update": b"PUT", "patch": b"PATCH", "delete": b"DELETE"}[operation])
            config = source(config_map(data={"b": "2"}), operation=operation)
            while isinstance(await it.run(config), Retry):  # the HTTP client itself repeats a PUT or DELETE
                pass
    assert proxy.dropped == 1
    names = [item["metadata"]["name"] for item in (await api.list(*CONFIGMAPS, "default"))["items"]]
    assert names == ["first"] if operation == "delete" else ["first", "one"]
