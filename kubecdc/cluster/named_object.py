"""One named object of our own, such as a Lease or a ConfigMap, read and written with optimistic concurrency."""

from __future__ import annotations

from typing import Any

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.own_objects import marked
from kubecdc.cluster.resource import Resource

VERBS = ("get", "create", "update")


class NamedObject:
    """The object of that name in the namespace of ``resource``. All calls raise ApiError, with a hint.

    For messages: ``what`` is the kind, ``role`` the name of the RBAC role in the hint, ``elsewhere`` the alternative to
    creating the namespace.
    """

    def __init__(
        self, cluster: Cluster, resource: Resource, name: str, *, what: str, role: str, elsewhere: str
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._name = name
        self._what = what
        self._role = role
        self._elsewhere = elsewhere
        self._path = resource.path_of(name)

    @property
    def place(self) -> str:
        """``<namespace>/<name>``."""
        return f"{self._resource.namespace}/{self._name}"

    async def get(self, *, seconds: float) -> bytes | None:
        """The object; None if there is none."""
        try:
            return await self._cluster.get(self._path, seconds=seconds, essential=True)
        except ApiError as e:
            if e.status == 404:
                return None
            raise self._explained(e) from e

    async def create(self, document: dict[str, Any], *, seconds: float) -> bytes:
        """Create it; 409 if it exists."""
        metadata = {**marked(document["metadata"]), "name": self._name, "namespace": self._resource.namespace}
        try:
            named = {**document, "metadata": metadata}
            return await self._cluster.post(self._resource.path, named, seconds=seconds, essential=True)
        except ApiError as e:
            raise self._explained(e) from e

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        """Replace it if its uid and resourceVersion are still those of the document; 404 or 409 if not."""
        try:
            own = {**document, "metadata": marked(document["metadata"])}
            return await self._cluster.put(self._path, own, seconds=seconds)
        except ApiError as e:
            raise self._explained(e) from e

    def _explained(self, error: ApiError) -> ApiError:
        """The error with a hint."""
        if error.status == 403:
            return ApiError(str(error), status=403, hint=grant(self._resource, self._role))
        if error.status == 404:
            return ApiError(
                f"the {self._what} {self.place} cannot be written (404)",
                status=404,
                hint=f"create the namespace {self._resource.namespace}, or {self._elsewhere}",
            )
        return error


def grant(resource: Resource, role: str) -> str:
    """The kubectl commands that grant a service account access to the objects of a namespace."""
    namespace, kind = resource.namespace, f"{resource.resource}.{resource.group}".rstrip(".")
    return (
        f"`kubectl create role {role} -n {namespace} --verb={','.join(VERBS)} --resource={kind}` and `kubectl create "
        f"rolebinding {role} -n {namespace} --role={role} --serviceaccount=NAMESPACE:NAME`, or --user"
    )
