"""Who may do what, on every API server alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.apiserver import (
    NAMESPACES,
    WORKFLOWS,
    ApiServer,
    Client,
    RequestFailed,
    client_of,
    simulator,
    workflow,
)

GROUP = "rbac.authorization.k8s.io"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WATCHER = "system:serviceaccount:default:watcher"
READ = [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list", "watch"]}]


async def bind(
    server: ApiServer,
    subject: dict[str, str],
    rules: list[dict[str, Any]],
    *,
    namespace: str = "",
    cluster: bool = False,
) -> None:
    """A role with the rules, bound to the subject: in a namespace (``cluster``: to a ClusterRole) or everywhere."""
    kind = "Role" if namespace and not cluster else "ClusterRole"
    resource = (GROUP, "v1", kind.lower() + "s")
    version = {"apiVersion": f"{GROUP}/v1"}
    name = f"test-{subject['name']}-{namespace}".replace(":", "-").rstrip("-").lower()
    role = {**version, "kind": kind, "metadata": {"name": name}, "rules": rules}
    await server.create(*resource, namespace if kind == "Role" else "", role)
    binding = {
        **version,
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": name},
        "subjects": [subject],
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
    }
    await server.create(GROUP, "v1", "rolebindings" if namespace else "clusterrolebindings", namespace, binding)


@asynccontextmanager
async def as_user(server: ApiServer, folder: Path, user: str, *groups: str) -> AsyncIterator[Client]:
    client = client_of(await server.kubeconfig_of(folder / f"{user.rpartition(':')[2]}.yaml", user, *groups))
    try:
        yield client
    finally:
        await client.close()


async def refused(request: Coroutine[Any, Any, Any]) -> str:
    """The message of the 403 that a request gets."""
    with pytest.raises(RequestFailed) as failed:
        await request
    assert (failed.value.code, failed.value.status["reason"]) == (403, "Forbidden")
    return str(failed.value.status["message"])


async def allowed(client: Client, *resource: str) -> Any:
    """A list, once it is allowed: a real server remembers for a second what was not."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await client.list(*resource)
            except RequestFailed as e:
                if e.code != 403:
                    raise
                await asyncio.sleep(0.1)


async def may(client: Client, verb: str, resource: str, *, group: str = "argoproj.io", **where: str) -> bool:
    asked = {"verb": verb, "group": group, "resource": resource, **where}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    answer = await client.ask("POST", REVIEWS, {**body, "spec": {"resourceAttributes": asked}})
    assert answer["spec"]["resourceAttributes"] == asked
    return bool(answer["status"]["allowed"])


async def test_rules_only_add_and_reach_as_far_as_their_binding(server: ApiServer, tmp_path: Path) -> None:
    await server.create(*WORKFLOWS, "default", workflow("one", n=1))
    async with as_user(server, tmp_path, WATCHER) as client:
        assert await refused(client.list(*WORKFLOWS, "default")) == (
            f'workflows.argoproj.io is forbidden: User "{WATCHER}" cannot list resource "workflows" in API group '
            '"argoproj.io" in the namespace "default"'
        )
        assert not await may(client, "list", "workflows", namespace="default")
        account = {"kind": "ServiceAccount", "name": "watcher", "namespace": "default"}
        await bind(server, account, READ, namespace="default")
        assert len((await allowed(client, *WORKFLOWS, "default"))["items"]) == 1
        assert (await client.get(*WORKFLOWS, "default", "one"))["spec"] == {"n": 1}
        assert await refused(client.list(*WORKFLOWS)) == (
            f'workflows.argoproj.io is forbidden: User "{WATCHER}" cannot list resource "workflows" in API group '
            '"argoproj.io" at the cluster scope'
        )
        assert await refused(client.delete(*WORKFLOWS, "default", "one")) == (
            f'workflows.argoproj.io "one" is forbidden: User "{WATCHER}" cannot delete resource "workflows" in API '
            'group "argoproj.io" in the namespace "default"'
        )
        assert "cannot list" in await refused(client.list(*WORKFLOWS, "other"))
        assert "cannot watch" in await refused(client.list(*WORKFLOWS, watch="true"))
        answers = [
            await may(client, "watch", "workflows", namespace="default"),
            await may(client, "watch", "workflows"),
            await may(client, "delete", "workflows", namespace="default"),
            await may(client, "get", "workflows", namespace="default", subresource="status"),
            await may(client, "list", "jobs", group="batch", namespace="default"),
        ]
        assert answers == [True, False, False, False, False]


async def test_users_and_groups_may_what_a_cluster_role_says(server: ApiServer, tmp_path: Path) -> None:
    await server.make_namespaces("team")
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    await bind(server, {"kind": "User", "name": "alice"}, READ)
    await bind(server, {"kind": "Group", "name": "owners"}, everything, namespace="team", cluster=True)
    named = [{"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-public"], "verbs": ["get"]}]
    await bind(server, {"kind": "User", "name": "bob"}, named)
    async with as_user(server, tmp_path, "alice") as alice, as_user(server, tmp_path, "bob", "owners") as bob:
        assert (await alice.list(*WORKFLOWS))["items"] == []
        assert "cannot create" in await refused(alice.create(*WORKFLOWS, "team", workflow("no")))
        await bob.create(*WORKFLOWS, "team", workflow("yes"))
        assert "cannot create" in await refused(bob.create(*WORKFLOWS, "default", workflow("no")))
        assert (await bob.get(*NAMESPACES, "", "kube-public"))["metadata"]["name"] == "kube-public"
        assert 'namespaces "kube-system" is forbidden' in await refused(bob.get(*NAMESPACES, "", "kube-system"))
        assert "cannot list" in await refused(bob.list(*NAMESPACES))
        assert await bob.ask("GET", "/version")
    async with as_user(server, tmp_path, "root", "system:masters") as root:
        assert await root.list(*NAMESPACES)
        assert await may(root, "delete", "workflows")


async def test_a_list_of_one_name_needs_the_right_to_that_name_only() -> None:
    named = [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "resourceNames": ["one"], "verbs": ["list"]}]
    async with simulator(rbac=True, tokens=["root"]) as api, aiohttp.ClientSession(api.url) as session:
        await bind(api, {"kind": "User", "name": "carol"}, named)
        await api.ask("POST", "/_sim/user", {"token": "c", "user": "carol"})
        head = {"Authorization": "Bearer c"}
        path = "/apis/argoproj.io/v1alpha1/workflows"
        found = []
        for query in ("fieldSelector=metadata.name%3Done", "fieldSelector=metadata.name%3Dtwo", "", "watch=1"):
            async with session.get(f"{path}?{query}", headers=head) as answer:
                found.append(answer.status)
        assert found == [200, 403, 403, 403]
        async with session.get(path) as nobody, session.get(path, headers={"Authorization": "Bearer root"}) as root:
            assert (nobody.status, root.status) == (403, 200)


async def test_without_rbac_everybody_may_do_all() -> None:
    async with simulator() as api:
        await api.ask("POST", "/_sim/user", {"token": "c", "user": "carol"})
        client = Client(api.url, token="c")
        assert await may(client, "delete", "workflows")
        assert (await client.list(*WORKFLOWS))["items"] == []
        await client.close()
