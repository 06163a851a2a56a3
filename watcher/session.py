"""What every watch of one term shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from kubecdc.cluster.connection import Cluster
from kubecdc.storage.contracts import Bus, Term
from kubecdc.watcher.entry_history import EntryHistory
from kubecdc.watcher.ongoing_problems import OngoingProblems


@dataclass(frozen=True)
class Session:
    """One term as the leader: it captures from the cluster into the bus.

    ``timelines`` has the latest timeline of each watch that this process has seen, in this term or an earlier one. The
    watches update it.
    """

    cluster: Cluster
    bus: Bus
    term: Term
    problems: OngoingProblems = field(default_factory=OngoingProblems)
    timelines: dict[str, int] = field(default_factory=dict)
    _histories: dict[str, EntryHistory] = field(default_factory=dict)

    def history(self, name: str) -> EntryHistory:
        """The history of an entry, ``<source>/<event name>``. All its watches share it."""
        found = self._histories.get(name)
        return found or self._histories.setdefault(name, EntryHistory(self.bus.checkpoints, self.term, name))
