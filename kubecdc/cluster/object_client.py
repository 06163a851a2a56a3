"""Objects of any kind, read and written by those who act on events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.discovery import Discovery
from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.objects import UNREADABLE, shown
from kubecdc.cluster.requests import Request
from kubecdc.cluster.resource import Resource

Document = dict[str, Any]


class Objects:
    """The objects of one cluster. All calls raise ApiError and Malformed.

    A write whose answer is lost may have taken effect.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.discovery = Discovery(cluster)
        self._cluster = cluster

    async def get(self, resource: Resource, name: str) -> Document:
        """The object of that name."""
        return _decoded(await self._cluster.get(resource.path_of(name)))

    async def create(self, resource: Resource, document: Document, query: Mapping[str, str] | None = None) -> Document:
        """Create an object; 409 `AlreadyExists` if there is one of its name."""
        return await self._send("POST", resource.path, document, query)

    async def replace(
        self, resource: Resource, name: str, document: Document, query: Mapping[str, str] | None = None
    ) -> Document:
        """Replace an object; 409 `Conflict` if it has another resourceVersion than the document."""
        return await self._send("PUT", resource.path_of(name), document, query)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: object,
        content_type: str,
        query: Mapping[str, str] | None = None,
        *,
        subresource: str = "",
    ) -> Document:
        """Patch an object, or one of its subresources. ``content_type`` names the kind of patch."""
        path = resource.path_of(name) + (f"/{subresource}" if subresource else "")
        return await self._send("PATCH", path, patch, query, content_type)

    async def delete(self, resource: Resource, name: str, options: Document | None = None) -> None:
        """Delete an object. ``options`` are DeleteOptions."""
        body = None if options is None else msgspec.json.encode(options)
        await self._cluster.request(Request("DELETE", resource.path_of(name), body=body))

    async def _send(
        self,
        method: str,
        path: str,
        document: object,
        query: Mapping[str, str] | None,
        content_type: str = "application/json",
    ) -> Document:
        body = msgspec.json.encode(document)
        return _decoded(await self._cluster.request(Request(method, path, query, body, content_type=content_type)))


def _decoded(text: bytes) -> Document:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except UNREADABLE as e:
        raise Malformed(f"the response is not a Kubernetes object: {e}: {shown(text)}") from e
