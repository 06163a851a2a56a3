"""What an operator may set on a SQLite bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class SqliteSettings:
    """``path`` of the file, on a local disk: SQLite's locks do not hold over a network.

    ``ack_wait`` is how long a claim holds; ``retention`` and ``retention_bytes`` (of event bodies) bound the events
    that every subscription has settled; ``max_pending`` is the backlog of a subscription at which commits are refused.
    """

    path: Path
    ack_wait: timedelta = timedelta(seconds=30)
    retention: timedelta = timedelta(hours=24)
    retention_bytes: int = 1 << 30
    max_pending: int = 1_000_000

    @property
    def lock_path(self) -> Path:
        """The file whose lock elects the leader, beside the database, by whatever link that was named."""
        path = self.path.resolve()
        return path.with_name(path.name + ".leader")
