"""Which resources the API server serves: the plural and the scope of a kind.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.resource import Resource, joined


class Served(msgspec.Struct, rename="camel"):
    """A resource in a discovery document (APIResource of meta/v1)."""

    name: str
    kind: str = ""
    singular_name: str = ""
    namespaced: bool = False
    verbs: list[str] = []


class _ServedList(msgspec.Struct):
    resources: list[Served] = []


class _Version(msgspec.Struct, rename="camel"):
    group_version: str = ""


class _Group(msgspec.Struct, rename="camel"):
    preferred_version: _Version = msgspec.field(default_factory=_Version)


class NotServed(ApiError):
    """The API server does not have that kind now. It may be installed later."""


@dataclass(frozen=True)
class Kind:
    """A kind that is served. ``resource`` has no namespace."""

    resource: Resource
    namespaced: bool

    def within(self, namespace: str) -> Resource:
        """Its resource in a namespace; of the whole cluster if it has no namespaces."""
        resource = self.resource
        return Resource(resource.group, resource.version, resource.resource, namespace if self.namespaced else "")


class Discovery:
    """The discovery documents of one API server. Each is kept until something is missing in it, or it is forgotten."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, list[Served]] = {}
        self._kinds: dict[tuple[str, str], Kind] = {}  # those that were found in them
        self._fetches: defaultdict[str, int] = defaultdict(int)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def find(self, api_version: str, kind: str) -> Kind:
        """The kind, read anew if it is not known yet. Raises NotServed, ApiError, Malformed."""
        if known := self._kinds.get((api_version, kind)):
            return known
        if found := self._found(api_version, kind):
            return found
        try:
            await self._read(api_version)
        except ApiError as e:
            if e.status != 404:
                raise
        if found := self._found(api_version, kind):
            return found
        raise NotServed(
            f"the API server does not serve {kind} of {api_version}{await self._instead(api_version)}",
            status=404,
            hint="install its CustomResourceDefinition, or correct apiVersion and kind",
        )

    async def resources(self, api_version: str) -> list[Served] | None:
        """The resources of a group and version. None if it is not served, empty without access to discovery.

        Raises ApiError, Malformed.
        """
        if api_version in self._known:
            return self._known[api_version]
        try:
            return await self._read(api_version)
        except ApiError as e:
            if e.status not in {403, 404}:
                raise
            return None if e.status == 404 else []

    def forget(self, api_version: str) -> None:
        """Read it anew before it is used again: the server has answered otherwise than it says."""
        self._known.pop(api_version, None)
        self._kinds = {key: kind for key, kind in self._kinds.items() if key[0] != api_version}

    def _found(self, api_version: str, kind: str) -> Kind | None:
        """The kind, if the document has it that was read last."""
        for served in self._known.get(api_version, ()):
            if served.kind == kind and "/" not in served.name:
                found = self._kinds[api_version, kind] = _kind(api_version, served)
                return found
        return None

    async def _read(self, api_version: str) -> list[Served]:
        """Read the document. Who asks while it is being read gets the same."""
        begun = self._fetches[api_version]
        async with self._locks[api_version]:
            if self._fetches[api_version] > begun and api_version in self._known:
                return self._known[api_version]  # it was asked for after we came
            self._fetches[api_version] += 1
            self.forget(api_version)
            path = _path(api_version)
            text = await self._cluster.get(path)
            try:
                self._known[api_version] = msgspec.json.decode(text, type=_ServedList).resources
            except UNREADABLE as e:
                raise Malformed(f"the API server's answer to {path} is not a list of resources: {e}") from e
            return self._known[api_version]

    async def _instead(self, api_version: str) -> str:
        """What the server prefers instead, for the message."""
        group, slash, _ = api_version.partition("/")
        if not slash:
            return ""
        try:
            text = await self._cluster.get(joined("apis", group))
            preferred = msgspec.json.decode(text, type=_Group).preferred_version.group_version
        except (ApiError, *UNREADABLE):
            return ""
        return f", it prefers {preferred}" if preferred and preferred != api_version else ""


def _kind(api_version: str, found: Served) -> Kind:
    group, _, version = api_version.rpartition("/")
    return Kind(Resource(group, version, found.name), found.namespaced)


def _path(api_version: str) -> str:
    group, _, version = api_version.rpartition("/")
    return joined("apis", group, version) if group else joined("api", version)
