"""The EventBus type ``sqs``."""

from __future__ import annotations

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import Queue
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType
from kubecdc.storage.sqs import SqsSettings, open_queue
from kubecdc.storage.sqs.manifest import Sqs
from kubecdc.storage.sqs.settings import LONGEST_CLAIM


class SqsQueueType(QueueType[Sqs]):
    """Amazon SQS: a queue for each subscription."""

    model = Sqs
    example = "{region: eu-west-1}"
    uses_state = True
    most_deliveries = 500  # the broker's own limit is 1000 receptions

    def place(self, spec: Sqs) -> str:
        server = spec.endpoint_url or (f"https://sqs.{spec.region}.amazonaws.com" if spec.region else "sqs:")
        return f"{server}/{spec.queue_prefix}"

    def store(self, spec: Sqs, bus: str) -> str:
        return f"{self.place(spec)}, bus {bus}"

    async def open(self, spec: Sqs, settings: BusSettings, opening: Opening) -> Queue:
        if settings.ack_wait.total_seconds() > LONGEST_CLAIM // 2:
            raise UsageError(
                "`redelivery.ackWait` is too long for SQS, which ends every claim after 12 hours",
                hint="set it to 6h or less; claims are extended while a trigger runs",
            )
        given = SqsSettings(
            bus=settings.name,
            prefix=spec.queue_prefix,
            fifo=spec.fifo,
            fair=spec.fair_queues,
            region=spec.region,
            endpoint_url=spec.endpoint_url,
            compress_above=spec.compress_above,
            message_bytes=spec.max_message_bytes,
            ack_wait=settings.ack_wait,
            max_pending=settings.max_pending,
        )
        return await open_queue(given, holder=opening.holder)
