"""What a worker has read of its partitions, in lanes: one entry of a partitionkey at a time, in order.

A partitionkey belongs to one partition and a partition has one worker, so the order kept here holds for all workers.
Times are those of a monotonic clock.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Collection
from itertools import islice

import msgspec

from kubecdc.storage.contracts import NO_FAILURES, Failures
from kubecdc.storage.memory import Share


class Entry(msgspec.Struct, eq=False):
    """An event in a stream of the partition, owed to the subscription.

    ``received`` and ``attempts`` count those before this one, ``failures`` were kept with them.
    """

    partition: int
    at: tuple[str, bytes]  # stream and id
    key: bytes
    is_copy: bytes  # whether it was made by a replay or a redrive, as the scripts have it
    committed: int  # ms
    size: int
    body: bytes | None
    received: int = 0
    attempts: int = 0
    failures: Failures = NO_FAILURES
    due: float = 0.0
    held: bool = False  # by another worker, which had it in flight when it gave the partition back
    out: bool = False  # handed out here and not settled
    queued: bool = False

    def __str__(self) -> str:
        """The id, for messages."""
        return self.at[1].decode()


class Lanes:
    """The lanes of one worker. ``share`` counts the bodies that are kept, ``entries`` what is known.

    What cannot be handed out yet is kept without its body: always if it is to wait for a time, and beyond one half of
    the share if it waits behind others of its lane.
    """

    def __init__(self, share: Share, entries: Share) -> None:
        self._share = share
        self._entries = entries
        self._lanes: dict[bytes, deque[Entry]] = {}
        self._known: dict[tuple[str, bytes], Entry] = {}
        self._of: Counter[int] = Counter()
        self._ready: deque[Entry] = deque()
        self._waiting: list[tuple[float, int, Entry]] = []
        self._held: set[Entry] = set()
        self._count = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def ready(self) -> int:
        """About how many entries could be handed out now."""
        return len(self._ready)

    @property
    def next_due(self) -> float | None:
        """When the next waiting entry is due."""
        return self._waiting[0][0] if self._waiting else None

    def of(self, partition: int) -> int:
        """How many entries belong to that partition."""
        return self._of[partition]

    def held(self) -> list[Entry]:
        """The entries that another worker still had in flight."""
        if not self._held:
            return []
        self._held = {entry for entry in self._held if entry.held and self._known.get(entry.at) is entry}
        return list(self._held)

    def add(self, entry: Entry) -> None:
        """Append the entry to its lane, unless it is known already."""
        if entry.at in self._known:
            return
        self._known[entry.at] = entry
        self._of[entry.partition] += 1
        if entry.held:
            self._held.add(entry)
        self._entries.change(1)
        lane = self._lanes.get(entry.key)
        if entry.body is not None:
            if lane is not None and self._share.held + entry.size > self._share.limit // 2:
                entry.body = None
            else:
                self._share.add(entry.size)
        if lane is None:
            self._lanes[entry.key] = deque((entry,))
            self._schedule(entry)
        else:
            lane.append(entry)

    def fill(self, entry: Entry, body: bytes) -> None:
        """Set the body that was fetched again."""
        if entry.body is None:
            entry.body = body
            if entry.at in self._known:
                self._share.add(entry.size)

    def has_due(self, now: float) -> bool:
        """Whether `take` may find an entry."""
        return bool(self._ready) or (bool(self._waiting) and self._waiting[0][0] <= now)

    def take(self, now: float) -> Entry | None:
        """The next head of a lane that may be handed out, which leaves the queue. None if there is none.

        Those whose bodies are not here keep waiting.
        """
        while self._waiting and self._waiting[0][0] <= now:
            due, _, entry = heapq.heappop(self._waiting)
            if due == entry.due and self._is_head(entry) and not entry.queued and not entry.held:
                entry.due = 0.0
                self._queue(entry)
        found: Entry | None = None
        without: list[Entry] = []
        while self._ready and found is None:
            entry = self._ready.popleft()
            entry.queued = False
            if not self._is_head(entry) or entry.held or entry.due > now:
                continue
            if entry.body is None:
                without.append(entry)
            else:
                found = entry
        for entry in without:
            self._queue(entry)
        return found

    def without_body(self, count: int) -> list[Entry]:
        """Those of the next entries that could be handed out if they had their bodies."""
        return [entry for entry in islice(self._ready, count) if entry.body is None]

    def back(self, entry: Entry, due: float) -> None:
        """The entry is not handed out any more, and due at that time."""
        entry.out, entry.due = False, due
        if self._is_head(entry):
            self._schedule(entry)

    def remove(self, entry: Entry) -> None:
        """The entry is settled or deleted: the next one of its lane becomes the head."""
        entry.out = False
        if self._known.get(entry.at) is not entry:
            return
        self._forget(entry)
        lane = self._lanes[entry.key]
        if lane[0] is not entry:
            lane.remove(entry)
            return
        lane.popleft()
        if lane:
            self._schedule(lane[0])
        else:
            del self._lanes[entry.key]

    def drop(self, partitions: Collection[int]) -> None:
        """Remove all entries of the partitions."""
        for key in {entry.key for entry in self._known.values() if entry.partition in partitions}:
            for entry in self._lanes.pop(key):
                self._forget(entry)
        self._ready = deque(entry for entry in self._ready if entry.partition not in partitions)
        self._waiting = [item for item in self._waiting if item[2].partition not in partitions]
        heapq.heapify(self._waiting)

    def _forget(self, entry: Entry) -> None:
        del self._known[entry.at]
        self._of[entry.partition] -= 1
        self._entries.change(-1)
        if entry.body is not None:
            self._share.change(-entry.size)

    def _is_head(self, entry: Entry) -> bool:
        lane = self._lanes.get(entry.key)
        return lane is not None and lane[0] is entry and not entry.out  # no lane is empty

    def _schedule(self, entry: Entry) -> None:
        if entry.out or entry.queued:
            return
        if entry.due > 0.0 or entry.held:
            if entry.body is not None:
                entry.body = None
                self._share.remove(entry.size)
            self._count += 1
            heapq.heappush(self._waiting, (entry.due, self._count, entry))
        else:
            self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        entry.queued = True
        self._ready.append(entry)
