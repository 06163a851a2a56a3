"""What an event asks the ``kafka`` trigger to send."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import payload, rewrite
from kubecdc.workers.sensor.values import context
from kubecdc.workers.triggers.kafka.manifest import Kafka

AVRO = "application/avro"  # as the CloudEvents specification of the format for Avro has it


@dataclass(frozen=True)
class KafkaRequest:
    """A message, except for what is secret. With a schema registry, ``value`` is the JSON that becomes Avro."""

    config: Kafka
    key: bytes
    value: bytes
    headers: dict[str, str]

    def preview(self) -> dict[str, object]:
        """The message as JSON values. A value that is JSON stays JSON."""
        registry = self.config.schema_registry
        value: object
        try:
            value = msgspec.Raw(msgspec.json.format(self.value, indent=-1))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = self.value.decode(errors="replace")
        return {
            "url": self.config.url,
            "topic": self.config.topic,
            "key": self.key.decode(),
            "headers": self.headers | dict.fromkeys((header.name for header in self.config.secure_headers), "***"),
            "value": value,
        } | ({} if registry is None else {"schemaRegistry": {"url": registry.url, "schemaId": registry.schema_id}})


def prepare(request: TriggerRequest[Kafka]) -> KafkaRequest:
    """Apply ``parameters``, then ``payload``. Raises ParameterError."""
    values = request.values
    config = rewrite(request.config, request.config.parameters, values, within="kafka")
    event = request.event
    content_type = AVRO if config.schema_registry else "application/json"
    return KafkaRequest(
        config=config,
        key=(config.partitioning_key or event.partitionkey).encode(errors="replace"),
        value=payload(config.payload, values) if config.payload else bytes(event.data),
        headers={
            "content-type": content_type,
            **config.headers,
            **_own(event, request.idempotency_key),
            **({"traceparent": request.traceparent} if request.traceparent else {}),
        },
    )


def _own(event: Event, idempotency_key: str) -> dict[str, str]:
    """The headers by which a consumer knows the event: CloudEvents in binary mode, and the idempotency key.

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md, section 3.2.
    """
    given = {name: value for name, value in context(event).items() if name != "datacontenttype"}
    texts = {f"ce_{name}": "true" if value is True else str(value) for name, value in given.items()}
    return {**texts, "idempotency-key": idempotency_key}
