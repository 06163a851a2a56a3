"""A resource of the API: its path and its selector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote


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
        """The collection's path, escaped."""
        root = ("apis", self.group, self.version) if self.group else ("api", self.version)
        scope = ("namespaces", self.namespace) if self.namespace else ()
        return joined(*root, *scope, self.resource)

    @property
    def has_bookmarks(self) -> bool:
        """Whether watches get bookmarks. The API server keeps no watch cache of `events`, so they do not there."""
        return self.resource != "events" or self.group not in {"", "events.k8s.io"}

    def path_of(self, name: str) -> str:
        """The path of one object, escaped."""
        return f"{self.path}{joined(name)}"

    def query(self, **more: str) -> dict[str, str]:
        """Query parameters with the selector."""
        return {"labelSelector": self.labels, **more} if self.labels else more


@lru_cache(maxsize=1024)
def joined(*segments: str) -> str:
    """A path of these segments, escaped: names of some kinds may contain ``?``, ``#`` and blanks."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)
