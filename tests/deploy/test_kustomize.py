"""deploy/kustomize, as it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import kubecdc
from kubecdc.cli.commands.rbac import rbac
from tests.deploy.tools import BUSES, DEPLOY, OVERLAYS, ROOT, Document, built, built_in, of_kind

Right = tuple[str, str, str, str, str, str]  # account, namespace or "" for all, group, resource, name, verb


def rights(documents: tuple[Document, ...]) -> set[Right]:
    """What the bindings grant."""
    roles = {
        (document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]): document["rules"]
        for document in documents
        if document["kind"] in ("Role", "ClusterRole")
    }
    found = set()
    for document in documents:
        if document["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            place, role = document["metadata"].get("namespace", ""), document["roleRef"]
            for rule in roles[role["kind"], place, role["name"]]:
                for subject in document["subjects"]:
                    assert subject["kind"] == "ServiceAccount"
                    found |= expanded(f"{subject['namespace']}/{subject['name']}", place, rule)
    return found


def applied(*installations: tuple[Document, ...]) -> tuple[Document, ...]:
    """What is in the cluster once they have been applied one after the other."""
    found = {
        (document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]): document
        for documents in installations
        for document in documents
    }
    return tuple(found.values())


def expanded(account: str, place: str, rule: dict[str, Any]) -> set[Right]:
    return {
        (account, place, group, resource, name, verb)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def needed(documents: tuple[Document, ...], folder: Path) -> set[Right]:
    """What `kubecdc rbac` prints for the manifests that are mounted, without the Secrets that are mounted too."""
    for config_map in of_kind(documents, "ConfigMap"):
        for name, text in config_map["data"].items():
            (folder / name).write_text(text)
    done = CliRunner().invoke(rbac, ["-f", str(folder), "--namespace", "kubecdc"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    mounted = {
        volume["secret"]["secretName"]
        for deployment in of_kind(documents, "Deployment")
        for volume in volumes_of(deployment).values()
        if "secret" in volume
    }
    found = rights(tuple(yaml.safe_load_all(done.stdout)))
    return {right for right in found if not (right[3] == "secrets" and right[4] in mounted)}


@pytest.mark.parametrize("bus", BUSES)
def test_the_accounts_have_the_rights_that_their_manifests_need_and_no_other(bus: str, tmp_path: Path) -> None:
    documents = built(OVERLAYS / bus)
    assert rights(documents) == needed(documents, tmp_path)


@pytest.mark.parametrize("bus", BUSES)
def test_for_one_namespace_there_are_roles_only(bus: str, tmp_path: Path) -> None:
    own = {
        "resources": [f"../deploy/kustomize/overlays/{bus}"],
        "components": ["../deploy/kustomize/components/one-namespace"],
    }
    (tmp_path / "own").mkdir()
    documents = built_in(tmp_path / "own", own)
    assert not of_kind(documents, "ClusterRole") + of_kind(documents, "ClusterRoleBinding")
    (tmp_path / "mounted").mkdir()
    assert rights(documents) == needed(documents, tmp_path / "mounted")


@pytest.mark.parametrize("bus", BUSES)
def test_all_objects_have_the_recommended_labels_and_the_version_is_that_of_the_package(bus: str) -> None:
    documents = built(OVERLAYS / bus)
    templates = [document["spec"]["template"] for document in of_kind(documents, "Deployment")]
    for document in (*documents, *templates):
        labels = document["metadata"]["labels"]
        assert {name: labels[f"app.kubernetes.io/{name}"] for name in ("name", "instance", "version", "part-of")} == {
            "name": "kubecdc",
            "instance": "kubecdc",
            "version": kubecdc.__version__,
            "part-of": "kubecdc",
        }
    images = {template["spec"]["containers"][0]["image"] for template in templates}
    assert images == {f"kubecdc:{kubecdc.__version__}"}


@pytest.mark.parametrize("bus", BUSES)
def test_selectors_find_the_pods_of_their_own_kind_only(bus: str) -> None:
    documents = built(OVERLAYS / bus)
    deployments = of_kind(documents, "Deployment")
    for deployment in deployments:
        selector = deployment["spec"]["selector"]["matchLabels"]
        found = [d["metadata"]["name"] for d in deployments if selector.items() <= labels_of(d).items()]
        assert found == [deployment["metadata"]["name"]]
        for spread in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"] == selector
    selectors = {d["metadata"]["name"]: d["spec"]["selector"]["matchLabels"] for d in deployments}
    budgets = {
        d["metadata"]["name"]: d["spec"]["selector"]["matchLabels"] for d in of_kind(documents, "PodDisruptionBudget")
    }
    assert budgets == ({} if bus == "embedded" else selectors)
    (policy,) = of_kind(documents, "NetworkPolicy")
    for deployment in deployments:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels_of(deployment).items()


@pytest.mark.parametrize("bus", BUSES)
def test_the_pods_that_the_page_names_write_kubernetes_events(bus: str) -> None:
    """Those with a token and the right. Where workers are not among them, triggers that fail do not become Events."""
    documents = built(OVERLAYS / bus)
    able = {
        account for account, _, _, resource, _, verb in rights(documents) if (resource, verb) == ("events", "create")
    }
    pods = {d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in of_kind(documents, "Deployment")}
    writing = {
        name
        for name, pod in pods.items()
        if pod["automountServiceAccountToken"] and f"kubecdc/{pod['serviceAccountName']}" in able
    }
    assert writing == ({"kubecdc-watch"} if bus == "redis" else set(pods))


def labels_of(deployment: Document) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def test_the_default_is_the_embedded_bus_and_the_example_of_the_start() -> None:
    assert built(DEPLOY / "kustomize") == built(OVERLAYS / "embedded")
    example = (ROOT / "examples" / "deployments" / "manifests.yaml").read_text()
    assert (DEPLOY / "kustomize" / "base" / "manifests.yaml").read_text() == example


def test_another_bus_is_another_config_map_so_that_the_pods_are_replaced_and_other_manifests_are_not(
    tmp_path: Path,
) -> None:
    """They read those again by themselves, if the name stays."""
    before = of_kind(built(OVERLAYS / "redis"), "Deployment")
    for name in ("manifests", "bus"):
        generator = {
            "name": f"kubecdc-{name}",
            "namespace": "kubecdc",
            "behavior": "replace",
            "files": ["other.yaml"],
        }
        folder = tmp_path / name
        folder.mkdir()
        (folder / "other.yaml").write_text("# other\n")
        own = {"resources": ["../deploy/kustomize/overlays/redis"], "configMapGenerator": [generator]}
        documents = built_in(folder, own)
        assert (before == of_kind(documents, "Deployment")) == (name == "manifests")
        assert "# other\n" in [map_["data"].get("other.yaml") for map_ in of_kind(documents, "ConfigMap")]


def volumes_of(deployment: Document) -> dict[str, Any]:
    return {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
