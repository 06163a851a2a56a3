"""Redis as an EventBus manifest writes it: the bus, and the checkpoint of another bus."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from kubecdc.storage.redis_server.manifest import Server, Url


class Redis(Server):
    """A bus on Redis Streams, shared by any number of machines."""

    url: Url
    partitions: int = Field(64, ge=1, le=1024)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check(self.url)
        return self


class RedisCheckpoint(Server):
    """A Redis for the checkpoint. On a ``redis`` bus ``url`` is that of the bus, or left out."""

    url: Url | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.url is not None:
            self.check(self.url)
        return self
