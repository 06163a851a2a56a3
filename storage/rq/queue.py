"""The EventBus type ``rq``."""

from __future__ import annotations

from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType
from kubecdc.storage.redis_server import url
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.rq import open_bus
from kubecdc.storage.rq.manifest import Rq


class RqQueue(QueueType[Rq]):
    """Queues of RQ, for installations that have RQ workers."""

    model = Rq
    example = "{url: 'redis://localhost:6379/1'}"
    holds_checkpoint = True

    def place(self, spec: Rq) -> str:
        return url.parse(spec.url).place

    def store(self, spec: Rq, bus: str) -> str:
        return f"{self.place(spec)}, bus {bus}"

    async def open(self, spec: Rq, settings: BusSettings, opening: Opening) -> Bus:
        given = ServerSettings(
            url=spec.url,
            name=settings.name,
            ack_wait=settings.ack_wait,
            max_pending=settings.max_pending,
            access=spec.access(opening.keys),
            lead=opening.lead,
        )
        return await open_bus(given, holder=opening.holder, create=opening.create)
