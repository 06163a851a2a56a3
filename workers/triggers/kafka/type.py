"""The ``kafka`` trigger type."""

from __future__ import annotations

from collections.abc import Iterator, Set
from importlib.util import find_spec

from kubecdc.manifest.finding import Finding
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.contract import Context, Trigger, TriggerType
from kubecdc.workers.triggers.kafka.manifest import Kafka
from kubecdc.workers.triggers.kafka.request import KafkaRequest

_EACH = "make a trigger of each cluster"


class KafkaType(TriggerType[Kafka]):
    """Sends a message for each event."""

    model = Kafka
    example = "{url: 'kafka:9092', topic: …}"
    fixed = dict.fromkeys(
        ("url", "tls", "sasl", "compress", "flushFrequency", "timeout", "secureHeaders", "schemaRegistry"), _EACH
    )

    def missing(self, config: Kafka, written: Set[str]) -> Iterator[Finding]:
        """The client library, and that of Avro where it is needed."""
        needed = {"confluent_kafka": True, "fastavro": config.schema_registry is not None}
        for module in [module for module, used in needed.items() if used and find_spec(module) is None]:
            name = module.replace("_", "-")
            yield Finding((), f"needs the package {name}, which is not installed", "pip install 'kubecdc[kafka]'")

    def notices(self, config: Kafka) -> Iterator[str]:
        """Fields that are without effect."""
        if config.required_acks != -1:
            yield f"requiredAcks: {config.required_acks} has no effect: each message waits for all replicas in sync"
        if "partition" in config.model_fields_set:
            yield "partition has no effect: the key decides"
        if config.version:
            yield "version has no effect: the client asks the brokers"

    def build(self, config: Kafka, policy: Policy, context: Context) -> Trigger[KafkaRequest]:
        """The trigger. The client library is imported here, and that of Avro where it is needed."""
        from kubecdc.workers.triggers.kafka.trigger import KafkaTrigger

        if config.schema_registry is None:
            return KafkaTrigger(context.keys)
        from kubecdc.workers.triggers.kafka.registry import Registry

        return KafkaTrigger(context.keys, Registry(config.schema_registry, context.keys, context.addresses))
