"""How far behind a watch is, for the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubecdc.metrics import Series
from kubecdc.watcher import metrics

HISTORY_SECONDS = 300.0  # kube-apiserver compacts etcd each 5 minutes (--etcd-compaction-interval), and keeps as long


class Progress:
    """Told by the event loop, read by scrapes. ``now`` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed: float | None = None  # when a change was committed
        self._moved = self._young = self._current = now()
        self._is_current = False
        self._waiting = 0  # of what was read, batches that are not committed

    def export(self, watch: str, series: Series) -> None:
        """Export it as that of the watch, until the series are closed."""
        series.read(metrics.BEHIND, self.behind, watch)
        series.read(metrics.LAST_CHANGE, self.last_change_age, watch)
        series.read(metrics.POSITION_AGE, self.position_age, watch)
        series.read(metrics.EXPIRES, self.expires, watch)

    def opened(self) -> None:
        """A watch is open, and nothing was read from it yet."""
        self._is_current = True

    def came(self) -> None:
        """Something was read that has to be committed. `committed` follows."""
        if self._is_current:
            self._is_current, self._current = False, self._now()
        self._waiting += 1

    def committed(self) -> None:
        """It is."""
        self._waiting -= 1
        if not self._waiting:
            self._is_current = True

    def ended(self) -> None:
        """No watch is open, and what was read and not committed will be read again."""
        if self._is_current:
            self._is_current, self._current = False, self._now()
        self._waiting = 0

    def stored(self, *, moved: bool, changed: bool) -> None:
        """A commit was made. Did it move the position, and had it changes?"""
        now = self._now()
        if moved:
            self._moved = self._young = now
        if changed:
            self._changed = now

    def renewed(self) -> None:
        """Although the position has not moved, the next watch can begin at one of now."""
        self._young = self._now()

    def behind(self) -> float:
        """Seconds since everything was committed; 0 if it is."""
        return 0.0 if self._is_current else max(0.0, self._now() - self._current)

    def last_change_age(self) -> float | None:
        """Seconds since a change was committed, None if none was."""
        return None if self._changed is None else self._now() - self._changed

    def position_age(self) -> float:
        """Seconds since the position moved, or since this was made."""
        return self._now() - self._moved

    def expires(self) -> float:
        """Seconds until the position is likely to be forgotten."""
        return max(0.0, self._young + HISTORY_SECONDS - self._now())
