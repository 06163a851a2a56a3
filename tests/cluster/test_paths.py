"""Names that have a meaning in a URL are no part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.named_object import NamedObject
from kubecdc.cluster.resource import Resource
from tests.apiserver import ApiServer, RealApiServer, simulator

ROLES = ("rbac.authorization.k8s.io", "v1", "roles")
NAMES = ["what?", "a#b", "a b", "a&b=c,d", "system:node+x", "\u00fcber", "back\\slash"]  # what a Role may be called


async def round_trip(api: ApiServer, name: str, kubeconfig: Path) -> None:
    """Create an object of that name, and find it in every way."""
    roles = Resource(*ROLES, "default")
    body: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}}
    async with Cluster(str(api.kubeconfig(kubeconfig))) as cluster:
        role = NamedObject(cluster, roles, name, what="Role", role="r", elsewhere="elsewhere")
        assert await role.get(seconds=10) is None
        await role.create(body, seconds=10)
        assert msgspec.json.decode(await role.get(seconds=10) or b"")["metadata"]["name"] == name
        found = await ListWatch(cluster, roles).find("default", name)
        assert found
        assert (found.name, found.uid) == (name, await ListWatch(cluster, Resource(*ROLES)).uid("default", name))


@pytest.mark.parametrize("name", NAMES)
async def test_an_object_of_any_name_is_the_one_that_is_asked_for(name: str, tmp_path: Path) -> None:
    async with simulator() as api:
        await round_trip(api, name, tmp_path / "kc")


@pytest.mark.parametrize("name", NAMES)
async def test_on_a_real_server_too(real_api: RealApiServer, name: str, tmp_path: Path) -> None:
    await round_trip(real_api, name, tmp_path / "kc")


def test_every_segment_of_a_path_is_escaped() -> None:
    resource = Resource("a.example/x", "v1?", "things#", "name space")
    assert resource.path == "/apis/a.example%2Fx/v1%3F/namespaces/name%20space/things%23"
    assert resource.path_of("100%/..") == f"{resource.path}/100%25%2F.."
    assert Resource("", "v1", "pods").path == "/api/v1/pods"


async def test_an_escaped_name_reaches_the_server_as_it_is(tmp_path: Path) -> None:
    async with simulator() as api, Cluster(str(api.kubeconfig(tmp_path / "kc"))) as cluster:
        path = Resource("", "v1", "configmaps", "default").path_of("100%3F/..#?")
        assert cluster._rotation.configuration.server.at(path).raw_path == path
