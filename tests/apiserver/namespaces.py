"""Namespaces: they must exist, and what is in them goes with them."""

from __future__ import annotations

from typing import Any

from tests.apiserver import errors
from tests.apiserver.bodies import Body
from tests.apiserver.changes import Stored
from tests.apiserver.errors import ApiError
from tests.apiserver.resources import NAMESPACE, Kind
from tests.apiserver.store import Store

FROM_THE_START = ("default", "kube-node-lease", "kube-public", "kube-system")
_FOR_EVER = {"default", "kube-public", "kube-system"}


def namespace(name: str, **metadata: Any) -> Body:
    """A namespace to post."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}


def named(body: Body) -> None:
    """Give a new namespace the label that every namespace has."""
    metadata = body["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}


def active(body: Body) -> None:
    """Give a new namespace the state that it begins with."""
    body["spec"] = {"finalizers": ["kubernetes"]}
    body["status"] = {"phase": "Active"}


def terminating(body: Body, stamp: str) -> None:
    """Say that it is being deleted."""
    body["metadata"]["deletionTimestamp"] = stamp
    body["status"] = {**body.get("status", {}), "phase": "Terminating"}


def check_creation(store: Store, kind: Kind, place: str, name: str) -> None:
    """ApiError where the namespace that an object is to be made in is not there, or is about to go."""
    if not kind.namespaced:
        return
    found = store.get(NAMESPACE, place)
    if found is None:
        raise errors.not_found(NAMESPACE, place)
    if found.deleting:
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {place} is being terminated",
            "field": "metadata.namespace",
        }
        why = f"unable to create new content in namespace {place} because it is being terminated"
        raise _forbidden(kind, name, why, causes=[cause])


def check_deletion(name: str) -> None:
    """ApiError where a namespace is there forever."""
    if name in _FOR_EVER:
        raise _forbidden(NAMESPACE, name, "this namespace may not be deleted")


def content(store: Store, name: str) -> list[tuple[Kind, Stored]]:
    """What is in a namespace."""
    collections = [c for c in store.collections() if c.kind.namespaced]
    return [(c.kind, stored) for c in collections for stored in c.now() if stored.namespace == name]


def _forbidden(kind: Kind, name: str, why: str, **details: Any) -> ApiError:
    message = f'{kind.qualified} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, details={**errors.details_of(kind, name), **details})
