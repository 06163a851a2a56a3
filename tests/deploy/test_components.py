"""The components of deploy/kustomize on an API server that knows the kinds in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import RealApiServer, RequestFailed
from tests.apiserver.client import path_of
from tests.deploy.cluster import Cluster
from tests.deploy.definitions import KINDS, define, plural
from tests.deploy.test_helm import rendered
from tests.deploy.tools import DEPLOY, Document, built_in
from tests.harness.kubelet import Kubelet

pytestmark = pytest.mark.long
COMPONENTS = DEPLOY / "kustomize" / "components"
BUSES = {"autoscale-keda-sqs": "sqs", "autoscale-keda-pubsub": "pubsub"}  # the others are on Redis here
IN_OVERLAYS = {"replicated", "checkpoint"}


@pytest.fixture
async def knowing(server: RealApiServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The server, with these kinds and without a node."""
    cluster = Cluster(server, Kubelet(server, tmp_path, "kubecdc"), tmp_path)
    try:
        await define(server)
        await server.make_namespaces("kubecdc")
        yield cluster
        await cluster.clear("kubecdc")
    finally:
        await server.close()


def documents(folder: Path) -> Iterator[tuple[str, Path, tuple[Document, ...]]]:
    """Of each component: its name, a folder with a kustomization that uses it, and what that gives."""
    for component in sorted(COMPONENTS.iterdir()):
        if component.name not in IN_OVERLAYS:
            (own := folder / component.name).mkdir()
            overlay = f"../deploy/kustomize/overlays/{BUSES.get(component.name, 'redis')}"
            used = f"../deploy/kustomize/components/{component.name}"
            yield component.name, own, built_in(own, {"resources": [overlay], "components": [used]})


async def test_the_server_takes_each_component_to_the_letter(knowing: Cluster, tmp_path: Path) -> None:
    for _, folder, _ in documents(tmp_path):
        await knowing.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", folder)


async def ask(server: RealApiServer, document: Document) -> None:
    """Have the server say whether it would take an object of these kinds to the letter."""
    group, _, version = document["apiVersion"].partition("/")
    path = path_of(group, version, plural(document["kind"]), "kubecdc")
    await server.ask("POST", path, document, dryRun="All", fieldValidation="Strict")


def misspelt(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The value with one field misspelt, for each, and where that field is. Of a list, one element is enough."""
    if isinstance(value, list):
        for place, changed in misspelt(value[0], f"{where}[0]"):
            yield place, [changed, *value[1:]]
    elif isinstance(value, dict) and not where.endswith(("Labels", "labels", "annotations")):
        for name, inner in value.items():
            yield f"{where}.{name}x", {f"{n}x" if n == name else n: v for n, v in value.items()}
            for place, changed in misspelt(inner, f"{where}.{name}"):
                yield place, {**value, name: changed}


async def test_the_server_refuses_each_field_that_is_misspelt(knowing: Cluster, tmp_path: Path) -> None:
    """So the definitions know each field, and the test above would find a wrong one."""
    kinds = {kind for kind, _, _ in KINDS}
    monitored = {name: {"enabled": True} for name in ("podMonitor", "alerts")}
    ours = [document for _, _, made in documents(tmp_path) for document in made if document["kind"] in kinds]
    ours += [document for document in rendered(values=monitored) if document["kind"] in kinds]
    assert {document["kind"] for document in ours} == kinds
    for document in ours:
        await ask(knowing.api, document)
        for place, spec in misspelt(document["spec"], "spec"):
            with pytest.raises(RequestFailed, match="unknown field") as refused:
                await ask(knowing.api, {**document, "spec": spec})
            assert f'unknown field "{place}"' in str(refused.value)
