"""Checkpoints, state and election in a Redis, for a bus that keeps its events elsewhere."""

from __future__ import annotations

import time

from kubecdc.storage.redis.administration.retention import Retention
from kubecdc.storage.redis.commits.checkpoints import RedisCheckpoints
from kubecdc.storage.redis.commits.elector import RedisElector
from kubecdc.storage.redis.deliveries.state import RedisState
from kubecdc.storage.redis.server.connection import Connection
from kubecdc.storage.redis.settings import RedisSettings


class ConnectedStore:
    """`storage.contracts.types.Store`: the keys of ``settings.name``."""

    def __init__(self, settings: RedisSettings, *, holder: str) -> None:
        self._connection = connection = Connection(settings)
        self.checkpoints = RedisCheckpoints(connection)
        self.state = RedisState(connection)
        retention = Retention(settings, connection)
        self.elector = RedisElector(connection, retention, settings.lead, holder, time.monotonic)

    async def open(self) -> None:
        """Find the server. Raises UsageError, Refused, Unavailable."""
        try:
            await self._connection.check()
            await self._connection.require_rights()
        except BaseException:
            await self._connection.close()
            raise

    async def close(self) -> None:
        self._connection.end()
        await self._connection.close()
