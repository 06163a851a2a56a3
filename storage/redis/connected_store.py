"""Checkpoints, state and election in a Redis, for a bus that keeps its events elsewhere."""

from __future__ import annotations

import time

from kubecdc.storage.redis.administration.retention import Retention
from kubecdc.storage.redis.settings import SCRIPTS, RedisSettings
from kubecdc.storage.redis_server.checkpoints import RedisCheckpoints
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.redis_server.elector import RedisElector
from kubecdc.storage.redis_server.state import RedisState


class ConnectedStore:
    """`storage.contracts.types.Store`: the keys of ``settings.name``."""

    def __init__(self, settings: RedisSettings, *, holder: str) -> None:
        self._connection = connection = Connection(settings, SCRIPTS)
        self.checkpoints = RedisCheckpoints(connection)
        self.state = RedisState(connection)
        retention = Retention(settings, connection)
        self.elector = RedisElector(connection, retention.run, settings.lead, holder, time.monotonic)

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
