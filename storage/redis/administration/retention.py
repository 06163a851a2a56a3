"""Deletes events that every subscription has settled, by age and size."""

from __future__ import annotations

from kubecdc.storage.periodic import run_periodically
from kubecdc.storage.redis.administration import registrations
from kubecdc.storage.redis.administration.repairs import Repairs
from kubecdc.storage.redis.settings import RedisSettings
from kubecdc.storage.redis_server.connection import Connection

STEP = 250  # events in one script, so that commits and reads get their turn


class Retention:
    """Runs where the leader is. `enforce` may be called by any process."""

    def __init__(self, settings: RedisSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection

    async def run(self) -> None:
        """Enforce periodically, and whenever a commit found the memory full. Never returns."""
        await run_periodically(self.enforce, requested=self._connection.full)

    async def enforce(self) -> None:
        """Delete all that may be deleted now: backlogs of pruned subscriptions, events by age and by size.

        What somebody else has deleted is found, too.
        """
        repairs = Repairs(self._connection, self._settings.partitions)
        await repairs.recount()
        await registrations.drop_backlogs(self._connection, self._settings.partitions)
        age = int(self._settings.retention.total_seconds() * 1000)
        while await self._connection.run("administration/trim", age, self._settings.retention_bytes, STEP):
            pass
        await repairs.leave_entries()
        await registrations.forget_entries(self._connection, self._settings.partitions)
