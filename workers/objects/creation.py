"""Creating an object once for an event, however often the event is delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.object_client import Document, Objects
from kubecdc.cluster.resource import Resource
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.outcome import Failure, Retry


async def create(
    objects: Objects,
    resource: Resource,
    document: Mapping[str, Any],
    mark: Mark,
    *,
    timestamp: str,
    query: Mapping[str, str] | None = None,
) -> Document:
    """The object, as the API server has it. The document has a name.

    Raises Undone if another object has its name, ApiError, Malformed.
    """
    name = document["metadata"]["name"]
    try:
        return await objects.create(resource, mark.on(document, timestamp), query)
    except ApiError as e:
        if (e.status, e.reason) != (409, "AlreadyExists"):
            raise
    what = f"create {document['kind']} {name}"
    try:
        found = await objects.get(resource, name)
    except ApiError as e:
        if e.status != 404:
            raise
        raise Undone(Retry(f"{what}: another object had the name, and was deleted meanwhile")) from None
    if mark.is_on(found):
        return found
    if (found.get("metadata") or {}).get("deletionTimestamp"):
        raise Undone(Retry(f"{what}: another object has the name, and is being deleted"))
    raise Undone(Failure(f"{what}: there is such an object already, and it was not made for this event"))
