"""A rule of RBAC that somebody needs."""

from __future__ import annotations

from dataclasses import dataclass

from kubecdc.cluster.resource import Resource


@dataclass(frozen=True)
class AccessRule:
    """Permissions in the cluster, for one object if it has a ``name``. ``role`` is the name of the role in hints."""

    resource: Resource
    verbs: tuple[str, ...]
    name: str = ""
    role: str = ""
