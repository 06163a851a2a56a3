"""Forgets events that nobody is owed any more."""

from __future__ import annotations

from kubecdc.storage.periodic import sweep_for_ever
from kubecdc.storage.redis.administration import registrations
from kubecdc.storage.redis.server.connection import Connection
from kubecdc.storage.redis.settings import RedisSettings

STEP = 500  # events a script, so that commits and reads get their turn


class Retention:
    """Runs where the leader is; `sweep` may be called by anybody."""

    def __init__(self, settings: RedisSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection

    async def run(self) -> None:
        """Sweep now and then, for ever, and whenever a commit found the memory full."""
        await sweep_for_ever(self.sweep, wanted=self._connection.full)

    async def sweep(self) -> None:
        """Everything that may go now: what is left of pruned subscriptions, events by age and by size."""
        await registrations.drop_backlogs(self._connection, self._settings.partitions)
        age = int(self._settings.retention.total_seconds() * 1000)
        while await self._connection.run("administration/trim", age, self._settings.retention_bytes, STEP):
            pass
