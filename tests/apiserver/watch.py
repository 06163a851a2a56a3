"""Watch streams: what a watcher is shown of each change, bookmarks, and the ends of a stream."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.apiserver import errors
from tests.apiserver.changes import Change, Stored, encode, watch_line
from tests.apiserver.connection import Connection
from tests.apiserver.errors import ApiError
from tests.apiserver.faults import Faults
from tests.apiserver.lists import Options, version_fault
from tests.apiserver.store import Collection, Store

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class WatchRules:
    """Times in seconds. ``scale`` shortens every duration of the server, also those that clients ask for."""

    bookmark_interval: float = 60
    min_request_timeout: float = 1800
    future_wait: float = 3
    scale: float = 1
    pending: int = 10_000


def shown_as(change: Change, matches: Callable[[Stored], bool] | None) -> str | None:
    """The type of a change for a selector, None where it is not shown: cacher's convertToWatchEvent."""
    if matches is None:
        return change.type
    after = change.type != "DELETED" and matches(change.current)
    before = change.previous is not None and matches(change.previous)
    if after:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


class Watch:
    """One open stream. Lines are queued and leave in chunks, at the pace of the client."""

    def __init__(
        self, store: Store, collection: Collection, options: Options, rules: WatchRules, silent: Callable[[], bool]
    ) -> None:
        self.collection = collection
        self.cut_next = False
        self.on_close: Callable[[], None] = lambda: None
        self._store = store
        self._options = options
        self._rules = rules
        self._silent = silent
        self._matches = options.selector.matcher()
        self._backlog: Iterator[bytes] = iter(())
        self._lines: deque[bytes] = deque()
        self._floor = 0
        self._waiting: int | None = None
        self._ending = self._scheduled = self._closed = False
        self._timers: list[asyncio.TimerHandle] = []
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None

    # -- opening

    def open(self, connection: Connection, faults: Faults) -> None:
        """Answer with a stream; ApiError where the answer is no stream."""
        options, window = self._options, self.collection.window
        if fault := version_fault(options.version):
            raise errors.internal(fault)
        version = int(options.version or 0)
        initial = options.initial_events if options.initial_events is not None else version == 0
        uncached = self.collection.kind.plural == "events"
        oldest = max(self._store.compacted, self._store.compacted_in_etcd) if uncached else window.start
        expired = not initial and 0 < version < oldest
        if expired and faults.expired_by_http and not uncached:
            raise errors.too_old_watch(version, oldest)
        self._connection = connection
        connection.begin()
        connection.on_close, connection.on_drain = self.close, self.flush
        if 0 < version < faults.refused_below:
            faults.refusals += 1
            self._lines.append(watch_line("ERROR", encode(faults.refusal)))
            self.end()
            return
        if expired:
            # Events bypass the watch cache: a stale version there ends the stream without a word.
            self._fail(None if uncached else errors.too_old_watch(version, oldest))
            return
        self._start_timers(initial and options.bookmarks, uncached)
        if initial and version > self._store.version:
            self._waiting = version
            self._timers.append(self._after(self._rules.future_wait, self._wait_is_over))
        elif initial:
            self._begin_initial()
        else:
            self._floor = version or self._store.version
            past = self._past(uncached, version) if version else ()
            self._backlog = self._changes(past)
        self.collection.watchers.append(self)
        self.flush()

    def _past(self, uncached: bool, version: int) -> Iterable[Change]:
        if uncached:
            return [c for c in self.collection.log if c.version > version]
        return self.collection.window.since(version)

    def _changes(self, past: Iterable[Change]) -> Iterator[bytes]:
        for change in past:
            if shown := shown_as(change, self._matches):
                yield change.line(shown)

    def _begin_initial(self) -> None:
        objects = self.collection.now()
        self._floor, self._waiting = self._store.version, None
        end = [self._bookmark(initial_end=True)] if self._options.bookmarks else []
        self._backlog = self._added(objects, end)

    def _added(self, objects: Iterable[Stored], end: list[bytes]) -> Iterator[bytes]:
        for stored in objects:
            if self._matches is None or self._matches(stored):
                yield watch_line("ADDED", stored.raw)
        yield from end

    def _wait_is_over(self) -> None:
        if self._waiting is None:
            return
        if self._store.version >= self._waiting:
            self._begin_initial()
            self.flush()
        else:
            self._fail(errors.too_large_version(self._waiting, self._store.version))

    # -- time

    def _after(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds * self._rules.scale, call)

    def _start_timers(self, after_initial: bool, uncached: bool) -> None:
        least = self._rules.min_request_timeout
        timeout = self._options.timeout_seconds or least * (1 + random.random())
        self._timers.append(self._after(timeout, self._time_is_over))
        if self._options.bookmarks and not uncached:
            # A watcher that waits for its initial bookmark is looked at again a second later, at the next tick.
            self._next_bookmark(1.0 if after_initial else 0.0, timeout)

    def _next_bookmark(self, now: float, timeout: float) -> None:
        """Every interval, and 2 s before the end. Seconds since the stream was opened."""
        at = min(now + self._rules.bookmark_interval, timeout - 2)
        if at > now:
            self._timers.append(self._after(at - now, lambda: self._periodic_bookmark(at, timeout)))

    def _periodic_bookmark(self, now: float, timeout: float) -> None:
        self._timers = [t for t in self._timers if t.when() > self._loop.time()]
        if self._store.version > self._floor and self._waiting is None:
            self._lines.append(self._bookmark())
            self.flush()
        self._next_bookmark(now, timeout)

    def _bookmark(self, *, initial_end: bool = False) -> bytes:
        kind, metadata = self.collection.kind, {"resourceVersion": str(self._store.version)}
        noted = {"annotations": {"k8s.io/initial-events-end": "true"}} if initial_end else {}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {**noted, **metadata}}
        return watch_line("BOOKMARK", encode(body))

    # -- from the store

    def offer(self, change: Change) -> None:
        """A change was committed."""
        if change.version <= self._floor or self._ending:
            return
        if self._waiting is not None:
            if change.version >= self._waiting:
                self._wait_is_over()
            return
        shown = shown_as(change, self._matches)
        if shown is None:
            return
        self._lines.append(change.line(shown))
        if len(self._lines) > self._rules.pending:
            self._lines.clear()
            self.end()  # too slow: dropped without a word, as the server does
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    # -- to the client

    def flush(self) -> None:
        """Send what there is, as far as the client takes it."""
        self._scheduled = False
        connection = self._connection
        if connection is None or self._closed or self._silent():
            return
        while not connection.paused and connection.open:
            part: list[bytes] = []
            size = 0
            while (line := self._next_line()) is not None:
                part.append(line)
                size += len(line)
                if self.cut_next or size > _CHUNK:
                    break
            if not part:
                break
            if self.cut_next:
                connection.send_part(part[0][: len(part[0]) // 2], len(part[0]))
                connection.cut()
                self.close()
                return
            connection.send(b"".join(part))
        if self._ending and not connection.paused:
            self.close()
            connection.end()

    def _next_line(self) -> bytes | None:
        line = next(self._backlog, None)
        return line if line is not None or not self._lines else self._lines.popleft()

    def inject(self, line: bytes) -> None:
        """Send a line that no change has made."""
        self._lines.append(line + b"\n")
        self.flush()

    def end(self) -> None:
        """A clean end of the stream, after what is queued."""
        self._ending = True
        self.flush()

    def _time_is_over(self) -> None:
        """A clean end of the stream, without what a slow client has not taken by then."""
        self.flush()
        self._backlog = iter(())
        self._lines.clear()
        self.end()

    def _fail(self, error: ApiError | None) -> None:
        if error:
            self._lines.append(watch_line("ERROR", encode_status(error)))
        self.end()

    def cut(self) -> None:
        """Close the connection without an end of the body."""
        if self._connection:
            self._connection.cut()

    def close(self) -> None:
        """The stream is gone; nothing of it stays."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        if self in self.collection.watchers:
            self.collection.watchers.remove(self)
        self.on_close()


def encode_status(error: ApiError) -> bytes:
    """A Status inside an ERROR line."""
    return encode(error.status())
