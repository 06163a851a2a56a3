"""Objects of any kind, read and written by those who act on events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.discovery import Discovery
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.objects import UNREADABLE, outline
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
        return _decoded(await self._cluster.get(_path(resource, name)))

    async def create(self, resource: Resource, document: Document, query: Mapping[str, str] | None = None) -> Document:
        """Create an object; 409 `AlreadyExists` if there is one of its name."""
        return await self._send("POST", _path(resource), document, query)

    async def replace(
        self, resource: Resource, name: str, document: Document, query: Mapping[str, str] | None = None
    ) -> Document:
        """Replace an object; 409 `Conflict` if it has another resourceVersion than the document."""
        return await self._send("PUT", _path(resource, name), document, query)

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
        path = _path(resource, name) + (f"/{subresource}" if subresource else "")
        return await self._send("PATCH", path, patch, query, content_type)

    async def delete(self, resource: Resource, name: str, options: Document | None = None) -> None:
        """Delete an object. ``options`` are DeleteOptions."""
        body = None if options is None else msgspec.json.encode(options)
        await self._cluster.request(Request("DELETE", _path(resource, name), body=body))

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


def _path(resource: Resource, name: str | None = None) -> str:
    """The path of an object, or without a name that of the collection. Raises ApiError for what no path can have.

    An event may choose the names: `..` would lead to another object, and `.` or nothing to all of a kind.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names
    """
    for segment in (resource.namespace or None, name):
        if segment is not None and (segment in {"", ".", ".."} or "/" in segment or "%" in segment):
            text = f"{segment!r} cannot be the name of an object or a namespace"
            raise ApiError(text, status=422, reason="Invalid", text=text)
    return resource.path if name is None else resource.path_of(name)


def _decoded(text: bytes) -> Document:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except UNREADABLE as e:
        raise Malformed(f"the response is not a Kubernetes object: {e}: {outline(text)}") from e
