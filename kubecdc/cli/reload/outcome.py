"""What became of the manifests when they were read last."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubecdc import facts
from kubecdc.metrics import SAME, Gauge, Series

SUCCESSFUL = Gauge(
    "kubecdc_manifests_last_reload_successful",
    "1 if the manifests that were read last are in use; 0 if they have a problem and older ones stay in use: min",
    by=SAME,
)
SUCCESS_TIME = Gauge(
    "kubecdc_manifests_last_reload_success_timestamp_seconds",
    "When the manifests in use were read, in seconds since 1970: min",
    by=SAME,
)


class Outcome:
    """``trouble`` is why the manifests that were read last are not in use, None if they are.

    ``used`` is when those were read that are in use, in seconds since 1970 (``wall``). For any thread.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.trouble: facts.Trouble | None = None
        self.used = wall()

    def succeeded(self) -> None:
        """They are in use."""
        self.trouble, self.used = None, self._wall()

    def failed(self, error: Exception) -> None:
        """Older ones go on."""
        self.trouble = facts.Trouble.of(error, self._wall())

    def export(self, series: Series) -> None:
        """Export it as long as the series."""
        series.read(SUCCESSFUL, lambda: self.trouble is None)
        series.read(SUCCESS_TIME, lambda: self.used)
