"""Checkpoint stores of their own, one harness each."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from storage import redis, sqlite
from storage.contracts import CheckpointStore


@dataclass(frozen=True)
class SqliteStores:
    """A file."""

    path: Path
    stack: AsyncExitStack

    async def store(self, holder: str = "one") -> CheckpointStore:
        settings = sqlite.SqliteSettings(self.path)
        return await self.stack.enter_async_context(sqlite.opened_checkpoints(settings))


@dataclass(frozen=True)
class RedisStores:
    """A name in a Redis."""

    url: str
    name: str
    stack: AsyncExitStack

    async def store(self, holder: str = "one") -> CheckpointStore:
        settings = redis.RedisSettings(self.url, name=self.name)
        return await self.stack.enter_async_context(redis.opened_checkpoints(settings))
