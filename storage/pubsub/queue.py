"""The EventBus type ``pubsub``."""

from __future__ import annotations

from kubecdc.storage.contracts import Queue
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType
from kubecdc.storage.pubsub import PubSubSettings, open_bus
from kubecdc.storage.pubsub.manifest import PubSub


class PubSubQueue(QueueType[PubSub]):
    """Google Cloud Pub/Sub."""

    model = PubSub
    example = "{projectID: my-project, topic: kubecdc}"
    uses_state = True
    most_deliveries = 50  # Pub/Sub gives up after 100 deliveries at the most

    def place(self, spec: PubSub) -> str:
        return f"projects/{spec.project_id}/topics/{spec.topic}"

    async def open(self, spec: PubSub, settings: BusSettings, opening: Opening) -> Queue:
        given = PubSubSettings(
            project=spec.project_id,
            topic=spec.topic,
            endpoint=spec.endpoint,
            ack_wait=settings.ack_wait,
            retention=settings.retention,
            message_retention=spec.message_retention,
        )
        return await open_bus(given, holder=opening.holder, create=opening.create)
