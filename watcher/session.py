"""What every watch of one term shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.recorder import Recorder
from kubecdc.metrics import Distribution
from kubecdc.storage.contracts import Bus, Term
from kubecdc.watcher import metrics
from kubecdc.watcher.entry_history import EntryHistory
from kubecdc.watcher.ongoing_problems import OngoingProblems


@dataclass(frozen=True)
class Session:
    """One term as the leader: it captures from the cluster into the bus.

    ``timelines`` has the latest timeline of each watch that this process has seen, in this term or an earlier one. The
    watches update it. ``recorder`` writes Kubernetes Events. ``bus_name`` is for the metrics, as is ``now``, a
    monotonic clock. Events carry the ``cluster_name``.
    """

    cluster: Cluster
    bus: Bus
    term: Term
    problems: OngoingProblems = field(default_factory=OngoingProblems)
    timelines: dict[str, int] = field(default_factory=dict)
    recorder: Recorder | None = None
    bus_name: str = "default"
    cluster_name: str = ""
    now: Callable[[], float] = time.monotonic
    _histories: dict[str, EntryHistory] = field(default_factory=dict)

    @cached_property
    def commit_seconds(self) -> Distribution:
        """How long commits take, for the metrics."""
        return metrics.COMMIT_SECONDS.at(self.bus_name)

    def history(self, name: str) -> EntryHistory:
        """The history of an entry, ``<source>/<event name>``. All its watches share it."""
        found = self._histories.get(name)
        return found or self._histories.setdefault(name, EntryHistory(self.bus.checkpoints, self.term, name))
