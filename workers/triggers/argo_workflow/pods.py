"""Deleting the pods of the nodes that a retry runs again: the new pods have the same names."""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.object_client import Document, Objects
from kubecdc.cluster.resource import Resource
from kubecdc.concurrency import Limit

AT_A_TIME = 8


async def delete(objects: Objects, workflows: Resource, workflow: Document, names: Sequence[str]) -> bool:
    """Delete them, as far as they exist. False, and nothing is deleted, if the Workflow has changed since it was read.

    A pod is deleted only if it is the one that was there before the Workflow was seen unchanged: another worker may
    have retried it for the same event meanwhile, and its new pods must stay. Raises ApiError, Malformed.
    """
    pods = Resource("", "v1", "pods", workflows.namespace)

    async def uid_of(name: str) -> tuple[str, str]:
        try:
            return name, (await objects.get(pods, name))["metadata"]["uid"]
        except ApiError as e:
            if e.status != 404:
                raise
            return name, ""

    async def remove(one: tuple[str, str]) -> None:
        name, uid = one
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await objects.delete(pods, name, options)
        except ApiError as e:
            if e.status != 404 and (e.status, e.reason) != (409, "Conflict"):
                raise

    limit = Limit(AT_A_TIME)
    found = [one for one in await limit.map(uid_of, names) if one[1]]
    fresh = await objects.get(workflows, workflow["metadata"]["name"])
    if fresh["metadata"]["resourceVersion"] != workflow["metadata"]["resourceVersion"]:
        return False
    await limit.map(remove, found)
    return True
