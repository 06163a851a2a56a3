"""RQ as an EventBus manifest writes it."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from kubecdc.manifest.fields import invalid
from kubecdc.storage.redis_server import url as redis_url
from kubecdc.storage.redis_server.manifest import Server, Url


class Rq(Server):
    """A bus on RQ, in a Redis that RQ's own workers may share."""

    url: Url

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check(self.url)
        if redis_url.parse(self.url).kind == "cluster":
            raise invalid(
                "names a cluster, which cannot have RQ's keys and those of a bus in one slot",
                f"write it like {redis_url.EXAMPLES['server']}, or {redis_url.EXAMPLES['sentinel']} for Sentinels",
            )
        return self
