"""The part of the Kubernetes API that the store needs: one ConfigMap."""

from __future__ import annotations

from typing import Any, Protocol

from kubecdc.errors import Unavailable
from kubecdc.storage.installed import store_types


class Conflict(Unavailable):
    """The ConfigMap is not as it was read: another process has written, created or deleted it."""


class ConfigMaps(Protocol):
    """One ConfigMap on a server with optimistic concurrency. No call takes longer than ``seconds``.

    Answers are the JSON of the object. All calls raise Unavailable; for a 403, its hint has the missing RBAC rule.
    """

    @property
    def place(self) -> str:
        """``<namespace>/<name>``, for messages."""
        ...

    async def get(self, *, seconds: float) -> bytes | None:
        """The ConfigMap; None if there is none."""
        ...

    async def create(self, document: dict[str, Any], *, seconds: float) -> bytes:
        """Create it, with name and namespace filled in. Raises Conflict if it exists, Refused if it is too large."""
        ...

    async def replace(self, document: dict[str, Any], *, seconds: float) -> bytes:
        """Write it if its uid and resourceVersion are those of the document. Raises Conflict if not, Refused."""
        ...


def alternatives() -> str:
    """The types of store that take more than a ConfigMap does, as an operator writes them."""
    others = sorted(name for name, store in store_types().types.items() if not store.default)
    return " or ".join(f"`{name}`" for name in others)
