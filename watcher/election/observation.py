"""What a candidate has seen of a Lease, and for how long that bars it from taking it."""

from __future__ import annotations

from kubecdc.watcher.election.clock import Clock
from kubecdc.watcher.election.lease import Lease


class LeaseObservation:
    """The record as last seen, by the local clock: times that stand in it decide nothing.

    ``identity`` is ours. ``seconds`` is how long a holding lasts whose record does not say.
    """

    def __init__(self, identity: str, seconds: float, clock: Clock) -> None:
        self._identity = identity
        self._seconds = seconds
        self._clock = clock
        self._version: tuple[str, str] | None = None  # None: there was none
        self._barred: float | None = None  # until when another may trust itself; None: nobody else does
        self._foreign = 0.0  # seconds that the last holding of another lasts without renewal
        self._said = ""  # the leader that was told last
        self.epoch = 0  # the highest known, of which the elector may know otherwise too

    @property
    def bar(self) -> float:
        """Seconds for which another may trust itself; 0 or less if it may not."""
        return 0.0 if self._barred is None else self._barred - self._clock.now()

    def see(self, lease: Lease | None) -> None:
        """Note when the record changed, which is not before it was read, and how long that bars us."""
        version = lease.version if lease else None
        if lease:
            self.epoch = max(self.epoch, lease.epoch)
        if version == self._version:
            return
        self._version = version
        if lease is None:
            # Deleted by hand: its holder does not know yet. (One that we never saw we cannot wait for.)
            if self._barred is not None:
                self._barred = self._clock.now() + self._foreign
        elif not lease.holder:
            self._barred = None
        elif lease.holder != self._identity:
            self._foreign = self._seconds if lease.duration is None else float(lease.duration)
            self._barred = self._clock.now() + self._foreign

    def taken(self) -> None:
        """It is ours: nobody else trusts itself."""
        self._barred, self._said = None, ""

    def new_leader(self, lease: Lease | None) -> str:
        """Who has it, if that is another than was told last; else ""."""
        if lease is None or lease.holder == self._said:
            return ""
        self._said = lease.holder
        return lease.holder
