"""Checks that the cluster has the resources of the EventSources and grants access to them.

Discovery lists the resources; SelfSubjectAccessReviews tell the permissions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from kubecdc.cluster.access_reviews import AccessProblem, AccessReviews, grant, refused
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.changes import decode_page
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.discovery import Discovery
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.resource import Resource
from kubecdc.watcher.election.lease import VERBS as LEASE_VERBS
from kubecdc.watcher.election.lease import grant as lease_grant
from kubecdc.watcher.election.lease import resource as lease_resource
from kubecdc.watcher.election.settings import LeaseSettings
from kubecdc.watcher.manifest import Entry, EventSource

VERBS = ("get", "list", "watch")
NAMESPACES = Resource("", "v1", "namespaces")
KUBE_SYSTEM = "kube-system"  # whose uid is that of the cluster


async def check(
    cluster: Cluster, sources: Iterable[EventSource], leases: Mapping[str, LeaseSettings] | None = None
) -> list[AccessProblem]:
    """The problems of all entries, in the order of the manifests, then those of the Leases of the buses.

    Raises ApiError if the cluster cannot be reached or does not accept the credentials.
    """
    access = _Access(cluster)
    problems: list[AccessProblem] = []
    for source in sources:
        for name, entry in source.spec.resource.items():
            where = f"EventSource {source.name}, spec.resource.{name}"
            try:
                problems += [AccessProblem(where, *problem) for problem in await access.problems(entry)]
            except (ApiError, Malformed) as e:
                if isinstance(e, ApiError) and e.status in {0, 401}:
                    raise
                hint = getattr(e, "hint", "") or "see the API server's log"
                problems.append(AccessProblem(where, str(e), hint))
    for bus, lease in (leases or {}).items():
        problems += [AccessProblem(f"EventBus {bus}, leader election", *p) for p in await access.lease_problems(lease)]
    return problems


def rules_of(source: EventSource) -> Iterator[AccessRule]:
    """What a watcher needs for an EventSource, and what it only uses if it may: the namespace kube-system."""
    yield AccessRule(Resource("", "v1", "namespaces", KUBE_SYSTEM), ("get",), KUBE_SYSTEM)
    for entry in source.spec.resource.values():
        places = ("",) if entry.namespace_selector else entry.namespaces or (entry.namespace,)
        for place in places:
            yield AccessRule(Resource(entry.group, entry.version, entry.resource, place), VERBS)
        if entry.namespace_selector:
            yield AccessRule(NAMESPACES, ("list", "watch"))


class _Access:
    """Checks one cluster. Each request is made once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._discovery = Discovery(cluster)
        self._reviews = AccessReviews(cluster)

    async def problems(self, entry: Entry) -> list[tuple[str, str]]:
        """The message and the hint of each problem of an entry. Raises ApiError, Malformed."""
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
        """The message and the hint of each problem with the Lease. Raises ApiError, Malformed."""
        with suppress(ApiError):  # without access to the namespace, this check is skipped
            if not await self._exists(NAMESPACES.path_of(lease.namespace)):
                hint = f"`kubectl create namespace {lease.namespace}`, or name another with --lease-namespace"
                return [(f"there is no namespace {lease.namespace} for the Lease", hint)]
        resource = lease_resource(lease.namespace)
        denied = await self._reviews.denied(resource, LEASE_VERBS, lease.name)
        if not denied:
            return []
        what = f"not allowed to {', '.join(denied)} leases.coordination.k8s.io in namespace {lease.namespace}"
        return [(what, lease_grant(lease.namespace))]

    async def _exists(self, path: str) -> bool:
        try:
            await self._cluster.get(path)
        except ApiError as e:
            if e.status != 404:
                raise
            return False
        return True

    async def _missing(self, entry: Entry) -> tuple[str, str] | None:
        """The message and the hint if the resource cannot be watched, else None."""
        version = f"{entry.group}/{entry.version}" if entry.group else entry.version
        served = await self._discovery.resources(version)
        if served is None:
            return (
                f"the API server does not serve {version}",
                "install the CRD, or correct group and version: `kubectl api-versions` lists those that exist",
            )
        if not served:
            return None  # no access to discovery: only the permissions are checked
        found = next((r for r in served if r.name == entry.resource), None)
        if found is None:
            wanted = entry.resource.lower()
            meant = [r.name for r in served if wanted in {r.kind.lower(), r.singular_name, r.name}]
            return (
                f"{version} has no resource {entry.resource!r}",
                f"write {meant[0]!r}, its plural" if meant else "`kubectl api-resources` lists those that exist",
            )
        lacks = [verb for verb in ("list", "watch") if verb not in found.verbs]
        if lacks:
            return f"{found.name} of {version} does not support {' and '.join(lacks)}", "watch another resource"
        if not found.namespaced and (entry.namespace or entry.namespaces or entry.namespace_selector):
            return f"{found.name} are not namespaced", "leave out `namespace`, `namespaces` and `namespaceSelector`"
        return None

    async def _denied(self, resource: Resource, verbs: Iterable[str]) -> tuple[str, str] | None:
        """The denied verbs as a message, and the commands that grant them as a hint. None if all are allowed."""
        denied = await self._reviews.denied(resource, verbs)
        if not denied:
            return None
        if resource == NAMESPACES:
            what = f"not allowed to {', '.join(denied)} namespaces (for `namespaceSelector`)"
        else:
            what = refused(resource, denied)
        return what, grant(resource, VERBS)
