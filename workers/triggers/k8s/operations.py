"""Create, update, patch and delete. Each may be repeated: for the same event, the result is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.object_client import Document, Objects
from kubecdc.cluster.resource import Resource
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.creation import create
from kubecdc.workers.objects.marks import Mark
from kubecdc.workers.outcome import Failure, Retry
from kubecdc.workers.triggers.k8s.document import OPERATIONS
from kubecdc.workers.triggers.k8s.manifest import APPLY_PATCH, JSON_PATCH, K8s
from kubecdc.workers.triggers.k8s.request import K8sRequest, query

CONFLICTS = 5  # tries of an update whose object others change at the same time


@dataclass(frozen=True)
class Place:
    """Where an operation works. ``what`` names it in reasons, ``timestamp`` is in milliseconds since 1970."""

    objects: Objects
    resource: Resource
    name: str
    what: str
    mark: Mark
    timestamp: str
    query: Mapping[str, str]


async def perform(place: Place, document: Document, config: K8s) -> Document | None:
    """Do it. The object, None if it is deleted. Raises Undone, ApiError, Malformed."""
    if config.operation == "create":
        return await _create(place, document)
    if config.operation == "update":
        return _staying(place, await _update(place, document), document)
    if config.operation == "patch":
        patched = await _patch(place, document, config)
        return patched if config.patch_strategy == JSON_PATCH else _staying(place, patched, document)
    await _delete(place)
    return None


def _staying(place: Place, written: Document, document: Document) -> Document:
    """What was written, unless it is being deleted: it would vanish, though a missing object is made.

    Who writes finalizers may be the one who ends them. Raises Undone.
    """
    if written["metadata"].get("deletionTimestamp") and "finalizers" not in document["metadata"]:
        raise Undone(Retry(f"{place.what}: it is being deleted, and will be made anew once it is gone"))
    return written


async def update_live(place: Place, request: K8sRequest) -> Document:
    """Put what the parameters give into the object in the cluster. Raises Undone, ApiError, Malformed."""
    for _ in range(CONFLICTS):
        found = await place.objects.get(place.resource, place.name)
        made = await request.made_of(found)
        made["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        if (written := await _replace(place, made)) is not None:
            return written
    raise Undone(_always_changed(place))


def merged(old: Any, new: Any) -> Any:
    """The object with what the source says: members one by one, lists and other values whole, null removes.

    That is a JSON merge patch, RFC 7396.
    """
    if not isinstance(new, dict):
        return new
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in new.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


async def _create(place: Place, document: Document) -> Document:
    return await create(
        place.objects, place.resource, document, place.mark, timestamp=place.timestamp, query=place.query
    )


async def _update(place: Place, document: Document) -> Document:
    for _ in range(CONFLICTS):
        try:
            found = await place.objects.get(place.resource, place.name)
        except ApiError as e:
            if e.status != 404:
                raise
            return await _create(place, merged(None, document))
        if (written := await _replace(place, merged(found, document))) is not None:
            return written
    raise Undone(_always_changed(place))


async def _replace(place: Place, document: Document) -> Document | None:
    """Replace it. None if somebody has changed it meanwhile, or it is gone."""
    try:
        return await place.objects.replace(place.resource, place.name, document, place.query)
    except ApiError as e:
        if e.status == 404 or (e.status, e.reason) == (409, "Conflict"):
            return None
        raise


def _always_changed(place: Place) -> Retry:
    return Retry(f"{place.what}: others have changed it at the same time, {CONFLICTS} times in a row")


async def _patch(place: Place, document: Document, config: K8s) -> Document:
    strategy = config.patch_strategy
    patch: object = document[OPERATIONS] if strategy == JSON_PATCH else document
    try:
        return await place.objects.patch(place.resource, place.name, patch, strategy, place.query)
    except ApiError as e:
        if (e.status, strategy) == (409, APPLY_PATCH) and not config.force:
            hint = "write `force: true` to take the fields over"
            raise Undone(Failure(f"{place.what}: 409 {e.text}; {hint}")) from None
        if e.status != 404 or strategy == JSON_PATCH:
            raise
    return await _create(place, merged(None, document))


async def _delete(place: Place) -> None:
    try:
        await place.objects.delete(place.resource, place.name)
    except ApiError as e:
        if e.status != 404:
            raise


def place_of(objects: Objects, resource: Resource, document: Document, request: K8sRequest, timestamp: str) -> Place:
    """Where the operation of a request works."""
    name = document["metadata"]["name"]
    within = f"{resource.namespace}/" if resource.namespace else ""
    what = f"{request.config.operation} {document['kind']} {within}{name}"
    return Place(objects, resource, name, what, request.mark, timestamp, query(request.config))
