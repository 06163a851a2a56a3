"""What the store needs of the Kubernetes API: one ConfigMap."""

from __future__ import annotations

from typing import Any, Protocol

from kubecdc.errors import Unavailable
from kubecdc.storage.installed import store_types


class Conflict(Unavailable):
    """The ConfigMap is not as it was read: somebody else has written it, made it or deleted it."""


class ConfigMaps(Protocol):
    """The ConfigMap of a name on a server with optimistic concurrency. No call takes longer than ``seconds``.

    Answers are the object's JSON. All raise Unavailable, with the way out (403: the RBAC rule that lacks).
    """

    @property
    def place(self) -> str:
        """``<namespace>/<name>``, for people."""
        ...

    async def get(self, *, seconds: float) -> bytes | None:
        """The ConfigMap; None if there is none."""
        ...

    async def create(self, document: dict[str, Any], *, seconds: float) -> bytes:
        """Make it; name and namespace are filled in. Raises Conflict if there is one, Refused if it is too large."""
        ...

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        """Write it, if its uid and resourceVersion still are the document's. Raises Conflict if not, Refused."""
        ...


def alternatives() -> str:
    """The types of store that take more than a ConfigMap does, as an operator writes them."""
    others = sorted(name for name, store in store_types().types.items() if not store.default)
    return " or ".join(f"`{name}`" for name in others)
