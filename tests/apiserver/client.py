"""A small client for tests, and what every API server to test on offers."""

from __future__ import annotations

import io
import json
import ssl
import sys
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import yaml

Body = dict[str, Any]

WORKFLOWS = ("argoproj.io", "v1alpha1", "workflows")
CONFIGMAPS = ("", "v1", "configmaps")
NAMESPACES = ("", "v1", "namespaces")
LEASES = ("coordination.k8s.io", "v1", "leases")
CRDS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")


class RequestFailed(Exception):
    """The server answered with an error: ``code`` and the Status (or what else it sent)."""

    def __init__(self, code: int, status: Any) -> None:
        super().__init__(f"{code}: {status.get('message') if isinstance(status, dict) else status}")
        self.code = code
        self.status = status


def path_of(group: str, version: str, resource: str, namespace: str = "", name: str = "") -> str:
    """The URL path of a collection or an object. An empty namespace means all, or a cluster-wide kind."""
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{resource}" + (f"/{name}" if name else "")


def workflow(name: str, *, labels: dict[str, str] | None = None, phase: str = "", **spec: Any) -> Body:
    """A Workflow."""
    metadata: Body = {"name": name}
    if labels:
        metadata["labels"] = labels
    body: Body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec}
    if phase:
        body["status"] = {"phase": phase}
    return body


class Client:
    """Requests as an administrator. Errors are RequestFailed."""

    def __init__(
        self, url: str, *, prefix: str = "", token: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self.url = url
        self._prefix = prefix
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ssl: ssl.SSLContext | bool = context or True
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def ask(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: Any
    ) -> Any:
        """The decoded answer of one request."""
        if self._session is None:
            # No connection is kept between requests: the server may be restarted at any time. TLS connections whose
            # end the server has not answered yet are aborted by `close`; newer versions of Python need no help there.
            connector = aiohttp.TCPConnector(force_close=True, enable_cleanup_closed=sys.version_info < (3, 12, 7))
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))
        headers = {**self._headers, "Content-Type": content_type} if body is not None else self._headers
        async with self._session.request(
            method,
            self.url + path,
            data=None if body is None else io.BytesIO(json.dumps(body).encode()),
            headers=headers,
            params={k: str(v) for k, v in query.items()},
            ssl=self._ssl,
        ) as response:
            decoded = response.content_type == "application/json"
            answer = await response.json() if decoded else await response.text()
            if response.status >= 400:
                raise RequestFailed(response.status, answer)
            return answer

    def _path(self, *parts: str) -> str:
        return self._prefix + path_of(*parts)

    async def create(self, group: str, version: str, resource: str, namespace: str, body: Body) -> Body:
        created: Body = await self.ask("POST", self._path(group, version, resource, namespace), body)
        return created

    async def get(self, group: str, version: str, resource: str, namespace: str, name: str) -> Body:
        found: Body = await self.ask("GET", self._path(group, version, resource, namespace, name))
        return found

    async def update(self, group: str, version: str, resource: str, namespace: str, body: Body) -> Body:
        """PUT; the body carries the name and the resourceVersion it was read at."""
        path = self._path(group, version, resource, namespace, body["metadata"]["name"])
        updated: Body = await self.ask("PUT", path, body)
        return updated

    async def patch(
        self, group: str, version: str, resource: str, namespace: str, name: str, patch: Body, *, subresource: str = ""
    ) -> Body:
        """A merge patch."""
        path = self._path(group, version, resource, namespace, name) + (f"/{subresource}" if subresource else "")
        patched: Body = await self.ask("PATCH", path, patch, content_type="application/merge-patch+json")
        return patched

    async def delete(
        self, group: str, version: str, resource: str, namespace: str, name: str, *, options: Body | None = None
    ) -> Body:
        gone: Body = await self.ask("DELETE", self._path(group, version, resource, namespace, name), options)
        return gone

    async def list(self, group: str, version: str, resource: str, namespace: str = "", **query: Any) -> Body:
        """One page: ``limit``, ``labelSelector``, ... as query parameters."""
        page: Body = await self.ask("GET", self._path(group, version, resource, namespace), **query)
        return page

    async def make_namespaces(self, *names: str) -> None:
        """Make those that are not there."""
        for name in names:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            try:
                await self.create(*NAMESPACES, "", body)
            except RequestFailed as e:
                if e.code != 409:
                    raise

    async def write_past(self, version: str) -> None:
        """Write until the counter has passed a version: a ConfigMap in kube-public is changed again and again."""
        body: Body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"past-{version}"}}
        body = await self.create(*CONFIGMAPS, "kube-public", body)
        written = 0
        while int(body["metadata"]["resourceVersion"]) <= int(version):
            written += 1
            body = await self.update(*CONFIGMAPS, "kube-public", {**body, "data": {"written": str(written)}})


def client_of(kubeconfig: Path) -> Client:
    """A client with server and credentials of a kubeconfig."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = None
    if authority := cluster.get("certificate-authority"):
        context = ssl.create_default_context(cafile=authority)
    if context and "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return Client(cluster["server"], token=user.get("token"), context=context)


class ApiServer(Protocol):
    """An API server to test on, whichever it is: simulator in this process or its own, or a real one."""

    url: str
    ssl: ssl.SSLContext | None

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def restart(self) -> None:
        """The API server alone: its watch caches forget, stored objects stay. Returns when it answers again."""

    async def expire_history(self) -> None:
        """Every watch from before now is 410 afterwards, and page tokens expire."""

    async def snapshot(self) -> Any:
        """A backup of what is stored, the counter included; the server goes on."""

    async def restore(self, snapshot: Any) -> None:
        """Stop everything, put the backup back, start again: versions run backwards, and those after the backup are
        given out a second time. Returns when the server answers again."""

    async def replace_cluster(self) -> None:
        """Another cluster at the same address, with another uid of kube-system and none of the objects."""

    def suspend(self) -> None:
        """Connections stay open and nothing is answered, until ``resume``."""

    def resume(self) -> None: ...

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig of an administrator."""

    async def kubeconfig_of(self, path: Path, user: str, *groups: str) -> Path:
        """Write a kubeconfig of a user, to whom RBAC applies (on a simulator with ``rbac``)."""

    async def make_namespaces(self, *names: str) -> None:
        """Make the namespaces that are not there: a write into one needs it."""

    async def write_past(self, version: str) -> None:
        """Write until the counter has passed a version."""

    async def create(self, group: str, version: str, resource: str, namespace: str, body: Body) -> Body: ...
    async def get(self, group: str, version: str, resource: str, namespace: str, name: str) -> Body: ...
    async def update(self, group: str, version: str, resource: str, namespace: str, body: Body) -> Body: ...
    async def patch(
        self, group: str, version: str, resource: str, namespace: str, name: str, patch: Body, *, subresource: str = ""
    ) -> Body: ...
    async def delete(
        self, group: str, version: str, resource: str, namespace: str, name: str, *, options: Body | None = None
    ) -> Body: ...
    async def list(self, group: str, version: str, resource: str, namespace: str = "", **query: Any) -> Body: ...


def write_kubeconfig(path: Path, url: str, *, user: Body | None = None, cluster: Body | None = None) -> Path:
    """A kubeconfig with one context, ``test``."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "test", "user": user or {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))
    return path
