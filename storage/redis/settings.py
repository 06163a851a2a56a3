"""What an operator may set on a Redis bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit


@dataclass(frozen=True)
class LeadSettings:
    """``duration``: how long a leader that is not heard of keeps the lead. ``deadline``: how long it may act since the
    last renewal that succeeded was sent; the shorter one. ``period``: between two renewals."""

    duration: timedelta = timedelta(seconds=15)
    deadline: timedelta = timedelta(seconds=10)
    period: timedelta = timedelta(seconds=2)


@dataclass(frozen=True)
class RedisSettings:
    """``url`` of the server, ``name`` of the bus there: several buses may share a Redis.

    ``partitions`` is fixed when the bus is made: how many streams the events go to, and so how many workers of a
    subscription can share the work. ``ack_wait`` is how long a worker that is not heard of keeps what it has;
    ``retention`` and ``retention_bytes`` (of event bodies) bound the events that every subscription has settled;
    ``max_pending`` is the backlog of a subscription at which commits are refused; ``lead`` is how long a lead lasts.
    """

    url: str
    name: str = "default"
    partitions: int = 64
    ack_wait: timedelta = timedelta(seconds=30)
    retention: timedelta = timedelta(hours=24)
    retention_bytes: int = 1 << 30
    max_pending: int = 1_000_000
    lead: LeadSettings = LeadSettings()

    @property
    def prefix(self) -> str:
        """Of every key. A hash tag, so that all are in one slot of a cluster and a script can reach them."""
        return f"{{kubecdc:{self.name}}}"

    @property
    def place(self) -> str:
        """Where it is, for people: the URL without user, password and options."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
