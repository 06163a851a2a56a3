"""Which Lease elects the leader, and how long a holding lasts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kubecdc.errors import UsageError
from kubecdc.manifest.fields import dns_label, dns_subdomain

JITTER = 1.2  # client-go's JitterFactor
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, kw_only=True)
class LeaseSettings:
    """The Lease, and the three durations as client-go has them.

    ``duration``: how long a candidate that sees no renewal waits before it takes over. ``renew_deadline``: how long the
    leader works without a renewal. ``retry_period``: the time between two renewals, or two looks of a candidate.
    ``bus``: what the Lease elects for, as people read it. It is written into the Lease, so that installations notice
    that they share one.

    Raises UsageError for what client-go refuses too (LeaderElectionConfig), and for a duration that is not a whole
    number of seconds: a Lease cannot hold it.
    """

    name: str = "kubecdc"
    namespace: str = "default"
    duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry_period: timedelta = timedelta(seconds=2)
    bus: str = ""

    def __post_init__(self) -> None:
        _check("--lease-name", dns_subdomain, self.name)
        _check("--lease-namespace", dns_label, self.namespace)
        duration, deadline, retry = self.seconds, self.deadline_seconds, self.retry_seconds
        if retry <= 0:
            raise UsageError(f"--retry-period {retry:g}s must be above 0", hint="2s is usual")
        if duration < 1 or duration != int(duration):
            raise UsageError(
                f"--lease-duration {duration:g}s must be whole seconds, for the Lease has only those",
                hint="15s is usual",
            )
        if duration <= deadline:
            raise UsageError(
                f"--lease-duration {duration:g}s must be greater than --renew-deadline {deadline:g}s",
                hint="the difference is the time an old leader has to stop: 15s and 10s are usual",
            )
        if deadline <= JITTER * retry:
            raise UsageError(
                f"--renew-deadline {deadline:g}s must be greater than {JITTER} times --retry-period {retry:g}s",
                hint="10s and 2s are usual",
            )

    @property
    def place(self) -> str:
        """``<namespace>/<name>``."""
        return f"{self.namespace}/{self.name}"

    @property
    def seconds(self) -> float:
        """``duration`` in seconds."""
        return self.duration.total_seconds()

    @property
    def deadline_seconds(self) -> float:
        """``renew_deadline`` in seconds."""
        return self.renew_deadline.total_seconds()

    @property
    def retry_seconds(self) -> float:
        """``retry_period`` in seconds."""
        return self.retry_period.total_seconds()

    @property
    def request_seconds(self) -> float:
        """How long one request may take: half the renew deadline, so that there is a second try."""
        return self.deadline_seconds / 2


def _check(option: str, valid: Callable[[str], str], value: str) -> None:
    try:
        valid(value)
    except ValueError as e:
        raise UsageError(f"{option}: {e}", hint="letters a-z, digits and -, with a letter or digit at both ends") from e


def home_namespace() -> str:
    """The pod's namespace: $POD_NAMESPACE, or that of its service account; ``default`` outside of a cluster.

    The same order as in client-go (clientcmd's inClusterClientConfig).
    """
    if named := os.environ.get("POD_NAMESPACE"):
        return named
    try:
        return NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return "default"
