"""A resource of the API: its path and its selector."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """What is listed and watched. ``namespace`` "" means all; ``labels`` is a label selector, "" for none."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    labels: str = ""

    @property
    def path(self) -> str:
        """The collection's path."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{scope}/{self.resource}"

    def query(self, **more: str) -> dict[str, str]:
        """Query parameters with the selector."""
        return {"labelSelector": self.labels, **more} if self.labels else more
