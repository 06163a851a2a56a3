"""The history that watches can start from."""

from __future__ import annotations

from collections import deque

from tests.apiserver.changes import Change


class Window:
    """The changes that a watch may start from: the watch cache of kube-apiserver (cacher/watch_cache.go).

    It grows while what it would push out is younger than ``fresh`` seconds and shrinks when a quarter of it is old.
    """

    def __init__(self, version: int, *, fresh: float, lower: int, upper: int) -> None:
        self.fresh, self.lower, self.upper = fresh, lower, upper
        self.forget(version)

    def forget(self, version: int) -> None:
        """Begin anew at a list of this version: no older watch can be served."""
        self.listed = version
        self.capacity = self.lower
        self.changes: deque[Change] = deque()
        self.complete = True

    @property
    def start(self) -> int:
        """The oldest version that a watch may name."""
        if self.complete or not self.changes:
            return self.listed
        return self.changes[0].version - 1

    def add(self, change: Change) -> None:
        changes = self.changes
        if len(changes) >= self.capacity:
            if change.at - changes[0].at < self.fresh:
                self.capacity = min(self.capacity * 2, self.upper)
            elif self.capacity > self.lower and change.at - changes[-self.capacity // 4].at > self.fresh:
                self.capacity = max(self.capacity // 2, self.lower)
            while len(changes) >= self.capacity:
                changes.popleft()
                self.complete = False
        changes.append(change)

    def since(self, version: int) -> list[Change]:
        """The changes after a version."""
        newer: list[Change] = []
        for change in reversed(self.changes):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer
