"""A rule of RBAC that somebody needs."""

from __future__ import annotations

from dataclasses import dataclass

from kubecdc.cluster.resource import Resource


@dataclass(frozen=True)
class AccessRule:
    """Permissions in the cluster, for one object if it has a ``name``. ``role`` is the name of the role in hints.

    With a ``kind``, plural and scope of the ``resource`` are guessed from it; discovery corrects them.
    """

    resource: Resource
    verbs: tuple[str, ...]
    name: str = ""
    role: str = ""
    kind: str = ""
