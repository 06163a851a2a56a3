"""The Helm chart: what it makes is what kustomize makes, and wrong values are refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from tests.deploy.test_kustomize import applied, rights
from tests.deploy.tools import BUSES, DEPLOY, OVERLAYS, Document, built, built_in, named, of_kind, output, tool

CHART = DEPLOY / "helm" / "kubecdc"
HELM_ALONE = ("app.kubernetes.io/managed-by", "helm.sh/chart")


def rendered(
    *options: str, release: str = "kubecdc", namespace: str = "kubecdc", values: dict[str, Any] | None = None
) -> tuple[Document, ...]:
    """The documents of a release."""
    command: tuple[str | Path, ...] = (
        "template",
        release,
        CHART,
        "--namespace",
        namespace,
        "--kube-version",
        "1.34.0",
        *options,
    )
    text = output("helm", *command, "--values", "-", stdin=yaml.safe_dump(values or {}))
    return tuple(document for document in yaml.safe_load_all(text) if document)


def compared(documents: tuple[Document, ...]) -> dict[tuple[str, str, str], Document]:
    """By kind, namespace and name, without what the tools do differently.

    That is the hash in the name of the bus's ConfigMap in place of the annotation with a checksum, the namespace
    itself, labels of Helm, the order in lists that are sets, and comments in manifests.
    """
    found: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        if document["kind"] == "Namespace":
            continue
        metadata = document["metadata"]
        if document["kind"] == "ConfigMap":
            metadata["name"] = unhashed(metadata["name"])
            document["data"] = {name: [*yaml.safe_load_all(text)] for name, text in document["data"].items()}
        if document["kind"] == "Deployment":
            template = document["spec"]["template"]
            without_helm(template["metadata"])
            template["metadata"].pop("annotations", None)
            volumes = template["spec"]["volumes"]
            for volume in volumes:
                if "configMap" in volume:
                    volume["configMap"]["name"] = unhashed(volume["configMap"]["name"])
        without_helm(metadata)
        document["rules"] = sorted(document.get("rules", []), key=str)
        found[document["kind"], metadata.get("namespace", ""), metadata["name"]] = document
    return found


def unhashed(name: str) -> str:
    """Without the hash that kustomize adds."""
    return "-".join(name.split("-")[:2])


def without_helm(metadata: dict[str, Any]) -> None:
    metadata["labels"] = {name: value for name, value in metadata["labels"].items() if name not in HELM_ALONE}


def copied(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    return tuple(yaml.safe_load(yaml.safe_dump(document)) for document in documents)


@pytest.mark.parametrize("bus", BUSES)
def test_the_chart_makes_what_kustomize_makes(bus: str) -> None:
    assert compared(rendered("--set", f"bus.type={bus}")) == compared(copied(built(OVERLAYS / bus)))


def test_for_one_namespace_too(tmp_path: Path) -> None:
    example = DEPLOY / "kustomize" / "components" / "one-namespace"
    values = {
        "bus": {"type": "redis"},
        "rbac": {"namespaces": ["default"]},
        "manifests": {"manifests.yaml": (example / "manifests.yaml").read_text()},
    }
    own = {
        "resources": ["../deploy/kustomize/overlays/redis"],
        "components": ["../deploy/kustomize/components/one-namespace"],
    }
    assert compared(rendered(values=values)) == compared(built_in(tmp_path, own))


def test_rights_of_one_account_in_one_namespace_are_in_one_role() -> None:
    """Also where it is the namespace of the pods that is watched."""
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}
    rbac = {"namespaces": ["kubecdc", "kube-system"], "workerRules": [jobs], "optional": {"namespaceSelector": True}}
    documents = rendered(values={"bus": {"type": "sqs"}, "rbac": rbac})
    places = [
        (d["metadata"].get("namespace", ""), d["metadata"]["name"]) for d in documents if d["kind"].endswith("Role")
    ]
    assert sorted(places) == [
        ("", "kubecdc-watch-kubecdc"),
        ("kube-system", "kubecdc-watch-kubecdc"),
        ("kubecdc", "kubecdc-watch"),
        ("kubecdc", "kubecdc-watch-optional"),
        ("kubecdc", "kubecdc-work"),
        ("kubecdc", "kubecdc-work-optional"),
    ]
    granted = {
        (account.rpartition("/")[2], place, resource, verb)
        for account, place, _, resource, _, verb in rights(documents)
    }
    assert {
        ("kubecdc-watch", "kubecdc", "deployments", "watch"),
        ("kubecdc-watch", "kubecdc", "leases", "update"),
        ("kubecdc-watch", "kubecdc", "configmaps", "update"),
        ("kubecdc-watch", "kubecdc", "events", "create"),
        ("kubecdc-watch", "kube-system", "namespaces", "get"),
        ("kubecdc-watch", "", "namespaces", "watch"),
        ("kubecdc-work", "kubecdc", "jobs", "create"),
        ("kubecdc-work", "kubecdc", "configmaps", "update"),
    } <= granted


def test_another_bus_replaces_the_pods_and_other_manifests_do_not() -> None:
    """They read those again by themselves."""

    def template(values: dict[str, Any]) -> Any:
        deployment = named(rendered(values={"bus": {"type": "redis"}, **values}), "Deployment", "kubecdc-work")
        return deployment["spec"]["template"]

    first = template({})
    assert template({"workers": {"replicas": 5}}) == template({"manifests": {"a.yaml": "x: 1"}}) == first
    other = {"redis": {"url": "redis://elsewhere:6379/0"}}
    assert template({"bus": {"type": "redis", "spec": other}})["metadata"] != first["metadata"]


def test_a_release_of_another_name_shares_no_name_with_it() -> None:
    def names(release: str) -> set[tuple[str, str]]:
        return {(document["kind"], document["metadata"]["name"]) for document in rendered(release=release)}

    assert not names("kubecdc") & names("other")


EVERYWHERE: dict[str, Any] = {"namespaces": ["one", "two", "three"], "optional": {"namespaceSelector": True}}


@pytest.mark.parametrize("rbac", [{}, EVERYWHERE])
@pytest.mark.parametrize("bus", BUSES)
def test_releases_of_one_name_in_two_namespaces_share_no_object(bus: str, rbac: dict[str, Any]) -> None:
    values = {"bus": {"type": bus}, "rbac": rbac}
    first, second = (rendered(namespace=home, values=values) for home in ("one", "two"))
    assert {bound.partition("/")[0] for bound, *_ in rights(second)} == {"two"}
    assert rights(applied(first, second)) == rights(first) | rights(second)
    assert len(applied(first, second)) == len(first) + len(second)


def mounted(documents: tuple[Document, ...], folder: Path) -> list[str]:
    """The files of the release, as options of commands."""
    options: list[str] = []
    for name in ("bus", "manifests"):
        (found,) = [m for m in of_kind(documents, "ConfigMap") if m["metadata"]["name"].endswith(f"kubecdc-{name}")]
        (folder / name).mkdir(parents=True)
        for file, text in found["data"].items():
            (folder / name / file).write_text(text)
        options += ["-f", str(folder / name)]
    return options


def locks(documents: tuple[Document, ...]) -> set[tuple[str, str]]:
    """The Leases and ConfigMaps that the accounts may change."""
    return {(resource, name) for _, _, _, resource, name, verb in rights(documents) if verb == "update"}


@pytest.mark.parametrize("bus", BUSES)
def test_two_releases_share_neither_lease_nor_checkpoint_and_may_use_their_own(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, set[tuple[str, str]]] = {}
    for release in ("kubecdc", "one", "two"):
        documents = rendered(release=release, values={"bus": {"type": bus}, "secrets": ["kubecdc-redis"]})
        used[release] = locks(documents)
        for deployment in of_kind(documents, "Deployment"):
            if deployment["metadata"]["name"].endswith("-watch"):  # the environment of all commands in this pod
                for variable in deployment["spec"]["template"]["spec"]["containers"][0].get("env", []):
                    monkeypatch.setenv(variable["name"], variable["value"])
        files = mounted(documents, tmp_path / release)
        done = CliRunner().invoke(rbac, [*files, "--namespace", "kubecdc"], catch_exceptions=False)
        assert locks(tuple(yaml.safe_load_all(done.stdout))) == used[release]
    assert not used["kubecdc"] & used["one"] | used["kubecdc"] & used["two"] | used["one"] & used["two"]
    assert len(used["one"]) == {"embedded": 0, "redis": 1}.get(bus, 3)


@pytest.mark.parametrize("release", ["kubecdc", "other"])
def test_the_accounts_may_use_the_config_map_that_the_values_name(release: str) -> None:
    spec = {"sqs": {"region": "eu-west-1"}, "checkpoint": {"configMap": {"name": "position", "namespace": "elsewhere"}}}
    documents = rendered(release=release, values={"bus": {"type": "sqs", "spec": spec}})
    (bus,) = [m for m in of_kind(documents, "ConfigMap") if m["metadata"]["name"].endswith("kubecdc-bus")]
    assert yaml.safe_load(bus["data"]["eventbus.yaml"])["spec"] == spec
    found = {
        (place, name)
        for _, place, _, resource, name, verb in rights(documents)
        if (resource, verb) == ("configmaps", "update")
    }
    assert found == {("elsewhere", "position"), ("elsewhere", "position-state")}


def test_secrets_workers_rights_and_the_monitor_arrive_where_they_are_used() -> None:
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}
    values = {
        "secrets": ["receiver"],
        "rbac": {"workerRules": [jobs]},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "run": {"extraArgs": ["--concurrency=8"], "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}]},
    }
    documents = rendered(values=values)
    pod = named(documents, "Deployment", "kubecdc-run")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "receiver", "secret": {"secretName": "receiver"}} in pod["volumes"]
    assert container["volumeMounts"][-1]["mountPath"] == "/argo-events/secrets/receiver"
    assert container["args"][-1] == "--concurrency=8"
    assert container["env"] == values["run"]["env"]  # type: ignore[index]
    assert ("kubecdc/kubecdc-watch", "kubecdc", "batch", "jobs", "", "create") in rights(documents)
    (monitor,) = of_kind(documents, "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (port,) = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
    assert port in {port["name"] for port in container["ports"]}


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("bus.type=kafka", "/bus/type"),
        ("watcher.replica=2", "/watcher"),
        ("workers.replicas=-1", "/workers/replicas"),
        ("image.repository=", "/image/repository"),
        ("manifests.a=x", "propertyName 'a'"),
        ("rbac.rules[0].verbs=x", "/rbac/rules/0"),
    ],
)
def test_wrong_values_are_refused_by_name(wrong: str, place: str) -> None:
    command = [tool("helm"), "template", str(CHART), "--kube-version", "1.34.0", "--set", wrong]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert place in done.stderr


def test_the_chart_is_of_the_version_of_the_package_and_has_its_example() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    labels = built(OVERLAYS / "embedded")[0]["metadata"]["labels"]
    assert chart["version"] == chart["appVersion"] == labels["app.kubernetes.io/version"]
    example = (DEPLOY / "kustomize" / "base" / "manifests.yaml").read_text()
    assert (CHART / "files" / "manifests.yaml").read_text() == example
