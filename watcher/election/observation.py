"""What a candidate has seen of a Lease, and for how long that prevents it from taking the Lease."""

from __future__ import annotations

from kubecdc.watcher.election.clock import Clock
from kubecdc.watcher.election.lease import Lease


class LeaseObservation:
    """The record as last seen, timed by the local clock; the times in the record decide nothing.

    ``identity`` is ours. ``seconds`` is the duration of a holding whose record has none.
    """

    def __init__(self, identity: str, seconds: float, clock: Clock) -> None:
        self._identity = identity
        self._seconds = seconds
        self._clock = clock
        self._record: object = None  # None: there was no Lease
        self._barred: float | None = None  # until when another may trust itself; None: nobody else does
        self._foreign = 0.0  # duration of the last holding of another candidate, in seconds
        self._leader = ""  # as `new_leader` returned it last
        self.epoch = 0  # the highest known; the elector may raise it

    @property
    def bar(self) -> float:
        """For how many seconds another candidate may trust itself; 0 or less if none may."""
        return 0.0 if self._barred is None else self._barred - self._clock.now()

    def see(self, lease: Lease | None) -> None:
        """Note a change of the record, and when it was seen: at the earliest now.

        Only what a holder writes counts, as in client-go: a label or another field of metadata is no renewal.
        """
        record = lease.record if lease else None
        if lease:
            self.epoch = max(self.epoch, lease.epoch)
        if record == self._record:
            return
        self._record = record
        if lease is None:
            # Deleted by hand: its holder does not know yet. (We cannot wait for a holder that we never saw.)
            if self._barred is not None:
                self._barred = self._clock.now() + self._foreign
        elif not lease.holder:
            self._barred = None
        elif lease.holder != self._identity:
            self._foreign = self._seconds if lease.duration is None else float(lease.duration)
            self._barred = self._clock.now() + self._foreign

    def taken(self) -> None:
        """The Lease is ours: no other candidate trusts itself."""
        self._barred, self._leader = None, ""

    def new_leader(self, lease: Lease | None) -> str:
        """The holder, if it is another one than this returned last; else ""."""
        if lease is None or lease.holder == self._leader:
            return ""
        self._leader = lease.holder
        return lease.holder
