"""The objects, the one resourceVersion counter, and the history of changes."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tests.apiserver.changes import Change, Stored
from tests.apiserver.resources import Kind
from tests.apiserver.window import Window


class Watcher(Protocol):
    """Who is told of each change of a kind, in order."""

    def offer(self, change: Change) -> None: ...
    def end(self) -> None: ...


class Log(Protocol):
    """Where changes are written before they are taken in."""

    def write(self, change: Change) -> None: ...
    def compact(self, version: int) -> None: ...


class Collection:
    """The objects of one kind, what happened to them, and who watches.

    ``seen`` is the version that the server's cache of the kind stands at: that of the last change of the kind, or of a
    consistent list since.
    """

    def __init__(self, kind: Kind, window: Window) -> None:
        self.kind = kind
        self.objects: dict[str, Stored] = {}
        self.keys: list[str] = []
        self.log: deque[Change] = deque()
        self.window = window
        self.watchers: list[Watcher] = []
        self.seen = window.listed
        self._snapshots: dict[int, list[Stored]] = {}
        self._now: list[Stored] | None = None

    def now(self) -> list[Stored]:
        """Every object, in key order."""
        if self._now is None:
            self._now = [self.objects[key] for key in self.keys]
        return self._now

    def at(self, version: int) -> list[Stored]:
        """Every object as it was at a version: the log is undone from its end."""
        if not self.log or self.log[-1].version <= version:
            return self.now()
        if found := self._snapshots.get(version):
            return found
        past: dict[str, Stored | None] = {}
        for change in reversed(self.log):
            if change.version <= version:
                break
            past[change.current.key] = change.previous
        objects = {**self.objects, **past}
        snapshot = [o for _, o in sorted(objects.items()) if o is not None]
        if len(self._snapshots) >= 4:
            self._snapshots.pop(next(iter(self._snapshots)))
        self._snapshots[version] = snapshot
        return snapshot

    def put(self, change: Change) -> None:
        key, self._now, self.seen = change.current.key, None, change.version
        if change.type == "DELETED":
            del self.objects[key]
            del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.objects:
            if self.keys and key < self.keys[-1]:
                insort(self.keys, key)
            else:
                self.keys.append(key)
        self.objects[key] = change.current

    def place(self, stored: Stored) -> None:
        """Put in an object that was there all along: no change, no history."""
        if stored.key not in self.objects:
            insort(self.keys, stored.key)
        self.objects[stored.key], self._now = stored, None

    def forget_log(self, version: int) -> None:
        """Drop the changes up to a version."""
        while self.log and self.log[0].version <= version:
            self.log.popleft()
        self._snapshots.clear()


class Store:
    """All collections under one counter.

    ``fresh`` (seconds) and ``window`` (changes, lower and upper) shape the watch history, ``keep`` (seconds) and
    ``keep_changes`` how far lists of the past reach, as etcd's compaction every 5 minutes does.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = 75,
        window: tuple[int, int] = (100, 102_400),
        keep: float = 300,
        keep_changes: int = 102_400,
    ) -> None:
        self.version = 1
        self.compacted = self.compacted_in_etcd = 0
        self.journal: Log | None = None
        self.applied: list[Callable[[Change], None]] = []
        self.clock = clock
        self._fresh, self._window, self._keep, self._keep_changes = fresh, window, keep, keep_changes
        self._collections: dict[Kind, Collection] = {}

    def collection(self, kind: Kind) -> Collection:
        """The collection of a kind, made when first asked for."""
        found = self._collections.get(kind)
        if found is None:
            lower, upper = self._window
            window = Window(self.version, fresh=self._fresh, lower=lower, upper=upper)
            found = self._collections[kind] = Collection(kind, window)
        return found

    def collections(self) -> Iterator[Collection]:
        yield from list(self._collections.values())

    def get(self, kind: Kind, key: str) -> Stored | None:
        return self.collection(kind).objects.get(key)

    def prepare(self, kind: Kind, body: dict[str, Any]) -> Stored:
        """The state that ``commit`` would write: the object under the next version."""
        metadata = body["metadata"]
        return Stored(kind.key(metadata.get("namespace", ""), metadata["name"]), self.version + 1, body)

    def put(self, kind: Kind, body: dict[str, Any]) -> Stored:
        """Commit a new state of an object under the next version."""
        return self.commit(kind, self.prepare(kind, body))

    def commit(self, kind: Kind, stored: Stored) -> Stored:
        """Commit what ``prepare`` made; nothing may have been written in between."""
        previous = self.get(kind, stored.key)
        self.apply(Change(kind, "MODIFIED" if previous else "ADDED", stored, previous, self.clock()))
        return stored

    def remove(self, kind: Kind, previous: Stored) -> Stored:
        """Commit a deletion; the result is what the DELETED line carries."""
        last = Stored(previous.key, self.version + 1, previous.body())
        self.apply(Change(kind, "DELETED", last, previous, self.clock()))
        return last

    def apply(self, change: Change) -> None:
        """Take a change in: journal, objects, history, watchers, in this order."""
        if self.journal:
            self.journal.write(change)
        self.version = change.version
        collection = self.collection(change.kind)
        collection.put(change)
        collection.window.add(change)
        self._log(collection, change)
        for told in self.applied:
            told(change)
        for watcher in list(collection.watchers):
            watcher.offer(change)

    def _log(self, collection: Collection, change: Change) -> None:
        log = collection.log
        log.append(change)
        while len(log) > self._keep_changes or change.at - log[0].at > self._keep:
            self.compacted = max(self.compacted, log.popleft().version)

    def drop(self, kind: Kind) -> None:
        """A kind is no longer served: its objects go, its watches end."""
        collection = self.collection(kind)
        for stored in collection.now():
            self.remove(kind, stored)
        for watcher in list(collection.watchers):
            watcher.end()
        del self._collections[kind]

    def reset(self, version: int, compacted: int) -> None:
        """Nothing is there, and the counter stands at a version, before which there is no history."""
        self._collections.clear()
        self.version = version
        self.compacted, self.compacted_in_etcd = version, compacted

    def compact(self) -> None:
        """As etcd's compaction: history up to now is gone there, though the server's memory still has it."""
        self.compacted_in_etcd = self.version
        if self.journal:
            self.journal.compact(self.version)

    def forget_watches(self) -> None:
        """As a restart of the API server: its watch caches begin at the version of now, and what etcd has compacted is
        gone for lists of the past too."""
        self.compacted = max(self.compacted, self.compacted_in_etcd)
        for collection in self.collections():
            collection.window.forget(self.version)
            collection.forget_log(self.compacted)
