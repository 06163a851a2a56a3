"""Whether the cluster has what the entries name, and lets us read it: asked before anything is watched.

Resources come from discovery, rights from SelfSubjectAccessReviews, which every authenticated user may make. A server
without them is asked for a real list and a real watch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from kubecdc.cluster.changes import decode_page
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.resource import Resource
from kubecdc.watcher.election.lease import VERBS as LEASE_VERBS
from kubecdc.watcher.election.lease import grant as lease_grant
from kubecdc.watcher.election.lease import resource as lease_resource
from kubecdc.watcher.election.settings import LeaseSettings
from kubecdc.watcher.manifest import Entry, EventSource

VERBS = ("get", "list", "watch")
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
NAMESPACES = Resource("", "v1", "namespaces")
NO_REVIEWS = frozenset({403, 404, 405, 501})


@dataclass(frozen=True)
class Problem:
    """What stands in the way of an entry: ``str()`` is its line."""

    entry: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.message}; {self.fix}"


class _Served(msgspec.Struct, rename="camel"):
    """A resource as discovery lists it (APIResource, meta/v1)."""

    name: str
    kind: str = ""
    singular_name: str = ""
    namespaced: bool = False
    verbs: list[str] = []


class _ServedList(msgspec.Struct):
    resources: list[_Served] = []


class _ReviewStatus(msgspec.Struct):
    allowed: bool = False


class _Review(msgspec.Struct):
    status: _ReviewStatus


async def check(
    cluster: Cluster, sources: Iterable[EventSource], leases: Mapping[str, LeaseSettings] | None = None
) -> list[Problem]:
    """Every problem of every entry, in the order of the manifests; then those of the Leases, by EventBus.

    Raises ApiError if the cluster cannot be reached or does not accept the credentials.
    """
    access = _Access(cluster)
    problems: list[Problem] = []
    for source in sources:
        for name, entry in source.spec.resource.items():
            where = f"EventSource {source.name}, spec.resource.{name}"
            try:
                problems += [Problem(where, *problem) for problem in await access.problems(entry)]
            except (ApiError, Malformed) as e:
                if isinstance(e, ApiError) and e.status in {0, 401}:
                    raise
                hint = getattr(e, "hint", "") or "see the API server's log"
                problems.append(Problem(where, str(e), hint))
    for bus, lease in (leases or {}).items():
        problems += [Problem(f"EventBus {bus}, leader election", *p) for p in await access.lease_problems(lease)]
    return problems


class _Access:
    """What one cluster was asked, each question once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._served: dict[str, list[_Served] | None] = {}
        self._allowed: dict[tuple[Resource, str, str], bool] = {}

    async def problems(self, entry: Entry) -> list[tuple[str, str]]:
        """Message and fix of each problem of an entry. Raises ApiError, Malformed."""
        missing = await self._missing(entry)
        if missing:
            return [missing]
        resource = Resource(entry.group, entry.version, entry.resource)
        if entry.namespace_selector is None:
            places = entry.namespaces or (entry.namespace,)
            found = [await self._denied(replace(resource, namespace=place), VERBS) for place in places]
            return [problem for problem in found if problem]
        denied = await self._denied(NAMESPACES, ("list", "watch"))
        if denied:
            return [denied]
        if not await self._denied(resource, VERBS):
            return []
        query = {"labelSelector": entry.namespace_selector.text}
        selected = decode_page(await self._cluster.get(NAMESPACES.path, query)).items
        found = [await self._denied(replace(resource, namespace=item.meta.name), VERBS) for item in selected]
        return [problem for problem in found if problem]

    async def lease_problems(self, lease: LeaseSettings) -> list[tuple[str, str]]:
        """Message and fix of what keeps us from electing by the Lease. Raises ApiError, Malformed."""
        with suppress(ApiError):  # who may not look, learns it when the Lease is made
            if not await self._there(f"/api/v1/namespaces/{lease.namespace}"):
                fix = f"`kubectl create namespace {lease.namespace}`, or name another with --lease-namespace"
                return [(f"there is no namespace {lease.namespace} for the Lease", fix)]
        resource = lease_resource(lease.namespace)
        # A role may be for the one Lease by name; but what is not there yet has none.
        names = {verb: "" if verb == "create" else lease.name for verb in LEASE_VERBS}
        denied = [verb for verb, name in names.items() if not await self._may(resource, verb, name)]
        if not denied:
            return []
        what = f"not allowed to {', '.join(denied)} leases.coordination.k8s.io in namespace {lease.namespace}"
        return [(what, lease_grant(lease.namespace))]

    async def _there(self, path: str) -> bool:
        try:
            await self._cluster.get(path)
        except ApiError as e:
            if e.status != 404:
                raise
            return False
        return True

    async def _missing(self, entry: Entry) -> tuple[str, str] | None:
        """What is wrong with the resource itself."""
        served = await self._resources(entry.group, entry.version)
        version = f"{entry.group}/{entry.version}" if entry.group else entry.version
        if served is None:
            return (
                f"the API server does not serve {version}",
                "install the CRD, or correct group and version: `kubectl api-versions` prints what there is",
            )
        if not served:
            return None  # discovery is not for us: the reviews will tell
        found = next((r for r in served if r.name == entry.resource), None)
        if found is None:
            wanted = entry.resource.lower()
            meant = [r.name for r in served if wanted in {r.kind.lower(), r.singular_name, r.name}]
            return (
                f"{version} has no resource {entry.resource!r}",
                f"write {meant[0]!r}, its plural" if meant else "`kubectl api-resources` prints what there is",
            )
        lacks = [verb for verb in ("list", "watch") if verb not in found.verbs]
        if lacks:
            return f"{found.name} of {version} cannot be used with {' and '.join(lacks)}", "watch another resource"
        if not found.namespaced and (entry.namespace or entry.namespaces or entry.namespace_selector):
            return f"{found.name} are not in namespaces", "leave `namespace` out"
        return None

    async def _resources(self, group: str, version: str) -> list[_Served] | None:
        """What a group and version have; None if it is not served, nothing where we may not see it."""
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if path not in self._served:
            try:
                text = await self._cluster.get(path)
                self._served[path] = msgspec.json.decode(text, type=_ServedList).resources
            except UNREADABLE as e:
                raise Malformed(f"the API server's answer to {path} is no list of resources: {e}") from e
            except ApiError as e:
                if e.status not in {403, 404}:
                    raise
                self._served[path] = None if e.status == 404 else []
        return self._served[path]

    async def _denied(self, resource: Resource, verbs: Iterable[str]) -> tuple[str, str] | None:
        """The verbs that are not allowed, and the commands that allow them."""
        denied = [verb for verb in verbs if not await self._may(resource, verb)]
        if not denied:
            return None
        name = f"{resource.resource}.{resource.group}" if resource.group else resource.resource
        place = f"in namespace {resource.namespace}" if resource.namespace else "in all namespaces"
        if resource == NAMESPACES:
            place = "(for `namespaceSelector`)"
        return f"not allowed to {', '.join(denied)} {name} {place}", grant(resource)

    async def _may(self, resource: Resource, verb: str, name: str = "") -> bool:
        question = (resource, verb, name)
        if question not in self._allowed:
            self._allowed[question] = await self._ask(*question)
        return self._allowed[question]

    async def _ask(self, resource: Resource, verb: str, name: str) -> bool:
        attributes = {
            "namespace": resource.namespace,
            "verb": verb,
            "group": resource.group,
            "version": resource.version,
            "resource": resource.resource,
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        try:
            answer = await self._cluster.post(REVIEWS, review)
            return msgspec.json.decode(answer, type=_Review).status.allowed
        except UNREADABLE as e:
            raise Malformed(f"the API server's answer is no access review: {e}") from e
        except ApiError as e:
            if e.status not in NO_REVIEWS:
                raise
        return await self._try(resource, verb)

    async def _try(self, resource: Resource, verb: str) -> bool:
        """Do it once, where reviews are not to be had. What would need an object, or write, is taken for allowed."""
        queries = {"list": {"limit": "1"}, "watch": {"watch": "true", "timeoutSeconds": "1"}}
        if verb not in queries:
            return True
        try:
            await self._cluster.get(resource.path, queries[verb])
        except ApiError as e:
            if e.status != 403:
                raise
            return False
        return True


def grant(resource: Resource) -> str:
    """The kubectl commands that let a service account read a resource."""
    name = f"kubecdc-{resource.resource}"
    kind, place = ("role", f" -n {resource.namespace}") if resource.namespace else ("clusterrole", "")
    of = f"{resource.resource}.{resource.group}" if resource.group else resource.resource
    return (
        f"`kubectl create {kind} {name}{place} --verb={','.join(VERBS)} --resource={of}` and "
        f"`kubectl create {kind}binding {name}{place} --{kind}={name} --serviceaccount=NAMESPACE:NAME`, or --user"
    )
