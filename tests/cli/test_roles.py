"""`kubecdc rbac`: what the manifests need, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from kubecdc.cli.roles import of_account
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.resource import Resource
from tests.deploy.test_kustomize import applied, rights

SOURCE = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: workflows}
spec: {resource: {changed: {group: argoproj.io, version: v1alpha1, resource: workflows, eventTypes: [ADD], %s}}}
"""
VERBS = ("get", "list", "watch")
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "a-"}}
ELSEWHERE = {**JOB, "metadata": {"name": "a", "namespace": "two"}}


def sensor(template: dict[str, Any], *, namespace: str = "", **trigger: Any) -> str:
    """A Sensor with one trigger."""
    spec = {
        "dependencies": [{"name": "dep", "eventSourceName": "workflows", "eventName": "changed"}],
        "triggers": [{"template": {"name": "t", **template}, **trigger}],
    }
    metadata = {"name": "s", "namespace": namespace}
    made = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor", "metadata": metadata, "spec": spec}
    return yaml.safe_dump(made)


def makes(document: dict[str, Any], **config: Any) -> dict[str, Any]:
    """A template that works on the object."""
    return {"k8s": {"source": {"resource": document}, **config}}


def written(dest: str) -> list[dict[str, Any]]:
    """A parameter that writes there."""
    return [{"src": {"dependencyName": "dep", "dataKey": "x"}, "dest": dest}]


def printed(*documents: str, options: tuple[str, ...] = ("--namespace", "home")) -> tuple[list[dict[str, Any]], str]:
    """The documents and what is written to standard error."""
    done = CliRunner().invoke(rbac, ["-f", "-", *options], input="\n---\n".join(documents), catch_exceptions=False)
    return [document for document in yaml.safe_load_all(done.stdout) if document], done.stderr


def granted(documents: list[dict[str, Any]], account: str) -> dict[str, list[str]]:
    """What an account may do in a namespace, "" for all: ``<verbs> <resource>.<group>/<name>``."""
    found: dict[str, list[str]] = {}
    for document in documents:
        if "rules" in document and document["metadata"]["name"] in {account, f"{account}-home"}:
            for rule in document["rules"]:
                for resource in rule["resources"]:
                    name = "/".join(["", *rule.get("resourceNames", [])])
                    line = f"{','.join(rule['verbs'])} {resource}.{rule['apiGroups'][0]}{name}"
                    found.setdefault(document["metadata"].get("namespace", ""), []).append(line)
    return found


KUBE_SYSTEM = {"kube-system": ["get namespaces./kube-system"]}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("namespace: one", {"one": ["get,list,watch workflows.argoproj.io"]}),
        (
            "namespaces: [one, two]",
            {place: ["get,list,watch workflows.argoproj.io"] for place in ("one", "two")},
        ),
        ("", {"": ["get,list,watch workflows.argoproj.io"]}),
        (
            "namespaceSelector: {matchLabels: {a: b}}",
            {"": ["list,watch namespaces.", "get,list,watch workflows.argoproj.io"]},
        ),
    ],
)
def test_a_watcher_gets_a_role_for_each_namespace_and_a_cluster_role_only_for_all(
    entry: str, expected: dict[str, list[str]]
) -> None:
    documents, _ = printed(SOURCE % entry)
    assert granted(documents, "kubecdc-watch") == {**expected, **KUBE_SYSTEM}
    assert documents[0] == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "kubecdc-watch", "namespace": "home"},
    }


def test_what_kubernetes_events_need_is_in_a_role_of_its_own_for_accounts_that_have_others() -> None:
    events = {"home": ["create events.", "get pods.", "get replicasets.apps"]}
    documents, _ = printed(SOURCE % "", sensor(makes(JOB)))
    assert granted(documents, "kubecdc-watch-optional") == granted(documents, "kubecdc-work-optional") == events
    documents, _ = printed(SOURCE % "", sensor({"log": {}}))
    assert granted(documents, "kubecdc-work-optional") == {}


def test_the_lease_and_the_checkpoint_are_in_the_namespace_of_the_pods() -> None:
    bus = "apiVersion: kubecdc.io/v1alpha1\nkind: EventBus\nmetadata: {name: default}\nspec: {sqs: {region: eu-west-1}}"
    documents, _ = printed(SOURCE % "namespace: one", sensor(makes(JOB)), bus)
    home = granted(documents, "kubecdc-watch")["home"]
    assert set(home) == {
        "create configmaps.",
        "get,update configmaps./kubecdc-checkpoint",
        "create leases.coordination.k8s.io",
        "get,update leases.coordination.k8s.io/kubecdc",
    }
    assert "get,update configmaps./kubecdc-checkpoint-state" in granted(documents, "kubecdc-work")["home"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (sensor(makes(JOB)), {"home": ["get,create jobs.batch"]}),
        (sensor(makes(JOB), namespace="one"), {"one": ["get,create jobs.batch"]}),
        (sensor(makes(ELSEWHERE), namespace="one"), {"two": ["get,create jobs.batch"]}),
        (sensor(makes(ELSEWHERE, operation="delete")), {"two": ["delete jobs.batch"]}),
        (sensor(makes(ELSEWHERE, operation="update")), {"two": ["get,create,update jobs.batch"]}),
        (sensor(makes(ELSEWHERE, operation="update", liveObject=True)), {"two": ["get,update jobs.batch"]}),
        (sensor(makes(ELSEWHERE, operation="patch")), {"two": ["get,create,patch jobs.batch"]}),
        (sensor(makes(JOB, parameters=written("metadata.namespace"))), {"": ["get,create jobs.batch"]}),
        (
            sensor(makes(JOB), parameters=written("k8s.source.resource.metadata.namespace")),
            {"": ["get,create jobs.batch"]},
        ),
        (
            sensor(makes({**JOB, "metadata": {"name": ""}}, operation="delete", parameters=written("metadata.name"))),
            {"home": ["delete jobs.batch"]},
        ),
        (
            sensor(makes(JOB), parameters=written("k8s.operation")),
            {"home": ["get,create,update,patch,delete jobs.batch"]},
        ),
    ],
)
def test_workers_get_what_the_operation_needs_where_it_works(given: str, expected: dict[str, list[str]]) -> None:
    documents, told = printed(given)
    assert granted(documents, "kubecdc-work") == expected
    assert "add a rule" not in told
    role = "ClusterRole" if "" in expected else "Role"
    kinds = {d["kind"] for d in documents if not d["metadata"]["name"].endswith("-optional")}
    assert kinds == {"ServiceAccount", role, f"{role}Binding"}


@pytest.mark.parametrize("more", [{"parameters": written("k8s.source.resource.kind")}, {}])
def test_a_kind_that_depends_on_the_event_is_said(more: dict[str, Any]) -> None:
    template = makes(JOB) if more else makes(JOB, parameters=written("kind"))
    documents, told = printed(sensor(template, **more))
    assert documents == []
    assert "Sensor s, trigger t: the object depends on the event, or is not in the manifests: add a rule for it" in told


def test_manifests_without_anything_in_the_cluster_need_nothing() -> None:
    documents, told = printed(sensor({"log": {}}))
    assert documents == []
    assert "need no permission in the cluster" in told


def test_what_is_granted_everywhere_is_not_granted_again() -> None:
    rules = [AccessRule(Resource("", "v1", "pods", place), verbs) for place, verbs in (("", ("get",)), ("a", VERBS))]
    documents = list(of_account("x", "home", rules))
    assert granted(documents, "x") == {"": ["get pods."], "a": ["list,watch pods."]}


@pytest.mark.parametrize("entry", ["namespaces: [one, two, three]", "namespaceSelector: {matchLabels: {a: b}}"])
def test_installations_in_two_namespaces_share_no_object_so_neither_takes_the_rights_of_the_other(entry: str) -> None:
    """Also where one watches the namespace of the other, and works in it."""
    bus = (
        "{apiVersion: kubecdc.io/v1alpha1, kind: EventBus, metadata: {name: default}, spec: {sqs: {region: eu-west-1}}}"
    )
    manifests = (SOURCE % entry, sensor(makes(ELSEWHERE)), bus)
    first, second = (tuple(printed(*manifests, options=("--namespace", home))[0]) for home in ("one", "two"))
    assert {bound.partition("/")[0] for bound, *_ in rights(second)} == {"two"}
    assert rights(applied(first, second)) == rights(first) | rights(second)
    assert len(applied(first, second)) == len(first) + len(second)


def test_the_example_needs_no_cluster_role() -> None:
    example = Path(__file__).parents[2] / "examples" / "workflow-to-job" / "manifests.yaml"
    documents, _ = printed(example.read_text())
    assert {document["kind"] for document in documents} == {"ServiceAccount", "Role", "RoleBinding"}
